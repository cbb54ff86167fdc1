"""Networks by name: timm's models, fitted to small images, and one small network for small images."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from sit2.errors import ConfigError, ModelError, did_you_mean, in_one_line
from sit2.training.device import own_generators, seed_generators
from sit2.training.downloads import WITHOUT_NETWORK, require_reachable
from sit2.training.efficientnet_lite import EfficientNetLite0, imagenet_weights, read_imagenet
from sit2.training.settings import DEFAULT_BACKBONE, SMALL_CNN

STATISTICS = 0.1  # the least momentum of batch normalisation in fine-tuning (docs/experiments.md, 2026-11-28)
SMALL_IMAGE = 96  # pixels; below, the usual stem (stride 4) throws most of the image away


class SmallCNN(nn.Module):
    """Six 3 × 3 convolutions in three stages of 32, 64 and 128 channels, for images of about 16 to 64 pixels.

    Trains in seconds to minutes on one CPU core; timm's smallest models are made for 160 pixels and more.
    """

    num_features = 128

    def __init__(self, channels: int) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for width in (32, 64, 128):
            for _ in range(2):
                stages += [
                    nn.Conv2d(channels, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
                channels = width
            stages.append(nn.MaxPool2d(2))
        self.stages = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, 128): the mean over what is left of the image."""
        features: Tensor = self.stages(images).mean(dim=(2, 3))
        return features


class StageFeatures(nn.Module):
    """Features of several depths: the mean over the map of some stages and of the last layer, side by side.

    Later stages know ImageNet's classes, earlier ones textures, which serve images that are no photographs.
    """

    def __init__(self, encoder: nn.Module, channels: int, image_size: int) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.no_grad():
            self.num_features = self.eval()(torch.zeros(1, channels, image_size, image_size)).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, D): those of the last layer come last."""
        if isinstance(self.encoder, EfficientNetLite0):
            maps = self.encoder.stages(images)
            return torch.cat([one.mean(dim=(2, 3)) for one in maps], dim=1)
        if not hasattr(self.encoder, "forward_intermediates"):
            features: Tensor = self.encoder(images)
            return features
        encoder: Any = self.encoder
        last, maps = encoder.forward_intermediates(images, indices=3, output_fmt="NCHW")
        pooled: Tensor = encoder.forward_head(last, pre_logits=True)
        return torch.cat([*(one.mean(dim=(2, 3)) for one in maps), pooled], dim=1)


class Network(nn.Module):
    """An encoder (N, C, H, W) → (N, F), and a linear head that each phase replaces."""

    def __init__(self, encoder: nn.Module, features: int, outputs: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.features = features
        self.head = nn.Linear(features, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, outputs)."""
        logits: Tensor = self.head(self.encoder(images))
        return logits

    def new_head(self, outputs: int, *, seed: int) -> None:
        """Put a fresh head of this many outputs on the encoder; equal seeds give equal heads."""
        device = self.head.weight.device
        with own_generators():
            seed_generators(seed)
            self.head = nn.Linear(self.features, outputs).to(device)


def build_network(
    backbone: str,
    *,
    channels: int,
    image_size: int,
    outputs: int,
    seed: int,
    pretrained: bool = False,
    weights: Path | None = None,
    stages: bool = False,
) -> Network:
    """Build a network whose initial weights depend on ``seed`` alone.

    ``pretrained`` starts it from the weights that belong to the backbone, where it has some; ``weights`` from
    those of a file. With ``stages`` its head sees features of several depths, see :class:`StageFeatures`.

    Raises:
        ConfigError: for an unknown backbone, or pretrained weights that cannot be had.
        ModelError: for a weights file that does not fit.
    """
    with own_generators():
        seed_generators(seed)
        encoder = _encoder(backbone, channels, image_size, pretrained and weights is None)
        if weights is not None:
            load_encoder(encoder, weights)
        if stages:
            encoder = StageFeatures(encoder, channels, image_size)
        features = int(getattr(encoder, "head_hidden_size", encoder.num_features))
        network = Network(encoder, features, outputs)
    return network.to(memory_format=torch.channels_last)


