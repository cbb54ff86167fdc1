"""The critical-difference diagram."""

from __future__ import annotations

import os
import subprocess
import sys

CODE = """
import sys
from pathlib import Path
import numpy as np
from sit2.evaluation.ranks import rank_methods
from sit2.report.ranks import draw_ranks
scores = np.random.default_rng(0).random((6, 8))
draw_ranks(rank_methods(scores, [f"method {n}" for n in range(8)]), Path(sys.argv[1]), kinds=("svg",))
"""


def test_the_same_ranks_give_the_same_file_in_every_process(tmp_path):
    for seed in "12":
        place = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", CODE, place], env=environment, check=True)
    first, second = (place.read_bytes() for place in sorted(tmp_path.glob("*.svg")))
    assert b"method 7" in first
    assert first == second
