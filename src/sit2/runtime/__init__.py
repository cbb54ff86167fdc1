"""Predict with an exported model, without torch: ``sit2.runtime.load("model.onnx").predict(paths)``.

Neither this nor what it imports loads torch or pandas.
"""

from __future__ import annotations

from sit2.inference.decisions import Decision
from sit2.inference.onnx_file import OnnxModel, load

__all__ = ["Decision", "OnnxModel", "load"]
