"""Chromium and axe-core for tests of pages. Importing it skips a module where Playwright or axe is missing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]  # levels A and AA


@pytest.fixture(scope="module", name="chromium")
def chromium_fixture() -> Iterator[Any]:
    """Run Chromium while a module's tests last; skip them where there is none."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


def violations(page: Any) -> list[str]:
    """Return what axe-core finds against WCAG, levels A and AA."""
    found = axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": WCAG}}).response
    assert found["passes"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:150]}" for v in found["violations"]]
