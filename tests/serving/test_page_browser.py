"""The page in Chromium, with Playwright and axe-core; skipped where one is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from in_browser import chromium_fixture, violations
from test_server import running

pytestmark = pytest.mark.browser
chromium = chromium_fixture  # pytest finds fixtures in the module
Files = list[tuple[str, bytes]]
WIDTHS = (400, 1280)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_person_asks(chromium: Any, files: Files, tmp_path: Path, scheme: str) -> None:
    image = tmp_path / "<b>an image.png"
    image.write_bytes(files[0][1])
    (tmp_path / "none.png").write_bytes(b"no image")
    with running(token="secret", with_examples=True) as port:
        for width in WIDTHS:
            # axe is put into the page, which the page's own policy forbids.
            context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)  # fmt: skip  # noqa: E501
            page = context.new_page()
            page.goto(f"http://localhost:{port}/")
            page.locator("#enter").wait_for()
            assert violations(page) == []
            page.locator("#token").fill("secret")
            page.keyboard.press("Enter")
            page.get_by_text("classes apart").wait_for()
            page.locator("#file").set_input_files(image)
            page.locator("#result").wait_for()
            assert page.locator("#name").inner_text() == image.name
            assert page.locator("#bars tr").count() == 3
            assert page.locator(".near img").count() == 6
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") == width
            page.locator("#file").set_input_files(tmp_path / "none.png")
            page.get_by_text("cannot be read: not an image").wait_for()
            assert not page.locator("#result").is_visible()
            page.goto(f"http://localhost:{port}/docs")
            assert violations(page) == []
            assert page.evaluate("document.documentElement.scrollWidth") == width
            context.close()


def test_with_its_strict_policy_nothing_is_refused_and_nothing_asked_elsewhere(
    chromium: Any, files: Files, tmp_path: Path
) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(files[0][1])
    with running() as port:
        page = chromium.new_context().new_page()
        noise, asked = list[str](), list[str]()
        page.on("console", lambda message: noise.append(message.text))
        page.on("pageerror", lambda error: noise.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://localhost:{port}/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "file"  # by keyboard alone
        page.locator("#file").set_input_files(image)
        page.locator("#result").wait_for()
        widths = page.locator(".bar").evaluate_all("all => all.map(e => e.style.width)")
        assert all(width.endswith("%") for width in widths)
        assert noise == []
        assert {
            url.partition(":")[0] for url in asked if not url.startswith(f"http://localhost:{port}/")
        } <= {"data"}
