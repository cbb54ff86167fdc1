"""Predictions -> numbers. N samples, K classes.

Only the calibration error imports torch, when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from sit2.errors import DataError
from sit2.evaluation.class_figures import macro_ranking
from sit2.evaluation.proportions import share_interval
from sit2.records import ClassPair, FloatArray, IntArray, Predictions
from sit2.storage.reading import read_object, reading

Metrics = dict[str, float | None]  # by name; None: not measured
MEASURED = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss", "ece", "pair_error", "other_error")
RANKED = ("auroc", "average_precision")  # which files of earlier versions do not have
METRICS = (*MEASURED, *RANKED)


def compute_metrics(predictions: Predictions, pairs: Sequence[ClassPair]) -> Metrics:
    """Return every metric of :data:`METRICS`, each in [0, 1] but log_loss in [0, 36.05].

    accuracy: share of samples whose most probable class is the label.
    macro_f1, balanced_accuracy: mean F1 and mean recall over the classes that have samples; a class without
        samples is unmeasured and left out, never counted as 0.
    log_loss: mean of :func:`sample_losses`.
    ece: see :func:`calibration_error`.
    pair_error: share of all samples whose label and prediction are the two classes of a chosen pair; None
        where no pair is chosen.
    other_error: share of all other errors; accuracy + pair_error + other_error = 1.
    auroc, average_precision: each class against the rest, the mean over the classes that have samples; None
        where all samples are of one class.

    Raises:
        DataError: no predictions, or images without a known label.
    """
    from sklearn.metrics import f1_score, recall_score

    check_labelled(predictions)
    labels, predicted = predictions.labels, predictions.predicted
    present = np.unique(labels)
    pair_errors = _pair_errors(predictions, pairs)
    errors = int((~predictions.correct).sum())
    n = len(labels)
    auroc, average_precision = macro_ranking(predictions)
    return {
        "accuracy": (n - errors) / n,
        "macro_f1": float(f1_score(labels, predicted, labels=present, average="macro")),
        "balanced_accuracy": float(recall_score(labels, predicted, labels=present, average="macro")),
        "log_loss": float(sample_losses(predictions).mean()),
        "ece": calibration_error(predictions),
        "pair_error": None if pair_errors is None else pair_errors / n,
        "other_error": (errors - (pair_errors or 0)) / n,
        "auroc": auroc,
        "average_precision": average_precision,
    }


def read_metrics(path: Path) -> dict[str, dict[str, Metrics]]:
    """Read a metrics.json: recipe → split → metric → value; nothing where there is no such file.

    Raises:
        RunFolderError: when it is damaged.
    """
    content = read_object(path)
    with reading(path):
        return {
            recipe: {split: _checked(values) for split, values in splits.items()}
            for recipe, splits in (content or {}).items()
        }


def _checked(values: Mapping[str, float | None]) -> Metrics:
    known = {name: values[name] for name in MEASURED} | {name: values.get(name) for name in RANKED}
    return {name: None if value is None else float(value) for name, value in known.items()}


def sample_losses(predictions: Predictions) -> FloatArray:
    """(N,) float64 in [0, 36.05]: -ln p(label), with p cut at 2.2e-16 as scikit-learn's ``log_loss`` cuts it.

    scikit-learn itself warns of every row that is off 1 by 1.5e-8, as float32 softmax and CSV files are.
    """
    return log_losses(predictions.probabilities, predictions.labels)


def log_losses(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    """(N,) float64 in [0, 36.05]: -ln p(label), of (N, K) probabilities and (N,) labels; cut as above."""
    chance = probabilities[np.arange(len(labels)), labels]
    losses: FloatArray = -np.log(np.clip(chance, np.finfo(np.float64).eps, 1.0))
    return losses


def calibration_error(predictions: Predictions, bins: int = 15) -> float:
    """Return the expected calibration error, in [0, 1]: how far confidence is from accuracy.

    The mean over samples of |accuracy - mean confidence| in bins of equal width (Guo et al. 2017,
    arXiv:1706.04599, eq. 3).
    """
    import torch
    from torchmetrics.functional.classification import multiclass_calibration_error

    # torchmetrics, in float32, gives a 1 a bin of its own and takes a number above 1 for a logit.
    below_one = np.clip(predictions.probabilities, 0.0, 1 - 2.0**-24).astype(np.float32)
    error = multiclass_calibration_error(
        torch.tensor(below_one), torch.tensor(predictions.labels), below_one.shape[1], n_bins=bins, norm="l1"
    )
    return float(error)


def calibration_by_chance(predictions: Predictions, bins: int = 15, draws: int = 200) -> float:
    """Return the calibration error that true probabilities reach on so few images, or exceed, once in twenty times.

    A smaller error is no evidence of anything: consistency resampling (Bröcker & Smith 2007, Weather and
    Forecasting 22), with draws that are always the same.
    """
    confidence = np.clip(predictions.probabilities.max(axis=1), 0.0, 1.0)
    place = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    random, errors = np.random.default_rng(0), np.empty(draws)
    for draw in range(draws):
        gaps = (random.random(len(confidence)) < confidence) - confidence
        errors[draw] = np.abs(np.bincount(place, gaps, bins)).sum() / len(confidence)
    return float(np.quantile(errors, 0.95))


def accuracy_interval(predictions: Predictions) -> tuple[float, float]:
    """Return the 95 % Wilson interval of the accuracy: chance in which images the test set holds.

    Where the images have groups, see :func:`~sit2.evaluation.proportions.share_interval`.

    Raises:
        DataError: no predictions, or images without a known label.
    """
    check_labelled(predictions)
    return share_interval(predictions.correct, predictions.groups)


def check_labelled(predictions: Predictions) -> None:
    """Raise :class:`DataError` where there is nothing to evaluate, or no truth to evaluate it by."""
    if not len(predictions.ids):
        raise DataError("there are no predictions to evaluate\nexpected at least one labelled image")
    if predictions.labels.min() < 0:
        first = predictions.ids[int(np.argmax(predictions.labels < 0))]
        raise DataError(f"the image {first} has no label\nevaluate labelled images only")


def _pair_errors(predictions: Predictions, pairs: Sequence[ClassPair]) -> int | None:
    """Count the samples of one class of a chosen pair that were taken for the other."""
    chosen = [pair for pair in pairs if pair.chosen]
    if not chosen:
        return None
    num_classes = predictions.probabilities.shape[1]
    in_pair = np.zeros((num_classes, num_classes), dtype=np.bool_)
    for pair in chosen:
        in_pair[pair.a, pair.b] = in_pair[pair.b, pair.a] = True
    return int(in_pair[predictions.labels, predictions.predicted].sum())
