"""The page to label from, in Chromium; skipped where it is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_browser import chromium_fixture
from synthetic import arrays, command, finished, save

pytestmark = pytest.mark.browser
chromium = chromium_fixture  # pytest finds fixtures in the module


@pytest.mark.parametrize("width", [400, 1280])
def test_pictures_are_large_enough_to_label_from(chromium: Any, tmp_path: Path, width: int) -> None:
    name = "<img src=x onerror=document.title=1>"
    for n, image in enumerate(arrays(2, seed=9)[0]):
        save(tmp_path / "new" / f"{n}{name}.png", image)
    assert (
        command(("suggest", tmp_path / "new", "--model", finished().run, "-n", 4, "-o", tmp_path / "out"))
        == 0
    )
    context = chromium.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.goto((tmp_path / "out" / "suggestions.html").as_uri())
    sizes = [page.locator(".pictures img").nth(n).bounding_box() for n in range(4)]
    assert all(size["width"] >= 150 and size["height"] >= 150 for size in sizes)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.title().startswith("4 images to label next")
    assert name in page.locator(".pictures li").first.inner_text()
    context.close()
