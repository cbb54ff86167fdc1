"""A small share of `make fuzz`: nothing that reads a file lets any error but ours escape."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from fuzz import TARGETS, throw


@pytest.mark.parametrize("name", TARGETS)
def test_only_our_errors_escape(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of libraries about odd files; on the screen they are not shown either
        ended = throw(name, 30, tmp_path)
    assert ended.total() >= 20
    assert ended["refused"] > 0 or name == "cache"
