"""Fixtures for all tests: small generated images, and the real sets where there are some."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

os.environ["SIT2_CACHE"] = "off"  # tests leave nothing in the user's cache

settings.register_profile("sit2", deadline=None)  # how long a case takes depends on what else runs
settings.load_profile("sit2")

Save = Callable[..., Path]


@pytest.fixture
def save_image(tmp_path: Path) -> Save:
    """Save an image of random pixels, each call another, below tmp_path; return its path."""
    rng = np.random.default_rng(7)

    def save(place: str, *, height: int = 7, width: int = 11, mode: str = "RGB") -> Path:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return save


@pytest.fixture(scope="session")
def datasets_root() -> Path:
    """The folder of the real sets; the test is skipped where there is none."""
    root = os.environ.get("SIT2_DATASETS")
    if not root:
        pytest.skip("set SIT2_DATASETS to the folder of the real image sets")
    return Path(root)
