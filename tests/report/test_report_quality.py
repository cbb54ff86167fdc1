"""How good the model is, what to watch out for, and what is no control."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_run import change_json, epochs, page_text, write_json, write_run
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from synthetic import finished

from sit2.cli.progress import Screen
from sit2.cli.results import print_run
from sit2.data.quality.findings import Finding, findings_json
from sit2.evaluation.metrics import calibration_by_chance
from sit2.evaluation.words import percent
from sit2.experiments.run import Run
from sit2.report.data import load_run
from sit2.report.quality import facts, unfinished, watch_out, weakest_first
from sit2.report.run_page import metric_rows
from sit2.report.wording import headline, verdict, what_next
from sit2.storage.run_folder import RunFolder
from sit2.training.history import history_table

CLASSES = ("a", "b", "c")
LABELS = np.repeat([0, 1, 2], [40, 30, 10])


def predicted(*wrong: tuple[int, int, int]) -> np.ndarray:
    """Return LABELS where of each class so many of the first images are predicted as another."""
    answers = LABELS.copy()
    for of, number, other in wrong:
        answers[np.flatnonzero(of == LABELS)[:number]] = other
    return answers


def alone(folder: Path, answers: np.ndarray, recipe: str = "plain+tta", **more):
    return load_run(write_run(folder, CLASSES, LABELS, None, answers, recipes=("", recipe), **more))


def rows_of(page: str, label: str) -> list[list[str]]:
    """Return the cells of a page's table."""

    class Table(HTMLParser):
        inside, cell, rows = False, False, []

        def handle_starttag(self, tag, attrs):
            self.inside = self.inside or dict(attrs).get("aria-label") == label
            if self.inside and tag == "tr":
                self.rows.append([])
            if self.inside and tag in ("th", "td"):
                self.rows[-1].append("")
                self.cell = True

        def handle_endtag(self, tag):
            self.cell = self.cell and tag not in ("th", "td")
            self.inside = self.inside and tag != "table"

        def handle_data(self, data):
            if self.inside and self.cell:
                self.rows[-1][-1] += data

    table = Table()
    table.rows = []
    table.feed(page)
    return table.rows[1:]


class TestHowGood:
    def test_balanced_accuracy_and_auroc_are_scikit_learns(self, tmp_path):
        run = alone(tmp_path, predicted((0, 5, 1), (2, 4, 0)))
        own = run.predictions["plain+tta"]
        balanced, auroc = facts(run)
        assert percent(balanced_accuracy_score(own.labels, own.predicted)) in balanced
        each = roc_auc_score(own.labels, own.probabilities, multi_class="ovr", average="macro")
        assert f"AUROC, mean over the classes: {each:.3f}." in auroc

    def test_the_page_has_every_class_the_weakest_first_and_marks_those_with_few_images(self, tmp_path):
        run = alone(tmp_path, predicted((0, 5, 1), (2, 4, 0)))
        rows = rows_of(page_text(run.folder), "Class by class")
        assert [row[:2] for row in rows] == [["c", "10 (few)"], ["a", "40"], ["b", "30"]]
        for (_, _, recall, specificity, *_), k in zip(rows, (2, 0, 1), strict=True):
            own = run.predictions["plain+tta"].predicted
            for text, hits, n in (
                (recall, ((own == k) & (k == LABELS)).sum(), (k == LABELS).sum()),
                (specificity, ((own != k) & (k != LABELS)).sum(), (k != LABELS).sum()),
            ):
                interval = binomtest(int(hits), int(n)).proportion_ci(method="wilson")
                low, high = (percent(end) for end in interval)
                assert text == f"{percent(hits / n)} ({low} to {high})"

    def test_a_class_without_test_images_stands_last_without_figures(self, tmp_path):
        labels = np.repeat([0, 2], 20)
        run = load_run(write_run(tmp_path, CLASSES, labels, None, labels, recipes=("", "plain")))
        assert [one.name for one in weakest_first(run.figures)] == ["a", "c", "b"]
        assert rows_of(page_text(run.folder), "Class by class")[-1][:3] == ["b", "0 (few)", "–"]
        assert any(
            told.startswith(
                "No test images of b: nothing is known of it. Macro-F1, balanced accuracy and AUROC"
            )
            for told in watch_out(run)
        )


