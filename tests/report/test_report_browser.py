"""The page in a real browser: Chromium, with Playwright and axe-core; skipped where one is missing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_run import random_run, write_images, write_json, write_run

from sit2.report.page import write_report

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = pytest.mark.browser

CLASSES = ("cat", "<b>dog</b>", "owl")
LABELS = np.arange(60) % 3
WIDTHS = (360, 768, 1440)


@pytest.fixture(scope="module", name="chromium")
def _chromium() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


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
            assert tab.page.locator(".behind h3").inner_text().startswith(f"{true} taken for {predicted}: ")
        tab.page.locator('input[value="before"]').check()
        assert set(tab.behind()) == expected("plain", run, "owl", "cat")
        widths = tab.page.locator(".behind img").evaluate_all("all => all.map(i => i.naturalWidth)")
        assert widths == [72] * len(tab.behind())
        tab.page.locator('input[value="difference"]').check()
        only = expected("plain", run, "owl", "cat") ^ expected("multi-label", run, "owl", "cat")
        assert set(tab.behind()) == only


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


def violations(tab: Tab) -> list[str]:
    """Return what axe-core finds against WCAG, levels A and AA."""
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = axe.Axe().run(tab.page, options={"runOnly": {"type": "tag", "values": tags}}).response
    assert found["samples_seen"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessible(chromium: Any, run: Path, scheme: str) -> None:
    with Tab(chromium, run / "report.html", scheme=scheme) as tab:
        assert violations(tab) == []
        tab.page.locator('input[value="difference"]').check()
        assert violations(tab) == []


def test_a_comparison_is_accessible_and_fits(chromium: Any, tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"status": "complete", "methods": ["plain", "mixup"]})
    shares = dict.fromkeys(
        ("macro_f1", "balanced_accuracy", "log_loss", "ece", "pair_error", "other_error"), 0.5
    )
    cells = [
        {"dataset": f"set{d}", "method": m, "split": s, "seed": 0, "budget": 9, "accuracy": d / 4, **shares}
        for d in (1, 2)
        for m in ("plain", "mixup")
        for s in (1, 2, 3)
    ]
    pd.DataFrame(cells).assign(seconds=1.0).to_csv(tmp_path / "results.csv", index=False)
    base = {"method": "mixup", "control": "plain", "metric": "accuracy", "n": 3, "p_adjusted": 0.5}
    gap = {"difference": 0.01, "interval": [-0.02, 0.04], "verdict": "no evidence", "sentence": "So it is."}
    write_json(tmp_path / "comparison.json", [{"dataset": f"set{d}", **base, **gap} for d in (1, 2)])
    ranks = {
        "mean_ranks": {"plain": 1.7, "mixup": 1.3},
        "datasets": 2,
        "friedman_p": 0.4,
        "critical_difference": 1.4,
    }
    write_json(tmp_path / "ranks.json", ranks)
    page = write_report(tmp_path)
    for width in WIDTHS:
        with Tab(chromium, page, width=width) as tab:
            assert tab.page.evaluate("document.documentElement.scrollWidth") == width
            assert "No method was shown to be better" in tab.page.locator(".lead").inner_text()
            assert tab.noise == []
    with Tab(chromium, page) as tab:
        assert violations(tab) == []
