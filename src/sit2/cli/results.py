"""A finished run, its confused pairs and its metrics as tables on a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sit2.cli.progress import Screen
from sit2.config.recipe import Recipe
from sit2.data.words import counted
from sit2.evaluation.class_figures import ClassFigures, weakest
from sit2.evaluation.metrics import Metrics, accuracy_interval
from sit2.evaluation.proportions import few_groups
from sit2.evaluation.selective import SetReport
from sit2.evaluation.subgroups import Subgroup
from sit2.evaluation.threshold import SHARES, Operating
from sit2.evaluation.words import ratio
from sit2.records import ClassPair, Predictions
from sit2.report.data import RunData, load_run
from sit2.report.matrix import FEW_OF_A_CLASS, matrix_of
from sit2.report.outside import outside_sentence
from sit2.report.quality import absent, how_good, kept, measured_by, recalled, unfinished
from sit2.report.wording import comparison_to_make
from sit2.storage.escaping import visible

if TYPE_CHECKING:
    from sit2.experiments.run import Run

_COLUMNS = ("method", "accuracy (95 %)", "macro-F1", "balanced", "AUROC", "log-loss", "ECE", "pairs", "other")
MOST_PAIRS = 10  # that are shown
MOST_COLUMNS = 8  # of a matrix
MOST_CLASSES = 20  # that are shown
WEAKEST = 3  # classes that are shown


def print_run(run: Run, screen: Screen) -> None:
    """Print the confused pairs, the metrics, the verdict, and what was written."""
    data = load_run(run.folder)
    if run.pairs:
        screen.say("")
        if data.info.confusion is not None:
            screen.say(measured_by(data.info.confusion))
        print_pairs(run.pairs, run.classes, screen)
        if not any(pair.chosen for pair in run.pairs) and (names := _need_chosen_pairs(run.predictions)):
            screen.say(f"So {', '.join(names)} trained like plain.")
    metrics = {method: splits["test"] for method, splits in run.metrics.items()}
    print_metrics(run.predictions, metrics, screen, folds=data.folds)
    _print_judgement(data, screen)
    screen.say("")
    screen.paths({"The model": run.folder / "model", "The report, for a browser": run.folder / "report.html"})


def _print_judgement(run: RunData, screen: Screen) -> None:
    """Print how good the main recipe is, what it was compared with, and what to do next."""
    if told := outside_sentence(run):
        screen.say(told)
    for recipe in run.references:
        screen.say(f"{recipe}: what no training at all reaches, for reference.", style="dim")
    print_weakest(run.figures, screen)
    if run.method is not None and run.method in run.sets:
        print_sets(run.sets[run.method], screen)
    for sentence in unfinished(run):
        screen.say("")
        screen.say(sentence, style="yellow")
    if run.method is not None and not run.tests:
        screen.say("")
        screen.say(how_good(run, run.method), style="bold")
    for test in run.tests.values():
        screen.say("")
        screen.say(test.sentence.removesuffix(" " + test.limit), style="bold")
    for limit in dict.fromkeys(test.limit for test in run.tests.values()):
        screen.say(limit)
    if sentence := kept(run):
        screen.say("")
        screen.say(sentence)
    if step := comparison_to_make(run):
        what, command = step
        screen.say("")
        screen.say(what)
        if not screen.quiet:  # never broken, so that it can be copied
            screen.out.print(f"  {visible(command)}", markup=False, soft_wrap=True)


def print_weakest(figures: Sequence[ClassFigures], screen: Screen) -> None:
    """Print the classes that are recognised worst, and those that have no images."""
    worst = [recalled(one) for one in weakest(figures)[:WEAKEST] if one.recall.value < 1]
    if worst:
        screen.say(f"Weakest classes, by recall: {', '.join(worst)}")
    if missing := absent(figures):
        screen.say(missing, style="yellow")


def print_matrix(predictions: Predictions, classes: Sequence[str], screen: Screen) -> None:
    """Print how many images of each class were predicted as each; of many classes, where the errors are."""
    matrix = matrix_of(predictions)
    screen.say("")
    if len(classes) <= MOST_COLUMNS:
        rows = [
            (name, *(str(n) if n else "·" for n in row)) for name, row in zip(classes, matrix, strict=True)
        ]
        screen.table("Images by true class (rows) and predicted class (columns)", ("", *classes), rows)
        return
    wrong = sorted(
        ((int(n), i, j) for (i, j), n in np.ndenumerate(matrix) if n and i != j), key=lambda one: -one[0]
    )
    rows = [(classes[i], classes[j], str(n)) for n, i, j in wrong[:MOST_PAIRS]]
    screen.table("The most frequent errors", ("true class", "predicted class", "images"), rows)


def print_classes(figures: Sequence[ClassFigures], screen: Screen) -> None:
    """Print recall, specificity and AUROC of every class, the weakest first."""
    known = weakest(figures)
    rows = [
        (
            one.name,
            f"{one.images:,}",
            _with_interval(one.recall.value, one.recall.lower, one.recall.upper),
            _with_interval(one.specificity.value, one.specificity.lower, one.specificity.upper),
            "–" if math.isnan(one.auroc) else ratio(one.auroc),
        )
        for one in known[:MOST_CLASSES]
    ]
    screen.say("")
    columns = ("class", "images", "recall (95 %)", "specificity (95 %)", "AUROC")
    screen.table("Class by class, the weakest first, in percent except AUROC", columns, rows)
    if len(known) > MOST_CLASSES:
        screen.say(f"… and {len(known) - MOST_CLASSES} more, which are recognised better")
    if missing := absent(figures):
        screen.say(missing, style="yellow")


def print_sets(report: SetReport, screen: Screen) -> None:
    """Print how often the sets hold the true class, how large they are, and how good the decisions are."""
    screen.say("")
    if report.coverage is not None or report.unlike is not None:
        rows = [
            (
                one.name,
                f"{one.decided.n:,}",
                _with_interval(one.covered.value, one.covered.lower, one.covered.upper),
                "–" if math.isnan(one.size) else f"{one.size:.2f}",
                _with_interval(one.decided.value, one.decided.lower, one.decided.upper),
                _with_interval(one.right.value, one.right.lower, one.right.upper),
            )
            for one in report.rows[: 1 + MOST_CLASSES]
        ]
        asked = "" if report.coverage is None else f" for {100 * report.coverage:.4g} %"
        columns = ("images of", "images", "covered", "set size", "decided", "correct of these")
        screen.table(f"Sets of possible classes{asked}, in percent with 95 % intervals", columns, rows)
        screen.say(
            "Covered: the true class is in the set. Decided: one class is named, not “not sure”.", style="dim"
        )
        if report.unlike is not None:
            share = report.unlike
            screen.say(f"Unlike the training images: {share.hits:,} of {share.n:,} images.")
    screen.say(
        f"Area under the risk–coverage curve: {100 * report.area:.2f} % (the mean error when only the most "
        "confident images are classified; the lower, the better confidence tells errors).",
        style="dim",
    )


def print_subgroups(by: str, found: Sequence[Subgroup], screen: Screen) -> None:
    """Print the accuracy and the balanced accuracy of the images that have each value of a column."""
    rows = [
        (
            one.value,
            f"{one.images:,}",
            _with_interval(one.accuracy.value, one.accuracy.lower, one.accuracy.upper),
            _with_interval(*one.balanced_accuracy),
            str(one.classes),
        )
        for one in found
    ]
    screen.say("")
    columns = (by, "images", "accuracy (95 %)", "balanced (95 %)", "classes")
    screen.table(f"By {by}, in percent", columns, rows)
    screen.say("Balanced: the mean over the classes that have images here.", style="dim")


def print_operating(found: Operating, screen: Screen) -> None:
    """Print what a threshold does to the images it was chosen on, and to those it is tested on."""
    rows = []
    for title, one in (("validation", found.validation), ("test", found.test)):
        shares = [getattr(one, name) for name in SHARES]
        told = [_with_interval(s.value, s.lower, s.upper) + (f" of {s.n:,}" if s.n else "") for s in shares]
        rows.append((title, *told))
    asked = f"{100 * found.asked:g} %"
    screen.say("")
    screen.table(
        f"{found.positive} from a probability of {found.threshold:.4g} on, in percent (95 %)",
        ("images", "sensitivity", "specificity", "PPV", "NPV"),
        rows,
    )
    screen.say(
        f"The threshold was chosen on the run's validation images, for a sensitivity of at least {asked} there. "
        f"PPV, NPV: how many of those called {found.positive}, or not, are; they hold for images with as many "
        f"of {found.positive} as these.",
        style="dim",
    )
    if found.validation.sensitivity.n < FEW_OF_A_CLASS:
        few = counted(found.validation.sensitivity.n, "validation image")
        screen.say(f"It rests on {few} of {found.positive} only, so it is uncertain.", style="yellow")


def _with_interval(value: float, low: float, high: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def _need_chosen_pairs(recipes: Iterable[str]) -> list[str]:
    """Return those of some recipes that train on chosen pairs of classes, or on as many random ones."""
    known = [Recipe.parse(text) for text in recipes]
    return [str(recipe) for recipe in known if recipe.trains_with_pairs and recipe.needs_confusion]


def print_metrics(
    predictions: Mapping[str, Predictions], metrics: Mapping[str, Metrics], screen: Screen, *, folds: int = 0
) -> None:
    """Print one row of metrics for each method; fractions in percent. ``folds``: of cross-validation."""
    rows = []
    for method, values in metrics.items():
        low, high = accuracy_interval(predictions[method])
        rows.append(
            (
                method,
                f"{percentage(values['accuracy'])} ({100 * low:.1f}–{100 * high:.1f})",
                percentage(values["macro_f1"]),
                percentage(values["balanced_accuracy"]),
                "–" if (auroc := values["auroc"]) is None else ratio(auroc),
                number(values["log_loss"]),
                percentage(values["ece"]),
                percentage(values["pair_error"]),
                percentage(values["other_error"]),
            )
        )
    count = len(next(iter(predictions.values())).ids)
    screen.say("")
    title = f"Test on {count:,} images"
    if folds:
        title = f"Left-out figures by {folds}-fold cross-validation over {count:,} images"
    screen.table(f"{title}, in percent except AUROC and log-loss", _COLUMNS, rows)
    if few := few_groups(next(iter(predictions.values())).groups):
        screen.say(few)
    screen.say(
        "ECE: calibration error. Pairs, other: errors inside and outside the chosen pairs.", style="dim"
    )


def print_pairs(pairs: Sequence[ClassPair], classes: Sequence[str], screen: Screen) -> None:
    """Print the chosen pairs, or why there is none."""
    chosen = [pair for pair in pairs if pair.chosen]
    possible = len(classes) * (len(classes) - 1) // 2
    if not chosen:
        screen.say(
            f"No pair of classes is confused enough (of {possible}): there is nothing to make not-sure "
            "images from."
        )
        return
    title, every = f"Confused pairs: {len(chosen)} of {possible} chosen", sum(pair.score for pair in pairs)
    if every > 0:  # a table of somebody's own need not say how much the pairs are confused
        title += f", with {sum(pair.score for pair in chosen) / every:.0%} of all confusion"
    rows = [
        (
            f"{pair.class_a} – {pair.class_b}",
            _measured("{:.3f}", pair.score),
            _measured("{:.3f} to {:.3f}", pair.lower, pair.upper),
            _measured("{:.1f} of {}", pair.confused, pair.samples),
        )
        for pair in chosen[:MOST_PAIRS]
    ]
    screen.table(title, ("pair", "score", "95 % interval", "images confused"), rows)
    if len(chosen) > MOST_PAIRS:
        screen.say(f"… and {len(chosen) - MOST_PAIRS} more in confusion/pairs.csv")


def _measured(words: str, *values: float) -> str:
    return "–" if any(math.isnan(value) for value in values) else words.format(*values)


def percentage(value: float | None) -> str:
    """Return a fraction in [0, 1] in percent, with one decimal; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """Return a number with three decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}"