class TestWatchOut:
    def test_the_weakest_class_the_most_confused_pair_and_few_images(self, tmp_path):
        told = watch_out(alone(tmp_path, predicted((0, 5, 1), (2, 4, 0))))
        low, high = (percent(end) for end in binomtest(6, 10).proportion_ci(method="wilson"))
        assert told[:3] == [
            f"Weakest class: c. 6 of its 10 test images recognised: 60.0 % (95 % interval: {low} to {high}).",
            "Most confused pair: a and b. 5 of their 70 test images classified as the other of the two.",
            "Fewer than 20 test images, so their figures are uncertain: c (10).",
        ]

    def test_nothing_is_weak_where_everything_is_right(self, tmp_path):
        labels = np.repeat([0, 1, 2], 30)
        run = load_run(write_run(tmp_path, CLASSES, labels, None, labels, recipes=("", "plain")))
        told = watch_out(replace(run, metrics={"plain": {**run.metrics["plain"], "ece": 0.05}}))
        assert told == []

    def test_a_calibration_error_above_five_points(self, tmp_path):
        # Every confidence is 0.8; 71 of 80 are right.
        run = alone(tmp_path, predicted((0, 5, 1), (2, 4, 0)))
        (told,) = [sentence for sentence in watch_out(run) if "calibration" in sentence]
        assert "less sure than it could be" in told
        assert "differ by 8.8 points" in told
        assert told.endswith("plain+tta+temperature corrects that.")
        chance = calibration_by_chance(run.predictions["plain+tta"])
        assert chance > 0.05  # 80 images are few
        for error, known in ((chance * 1.001, True), (chance, False), (0.0501, False), (None, False)):
            metrics = {"plain+tta": {**run.metrics["plain+tta"], "ece": error}}
            assert any("calibration" in s for s in watch_out(replace(run, metrics=metrics))) == known

    def test_findings_come_first_where_they_make_results_wrong(self, tmp_path):
        run = alone(tmp_path, predicted((0, 5, 1)))
        findings = [Finding("leak", "wrong", "A leak.", ""), Finding("blur", "warning", "Blurred.", "")]
        write_json(run.folder / "check.json", findings_json(findings))
        told = watch_out(load_run(run.folder))
        assert told[0].startswith(
            "The check of the data found 1 problem that would make results wrong: A leak."
        )
        assert told[-1] == "The check of the data warns: Blurred."


class TestReference:
    """A linear classifier beside the method is no control."""

    @pytest.fixture(name="run")
    def _run(self, tmp_path):
        folder = write_run(
            tmp_path, CLASSES, LABELS, predicted((0, 30, 1)), predicted((0, 2, 1)),
            recipes=("linear+tta", "plain+tta"), settings={"method": "plain+tta"},
        )  # fmt: skip
        write_json(folder / "comparison.json", {})
        return load_run(folder)

    def test_it_is_a_row_and_a_sentence_and_has_no_verdict(self, run):
        assert (run.method, run.references, run.shown) == ("plain+tta", ("linear+tta",), ("plain+tta",))
        rows = [(recipe, role) for recipe, role, _ in metric_rows(run)]
        assert rows == [("plain+tta", ""), ("linear+tta", "reference, without training")]
        assert "linear+tta classified 62.5 % correctly" in facts(run)[-1]
        page = page_text(run.folder)
        assert "Did it help" not in page
        assert "How good is it? 97.5\u00a0% correct" in page

    def test_the_main_recipe_is_never_one(self, run):
        text = (run.folder / "config.yaml").read_text().replace("plain+tta", "linear+tta")
        (run.folder / "config.yaml").write_text(text)
        assert load_run(run.folder).method == "linear+tta"
        assert load_run(run.folder).references == ()

    def test_where_it_was_chosen_as_the_control_it_is_one(self, tmp_path):
        folder = write_run(
            tmp_path, CLASSES, LABELS, predicted((0, 30, 1)), predicted((0, 2, 1)),
            recipes=("linear", "plain"), settings={"method": "plain", "control": "linear"},
        )  # fmt: skip
        assert load_run(folder).references == ()
        assert "Did it help? Yes." in page_text(folder)


