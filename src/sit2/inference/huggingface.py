"""A trained network as a folder that timm and the Hugging Face Hub know: config.json, model.safetensors, README.md.

It holds the network alone: normalised pixels in, logits out. Predictors are not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save as to_bytes
from torch import Tensor

from sit2.errors import ModelError, RunFolderError, in_one_line
from sit2.inference.asked_network import Members
from sit2.inference.model import Model
from sit2.inference.model_spec import ModelSpec, find_model
from sit2.storage.files import atomic, make_folder
from sit2.storage.untrusted import to_json
from sit2.training.backbones import Network, StageFeatures
from sit2.training.settings import DEFAULT_BACKBONE, SMALL_CNN

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
NEAR = 1e-4  # by which a logit may differ, relative to the largest: timm's layers order some sums differently
CHECKED = 3  # images of noise, by which the folder is compared with the network


class Exported(NamedTuple):
    """A folder that was written, and how it was compared with the network."""

    path: Path
    architecture: str  # timm's name
    difference: float  # the largest of a logit from the network's own


def export_timm(folder: Path, out: Path, card: str, *, overwrite: bool = False) -> Exported:
    """Write a model's network as timm reads it, compared with the network itself before it is kept.

    ``timm.create_model("local-dir:" + out, pretrained=True)`` then gives the same logits (N, K) for
    (N, C, S, S) float32, normalised with ``pretrained_cfg``'s mean and deviation.

    Args:
        folder: a run folder, or a model folder.
        out: the folder to write into.
        card: the text of README.md.
        overwrite: replace files that are there.

    Raises:
        ModelError: there is no model, it is damaged, or timm has no such network.
        RunFolderError: the files cannot be written, or are there already.
    """
    _refuse_taken(out, overwrite=overwrite)
    model = Model.load(find_model(folder))
    config = timm_config(model.spec)
    state = timm_state(model, config)
    difference = _difference(config, state, model)
    if not difference <= NEAR:
        raise ModelError(
            f"timm's {config['architecture']!r} gives other logits than the network: below 96 pixels sit2 "
            "lowers the stride of the first layers\ntrain with --image-size 96 or more, or export to ONNX"
        )
    make_folder(out)
    for name, content in (
        (WEIGHTS, to_bytes(state, {"format": "pt"})),
        (CONFIG, (to_json(config) + "\n").encode()),
        (CARD, card.encode()),
    ):
        with atomic(out / name) as path:
            path.write_bytes(content)
    return Exported(out, config["architecture"], difference)


def _refuse_taken(out: Path, *, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} is not a folder\nname one with -o; {CONFIG} is written into it")
    if (out / "model.json").exists():
        raise RunFolderError(f"{out} is a model folder of sit2, whose {WEIGHTS} is another\ngive another -o")
    there = [name for name in (CONFIG, WEIGHTS, CARD) if (out / name).exists()]
    if there and not overwrite:
        raise RunFolderError(
            f"there is a {out / there[0]} already\nuse --overwrite to replace it, or another -o"
        )


def timm_config(spec: ModelSpec) -> dict[str, Any]:
    """Return what config.json says. Raises :class:`ModelError` for a network that timm does not have."""
    import timm

    if spec.backbone == SMALL_CNN:
        raise ModelError(
            f"{SMALL_CNN} is a network of sit2, which timm does not have\n"
            "train another --backbone, or export to ONNX"
        )
    name = "tf_efficientnet_lite0" if spec.backbone == DEFAULT_BACKBONE else spec.backbone
    known = timm.models.get_pretrained_cfg(name)
    fixed = known is not None and known.fixed_input_size
    size = [spec.channels, spec.image_size, spec.image_size]
    arguments = {"in_chans": spec.channels} if spec.channels != 3 else {}
    if fixed:
        arguments["img_size"] = spec.image_size
    classes = len(spec.classes)
    return {
        "architecture": name.partition(".")[0],
        "num_classes": classes,
        "label_names": list(spec.classes),
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": size,
            "fixed_input_size": fixed,
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "border" if spec.resize == "pad" else "squash",
            "mean": list(spec.mean),
            "std": list(spec.std),
            "num_classes": classes,
            "first_conv": getattr(known, "first_conv", None),
            "classifier": getattr(known, "classifier", None),
            "custom_load": False,
        },
    }


def timm_state(model: Model, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights under timm's names, for the network of a config.json.

    Raises:
        ModelError: they are no single network's.
    """
    network, spec = model.network, model.spec
    if isinstance(network, Members):
        raise ModelError(
            f"{spec.recipe!r} is the mean of {spec.networks} networks, and timm's folder holds one\n"
            "train a recipe without *members, or export to ONNX"
        )
    if isinstance(network.encoder, StageFeatures):
        raise ModelError(
            f"{spec.recipe!r} classifies by features of several depths, which timm's models do not return\n"
            "train a method that trains the network, such as plain, or export to ONNX"
        )
    head = config["pretrained_cfg"]["classifier"]
    if not isinstance(head, str):
        raise ModelError(
            f"timm's {spec.backbone!r} has no single classifier\ntrain another --backbone, or export to ONNX"
        )
    state = dict(network.encoder.state_dict())
    state |= {f"{head}.{name}": value for name, value in network.head.state_dict().items()}
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def _difference(config: dict[str, Any], state: dict[str, Tensor], model: Model) -> float:
    """Return the largest difference of a logit that timm's model gives for noise, relative to the largest."""
    import timm

    assert isinstance(model.network, Network)
    shape = (CHECKED, *config["pretrained_cfg"]["input_size"])
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    try:
        other = timm.create_model(
            config["architecture"], num_classes=config["num_classes"], **config["model_args"]
        )
        other.load_state_dict(state)
        with torch.inference_mode():
            ours, theirs = model.network(noise), other.eval()(noise)
    except Exception as error:  # whatever timm's builders raise for arguments or weights that do not fit
        reason = in_one_line(error)
        raise ModelError(
            f"timm's {config['architecture']!r} does not take this network: {reason}\nexport to ONNX instead"
        ) from None
    return float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-6))
