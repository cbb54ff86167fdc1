"""How good a run's main recipe is, and what to watch out for: the sentences that need no control."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sit2.config.recipe import Recipe
from sit2.data.words import counted, listed
from sit2.errors import ConfigError
from sit2.evaluation.class_figures import ClassFigures, balanced_accuracy, weakest
from sit2.evaluation.metrics import accuracy_interval, calibration_by_chance
from sit2.evaluation.words import percent, ratio
from sit2.records import Predictions
from sit2.report.data import RunData
from sit2.report.matrix import FEW_OF_A_CLASS, matrix_of, mutual
from sit2.storage.run_info import MeasuredBy

CALIBRATION = 0.05  # a calibration error that is told
MOST_LISTED = 8


def accuracy(predictions: Predictions) -> float:
    """In [0, 1]."""
    return float(predictions.correct.mean())


def how_good(run: RunData, method: str) -> str:
    """Say how many test images a recipe classifies correctly, beside a constant prediction."""
    predictions = run.predictions[method]
    low, high = accuracy_interval(predictions)
    constant = float(np.bincount(predictions.labels).max() / len(predictions.ids))
    return (
        f"{method} classified {percent(accuracy(predictions))} of the "
        f"{counted(len(predictions.ids), 'test image')} correctly (95 % interval: {percent(low)} to "
        f"{percent(high)}). Always predicting the most frequent class would be correct for {percent(constant)}."
    )


def measured_by(one: MeasuredBy) -> str:
    """Say what measured the confusion, and how good that is."""
    share = percent(one.correct / one.images) if one.images else "–"
    interval = f"95 % interval: {percent(one.lower)} to {percent(one.upper)}"
    images = counted(one.images, "image")
    return f"Confusion is that of {one.by}: {share} of {images} classified correctly ({interval})."


def left_out(run: RunData) -> str:
    """Say what the figures of a run by cross-validation are; "" for one held-out test."""
    if not run.folds or run.method is None:
        return ""
    return (
        f"These are left-out figures by {run.folds}-fold cross-validation over "
        f"{counted(len(run.predictions[run.method].ids), 'image')}: each is a test image once, of a model that was "
        "trained without it."
    )


def kept(run: RunData) -> str:
    """Say what model is kept, where it is not the one that was evaluated; "" where it is."""
    if not run.refit or run.method is None:
        return ""
    whose = (
        "models that were each trained without a part of the images, and are"
        if run.folds
        else "the model that was trained without the test images, and is"
    )
    return (
        "The model that is kept was trained once more, on all labelled images. The figures are those of "
        f"{whose} expected to be no better than it; it was never measured itself."
    )


def facts(run: RunData) -> list[str]:
    """Return the other figures of the main recipe, and what stands in the run for reference."""
    if run.method is None:
        return []
    value, low, high = balanced_accuracy(run.figures)
    balanced = f"{percent(value)} (95 % interval: {percent(low)} to {percent(high)})"
    told = [sentence for sentence in (left_out(run), kept(run)) if sentence]
    told.append(f"Balanced accuracy, in which every class counts the same: {balanced}.")
    known = [one.auroc for one in run.figures if not math.isnan(one.auroc)]
    if known:
        told.append(
            f"AUROC, mean over the classes: {ratio(float(np.mean(known)))}. It says how well the probabilities "
            "put images of a class above the others: 1 is perfect, 0.5 is chance."
        )
    return told + [
        f"For reference, what no training at all reaches: {recipe} classified {percent(accuracy(one))} correctly."
        for recipe, one in run.predictions.items()
        if recipe in run.references
    ]


def weakest_first(figures: Sequence[ClassFigures]) -> list[ClassFigures]:
    """Return every class, that of the lowest recall first and those without test images last."""
    return [*weakest(figures), *(one for one in figures if not one.images)]


def watch_out(run: RunData) -> list[str]:
    """Return what a user of the main recipe should know, the gravest first."""
    if run.method is None:
        return []
    return [
        *_wrong(run),
        *unfinished(run),
        *_weakest_class(run.figures),
        *_most_confused(run, run.method),
        *_few_images(run.figures),
        *_calibration(run, run.method),
        *_warnings(run),
    ]


def unfinished(run: RunData) -> list[str]:
    """Say which trainings that the page shows look unfinished, and why."""
    return [
        f"Training looks unfinished{f' ({recipe})' if len(run.shown) > 1 else ''}: {'; '.join(why)}; try more "
        "--epochs."
        for recipe in reversed(run.shown)
        if (why := run.unfinished.get(recipe))
    ]


def absent(figures: Sequence[ClassFigures]) -> str:
    """Say which classes have no images, and what that means for the means over classes; "" where all have some."""
    missing = [one.name for one in figures if not one.images]
    if not missing:
        return ""
    rest = counted(len(figures) - len(missing), "other class", "other classes")
    them = "it" if len(missing) == 1 else "them"
    return (
        f"No test images of {listed(missing, MOST_LISTED)}: nothing is known of {them}. "
        f"Macro-F1, balanced accuracy and AUROC are means over the {rest}."
    )


def recalled(one: ClassFigures) -> str:
    """Return "disc 66.7 % (2 of 3)"."""
    return f"{one.name} {percent(one.recall.value)} ({one.recall.hits:,} of {one.images:,})"


def _weakest_class(figures: Sequence[ClassFigures]) -> list[str]:
    known = weakest(figures)
    if not known or known[0].recall.value == 1:
        return []
    worst, recall = known[0], known[0].recall
    counts = f"{recall.hits:,} of its {counted(recall.n, 'test image')} recognised"
    interval = f"95 % interval: {percent(recall.lower)} to {percent(recall.upper)}"
    return [f"Weakest class: {worst.name}. {counts}: {percent(recall.value)} ({interval})."]


class MostConfused(NamedTuple):
    """The two classes with most test errors between them."""

    class_a: str
    class_b: str
    errors: int
    images: int  # of either class


def most_confused(run: RunData, method: str) -> MostConfused | None:
    """Find the two classes with most errors between them; of equal ones, those where it is the larger part."""
    matrix = matrix_of(run.predictions[method])
    errors, strength = np.triu(matrix + matrix.T, 1), mutual(matrix)
    if not errors.any():
        return None
    pairs = [(int(i), int(j)) for i, j in np.argwhere(errors == errors.max())]
    i, j = max(pairs, key=lambda ij: float(strength[ij]))
    images = int(matrix[i].sum() + matrix[j].sum())
    return MostConfused(run.classes[i], run.classes[j], int(errors[i, j]), images)


def _most_confused(run: RunData, method: str) -> list[str]:
    found = most_confused(run, method)
    if found is None:
        return []
    wrong = (
        f"{found.errors:,} of their {counted(found.images, 'test image')} classified as the other of the two"
    )
    return [f"Most confused pair: {found.class_a} and {found.class_b}. {wrong}."]


def _few_images(figures: Sequence[ClassFigures]) -> list[str]:
    told = []
    if few := [f"{one.name} ({one.images})" for one in figures if 0 < one.images < FEW_OF_A_CLASS]:
        told.append(
            f"Fewer than {FEW_OF_A_CLASS} test images, so their figures are uncertain: {listed(few, MOST_LISTED)}."
        )
    if none := absent(figures):
        told.append(none)
    return told


def _calibration(run: RunData, method: str) -> list[str]:
    error = run.metrics.get(method, {}).get("ece")
    predictions = run.predictions[method]
    if error is None or error <= max(CALIBRATION, calibration_by_chance(predictions)):
        return []
    confidence = float(predictions.probabilities.max(axis=1).mean())
    sure = "too sure of itself" if confidence > accuracy(predictions) else "less sure than it could be"
    gap = f"confidence and accuracy differ by {100 * error:.1f} points in the mean (calibration error)"
    return [f"Do not take the probabilities literally: the model is {sure}; {gap}{_remedy(method)}."]


def _remedy(method: str) -> str:
    try:
        has = "temperature" in Recipe.parse(method).predictors
    except ConfigError:
        return ""
    return "" if has else f"; {method}+temperature corrects that"


def _wrong(run: RunData) -> list[str]:
    texts = [finding.text for finding in run.findings or () if finding.severity == "wrong"]
    if not texts:
        return []
    what = counted(len(texts), "problem")
    return [
        f"The check of the data found {what} that would make results wrong: {' '.join(texts[:3])} See Data below."
    ]


def _warnings(run: RunData) -> list[str]:
    texts = [finding.text for finding in run.findings or () if finding.severity == "warning"]
    return [f"The check of the data warns: {text}" for text in texts[:3]]
