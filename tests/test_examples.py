"""The examples run as they stand, each in a process of its own, and learn something."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
NEEDS = {
    "plain_pytorch": (),
    "with_timm": ("timm",),
    "with_lightning": ("lightning",),
    "with_transformers": ("transformers", "accelerate"),
    "with_fastai": ("fastai",),
}


def test_every_example_is_tested_and_short() -> None:
    files = {path.stem: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.py")}
    assert set(files) == {"pairs", *NEEDS}
    assert max(len(text.splitlines()) for text in files.values()) <= 60


@pytest.mark.slow
@pytest.mark.parametrize("name", NEEDS)
def test_it_learns(name: str) -> None:
    missing = [package for package in NEEDS[name] if importlib.util.find_spec(package) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    code = f"import {name}; print({name}.main(epochs=8))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLES, check=False, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout.split()[-1]) > 0.8
