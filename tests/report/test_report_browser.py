"""The page in a real browser: Chromium, with Playwright and axe-core; skipped where one is missing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from in_browser import chromium_fixture, violations
from made_comparison import made_comparison
from made_run import change_json, random_run, write_images, write_json, write_run

from sit2.confusion.predictions_file import read_run_predictions
from sit2.evaluation.statistics import compare_models
from sit2.report.page import write_report

pytestmark = pytest.mark.browser
chromium = chromium_fixture  # pytest finds fixtures in the module

CLASSES = ("cat", "<b>dog</b>", "owl")
LABELS = np.arange(60) % 3
WIDTHS = (360, 768, 1440)


@pytest.fixture(scope="module", name="run")
def _run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    control = np.where(np.arange(60) % 5 == 0, (LABELS + 1) % 3, LABELS)
    method = np.where(np.arange(60) % 7 == 0, (LABELS + 1) % 3, LABELS)
    images = write_images(root / "images", [f"c{k}" for k in range(3)], LABELS)
    names = [f"c{k}/{n:05d}.png" for n, k in enumerate(LABELS)]
    run = write_run(root / "run", CLASSES, LABELS, control, method, images=images, names=names)
    write_report(run)
    return run


class Tab:
    """A page that was opened, with all that it complained about and asked for."""

    def __init__(self, browser: Any, path: Path, *, width: int = 1440, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.page, self.noise, self.asked = self.context.new_page(), [], []
        self.page.on("console", lambda message: self.noise.append(message.text))
        self.page.on("pageerror", lambda error: self.noise.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def cell(self, row: int, column: int) -> Any:
        return self.page.locator(".heat tbody tr").nth(row).locator("td").nth(column)

    def behind(self) -> list[str]:
        return self.page.locator(".behind .id").all_inner_texts()


def place_of(run: Path, true: str, predicted: str) -> tuple[int, int]:
    """Row and column of a cell, by the page's own order of the classes."""
    source = (run / "report.html").read_text(encoding="utf-8")
    data = json.loads(source.partition('id="confusion-data">')[2].partition("</script>")[0])
    order = [data["classes"][k] for k in data["order"]]
    return order.index(true), order.index(predicted)


def expected(method: str, run: Path, true: str, predicted: str) -> set[str]:
    """The ids in a cell, by the predictions file and nothing else."""
    table = pd.read_csv(run / "predictions" / f"{method}.csv")
    return set(table["id"][(table["label"] == true) & (table["predicted"] == predicted)])


def test_a_cell_shows_its_images(chromium: Any, run: Path) -> None:
    with Tab(chromium, run / "report.html") as tab:
        for true, predicted in (("cat", "<b>dog</b>"), ("owl", "cat")):
            tab.cell(*place_of(run, true, predicted)).click()
            assert set(tab.behind()) == expected("multi-label", run, true, predicted)
            assert (
                tab.page.locator(".behind h3").inner_text().startswith(f"{true} classified as {predicted}: ")
            )
        assert tab.page.locator(".control-name").inner_text() == "plain"
        assert tab.page.locator(".method-name").inner_text() == "multi-label"
        tab.page.locator('input[value="control"]').check()
        assert set(tab.behind()) == expected("plain", run, "owl", "cat")
        widths = tab.page.locator(".behind img").evaluate_all("all => all.map(i => i.naturalWidth)")
        assert widths == [72] * len(tab.behind())
        tab.page.locator('input[value="difference"]').check()
        only = expected("plain", run, "owl", "cat") ^ expected("multi-label", run, "owl", "cat")
        assert set(tab.behind()) == only


def test_a_row_of_one_image_is_paler_than_one_of_hundreds(chromium: Any, tmp_path: Path) -> None:
    labels = np.repeat([0, 1], [1, 300])
    run = write_run(tmp_path / "run", ("one", "many"), labels, None, labels, recipes=("", "plain"))
    write_report(run)

    def light(tab: Tab, name: str) -> int:
        colour = tab.cell(*place_of(run, name, name)).evaluate(
            "cell => getComputedStyle(cell).backgroundColor"
        )
        return sum(map(int, re.findall(r"\d+", colour)))

    with Tab(chromium, run / "report.html") as tab:
        assert light(tab, "one") > light(tab, "many") + 200


def test_by_keyboard_alone(chromium: Any, run: Path) -> None:
    with Tab(chromium, run / "report.html") as tab:
        tab.cell(0, 0).focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "Enter"):
            tab.page.keyboard.press(key)
        assert tab.cell(2, 0).get_attribute("aria-selected") == "true"
        assert tab.page.locator(".behind h3").inner_text() == tab.cell(2, 0).get_attribute("aria-label")


def test_every_link_leads_to_its_section(chromium: Any, run: Path) -> None:
    with Tab(chromium, run / "report.html") as tab:
        links = tab.page.locator("nav a")
        assert links.count() >= 6
        for n in range(links.count()):
            links.nth(n).click()
            target = links.nth(n).get_attribute("href")
            assert tab.page.evaluate("location.hash") == target
            assert tab.page.locator(target).is_visible()