def check_backbone(backbone: str, *, pretrained: bool = False) -> None:
    """Raise :class:`ConfigError` for a name that is no backbone's, or weights that cannot be had."""
    if backbone in (DEFAULT_BACKBONE, SMALL_CNN):
        return
    import timm

    if not timm.is_model(backbone):
        hint = did_you_mean(backbone, [DEFAULT_BACKBONE, SMALL_CNN, *timm.list_models()])
        if hint.startswith("choose from"):
            hint = f"expected {DEFAULT_BACKBONE!r}, {SMALL_CNN!r} or a timm model, such as 'resnet18'"
        raise ConfigError(f"unknown backbone {backbone!r}\n{hint}")
    if pretrained:
        require_reachable(backbone, timm.models.get_pretrained_cfg(backbone))


def _encoder(backbone: str, channels: int, image_size: int, pretrained: bool) -> Any:
    if backbone == SMALL_CNN:
        return SmallCNN(channels)
    if backbone == DEFAULT_BACKBONE:
        return _efficientnet_lite(channels, image_size, pretrained)
    check_backbone(backbone, pretrained=pretrained)
    import timm

    options: dict[str, Any] = {"in_chans": channels, "num_classes": 0}
    known = timm.models.get_pretrained_cfg(backbone)
    if known is not None and known.fixed_input_size:
        options["img_size"] = image_size
    try:
        encoder = timm.create_model(backbone, pretrained=pretrained, **options)
        if (
            image_size < SMALL_IMAGE and "img_size" not in options
        ):  # the others are built for a grid of patches
            widen_stem(encoder, image_size)
        with torch.no_grad():
            encoder.eval()(torch.zeros(1, channels, image_size, image_size))
    except Exception as error:  # whatever the hub, the network or timm's builders raise: all end the same way
        reason = in_one_line(error)
        what = (
            f"the pretrained weights of {backbone!r}" if pretrained else f"{backbone!r} for this image size"
        )
        hint = WITHOUT_NETWORK if pretrained else "choose another backbone or --image-size"
        raise ConfigError(f"cannot get {what}: {reason}\n{hint}") from None
    return encoder


def _efficientnet_lite(channels: int, image_size: int, pretrained: bool) -> EfficientNetLite0:
    encoder = EfficientNetLite0(channels)
    if pretrained:
        state = dict(read_imagenet(imagenet_weights()))
        if channels == 1:
            state["conv_stem.weight"] = state["conv_stem.weight"].sum(dim=1, keepdim=True)
        encoder.load_state_dict(state)
    if image_size < SMALL_IMAGE:
        widen_stem(encoder, image_size)
    return encoder


def quicken_statistics(encoder: nn.Module) -> None:
    """Let batch normalisation's running statistics follow within some tens of steps.

    TensorFlow's models come with a momentum of 0.01, under which a fine-tuning of a few hundred steps ends with
    statistics that are half ImageNet's: the trained network is another one in evaluation mode.
    """
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum is not None:
            module.momentum = max(module.momentum, STATISTICS)


