"""``python -m benchmarks.speed``: print one JSON object a line, and write them to ``results/``."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.speed import fidelity, files, machine, price, sizes, training
from benchmarks.speed.timing import Ratio

SUITES = {
    "training": training.ratios,
    "files": files.ratios,
    "price": price.ratios,
    "machine": machine.ratios,
    "sizes": sizes.ratios,
    "fidelity": fidelity.ratios,  # trains for most of an hour, where SIT2_DATASETS is set
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (default: 7)")
    parser.add_argument("--only", choices=list(SUITES), help="one suite instead of all")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[Ratio] = []
    for name, suite in SUITES.items():
        if options.only in (None, name) and (name != "fidelity" or "SIT2_DATASETS" in os.environ):
            for line in suite(options.rounds):
                print(json.dumps(_rounded(line)), flush=True)
                lines.append(line)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{datetime.date.today().isoformat()}-{_machine()}.json"
    measured = {line.name for line in lines}
    kept = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []
    results = [line for line in kept if line["name"] not in measured] + [_rounded(line) for line in lines]
    content = {"machine": _describe(), "results": results}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"written: {path}")


def _rounded(line: Ratio) -> dict[str, object]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in asdict(line).items()}


def _machine() -> str:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return "-".join("".join(c if c.isalnum() else " " for c in name).lower().split())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _describe() -> dict[str, str]:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": _processor(),
        "gpu": device,
        "torch": torch.__version__,
        "threads": "1",
        "clock": "synchronised wall time" if torch.cuda.is_available() else "process CPU time",
    }


if __name__ == "__main__":
    main()
