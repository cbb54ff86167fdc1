"""A trained model as one ONNX file, for programs that have neither sit2 nor torch.

The file takes pixels and gives probabilities: scaling to 0…1, normalisation, softmax and predictors are part of
it. It is traced from the code that predicts (:meth:`~sit2.inference.model.Model.traced`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sit2.errors import ConfigError, ModelError, RunFolderError, in_one_line
from sit2.inference.model import Model
from sit2.inference.model_spec import find_model
from sit2.inference.onnx_file import INPUT, OUTPUT, P_VALUES, UNLIKE, metadata
from sit2.records import ByteArray
from sit2.storage.files import atomic
from sit2.storage.process_state import quiet_libraries

FILE = "model.onnx"
OPSET = 20  # of ONNX's operators
NEAR = 1e-4  # by which a probability may differ from the model's own: runtimes order their sums differently
JUMPS = 0.02  # of the p-values, which may differ by one image that calibrated
CHECKED = (1, 2, 33)  # images at once, with which the file is compared with the model; the tests try 500
MOST_PIXELS = 2_000_000  # of a batch that is compared: larger ones take long
INSTALL = "pip install 'sit2[onnx]'"


class Exported(NamedTuple):
    """A file that was written, and how it was compared with the model."""

    path: Path
    difference: float  # the largest of a probability from the model's own
    images: int  # that were compared


class Deployed(nn.Module):
    """A model with everything between decoded pixels and probabilities."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.network = model.network
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, C, H, W) uint8 → what :func:`outputs_of` names."""
        said = self.model.traced(images.float() / 255)
        more = (said.p_values, said.unlike)
        return (said.log_probabilities.exp().float(), *(one for one in more if one is not None))


def outputs_of(model: Model) -> list[str]:
    """Return the names of what a model's file gives."""
    said = model.answers(_noise(model, 1))
    more = ((P_VALUES, said.p_values), (UNLIKE, said.unlike))
    return [OUTPUT, *(name for name, values in more if values is not None)]


def export_onnx(folder: Path, out: Path | None = None, *, overwrite: bool = False) -> Exported:
    """Write a model as ``model.onnx``, compared with the model itself on some images of noise before it is kept.

    Its input ``images`` is (N, C, S, S) uint8 for any N, decoded and scaled as the metadata ``preprocessing``
    says; its output ``probabilities`` is (N, K) float32. The metadata ``classes`` names the K columns. Both
    are JSON. A model that gives sets has the output ``p_values`` too, (N, K) float64: at a coverage of 0.95 the
    classes above 0.05 are possible, and the metadata ``promise`` says which coverage is the highest. One that
    knows what is unlike the training images has ``unlike``, (N,) bool. The same model gives the same bytes.

    Args:
        folder: a run folder, or a model folder.
        out: the folder to write into; None: beside the model's own files.
        overwrite: replace a file that is there.

    Returns:
        The file, the largest difference of a probability from the model's own, and of how many images.

    Raises:
        ConfigError: when the packages that this needs are not installed.
        ModelError: when there is no model, it is damaged, or its network cannot be expressed in ONNX.
        RunFolderError: when the file cannot be written, or is there already.
    """
    path = _target(find_model(folder) if out is None else out, overwrite=overwrite)
    model = Model.load(folder)
    content = to_onnx(model)
    counts = _counts(model)
    difference = _largest_difference(content, model, counts)
    if not difference <= NEAR:
        raise ModelError(
            f"the exported {model.spec.recipe!r} gives other probabilities than the model, by up to "
            f"{difference:.2g}\nnothing was written; this is a fault of the export to ONNX"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
    return Exported(path, difference, sum(counts))


def _target(folder: Path, *, overwrite: bool) -> Path:
    if folder.suffix == ".onnx" or (folder.exists() and not folder.is_dir()):
        raise RunFolderError(f"{folder} is not a folder\nname one with -o; {FILE} is written into it")
    path = folder / FILE
    if path.exists() and not overwrite:
        raise RunFolderError(f"there is a {path} already\nuse --overwrite to replace it, or another -o")
    return path


def to_onnx(model: Model) -> bytes:
    """Return a model as the bytes of an ONNX file. Raises as :func:`export_onnx` does."""
    try:
        import onnx_ir
        import onnxscript  # noqa: F401 - torch's exporter needs it
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    except ImportError:
        raise ConfigError(f"the export to ONNX needs packages that are not installed\n{INSTALL}") from None
    spec = model.spec
    deployed = Deployed(model).eval()
    example = torch.from_numpy(_noise(model, 2)).to(next(deployed.parameters()).device)
    try:
        with quiet_libraries():
            program = torch.onnx.export(
                deployed,
                (example,),
                input_names=[INPUT],
                output_names=outputs_of(model),
                dynamic_shapes={"images": {0: torch.export.Dim("N")}},
                dynamo=True,
                opset_version=OPSET,
                verbose=False,
            )
        assert program is not None
        ClearMetadataAndDocStringPass()(program.model)  # the exporter leaves places of this machine in it
        program.model.metadata_props.update(metadata(spec, model.promise))
        return bytes(onnx_ir.to_proto(program.model).SerializeToString(deterministic=True))
    except Exception as error:  # the exporter raises nearly anything for an operation it does not know
        reason = in_one_line(error)
        what = f"{spec.recipe!r} on {spec.backbone!r}"
        raise ModelError(
            f"{what} cannot be exported to ONNX: {reason}\ntrain another --backbone, or without predictors"
        ) from error


def _noise(model: Model, count: int) -> ByteArray:
    """(count, C, S, S) uint8: images that every part of the network has something to say about."""
    spec = model.spec
    shape = (count, spec.channels, spec.image_size, spec.image_size)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _counts(model: Model) -> list[int]:
    """Return how many images are compared at once, in turn: fewer of large ones, never more than ``CHECKED``."""
    room = max(2, MOST_PIXELS // (model.spec.channels * model.spec.image_size**2))
    return [min(count, room) for count in CHECKED]


def _largest_difference(content: bytes, model: Model, counts: Sequence[int]) -> float:
    """Return by how much ONNX Runtime's probabilities differ from the model's, for batches of these sizes."""
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(f"the exported model is compared by ONNX Runtime\n{INSTALL}") from None
    session: Any = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    differences = []
    for count in counts:
        images = _noise(model, count)
        names = [output.name for output in session.get_outputs()]
        theirs = dict(zip(names, session.run(names, {INPUT: images}), strict=True))
        ours = model.answers(images)
        differences.append(np.abs(theirs[OUTPUT] - ours.probabilities).max())
        for name in names[1:]:  # which jump where a score is equal to an image's that calibrated
            other = theirs[name] != getattr(ours, name)
            if other.mean() > JUMPS and other.sum() > 1:
                return float("nan")
    return float(np.max(differences))  # NaN if any is