def with_losses(folder: Path, losses: list[float], recipe: str, phases: int = 1) -> None:
    """Give a recipe a history of these losses, after phases with others."""
    rows = [("before", 10, 5.0, None, None)] * (phases - 1)
    rows += [("train", 10 * n, loss, None, None) for n, loss in enumerate(losses, 1)]
    RunFolder(folder).write_table("history.csv", history_table([(recipe, [epochs(recipe, *rows)])]))


class TestUnfinished:
    @pytest.mark.parametrize(
        ("losses", "falling"),
        [
            ([2.0, 1.8, 1.6, 1.4, 1.0], True),
            ([2.0, 1.5, 1.1, 0.9, 0.8], False),  # by 11 %
            ([2.0, 1.0, 0.6, 0.4, 0.28], False),  # low enough
            ([2.0, 1.0, 0.5], False),  # three epochs have no last fifth
            ([*np.linspace(2, 1.5, 8), 1.25, 1.1], True),  # the last two of ten
            ([*np.linspace(2, 1.5, 9), 1.45], False),
            ([2.0, 1.8, 1.6, 1.4, float("nan")], False),
        ],
    )
    def test_by_the_loss(self, tmp_path, losses, falling):
        run = alone(tmp_path, predicted((0, 2, 1)), "plain+tta")
        for phases in (1, 2):
            with_losses(run.folder, losses, "plain", phases)
            told = unfinished(load_run(run.folder))
            assert bool(told) == falling
            if falling:
                assert told[0].startswith("Training looks unfinished: the training loss was still falling")
                assert told[0].endswith("; try more --epochs.")
                assert told[0] in page_text(run.folder)

    @settings(max_examples=30, deadline=None)
    @given(
        st.lists(st.floats(0.01, 5), min_size=5, max_size=30),
        st.floats(0.01, 1),
    )
    def test_a_lower_end_never_makes_it_look_finished_while_it_stays_high(self, losses, part):
        from sit2.report.unfinished import LOW, _falling
        from sit2.training.history import Epoch

        def signs(values):
            rows = [
                Epoch("plain", 1, "train", n, n, v, 0.1, None, None, 1.0) for n, v in enumerate(values, 1)
            ]
            return _falling("plain", rows)

        lower = [*losses[:-1], losses[-1] * part]
        if signs(losses) and lower[-1] > LOW:
            assert signs(lower)

    @pytest.mark.parametrize(("images", "seen"), [(4, False), (5, True)])
    def test_by_a_class_that_is_never_predicted(self, tmp_path, images, seen):
        labels = np.repeat([0, 1, 2], [30, 30, images])
        answers = np.where(labels == 2, 0, labels)
        run = load_run(write_run(tmp_path, CLASSES, labels, None, answers, recipes=("", "plain")))
        told = unfinished(run)
        assert bool(told) == seen
        if seen:
            why = "c is never predicted, not even for one of its 5 test images"
            assert told == [f"Training looks unfinished: {why}; try more --epochs."]
            assert told[0] in watch_out(run)
            step = next(command for what, command in what_next(run) if "unfinished" in what)
            assert step.endswith("--epochs 6")  # the made history has three

    def test_what_is_not_trained_is_never_unfinished(self, tmp_path):
        answers = np.where(LABELS == 2, 0, LABELS)
        assert unfinished(alone(tmp_path, answers, "linear+tta")) == []

    def test_no_gain_is_made_of_it(self, tmp_path):
        """Neither where the method nor where its control is unfinished."""
        gain = predicted((0, 25, 1)), predicted((0, 2, 1))
        run = load_run(write_run(tmp_path / "done", CLASSES, LABELS, *gain))
        assert (headline(run.test), run.test.told) == ("Yes.", "better")
        for missing in (0, 1):
            answers = list(gain)
            answers[missing] = np.where(answers[missing] == 2, 1, answers[missing])
            folder = write_run(tmp_path / str(missing), CLASSES, LABELS, *answers)
            run = load_run(folder)
            assert run.test.verdict == "better"
            assert run.test.unfinished == (("plain", "multi-label")[missing],)
            assert headline(run.test) == "Not judged: training looks unfinished."
            assert "is not judged: training looks unfinished" in verdict(run.test)
            assert "not judged: training looks unfinished" in run.test.sentence
            kept = json.loads((folder / "comparison.json").read_text())["multi-label"]
            assert kept["sentence"] == run.test.sentence
            page = page_text(folder)
            assert "Did it help? Yes" not in page
            assert 'class="span better"' not in page
            assert "Use the model" not in page

    def test_a_loss_that_falls_counts_for_the_verdict_too(self, tmp_path):
        folder = write_run(tmp_path, CLASSES, LABELS, predicted((0, 25, 1)), predicted((0, 2, 1)))
        with_losses(folder, [2.0, 1.8, 1.6, 1.4, 1.0], "multi-label")
        assert load_run(folder).test.told == "not judged"

    def test_a_loss_of_accuracy_is_told_as_before(self, tmp_path):
        answers = np.where(LABELS == 2, 1, predicted((0, 25, 1)))
        run = load_run(write_run(tmp_path, CLASSES, LABELS, LABELS, answers))
        assert (run.test.unfinished, headline(run.test)) == (("multi-label",), "No, it made things worse.")


