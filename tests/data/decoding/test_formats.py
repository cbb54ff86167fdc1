"""Every row of the first table of docs/formats.md: what is fed gives the pixels that it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from format_cases import CASES, SIDE

from sit2.data.decoding.decode import decode
from sit2.data.decoding.header import channels_of
from sit2.data.decoding.image import Decoding
from sit2.data.readers.walk import walk
from sit2.storage.process_state import quiet_libraries

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


@pytest.mark.parametrize("case", CASES, ids=[c.fed for c in CASES])
def test_what_comes_out(tmp_path, case):
    path, told = tmp_path / case.name, []
    expected = case.make(path)
    with quiet_libraries():
        if "channels_from" not in case.how:  # which says how many there are
            assert channels_of(path) == case.channels
        pixels = decode(path, Decoding(SIDE, case.channels, **case.how), told.append)
        assert walk(tmp_path).images == [case.name]
    assert pixels.shape == (case.channels, SIDE, SIDE)
    assert expected.std() > (0 if case.note.startswith("whose") else 20)  # a case that could show a mistake
    shown = pixels[0] if case.channels == 1 else pixels.transpose(1, 2, 0)
    np.testing.assert_allclose(shown.astype(int), expected, atol=case.atol)
    assert told == ([case.note] if case.note else [])


def test_the_page_has_these_rows():
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for case in CASES:
        assert f"| {case.fed} | {case.out} |" in rows
