"""The sentences of a run's page: the verdict, how far to trust it, on which classes, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import replace

from sit2.config.recipe import Recipe, model_folder
from sit2.data.words import counted, listed
from sit2.errors import ConfigError
from sit2.evaluation.bootstrap import Difference
from sit2.evaluation.proportions import few_groups
from sit2.evaluation.statistics import NOT_JUDGED, TestResult
from sit2.evaluation.words import percent, points
from sit2.report.about import can_be_repeated, train_command
from sit2.report.classes import ClassRow
from sit2.report.data import RunData
from sit2.report.quality import accuracy, how_good, measured_by, most_confused

FEW = 100  # test images; with fewer, an accuracy is uncertain by about ten points either way
STRATEGIES = ("not-sure", "sure-or-not", "multi-label")  # of SIT²
TRY_STRATEGIES = (
    "Find out whether training on the confused pairs helps: compare SIT²'s strategies with plain training."
)
RIVALS = ("label-smoothing", "mixup")  # cheap ones


def status(run: RunData) -> str:
    """Say how far an unfinished run is; "" for a finished one."""
    if run.complete:
        return ""
    if run.info.status == "failed":
        reason = run.info.error.partition("\n")[0]
        return f"This run failed: {reason}" if reason else "This run failed."
    return "This run is not finished. The page shows what is there so far."


def question(run: RunData) -> str:
    """Return the heading of the page: how good the main recipe is, in a few words."""
    if run.method is not None:
        correct = percent(accuracy(run.predictions[run.method])).replace(" %", "\u00a0%")
        return f"How good is it? {correct} correct"
    if (by := run.info.confusion) is not None and by.images:
        correct = percent(by.correct / by.images).replace(" %", "\u00a0%")
        return f"How good is what measured the confusion? {correct} correct"
    if run.pairs:
        possible = len(run.classes) * (len(run.classes) - 1) // 2
        return f"{len(run.chosen)} of {counted(possible, 'pair')} of classes chosen as confused"
    return "Nothing has been measured yet"


def answer(run: RunData) -> str:
    """Say in a sentence or two what the heading says in a few words."""
    if run.method is not None:
        return how_good(run, run.method)
    if run.pairs:
        most = max(run.pairs, key=lambda pair: pair.score)
        told = "" if run.info.confusion is None else measured_by(run.info.confusion) + " "
        possible = len(run.classes) * (len(run.classes) - 1) // 2
        return (
            f"{told}{most.class_a} and {most.class_b} are confused most; {len(run.chosen)} of "
            f"{counted(possible, 'pair')} of classes are chosen as confused."
        )
    return "The page will say more when the run has gone further."


def headline(test: TestResult) -> str:
    """Answer "did it help?" in a few words."""
    return {
        "better": "Yes.",
        "worse": "No, it made things worse.",
        "not judged": NOT_JUDGED[0].upper() + NOT_JUDGED[1:] + ".",
    }.get(test.told, "There is no evidence that it did.")


def verdict(test: TestResult) -> str:
    """Say by how much a method is better than its control, and how certain that is."""
    opening = (
        f"{test.method} classified {percent(test.accuracy)} of the {counted(test.n, 'test image')} correctly, "
        f"{test.control} {percent(test.control_accuracy)}."
    )
    gap = test.differences["accuracy"]
    interval = _interval(gap)
    if test.told == "not judged":
        gain = f"The gain of {points(gap.difference)} percentage points{interval} is {NOT_JUDGED}"
        return f"{opening} {gain} ({' and '.join(test.unfinished)})."
    if test.verdict == "better":
        return f"{opening} The gain is {points(gap.difference)} percentage points{interval}."
    if test.verdict == "worse":
        loss = Difference(-gap.difference, -gap.upper, -gap.lower)
        return f"{opening} The loss is {points(loss.difference)} percentage points{_interval(loss)}."
    if abs(gap.difference) < 1e-9:
        return f"{opening} There is no difference{interval}."
    return f"{opening} The difference of {points(gap.difference)} percentage points{interval} may be due to chance."


def _interval(gap: Difference) -> str:
    if not (math.isfinite(gap.lower) and math.isfinite(gap.upper)):
        return ""
    return f" (95 % interval: {points(gap.lower)} to {points(gap.upper)})"


def on_which_classes(run: RunData, rows: Sequence[ClassRow]) -> list[str]:
    """Answer "on which classes did it help?"; nothing without a control."""
    if len(run.shown) < 2:
        return []
    control, method = run.shown
    return _changes(rows, control, method)


def _changes(rows: Sequence[ClassRow], control: str, method: str) -> list[str]:
    """Name the largest changes, and which of them are more than chance."""
    sentences = []
    changes = [(row, row.change) for row in rows if row.change is not None]
    for sign, word in ((1, "better"), (-1, "worse")):
        changed = sorted(
            ((row, change) for row, change in changes if sign * change.net > 0),
            key=lambda item: (-sign * item[1].net, item[0].name),
        )
        if changed:
            shown = [
                f"{row.name} ({row.scores[0].correct} → {row.scores[1].correct} of {row.images} correct)"
                for row, _ in changed
            ]
            sentences.append(f"Classes that {method} classifies {word} than {control}: {listed(shown)}.")
    if not sentences:
        return [f"On every class, {method} classifies as many images correctly as {control}."]
    certain = [row.name for row in rows if row.p_adjusted is not None and row.p_adjusted < 0.05]
    if certain:
        sentences.append(
            f"Statistically significant class by class, corrected for {len(rows)} classes: {listed(certain, 8)}."
        )
    else:
        sentences.append(
            "Class by class, none of these changes is statistically significant: the numbers are small."
        )
    return sentences


def trust(run: RunData) -> list[str]:
    """Answer "can I trust it?": what the figures cover, and what they do not."""
    if run.method is None:
        return []
    predictions, test = run.predictions[run.method], run.test
    n, groups = len(predictions.ids), len(set(predictions.groups))
    kept = f" from {counted(groups, 'group')} that were never split up" if groups else ""
    leaks = any(finding.kind in ("leak", "group leak") for finding in run.findings or ())
    apart = (
        "Some of them, or images of the same groups, were also used for training, so the figures are too good."
        if leaks
        else "No network was trained on them"
        + (", and no pair of classes was chosen with their help." if run.pairs else ".")
    )
    if run.folds and not leaks:
        apart = "Each was classified by a network that was not trained on it" + (
            ". The pairs of classes that are shown were chosen on all images; no fold used pairs that the images "
            "it left out helped to choose."
            if run.pairs
            else "."
        )
    sentences = [f"The figures come from {counted(n, 'test image')}{kept}. {apart}"]
    if few := few_groups(predictions.groups):
        sentences.append(few)
    if n < FEW:
        small = "differences can be detected" if test else "changes of the accuracy would be noticed"
        sentences.append(f"That is few: with fewer than {FEW} test images only large {small}.")
    sentences.append(_limit(run.folds))
    if test is not None and test.comparisons > 1:
        sentences.append(
            f"{test.comparisons} methods were compared: the intervals and p are corrected for that."
        )
    if run.findings is None:
        sentences.append("The images were not checked for duplicates and leaks in this run.")
    elif not any(f.severity == "wrong" for f in run.findings):
        sentences.append(
            "No image has an exact duplicate in another class, and no training image has one in the test."
        )
    return sentences


def _limit(folds: int) -> str:
    """Say what the intervals do not cover."""
    if folds:
        return (
            f"They hold for one seed. The {folds} folds share most of their training images, and the interval "
            "takes all images for independent, so it is somewhat too narrow. It does not cover chance in training: "
            "another training run can differ by several points."
        )
    return (
        "They hold for one split and one seed. The interval covers chance in the choice of the test images, not "
        "chance in training: another training run can differ by several points."
    )


def what_next(run: RunData) -> list[tuple[str, str]]:
    """Answer "what should I do next?": (what, command or "")."""
    steps: list[tuple[str, str]] = []
    source = _source(run)
    if not run.complete and can_be_repeated(run.info):
        steps.append(("Finish the run.", train_command(run.info, run.folder, str(run.folder), "--resume")))
    if any(f.severity == "wrong" for f in run.findings or ()):
        steps.append(("Fix the problems that the check found, and train again.", _command("check", source)))
    elif run.findings is None and len(run.samples):
        steps.append(("Check the images for duplicates, leaks and damaged files.", _command("check", source)))
    if run.complete and any(recipe in run.unfinished for recipe in run.shown):
        steps.append(("Training looks unfinished: train longer before you conclude anything.", _longer(run)))
    if run.complete and run.test is not None:
        steps += _after_a_test(run, run.test, source)
    elif run.complete and run.method is not None:
        steps += _after_a_training(run, run.method, source)
    elif run.complete and run.chosen:
        setting = str(run.settings.get("method", "plain"))
        steps.append((TRY_STRATEGIES, _compare(run, source, _alike(setting, ("plain", *STRATEGIES)))))
    worst = None if run.method is None else most_confused(run, run.method)
    if worst is not None:
        what = (
            f"Look at the images of {worst.class_a} and {worst.class_b}: {worst.errors} of {worst.images} are "
            "still confused. Are the labels correct? Can a person tell the classes apart at this image size? "
            "More labelled images of these two would help most."
        )
        steps.append((what, ""))
    return steps


def _after_a_test(run: RunData, test: TestResult, source: str) -> list[tuple[str, str]]:
    again = _compare(run, source, [test.control, test.method, *_alike(test.method, RIVALS)])
    gap = test.differences["accuracy"]
    if test.told == "not judged":
        return [(f"Until then, use {test.control}: it is simpler.", _predict(run, test.control))]
    if test.verdict == "better":
        return [
            ("Repeat it with more splits and simpler methods before you rely on the gain.", again),
            ("Use the model.", _predict(run, test.method)),
        ]
    if test.verdict == "worse":
        return [
            (f"Use the model of {test.control}: it is the better one here.", _predict(run, test.control)),
            ("Find out whether another method helps on these images.", again),
        ]
    wide = 100 * (gap.upper - gap.lower) / 2
    much = f"about {wide:.1f} points" if math.isfinite(wide) else "a few points"
    smaller = f"{counted(test.n, 'test image')} cannot show differences smaller than {much}."
    return [
        (f"{smaller} Repeat it with more splits.", again),
        (f"Until then, use {test.control}: it is simpler.", _predict(run, test.control)),
    ]


def _after_a_training(run: RunData, method: str, source: str) -> list[tuple[str, str]]:
    steps = [("Use the model.", _predict(run, method))]
    plain, strategies = _alike(method, ("plain",)), _alike(method, STRATEGIES)
    if plain and plain != [method]:
        what = f"Find out whether {method} is better than {plain[0]}: nothing was compared in this run."
        steps.append((what, _compare(run, source, [*plain, method])))
    elif plain and (run.chosen or not run.pairs):
        steps.append((TRY_STRATEGIES, _compare(run, source, [method, *strategies])))
    return steps


def comparison_to_make(run: RunData) -> tuple[str, str] | None:
    """Return (what, command) of the step of :func:`what_next` that compares methods.

    None where there is none; and where the images came from a program, so that no command could find them.
    """
    steps = [step for step in what_next(run) if step[1].startswith("sit2 compare ")]
    return steps[0] if steps and _source(run) != "DATA" else None


def _longer(run: RunData) -> str:
    """Return the command that trains twice as long."""
    if not can_be_repeated(run.info):
        return ""
    out, seen, epochs = f"{run.folder}-longer", run.settings.get("samples_seen"), run.settings.get("epochs")
    if isinstance(seen, int):
        return train_command(run.info, run.folder, out, "--samples-seen", str(2 * seen))
    if not isinstance(epochs, int | float):
        epochs = max((epoch.epoch for epoch in run.history), default=0)
    return train_command(run.info, run.folder, out, "--epochs", f"{2 * epochs:g}") if epochs else ""


def _alike(method: str, others: Sequence[str]) -> list[str]:
    """Return recipes of other methods that have a recipe's members and predictors; none for an unknown one."""
    try:
        recipe = Recipe.parse(method)
    except ConfigError:
        return []
    return [str(replace(recipe, method=other, pairs="chosen")) for other in others]


def _source(run: RunData) -> str:
    data = str(run.info.data or "DATA")
    return data if "/" in data or "\\" in data else "DATA"


def _compare(run: RunData, source: str, recipes: Sequence[str]) -> str:
    methods, config = ",".join(dict.fromkeys(recipes)), str(run.folder / "config.yaml")
    words = ["-o", f"{run.folder}-compared", "--methods", methods, "--splits", "5", "--config", config]
    words += ["--cv", "0"] if run.settings.get("cv") else []  # whose folds a comparison cannot have
    return _command("compare", source, *words)


def _predict(run: RunData, method: str) -> str:
    try:
        main = Recipe.parse(str(run.settings.get("method", "")) or method)
        model = (
            run.folder
            if Recipe.parse(method) == main
            else model_folder(run.folder, Recipe.parse(method), main)
        )
    except ConfigError:
        model = run.folder
    return _command("predict", "NEW_IMAGES", "--model", str(model))


def _command(*words: str) -> str:
    return shlex.join(["sit2", *words])