@pytest.mark.slow
@pytest.mark.parametrize("classes", [2, 100])
def test_few_and_many_classes_fit_at_every_width(chromium: Any, tmp_path: Path, classes: int) -> None:
    page = write_report(random_run(tmp_path / "run", classes, 200))
    for width in WIDTHS:
        with Tab(chromium, page, width=width) as tab:
            assert tab.page.evaluate("document.documentElement.scrollWidth") == width
            assert tab.page.locator(".heat td").count() == classes**2
            assert tab.noise == []
            cut = tab.page.evaluate(
                "[...document.querySelectorAll('main p, main li, main h2, main h3, .span > span, nav a')]"
                f".filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > {width})"
                ".map(e => e.outerHTML.slice(0, 80))"
            )
            assert cut == []


def test_nothing_is_asked_of_the_network(chromium: Any, run: Path) -> None:
    with Tab(chromium, run / "report.html") as tab:
        tab.cell(0, 1).click()
        assert {url.partition(":")[0] for url in tab.asked} <= {"file", "data"}
        assert sum(url.startswith("file:") for url in tab.asked) == 1
        assert tab.noise == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(chromium: Any, run: Path, scheme: str) -> None:
    with Tab(chromium, run / "report.html", scheme=scheme) as tab:
        assert violations(tab.page) == []
        tab.page.locator('input[value="difference"]').check()
        assert violations(tab.page) == []


def test_without_a_control_there_is_nothing_to_compare_with(chromium: Any, tmp_path: Path) -> None:
    page = write_report(random_run(tmp_path / "run", 4, 60, single=True))
    for width in WIDTHS:
        with Tab(chromium, page, width=width) as tab:
            assert tab.page.evaluate("document.documentElement.scrollWidth") == width
            shown = tab.page.locator('.controls input[name="view"]:visible')
            assert [shown.nth(n).get_attribute("value") for n in range(shown.count())] == [
                "method",
                "measured",
            ]
            tab.cell(0, 1).click()
            tab.page.locator('input[value="measured"]').check()
            assert tab.behind() == []
            assert tab.noise == []
    with Tab(chromium, page) as tab:
        assert violations(tab.page) == []


def test_every_method_has_its_own_control(chromium: Any, tmp_path: Path) -> None:
    run = four_methods(tmp_path / "run")
    with Tab(chromium, write_report(run)) as tab:
        pick = tab.page.locator("select.method")
        assert pick.locator("option").all_inner_texts() == ["not-sure", "mixup+tta", "cutmix"]
        for method, control in (("not-sure", "plain"), ("mixup+tta", "plain+tta")):
            pick.select_option(label=method)
            tab.cell(*place_of(run, "a", "b")).click()
            tab.page.locator('input[value="method"]').check()
            assert set(tab.behind()) == expected(method, run, "a", "b")
            tab.page.locator('input[value="control"]').check()
            assert tab.page.locator(".control-name").inner_text() == control
            assert set(tab.behind()) == expected(control, run, "a", "b")
            tab.page.locator('input[value="difference"]').check()
            assert set(tab.behind()) == expected(method, run, "a", "b") ^ expected(control, run, "a", "b")
        pick.select_option(label="cutmix")  # which has no control
        assert not tab.page.locator('input[value="difference"]').is_visible()
        assert tab.page.locator('input[value="method"]').is_checked()
        assert set(tab.behind()) == expected("cutmix", run, "a", "b")
        assert tab.noise == []


def four_methods(folder: Path) -> Path:
    """Write a run of methods with two controls, and one without."""
    labels = np.arange(40) % 2
    draw = np.random.default_rng(0)
    predicted = [np.where(draw.random(40) < 0.3, 1 - labels, labels) for _ in range(5)]
    recipes = ("plain", "not-sure", "plain+tta", "mixup+tta", "cutmix")
    for n in (2, 0):  # the last call's samples, metrics, … stay
        write_run(folder, ("a", "b"), labels, *predicted[n : n + 2], recipes=recipes[n : n + 2])
    write_run(folder, ("a", "b"), labels, None, predicted[4], recipes=("", "cutmix"))
    tests = {
        method: compare_models(
            method, read(folder, method), control, read(folder, control), generator=np.random.default_rng(0)
        ).to_json()
        for method, control in (("not-sure", "plain"), ("mixup+tta", "plain+tta"))
    }
    write_json(folder / "comparison.json", tests)
    change_json(folder / "run.json", methods=list(recipes))
    settings = folder / "config.yaml"
    settings.write_text(settings.read_text().replace("control: auto", "control: none"))
    return folder


def read(folder: Path, recipe: str) -> Any:
    """Read a recipe's predictions."""
    file = read_run_predictions(folder / "predictions" / f"{recipe}.csv")
    assert file is not None
    return file.predictions


def test_a_comparison_is_accessible_and_fits(chromium: Any, tmp_path: Path) -> None:
    page = write_report(made_comparison(tmp_path))
    for width in WIDTHS:
        with Tab(chromium, page, width=width) as tab:
            assert tab.page.evaluate("document.documentElement.scrollWidth") == width
            assert "No method was shown to be better" in tab.page.locator(".lead").inner_text()
            assert tab.noise == []
    with Tab(chromium, page) as tab:
        assert violations(tab.page) == []