class TestScreen:
    def printed(self, folder: Path, capsys) -> str:
        run = load_run(folder)
        metrics = {recipe: {"test": values} for recipe, values in run.metrics.items()}
        done = Run(folder, run.classes, run.pairs, dict(run.predictions), metrics, dict(run.tests))
        print_run(done, Screen())
        return capsys.readouterr().out

    def test_the_weakest_three_and_one_command(self, tmp_path, capsys):
        labels = np.repeat(np.arange(5), 20)
        answers = labels.copy()
        for k in range(4):
            answers[np.flatnonzero(labels == k)[: k + 1]] = k + 1
        run = write_run(tmp_path, "abcde", labels, None, answers, recipes=("", "plain+tta"))
        out = self.printed(run, capsys)
        weakest = "d 80.0 % (16 of 20), c 85.0 % (17 of 20), b 90.0 % (18 of 20)"
        assert f"Weakest classes, by recall: {weakest}\n" in out
        commands = re.findall(r"^  (sit2 .*)$", out, re.M)
        assert len(commands) == 1
        assert commands[0].startswith("sit2 compare /data/set ")
        expected = " --methods plain+tta,not-sure+tta,sure-or-not+tta,multi-label+tta "
        assert expected in commands[0]
        assert "plain+tta classified 90.0 % of the 100 test images correctly" in out
        assert "evidence" not in out
        assert "better" not in out

    def test_with_a_control_the_verdict_stays(self, tmp_path, capsys):
        run = write_run(tmp_path, CLASSES, LABELS, predicted((0, 25, 1)), predicted((0, 2, 1)))
        out = self.printed(run, capsys)
        assert "multi-label is better than plain" in out
        assert "Training looks unfinished" not in out

    def test_an_unfinished_training(self, tmp_path, capsys):
        answers = np.where(LABELS == 2, 1, predicted((0, 2, 1)))
        run = write_run(tmp_path, CLASSES, LABELS, predicted((0, 25, 1)), answers)
        out = self.printed(run, capsys)
        assert "Training looks unfinished (multi-label): c is never predicted" in out
        assert "multi-label against plain not judged: training looks unfinished (multi-label)" in out
        assert "is better" not in out


def test_a_page_of_an_earlier_version(tmp_path):
    """Metrics without AUROC, tests without a word on unfinished trainings: the page computes them."""
    folder = write_run(tmp_path, CLASSES, LABELS, predicted((0, 25, 1)), predicted((0, 2, 1)))
    metrics = json.loads((folder / "metrics.json").read_text())
    for one in metrics.values():
        del one["test"]["auroc"], one["test"]["average_precision"]
    write_json(folder / "metrics.json", metrics)
    entry = json.loads((folder / "comparison.json").read_text())["multi-label"]
    del entry["unfinished"]
    change_json(folder / "comparison.json", **{"multi-label": entry})
    page = page_text(folder)
    assert "AUROC, mean over the classes: 0." in page
    assert "Did it help? Yes." in page


def test_a_finished_runs_metrics_have_the_new_ones():
    for splits in json.loads((finished().run / "metrics.json").read_text()).values():
        for values in splits.values():
            assert 0 <= values["auroc"] <= 1
            assert 0 <= values["average_precision"] <= 1
