"""Every command and every line of Python in the documentation does what it says, on a small folder."""

import re
import shlex
import subprocess
import sys
import tomllib
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests
from synthetic import CLASSES, command, write_folder, write_manifest

import sit2.experiments.comparison
import sit2.experiments.run
from sit2.config.schema import make_config

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
SMALL = {"backbone": "small-cnn", "image_size": 16, "epochs": 1, "folds": 2, "batch_size": 8, "workers": 1}
FLAGS = [w for name, value in SMALL.items() for w in ("--" + name.replace("_", "-"), str(value))]
SET = {"train", "compare", "confusion", "synthesize"}  # verbs that take settings

BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.M | re.S)


def blocks(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(page):
    lines = [line for kind, text in blocks(page) if kind == "console" for line in text.splitlines()]
    return [line[2:].split("  #")[0] for line in lines if line.startswith("$ ")]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what the pages speak of."""
    write_folder(tmp_path / "photos", 12)
    write_folder(tmp_path / "new-photos", 2, seed=1)
    write_manifest(tmp_path / "slides")
    table = pd.read_csv(tmp_path / "slides/manifest.csv")
    table["path"] = "slides/" + table["path"]
    table["group"] = [f"patient {n % 12}" for n in range(len(table))]
    table.drop(columns="split").to_csv(tmp_path / "slides.csv", index=False)
    chances = np.random.default_rng(0).dirichlet([1, 1, 1], 30)
    predictions = pd.DataFrame(chances, columns=[f"p_{name}" for name in CLASSES])
    predictions.insert(0, "label", [CLASSES[n % 3] for n in range(30)])
    predictions.to_csv(tmp_path / "predictions.csv", index=False)
    write_folder(tmp_path / "knees", 12)
    for number, path in enumerate(sorted((tmp_path / "knees").rglob("*.png"))):
        path.rename(path.with_name(f"{9003175 + number // 2}{'LR'[number % 2]}.png"))
    photos = [p.relative_to(tmp_path / "photos") for p in sorted((tmp_path / "photos").rglob("*.png"))]
    lesions = [f"lesion {n // 2}" for n in range(len(photos))]
    pd.DataFrame({"path": photos, "lesion_id": lesions}).to_csv(tmp_path / "metadata.csv", index=False)
    chances = np.random.default_rng(1).dirichlet([1, 1, 1], len(photos))
    oof = pd.DataFrame(chances, columns=[f"p_{name}" for name in CLASSES])
    oof.insert(0, "label", [p.parent.name for p in photos])
    oof.insert(0, "path", photos)
    oof.to_csv(tmp_path / "oof.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda page: page.stem)
def test_what_a_page_shows_runs(page, place, monkeypatch):
    if page.stem == "predicting":  # a coverage of 95 % needs 19 images that calibrate
        write_folder(place / "photos", 44)
        write_folder(place / "new", 2, seed=1)
    for module in (sit2.experiments.run, sit2.experiments.comparison):
        monkeypatch.setattr(module, "make_config", lambda *settings: make_config(*settings, SMALL))
    module = types.ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # where its dataclasses look for their annotations
    for kind, text in blocks(page):
        if kind == "python":
            exec(compile(text, page.name, "exec"), vars(module))
        for line in text.splitlines() if kind == "console" else ():
            if not line.startswith("$ sit2 "):
                continue
            words = shlex.split(line[2:], comments=True)[1:]
            if words[0] == "serve":  # which would not end; tests/serving runs it
                continue
            flags = (
                FLAGS[2:] if "--preset" in words else FLAGS
            )  # a preset may need the weights of the default backbone
            assert command((*words, *(flags if words[0] in SET else ()))) == 0, line


def set_means() -> pd.DataFrame:
    """A row for each of the ten sets, a column for each method: balanced accuracy, over complete repeats."""
    table = pd.read_csv(ROOT / "benchmarks/method/results/ten.csv")
    wide = table.pivot_table(index=["dataset", "split", "seed"], columns="method", values="balanced_accuracy")
    return wide.dropna().groupby("dataset").mean()


def test_the_documentation_shows_the_results_that_are_committed():
    means = set_means()
    ranks = means.rank(axis="columns", ascending=False).mean()
    text = (ROOT / "docs" / "benchmark.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `?([\w@-]+)`? \| (\d+\.\d) \| (\d+\.\d) \|$", text, re.M)
    assert {name for name, _, _ in rows} == set(means)
    for name, mean, rank in rows:
        assert float(mean) == pytest.approx(100 * means[name].mean(), abs=0.0501)
        assert float(rank) == pytest.approx(ranks[name], abs=0.0501)


def test_the_benchmarks_page_shows_what_scipy_finds_over_all_sets():
    means = set_means()
    others = [name for name in means if name != "plain"]
    tests = {name: ttest_1samp(means[name] - means["plain"], 0) for name in others}
    adjusted = multipletests([tests[name].pvalue for name in others], method="bonferroni")[1]
    page = (ROOT / "benchmarks/method/README.md").read_text(encoding="utf-8")
    part = page.split("## Suite `ten`")[1].split("over all data sets")[1]
    found = dict(re.findall(r"^\| ([\w@-]+) \| (.* \| .* to .* \| p .*) \| [–\w]+ \|$", part, re.M))
    assert found.keys() >= set(others)
    for name, p in zip(others, adjusted, strict=True):
        interval = tests[name].confidence_interval(1 - 0.05 / len(others))
        gap, low, high = (100 * x for x in ((means[name] - means["plain"]).mean(), *interval))
        *shown, shown_p = (float(x.replace("−", "-")) for x in re.findall(r"[−\d.]+", found[name]))
        assert shown == pytest.approx([gap, low, high], abs=0.0501)
        assert shown_p == pytest.approx(p, abs=0.0011)
        assert ("▲" in found[name] or "▼" in found[name]) == (p < 0.05)


def test_there_is_something_to_run():
    assert sum(len(commands(page)) for page in PAGES) > 10


def test_every_command_is_one_that_the_tests_can_run():
    known = ("sit2 ", "make ", "pip install", "pip wheel", "python -m benchmarks", "export SIT2_TOKEN=")
    for page in (*PAGES, ROOT / "README.md"):
        for line in commands(page):
            assert line.startswith(known), line


def test_the_pages_build_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(ROOT / "docs"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_install_lines_name_what_there_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = dict(re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    places = [*PAGES, ROOT / "README.md", *sorted((ROOT / "src").rglob("*.py"))]
    texts = {place: place.read_text(encoding="utf-8") for place in places}
    extras = {
        name.strip(): place
        for place, text in texts.items()
        for names in re.findall(r"(?:sit2|'\.)\[([\w, -]+)\]'", text)
        for name in names.split(",")
    }
    assert len(extras) > 4
    assert extras.keys() <= project["optional-dependencies"].keys(), extras
    installing = texts[ROOT / "docs" / "installing.md"]
    for name in ("torch", "torchvision"):
        assert re.findall(rf"\b{name}==(\S+)", installing) == [pinned[name]]
    assert f"sit2-{project['version']}-py3" in installing
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", installing, re.M)
    assert set(re.findall(r"\w+", " ".join(rows))) == project["optional-dependencies"].keys() - {"docs"}
