"""`sit2 export`: a model as one ONNX file, or as a folder of timm and the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import DONE, OVERWRITE, Verb, argument, out, require_model
from sit2.errors import ConfigError

FORMATS = ("onnx", "huggingface")


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Write model.onnx, or the folder."""
    if options.format == "huggingface" and options.out is None:
        raise ConfigError("--format huggingface needs a folder of its own\nname it with -o")
    require_model(options.run_folder)
    return (_huggingface if options.format == "huggingface" else _onnx)(options, screen)


def _onnx(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.data.words import counted
    from sit2.inference.export import export_onnx

    done = export_onnx(options.run_folder, options.out, overwrite=options.overwrite)
    screen.say(f"Written: {done.path} ({done.path.stat().st_size / 1e6:.1f} MB)")
    screen.say(
        f"Checked on {counted(done.images, 'image')} of noise: ONNX Runtime gives the model's own probabilities, "
        f"to within {done.difference:.0e}"
    )
    return DONE


def _huggingface(options: argparse.Namespace, screen: Screen) -> int:
    from sit2.inference.huggingface import export_timm
    from sit2.inference.model_spec import find_model, read_spec
    from sit2.inference.seen import run_of
    from sit2.report.model_card import model_card

    spec = read_spec(find_model(options.run_folder) / "model.json")
    card = model_card(spec, run_of(options.run_folder))
    done = export_timm(options.run_folder, options.out, card, overwrite=options.overwrite)
    screen.say(f"Written: {done.path}: config.json, model.safetensors, README.md (the model card)")
    screen.say(
        f"Checked on images of noise: timm's {done.architecture} gives the network's own logits, to within "
        f"{done.difference:.0e} of the largest"
    )
    if spec.predictors:
        screen.warn(
            f"it is the network alone, without its predictors: {', '.join(n for n, _ in spec.predictors)}"
        )
    return DONE


VERB = Verb(
    run,
    "write a model for programs without sit2: one ONNX file, or a folder for timm",
    (
        argument("run_folder", metavar="RUN", type=Path, help="a run folder, or its model folder"),
        out("folder to write into (default, for ONNX: the model's own)"),
        argument(
            "--format",
            choices=FORMATS,
            default="onnx",
            help="onnx: model.onnx, with predictors; huggingface: the network alone as timm's config.json and "
            "model.safetensors, with a model card",
        ),
        OVERWRITE,
    ),
)
