"""The contrast that a suite declares, what it can show, and a suite on other images than its own."""

import csv
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from benchmarks.method import __main__ as benchmark
from benchmarks.method import kept, suite
from benchmarks.method.contrast import Contrast
from benchmarks.method.power import Spread, on_a_set, over_sets, spread_of, standard_errors
from scipy import stats
from synthetic import SETTINGS, write_folder

from sit2.evaluation.metrics import compute_metrics

DRAW = np.random.default_rng(3)


def table(sets=6, splits=4, *, between=0.01, within=0.02, gain=0.015, classes=5, pairs=3):
    """Rows of plain, its rival, and the rival's random pairs, whose differences are drawn."""
    rows = []
    for s in range(sets):
        own = DRAW.normal(gain, between)
        for split in range(splits):
            base = DRAW.normal(0.7, 0.03)
            for method, more in (("plain", 0.0), ("mine", DRAW.normal(own, within)), ("mine@random", 0.001)):
                row = {
                    "dataset": f"set {s}",
                    "place": f"set {s}",
                    "split": split,
                    "seed": 0,
                    "method": method,
                }
                row |= {"balanced_accuracy": base + more, "pair_error": 0.2 - more, "other_error": 0.1}
                rows.append(row | {"classes": classes, "pairs": pairs, "test_images": 300, "images": 1000})
    return pd.DataFrame(rows)


def test_over_sets_it_is_the_t_test_of_the_sets_means():
    contrast = Contrast(table(), "mine", "plain")
    means = [contrast.gaps(f"set {s}").mean() for s in range(6)]
    expected = stats.ttest_1samp(means, 0)
    found = contrast.over_sets()
    assert (found.n, found.p) == (6, pytest.approx(expected.pvalue))
    low, high = expected.confidence_interval()
    assert (found.lower, found.upper) == (pytest.approx(low), pytest.approx(high))
    two = contrast.over_sets(("set 1", "set 4"))
    assert two.difference == pytest.approx((means[1] + means[4]) / 2)


def test_only_repeats_that_both_have_count():
    rows = table()
    lacking = rows[(rows["method"] != "plain") | (rows["split"] != 2) | (rows["dataset"] != "set 0")]
    assert Contrast(lacking, "mine", "plain").sets[0].test.n == 3
    gone = rows[(rows["method"] != "plain") | (rows["dataset"] != "set 0")]
    assert Contrast(gone, "mine", "plain").over_sets().n == 5


def test_random_pairs_that_are_the_chosen_ones_are_no_control():
    rows = pd.concat([table(), table(1, classes=2, pairs=1).assign(dataset="two", place="two")])
    told = Contrast(rows, "mine", "plain").told()
    assert "over 6 data sets; left out, because no pair is left there that was not chosen: two" in told
    assert "Over 7 data sets" in told
    alone = Contrast(table(1, classes=2, pairs=1), "mine", "plain").told()
    assert "no set is left to compare on" in alone


def test_rows_without_the_new_columns_are_told_too():
    old = table().drop(columns="classes")
    assert Contrast(old, "mine", "plain").told()


def test_where_no_pair_was_chosen_it_is_said():
    assert "in 4 of 4 repeats no pair was confused enough" in Contrast(table(pairs=0), "mine", "plain").told()


def test_the_difference_that_is_shown_four_times_in_five_is_shown_so_in_simulations():
    draw = np.random.default_rng(0)
    spread = Spread(between=0.01, within=0.02, tested=0.3)
    delta = over_sets(spread, 4)
    sets = draw.normal(delta, 0.01, (20_000, 6)) + draw.normal(0, 0.02, (20_000, 6, 4)).mean(axis=2)
    shown = stats.ttest_1samp(sets, 0, axis=1)
    assert np.mean((shown.pvalue < 0.05) & (shown.statistic > 0)) == pytest.approx(0.8, abs=0.01)
    assert standard_errors(100_000) == pytest.approx(1.96 + 0.84, abs=0.01)


def test_on_a_set_no_number_of_splits_goes_below_what_they_share():
    spread = Spread(between=0.0, within=0.02, tested=0.3)
    assert on_a_set(spread, 10**9) > 2.8 * 0.02 * (0.3 / 0.7) ** 0.5
    assert on_a_set(spread, 1) == np.inf
    few = [on_a_set(spread, n) for n in (2, 5, 10, 10**9)]
    assert few == sorted(few, reverse=True)


def test_the_spread_is_found_again():
    found = spread_of(Contrast(table(100, 3), "mine", "plain"))
    assert found.within == pytest.approx(0.02, rel=0.2)
    assert found.between == pytest.approx(0.01, rel=0.4)
    assert spread_of(Contrast(table(1), "mine", "plain")) is None
    assert spread_of(Contrast(table(splits=1), "mine", "plain")) is None


