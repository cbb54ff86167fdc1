"""`sit2 export`: a model as one ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import DONE, OVERWRITE, Verb, argument, out, require_model


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Write model.onnx."""
    require_model(options.run_folder)

    from sit2.data.words import counted
    from sit2.inference.export import export_onnx

    done = export_onnx(options.run_folder, options.out, overwrite=options.overwrite)
    screen.say(f"Written: {done.path} ({done.path.stat().st_size / 1e6:.1f} MB)")
    screen.say(
        f"Checked on {counted(done.images, 'image')} of noise: ONNX Runtime gives the model's own probabilities, "
        f"to within {done.difference:.0e}"
    )
    return DONE


VERB = Verb(
    run,
    "write a model as one ONNX file, for programs without sit2",
    (
        argument("run_folder", metavar="RUN", type=Path, help="a run folder, or its model folder"),
        out("folder for model.onnx (default: the model's own)"),
        OVERWRITE,
    ),
)
