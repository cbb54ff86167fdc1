"""The two pages, each one file that loads nothing from outside itself."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from typing import Any

from starlette.responses import HTMLResponse


def page(template: str, **context: Any) -> HTMLResponse:
    """Fill a template; the answer's headers let exactly its own style and script in."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    style, script = _read("serve.css"), _read("serve.js")
    environment = Environment(
        loader=PackageLoader("sit2.serve"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(style=style, script=script, **context)
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": policy})


def _read(name: str) -> str:
    return (resources.files("sit2.serve") / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
