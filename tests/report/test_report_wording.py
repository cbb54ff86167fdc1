"""The page's sentences say what the figures say, in words that need no glossary."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_run import change_json, page_text, write_json, write_run

from sit2.config.recipe import Recipe
from sit2.data.quality.findings import Finding, findings_json
from sit2.evaluation.bootstrap import Difference
from sit2.evaluation.metrics import accuracy_interval
from sit2.evaluation.words import percent, points
from sit2.report.classes import class_rows
from sit2.report.data import load_run
from sit2.report.quality import watch_out
from sit2.report.wording import (
    answer,
    comparison_to_make,
    headline,
    on_which_classes,
    question,
    trust,
    verdict,
    what_next,
)


def outcome(folder: Path, wrong_before: int | None, wrong_after: int, n: int = 400, **more):
    """Two classes, of which the first images are wrong."""
    labels = np.arange(n) % 2

    def predicted(wrong):
        return np.where(np.arange(n) < wrong, 1 - labels, labels)

    before = None if wrong_before is None else predicted(wrong_before)
    return load_run(write_run(folder, ("a", "b"), labels, before, predicted(wrong_after), **more))


class TestVerdict:
    def test_a_gain(self, tmp_path):
        run = outcome(tmp_path, 120, 40)
        assert headline(run.test) == "Yes."
        gap = run.test.differences["accuracy"]
        assert verdict(run.test) == (
            "multi-label classified 90.0 % of the 400 test images correctly, plain 70.0 %. The gain is 20.0 "
            f"percentage points (95 % interval: {points(gap.lower)} to {points(gap.upper)})."
        )

    def test_a_loss_is_told_as_plainly(self, tmp_path):
        run = outcome(tmp_path, 40, 120)
        assert headline(run.test) == "No, it made things worse."
        gap = run.test.differences["accuracy"]
        interval = f"(95 % interval: {points(-gap.upper)} to {points(-gap.lower)})."
        assert verdict(run.test).endswith(f"The loss is 20.0 percentage points {interval}")
        assert "model/plain" in what_next(run)[1][1]
        assert "Statistically significant" in on_which_classes(run, class_rows(run))[-1]

    def test_no_evidence(self, tmp_path):
        run = outcome(tmp_path, 40, 39)
        assert headline(run.test) == "There is no evidence that it did."
        assert verdict(run.test).endswith("may be due to chance.")
        assert (
            "none of these changes is statistically significant" in on_which_classes(run, class_rows(run))[-1]
        )

    def test_no_difference_at_all(self, tmp_path):
        test = outcome(tmp_path, 40, 40).test
        assert "There is no difference (95 % interval: " in verdict(test)

    def test_an_interval_without_ends_is_not_told(self, tmp_path):
        test = outcome(tmp_path, 40, 39).test
        endless = {"accuracy": Difference(0.0025, -np.inf, np.inf)}
        assert "interval" not in verdict(replace(test, differences=endless))

    def test_which_classes_changed(self, tmp_path):
        labels = np.repeat([0, 1, 2], 10)
        before, after = labels.copy(), labels.copy()
        before[:3], after[10:12] = 1, 0
        run = load_run(write_run(tmp_path, ("a", "b", "c"), labels, before, after))
        assert on_which_classes(run, class_rows(run))[:2] == [
            "Classes that multi-label classifies better than plain: a (7 → 10 of 10 correct).",
            "Classes that multi-label classifies worse than plain: b (10 → 8 of 10 correct).",
        ]


class TestWithoutAControl:
    def test_it_is_said_how_good_the_model_is(self, tmp_path):
        run = outcome(tmp_path, None, 40, recipes=("", "plain+tta"))
        assert question(run).split() == ["How", "good", "is", "it?", "90.0", "%", "correct"]
        low, high = (percent(end) for end in accuracy_interval(run.predictions["plain+tta"]))
        assert answer(run) == (
            f"plain+tta classified 90.0 % of the 400 test images correctly (95 % interval: {low} to {high}). "
            "Always predicting the most frequent class would be correct for 50.0 %."
        )
        page = page_text(run.folder)
        for word in ("Did it help", "verdict", "control</", "evidence of", "fixed", "introduced"):
            assert (
                word not in page.partition('id="method"')[0].partition("</style>")[2].partition("<script")[0]
            )

    def test_next_the_strategies_are_tried_with_the_same_predictors(self, tmp_path):
        run = outcome(tmp_path, None, 40, recipes=("", "plain*2+tta+temperature"))
        what, command = what_next(run)[-2]
        assert "compare SIT²'s strategies with plain training" in what
        words = shlex.split(command)
        recipes = words[words.index("--methods") + 1].split(",")
        expected = ("plain", "not-sure", "sure-or-not", "multi-label")
        assert recipes == [f"{method}*2+tta+temperature" for method in expected]
        controls = {Recipe.parse(name).control() for name in recipes[1:]}
        assert controls == {Recipe.parse(recipes[0])}

    def test_where_no_pair_is_confused_the_strategies_are_not_tried(self, tmp_path):
        run = outcome(tmp_path, None, 40, recipes=("", "plain"))
        what, command = comparison_to_make(run)
        assert "--methods plain,not-sure,sure-or-not,multi-label " in command
        assert (what, command) in what_next(run)  # the page says what the screen says
        none = replace(run, pairs=tuple(replace(pair, chosen=False) for pair in run.pairs))
        assert comparison_to_make(none) is None
        assert not any("--methods" in command for _, command in what_next(none))
        # A plain training measures no confusion: nothing is known that speaks against trying.
        assert any("--methods" in command for _, command in what_next(replace(run, pairs=())))

    def test_after_confusion_alone_the_strategies_are_tried_too(self, tmp_path):
        run = outcome(tmp_path, None, 40, recipes=("", "plain+tta"))
        (tmp_path / "predictions" / "plain+tta.csv").unlink()
        _, command = what_next(load_run(run.folder))[-1]
        assert "--methods plain+tta,not-sure+tta,sure-or-not+tta,multi-label+tta " in command

    def test_next_a_method_without_a_control_is_compared(self, tmp_path):
        run = outcome(tmp_path, None, 40, recipes=("", "mixup+tta"), settings={"control": "none"})
        what, command = what_next(run)[-2]
        assert "whether mixup+tta is better than plain+tta" in what
        assert "--methods plain+tta,mixup+tta " in command


class TestTrust:
    def test_few_test_images(self, tmp_path):
        assert any("That is few" in sentence for sentence in trust(outcome(tmp_path, 4, 3, n=10)))

    def test_a_leak_comes_first(self, tmp_path):
        run = outcome(tmp_path, 40, 39)
        write_json(run.folder / "check.json", findings_json([Finding("leak", "wrong", "A leak.", "Fix.")]))
        again = load_run(run.folder)
        assert what_next(again)[0][1] == "sit2 check /data/set"
        assert "would make results wrong: A leak." in watch_out(again)[0]
        assert "were also used for training" in trust(again)[0]

    def test_several_comparisons_are_said(self, tmp_path):
        run = outcome(tmp_path, 40, 39)
        entry = json.loads((run.folder / "comparison.json").read_text())["multi-label"]
        change_json(run.folder / "comparison.json", **{"multi-label": entry | {"comparisons": 3}})
        assert any("3 methods were compared" in sentence for sentence in trust(load_run(run.folder)))


# Words that this project had for things that have a name in the field, or that a reader would stumble over.
ODD = (
    "mended", "probe", "look again", "looked", "second look", "sureness", "surest", "share of", "named", "asked",
    "answered", "torn", "cure", "passes", "copies", "taken for", "eye",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["two", "one"])
def test_the_page_has_no_words_of_its_own(tmp_path, kind):
    run = outcome(tmp_path, 40 if kind == "two" else None, 120, recipes=("plain", "multi-label"))
    write_json(run.folder / "check.json", {"findings": []})
    text = re.sub(
        r"<style>.*?</style>|<script[^>]*>.*?</script>|<[^>]+>", " ", page_text(run.folder), flags=re.S
    )
    script = (Path(load_run.__code__.co_filename).parent / "templates" / "page.js").read_text()
    texts = " ".join(re.findall(r'"[^"]*"|`[^`]*`', script))
    for word in ODD:
        assert not re.search(rf"\b{word}\b", f"{text} {texts}", re.IGNORECASE), word