def widen_stem(encoder: nn.Module, image_size: int, *, smallest_map: int = 4) -> None:
    """Lower the first strides until the last feature map is at least ``smallest_map`` wide, if they allow.

    The pooling of a ResNet's stem goes first, then the stride of the first convolution. Weights keep their
    shapes, so pretrained ones still fit.
    """
    info = getattr(encoder, "feature_info", None)
    reduction = info[-1]["reduction"] if info else 32
    factor = 1
    while image_size * factor / reduction < smallest_map and factor < 4:
        factor *= 2
    pool = getattr(encoder, "maxpool", None)
    if factor > 1 and isinstance(pool, nn.MaxPool2d):
        encoder.maxpool = nn.Identity()
        factor //= 2
    first = next((m for m in encoder.modules() if isinstance(m, nn.Conv2d)), None)
    if factor > 1 and first is not None and first.stride[0] > 1 and first.kernel_size[0] < 14:
        first.stride = (max(1, first.stride[0] // factor), max(1, first.stride[1] // factor))


def load_encoder(encoder: nn.Module, path: Path) -> int:
    """Load an encoder's weights from a file, leaving the head as it is; return how many tensors fitted.

    Takes sit2's own ``model.safetensors`` (or a folder that holds it), timm's and torchvision's state dicts.
    Where the images are gray, a first convolution for colour is summed over its channels, as timm does: that
    computes what three equal channels would. No code is executed.

    Raises:
        ModelError: when there is no such file, it cannot be read, or its weights are another network's.
    """
    state, own = _encoder_state(path), encoder.state_dict()
    first, wanted, given = _first_channels(state, own)
    if given == 3 and wanted == 1:
        from timm.models import adapt_input_conv

        state[first] = adapt_input_conv(1, state[first])
    fitting = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    missing = [k for k in own if k not in fitting]
    if missing == [first] and given != wanted:
        hint = f"set --channels {given}, or " if given in (1, 3) else ""
        raise ModelError(
            f"{path} is for images of {given} channels, but these have {wanted}\n{hint}choose other weights"
        )
    if missing:
        raise ModelError(
            f"{path} does not fit this backbone: {len(missing)} of {len(own)} tensors are missing or have "
            f"another shape, such as {missing[0]!r}\nname the backbone that the weights were trained with"
        )
    encoder.load_state_dict(fitting)
    return len(fitting)


def weights_channels(path: Path) -> int | None:
    """Return for how many channels a file's weights are, by the first convolution; None where it has none."""
    return next((v.shape[1] for v in _encoder_state(path).values() if v.ndim == 4), None)


def _encoder_state(path: Path) -> dict[str, Tensor]:
    """Read the weights of an encoder, named as in the encoder itself."""
    state = {k.removeprefix("module."): v for k, v in read_weights(path).items()}
    while any(
        k.startswith("encoder.") for k in state
    ):  # twice in a model that sees features of several depths
        state = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    return state


def _first_channels(
    state: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> tuple[str, int | None, int | None]:
    """Return the name of an encoder's first convolution, and how many channels it and the file's have."""
    first = next((k for k, v in own.items() if v.ndim == 4), "")
    wanted, given = (s[first].shape[1] if first in s and s[first].ndim == 4 else None for s in (own, state))
    return first, wanted, given


def weights_file(path: Path) -> Path:
    """Return the file of weights that is meant: ``path``, or the model in the run folder ``path``.

    Raises:
        ModelError: when a folder holds none.
    """
    if not path.is_dir():
        return path
    inner = [p for p in (path / "model.safetensors", path / "model" / "model.safetensors") if p.exists()]
    if not inner:
        raise ModelError(f"no model.safetensors in {path}\nexpected a weights file or a sit2 run folder")
    return inner[0]


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """Read named tensors from .safetensors, or from a .pth/.pt file of plain tensors.

    Raises:
        ModelError: when there is no such file, or it is damaged or holds more than tensors.
    """
    path = weights_file(path)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _require_plain_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"no such weights file: {path}\nexpected .safetensors or .pth") from None
    except (OSError, RuntimeError, ValueError, SafetensorError, EOFError) as error:
        reason = in_one_line(error)
        raise ModelError(f"cannot read the weights file {path}: {reason}") from None
    except (
        Exception
    ) as error:  # pickle.UnpicklingError and its kin: no tensors, or a file that wants to run code
        reason = "it is damaged or holds more than tensors"
        raise ModelError(f"refused {path}: {reason} ({type(error).__name__})") from None
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"{path} is not a state dict\nexpected names with tensors")
    if any(t.numel() * t.element_size() > path.stat().st_size for t in state.values()):
        raise ModelError(f"refused {path}: it claims more numbers than it holds")
    return state


def _require_plain_archive(path: Path) -> None:
    """Refuse compressed tensors: torch writes none, and a small file could fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, which torch.save never does")
