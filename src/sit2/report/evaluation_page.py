"""The page of `sit2 evaluate`: that of a run, of images that a finished model was tested on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sit2.data.quality.findings import Finding
from sit2.data.samples import Samples
from sit2.report.data import RunData
from sit2.report.figures import write_figures
from sit2.report.page import MEGABYTES, render
from sit2.report.run_page import run_context
from sit2.storage.files import atomic
from sit2.storage.run_info import COMPLETE, DatasetInfo, RunInfo

if TYPE_CHECKING:
    from sit2.inference.prediction import Evaluated


def write_evaluation_page(folder: Path, found: Evaluated, *, model: Path) -> Path:
    """Write report.html and figures/ into a folder, and return the page's path."""
    run = as_run(folder, found)
    context = run_context(run, int(MEGABYTES * 1e6))
    command = shlex.join(["sit2", "predict", "IMAGES", "--model", str(model), "-o", "predictions"])
    context["next"] = [("Use the model.", command)]
    write_figures(folder / "figures", context["charts"], context["matrices"])
    with atomic(folder / "report.html") as path:
        path.write_text(render("run.html", context), encoding="utf-8", errors="backslashreplace")
    return folder / "report.html"


def as_run(folder: Path, found: Evaluated) -> RunData:
    """Return what was evaluated as a run that trained nothing: its test images are the images evaluated."""
    dataset, spec = found.dataset, found.spec
    count = len(dataset)
    labels = tuple(found.classes[k] for k in dataset.labels)
    return RunData(
        folder=folder,
        info=RunInfo(
            status=COMPLETE,
            data="",
            methods=(spec.recipe,),
            root=str(dataset.root.resolve()),
            dataset=DatasetInfo(dataset.name, "", found.classes, count),
        ),
        settings={
            "method": spec.recipe,
            "control": "none",
            "backbone": spec.backbone,
            **spec.preprocessing(),
        },
        classes=found.classes,
        samples=Samples(dataset.ids, dataset.paths, labels, dataset.groups, ("test",) * count, ("",) * count),
        predictions={spec.recipe: found.predictions},
        paths=found.paths,
        metrics={spec.recipe: found.metrics},
        tests={},
        pairs=found.pairs,
        confusion=None,
        history=(),
        findings=tuple(Finding("leak", "wrong", sentence, "") for sentence in found.known) or None,
        sets={spec.recipe: found.sets} if found.sets.coverage or found.sets.unlike else {},
    )