@pytest.fixture(scope="module")
def on_others(tmp_path_factory):
    """A suite run on three sets: two classes in a folder with a space, a manifest with groups, one that is none."""
    home = tmp_path_factory.mktemp("others")
    small = {**SETTINGS, "epochs": 1, "split_seed": 7, "test_fraction": 0.3, "val_fraction": 0.1}
    del small["method"]
    methods = ["plain+tta", "not-sure+tta", "not-sure@random+tta"]
    content = {"sets": ["busi"], "labels": [9], "splits": 2, "methods": methods, "settings": small}
    (home / "suites").mkdir()
    content["contrast"] = ["not-sure+tta", "plain+tta"]
    (home / "suites/small.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    write_folder(home / "two kinds", 10, classes=("disc", "oval"))
    grouped = write_folder(home / "patients", 14)
    with (grouped / "samples.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "group"])
        for path in sorted(grouped.glob("*/*.png")):
            table.writerow([path.relative_to(grouped).as_posix(), path.parent.name, int(path.stem[-2:]) // 2])
    (home / "empty").mkdir()
    data = [str(home / "two kinds"), f"grouped={grouped / 'samples.csv'}", str(home / "empty")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "SUITES", home / "suites")
        out = ["--out", str(home / "out"), "--workers", "1", "--set", "labels=5", "val_per_class=2"]
        patch.setattr(sys, "argv", ["benchmarks.method", "small", "--data", *data, *out])
        with pytest.raises(SystemExit) as stop:
            benchmark.main()
    return home, stop.value.code


def test_a_suite_runs_on_other_images_and_leaves_out_what_is_none(on_others):
    home, code = on_others
    assert code == 1
    rows = pd.read_csv(home / "out/small.csv")
    assert rows.groupby("dataset").size().to_dict() == {"grouped": 6, "two kinds": 6}
    assert set(rows["labels_per_class"]) == {5}
    assert (rows["val_images"] <= 6).all()
    assert dict(zip(rows["dataset"], rows["classes"], strict=True)) == {"two kinds": 2, "grouped": 3}


def test_a_row_has_its_price(on_others):
    rows = pd.read_csv(on_others[0] / "out/small.csv")
    plain, mixed = (rows[rows["method"] == name] for name in ("plain+tta", "not-sure+tta"))
    assert (plain["samples_trained"] == plain["budget"]).all()
    assert (mixed["samples_trained"] > mixed["budget"]).all()  # the folds
    assert set(rows["forward_passes"]) == {2}  # an image and its mirror image
    assert set(rows["forward_passes_once"]) == {0}  # nothing frozen, nothing fitted


def test_what_was_said_is_kept_with_what_is_true(on_others):
    home, _ = on_others
    rows = pd.read_csv(home / "out/small.csv").set_index(["dataset", "split", "method"])
    row = rows.loc["two kinds", 8, "plain+tta"]
    said = kept.read(home / "out/kept/two kinds, 5 labels, split 8, seed 0/plain+tta.npz")
    assert len(said["validation"].ids) == row["val_images"]
    test = compute_metrics(said["test"], ())
    assert test["balanced_accuracy"] == pytest.approx(row["balanced_accuracy"], abs=1e-6)
    sure = np.argsort(-said["test"].probabilities.max(axis=1))[: int(np.ceil(0.8 * len(said["test"].ids)))]
    assert row["accuracy_at_80"] == pytest.approx(said["test"].correct[sure].mean(), abs=0.2)
    assert 0 <= row["aurc"] <= 1


def test_it_says_where_there_are_fewer_labels(on_others, monkeypatch, capsys):
    home, _ = on_others
    monkeypatch.setattr(suite, "SUITES", home / "suites")
    words = ["benchmarks.method", "small", "--data", str(home / "two kinds"), "--out", str(home / "again")]
    monkeypatch.setattr(
        sys, "argv", [*words, "--workers", "1", "--set", "splits=1", "methods=plain+tta,not-sure+tta"]
    )
    benchmark.main()
    told = capsys.readouterr().out
    assert "2 of 2 classes have fewer than the 9 training images that are asked for" in told
    assert "The contrast that decides: `not-sure+tta` against `plain+tta`" in told


@pytest.mark.parametrize("words", [["--set", "nonsense"], ["--set", "epoch=3"], ["--contrast"]])
def test_what_cannot_be_is_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks.method", "declared", "--results", str(tmp_path), *words])
    if words[0] == "--set":
        sys.argv += ["--data", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        benchmark.main()
    assert stop.value.code == 2
    assert {"nonsense": "expected KEY=VALUE", "epoch=3": "did you mean 'epochs'?"}.get(
        words[-1], "there are no results"
    ) in capsys.readouterr().err
