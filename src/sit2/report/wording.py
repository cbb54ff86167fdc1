"""The page's sentences: the verdict, how far to trust it, on which classes, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from sit2.data.words import counted, listed
from sit2.evaluation.words import percent, points
from sit2.report.classes import ClassRow
from sit2.report.data import RunData, Test
from sit2.report.pairs import PairRow

FEW = 100  # test images; with fewer, a share of right answers is uncertain by about ten points either way


def headline(test: Test) -> str:
    """Answer "did it help?" in a word or two."""
    return {"better": "Yes, it helped.", "worse": "No, it made things worse."}.get(
        test.verdict, "Not that anyone can tell."
    )


def verdict(run: RunData, test: Test) -> str:
    """Answer "by how much, how sure?" in one sentence without a technical term."""
    after, before = (run.answers[m].correct.mean() for m in (test.method, test.control))
    gap, n = test.gap, counted(test.n, "test image")
    told = f"{test.method} named {percent(after)} of the {n} correctly, {test.control} {percent(before)}"
    low, high = gap.lower, gap.upper
    if test.verdict == "better":
        rest = f"the gain is {points(gap.difference)} images in a hundred, and with other test images it "
        return f"{told}: {rest}would very likely lie between {_range(low, high)}."
    if test.verdict == "worse":
        rest = f"the loss is {points(-gap.difference)} images in a hundred, and with other test images it "
        return f"{told}: {rest}would very likely lie between {_range(-high, -low)}."
    return (
        f"{told}: a difference of {points(gap.difference)} images in a hundred, which chance alone can make; "
        f"with other test images it would very likely lie between {_range(low, high)}."
    )


def _range(low: float, high: float) -> str:
    return f"{points(low)} and {points(high)}"


def on_which_classes(rows: Sequence[ClassRow], control: str, method: str) -> list[str]:
    """Answer "on which classes?": the largest changes, and which of them are more than chance."""
    sentences = []
    for sign, word in ((1, "gained"), (-1, "lost")):
        changed = sorted((r for r in rows if sign * r.net > 0), key=lambda r: (-sign * r.net, r.name))
        if changed:
            named = [f"{r.name} ({r.before.right} → {r.after.right} of {r.images} right)" for r in changed]
            sentences.append(f"Classes that {word} most with {method}: {listed(named)}.")
    if not sentences:
        return [f"No class has more or fewer right answers with {method} than with {control}."]
    certain = [r.name for r in rows if r.p_adjusted < 0.05]
    if certain:
        sentences.append(
            f"Beyond chance, class by class and corrected for {len(rows)} classes: {listed(certain, 8)}."
        )
    else:
        sentences.append(
            "Taken class by class, none of these changes is beyond chance: the numbers are small."
        )
    return sentences


def trust(run: RunData) -> list[str]:
    """Answer "may I trust it?": what the verdict covers, and what it does not."""
    test, sentences = run.test, []
    if test is None:
        return ["Nothing was compared in this run."]
    units = f", from {counted(test.groups, 'group')} that were never torn apart" if test.groups else ""
    leaks = any(finding.kind in ("leak", "group leak") for finding in run.findings or ())
    trained = (
        "some of them, or of their groups, were trained on, so the figures are too good"
        if leaks
        else "no network was trained on them, and no pair was chosen by them"
    )
    sentences.append(f"The figures come from {counted(test.n, 'image')}{units}: {trained}.")
    if test.n < FEW:
        sentences.append(f"That is few: with under {FEW} test images only a large difference can be seen.")
    sentences.append(
        "They hold for one split and one seed: the interval covers chance in the test images, not chance in "
        "training. Another training can differ by several points."
    )
    if test.comparisons > 1:
        sentences.append(
            f"{test.comparisons} methods were compared with {test.control}: the verdicts allow for that."
        )
    sentences += _calibrated(run)
    wrong = [f for f in run.findings or () if f.severity == "wrong"]
    if run.findings is None:
        sentences.append("The images were not checked for copies and leaks in this run.")
    elif wrong:
        sentences.append(
            f"The check found {counted(len(wrong), 'thing')} that would make results wrong: see Data."
        )
    else:
        sentences.append(
            "No image stands in two classes, and none was both trained on and tested (as far as copies are "
            "equal to the byte)."
        )
    return sentences


def _calibrated(run: RunData) -> list[str]:
    errors = {m: run.metrics.get(m, {}).get("ece") for m in (run.control, run.method)}
    told = [f"{m} {100 * e:.1f}" for m, e in errors.items() if e is not None]
    if not told:
        return []
    return [f"The probabilities that they give are off by so many points on average: {', '.join(told)}."]


def what_next(run: RunData, rows: Sequence[PairRow]) -> list[tuple[str, str]]:
    """Answer "what should I do next?": (what, command or "")."""
    data = str(run.info.get("data", "DATA"))
    source = data if "/" in data or "\\" in data else "DATA"
    steps: list[tuple[str, str]] = []
    if any(f.severity == "wrong" for f in run.findings or ()):
        steps.append(("Mend what the check found, and train again.", _command("check", source)))
    elif run.findings is None and run.samples.shape[0]:
        steps.append(("Check the images for copies, leaks and damaged files.", _command("check", source)))
    test = run.test
    if test is not None:
        steps += _after(test, run, source)
    worst = max(rows, key=lambda row: row.after.errors, default=None)
    if worst and worst.after.errors:
        pair, share = worst.pair, worst.after
        what = (
            f"Look at the images of {pair.class_a} and {pair.class_b}: "
            f"{share.errors} of {share.images} are still taken for each other. "
            "Are the labels right, and can a person tell them apart at this size? "
            "More labelled images of these two would help most."
        )
        steps.append((what, ""))
    return steps


def _after(test: Test, run: RunData, source: str) -> list[tuple[str, str]]:
    methods = ",".join(dict.fromkeys([test.control, test.method, "label-smoothing", "mixup"]))
    out, config = f"{run.folder}-compared", str(run.folder / "config.yaml")
    repeat = _command(
        *("compare", source, "-o", out, "--methods", methods, "--splits", "5", "--config", config)
    )
    model = run.folder / "model"
    use = _command("predict", "NEW_IMAGES", "--model", str(model))
    if test.verdict == "better":
        return [
            ("Repeat with more splits, beside its cheap rivals, before relying on the gain.", repeat),
            ("Use the model.", use),
        ]
    other = model / test.control.replace("@", "-at-")
    use = _command("predict", "NEW_IMAGES", "--model", str(other))
    if test.verdict == "worse":
        return [
            (f"Use the model of {test.control}: it is the better one here.", use),
            ("See whether another method helps on these images.", repeat),
        ]
    wide = 100 * (test.gap.upper - test.gap.lower) / 2
    much = f"about {wide:.1f} points" if math.isfinite(wide) else "a few points"
    return [
        (f"{counted(test.n, 'test image')} cannot show less than {much}. Repeat with more splits.", repeat),
        (f"Until then, use {test.control}: it is simpler.", use),
    ]


def _command(*words: str) -> str:
    return shlex.join(["sit2", *words])
