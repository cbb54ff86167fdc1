"""What is refused without a look at the images is refused before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "pandas", "scipy", "sklearn", "PIL", "matplotlib", "timm", "joblib")
SCRIPT = f"""
import sys
from sit2.cli.command import main
code = main(sys.argv[1:])
print(code, [name for name in {HEAVY} if name in sys.modules])
"""
CASES = {
    "train nowhere": "no such file or folder: nowhere",
    "train data -o full": "the output folder full is not empty",
    "train data --method plane": "unknown method 'plane'",
    "train data --method second-look": "'second-look' is no method any more",
    "train data --method plain+ttta": "unknown predictor 'ttta'",
    "train data --control plane": "unknown method 'plane'",
    "train data --epochs many": "epochs is 'many'",
    "train data --config nowhere.yaml": "no such settings file: nowhere.yaml",
    "train data -o full --resume --overwrite": "--resume and --overwrite contradict each other",
    "compare nowhere -o new": "no such file or folder: nowhere",
    "compare data -o full": "the output folder full is not empty",
    "compare data -o new --methods plain,plane": "unknown method 'plane'",
    "compare data -o new --methods mixup,mixup": "the method 'mixup' is named twice",
    "compare data -o new --metric f1": "unknown metric 'f1'",
    "compare data -o new --splits 0": "splits is 0",
    "compare data data -o new": "the data set 'data' is named twice",
    "confusion nowhere -o new": "no such file or folder: nowhere",
    "confusion data -o full": "the output folder full is not empty",
    "synthesize nowhere -o new": "no such file or folder: nowhere",
    "synthesize data -o full": "the output folder full is not empty",
    "synthesize data -o new --count 0": "--count is 0",
    "check nowhere": "no such file or folder: nowhere",
    "predict nowhere --model model": "no such file or folder: nowhere",
    "predict data --model nowhere": "no such folder: nowhere",
    "predict data --model data": "there is no model.json in data",
    "predict data --model model": "model/model.json has format version 2",
    "predict data --model model -o full": "the output folder full is not empty",
    "evaluate nowhere --model model": "no such file or folder: nowhere",
    "evaluate data --model nowhere": "no such folder: nowhere",
    "export nowhere": "no such folder: nowhere",
    "demo -o full": "the output folder full is not empty",
}


@pytest.mark.parametrize("words", CASES)
def test_before_anything_heavy_is_loaded(words: str, tmp_path: Path) -> None:
    for place in ("data/cat", "data/dog", "full", "model"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "full" / "mine.txt").touch()
    (tmp_path / "model" / "model.json").write_text('{"format_version": 2}')
    before = sorted(tmp_path.rglob("*"))
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr.startswith(f"sit2: {CASES[words]}")
    assert ran.stdout == "2 []\n"
    assert sorted(tmp_path.rglob("*")) == before
