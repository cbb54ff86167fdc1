"""The file of `sit2 export`: what stands in it beside the network, and predicting with it, without torch.

ONNX Runtime does all that follows the pixels, predictors included; images become pixels by the code of training.

Letters: N images, K classes, C×H×W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from sit2 import __version__
from sit2.errors import ConfigError, ModelError, in_one_line
from sit2.inference.any_model import answers_for, decisions_for
from sit2.inference.decisions import Answers, Decision
from sit2.inference.model_spec import ModelSpec, make_spec
from sit2.inference.predictors.predictor import Promise
from sit2.records import ByteArray, FloatArray, IntArray

INPUT, OUTPUT = "images", "probabilities"
P_VALUES, UNLIKE = "p_values", "unlike"  # further outputs, of models that give sets or know what is unlike
INSTALL = "pip install 'sit2[runtime]'"
BATCH = 64  # images at once, at most
_KNOWN = ("augment", "layout", "figures")  # what else of the spec is told


def metadata(spec: ModelSpec, promise: Promise | None) -> dict[str, str]:
    """Return what the file says of a model; all but names is JSON."""
    told = {} if promise is None else {"promise": json.dumps({"highest": promise.highest, **vars(promise)})}
    return {
        **told,
        "classes": json.dumps(spec.classes, ensure_ascii=False),
        "preprocessing": json.dumps(spec.preprocessing(), ensure_ascii=False),
        "known": json.dumps({name: getattr(spec, name) for name in _KNOWN}, ensure_ascii=False),
        "backbone": spec.backbone,
        "recipe": spec.recipe,
        "made_by": f"sit2 {__version__}",
    }


def _told(given: Mapping[str, str]) -> tuple[ModelSpec, Promise | None]:
    """Return what :func:`metadata` was given. Raises nearly anything for what it did not write."""
    flat = {**json.loads(given["known"]), **json.loads(given["preprocessing"])}
    named = {
        "recipe": given["recipe"],
        "backbone": given["backbone"],
        "classes": json.loads(given["classes"]),
    }
    spec = make_spec({**flat, **named})
    if "promise" not in given:
        return spec, None
    numbers = json.loads(given["promise"])
    kinds = {"per_class": bool, "exact": bool}
    promise = Promise(**{one.name: numbers[one.name] for one in fields(Promise)})
    if not all(type(value) is kinds.get(name, int) for name, value in vars(promise).items()):
        raise ValueError("its promise is none")
    if not (0 <= promise.least <= promise.images and -1 <= promise.rarest < len(spec.classes)):
        raise ValueError("its promise cannot be")
    return spec, promise


@dataclass(frozen=True)
class OnnxModel:
    """A model that was exported. What it predicts is what the model itself does, to the fifth decimal."""

    spec: ModelSpec
    promise: Promise | None  # what its sets of possible classes hold; None where it gives none
    session: Any  # of ONNX Runtime

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the K classes, in the order of the columns of probabilities."""
        return self.spec.classes

    def predict(self, images: Any, coverage: float | None = None) -> list[Decision]:
        """Return what is said of each image: a class, "not sure: A or B", or "unlike the training images".

        Args:
            images: N paths of image files; or (N, H, W), (N, H, W, C) or (N, C, H, W) of any size, C = 1, 3 or 4,
                uint8 or floats in [0, 1].
            coverage: how often the set of possible classes must contain the true one, above 0 and below 1; None:
                0.95, or the highest that can be promised where that is lower. Only for models that give sets.

        Raises:
            ConfigError: the model gives no sets, or cannot promise this coverage.
            DataError: images of another shape or type, or one that cannot be read.
        """
        return decisions_for(self, images, coverage)

    def predict_proba(self, images: Any) -> FloatArray:
        """Return (N, K) float64 probabilities, whose rows sum to 1, of images as :meth:`predict` takes them.

        Raises:
            DataError: images of another shape or type, or one that cannot be read.
        """
        return answers_for(self, images).probabilities

    def answers(self, images: ByteArray, rows: IntArray | None = None) -> Answers:
        """Return what is said of the images ``rows`` (all if None) of (M, C, H, W) uint8, decoded by the spec."""
        rows = np.arange(len(images), dtype=np.int64) if rows is None else rows
        names = [output.name for output in self.session.get_outputs()]
        parts: dict[str, list[Any]] = {name: [] for name in names}
        for start in range(0, len(rows), BATCH):
            pixels = np.ascontiguousarray(images[rows[start : start + BATCH]])
            for name, values in zip(names, self.session.run(names, {INPUT: pixels}), strict=True):
                parts[name].append(values)
        nothing = np.empty((0, len(self.classes)))
        said = {name: np.concatenate(found) if found else nothing for name, found in parts.items()}
        unlike = said.get(UNLIKE)
        return Answers(
            said[OUTPUT].astype(np.float64),
            said.get(P_VALUES),
            None if unlike is None else unlike.reshape(len(rows)).astype(np.bool_),
        )


def load(path: str | Path) -> OnnxModel:
    """Load a file of `sit2 export`. No code from it is executed.

    Raises:
        ConfigError: ONNX Runtime is not installed.
        ModelError: when there is no such file, or sit2 did not write it, or it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        inside = path / "model.onnx"
        hint = f"did you mean {inside}?" if inside.is_file() else "expected a model that `sit2 export` wrote"
        raise ModelError(f"{'it is a folder' if path.is_dir() else 'no such file'}: {path}\n{hint}")
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(
            f"an exported model is run by ONNX Runtime, which is not installed\n{INSTALL}"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads take no time
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        spec, promise = _told(session.get_modelmeta().custom_metadata_map)
        wanted = [spec.channels, spec.image_size, spec.image_size]
        if [(one.name, one.shape[1:]) for one in session.get_inputs()] != [(INPUT, wanted)]:
            raise ValueError("it takes other images than it says")
        if OUTPUT not in {one.name for one in session.get_outputs()}:
            raise ValueError("it gives no probabilities")
    except Exception as error:  # ONNX Runtime raises nearly anything on a damaged file
        reason = in_one_line(error)
        raise ModelError(
            f"{path} is no model of `sit2 export`, or damaged: {reason}\nexport it again"
        ) from None
    return OnnxModel(spec, promise, session)
