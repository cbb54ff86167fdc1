"""What hypothesis throws at everything that reads a file; only our own errors may come out.

``python tests/fuzz.py [TARGET ...]`` throws 10,000 inputs at each and prints the counts (``make fuzz``);
``tests/test_fuzz.py`` throws a few.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import io
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

sys.path.append(str(Path(__file__).parent / "helpers"))

from made_comparison import made_comparison
from made_run import random_run

from sit2.config.schema import make_config, read_config_file
from sit2.confusion.matrix_file import read_matrix
from sit2.confusion.pairs import all_pairs
from sit2.confusion.pairs_file import read_pairs
from sit2.confusion.predictions_file import is_predictions_file, read_predictions, read_run_predictions
from sit2.data import cache
from sit2.data.decoding.decode import Decoding, decode
from sit2.data.decoding.header import channels_of
from sit2.data.quality.findings import Finding, findings_json, read_findings
from sit2.data.readers import read_dataset, read_images
from sit2.data.samples import read_samples
from sit2.data.thumbnails import read_thumbnails
from sit2.errors import DataError, Sit2Error
from sit2.evaluation.metrics import read_metrics
from sit2.evaluation.ranks import read_ranks
from sit2.evaluation.results import read_results, read_summary
from sit2.evaluation.statistics import read_tests
from sit2.evaluation.verdicts import read_verdicts
from sit2.events import nobody
from sit2.execution.outcomes import load_outcome
from sit2.inference import onnx_file
from sit2.inference.export import to_onnx
from sit2.inference.model import Model, empty_network
from sit2.inference.model_spec import PREPROCESSING, ModelSpec, described, read_spec
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import Known
from sit2.inference.seen import seen_in_training
from sit2.records import Dataset
from sit2.seeds import Seeds
from sit2.storage.files import DamagedStateError, load_state, save_state
from sit2.storage.process_state import quiet_libraries
from sit2.storage.run_folder import RunFolder
from sit2.storage.run_info import read_info
from sit2.training.backbones import read_weights
from sit2.training.history import read_history

CLASSES = ("ant", "bee", "cat")

# --- inputs -------------------------------------------------------------------------------------------------

EDIT = st.tuples(
    st.floats(0, 1),
    st.sampled_from(("flip", "cut", "insert", "double", "swell")),
    st.binary(min_size=1, max_size=8),
)


def damaged(*whole: bytes) -> st.SearchStrategy[bytes]:
    """Return a file with a few bytes changed, cut away, added, doubled or made large."""

    def apply(sample: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
        data = bytearray(sample)
        for share, kind, some in edits:
            at = int(share * len(data))
            if kind == "flip":
                data[at : at + len(some)] = some[: len(data) - at]
            elif kind == "cut":
                del data[at : at + 1 + some[0] * 4]
            elif kind == "insert":
                data[at:at] = some
            elif kind == "double":
                data[at:at] = data[at : at + some[0]]
            else:
                data[at : at + len(some)] = b"\xff" * len(some)
        return bytes(data)

    return st.builds(apply, st.sampled_from(whole), st.lists(EDIT, min_size=1, max_size=4))


ODD = ("", "'", '"', "=1+1", "\x1b[2J", "\n", "\r\n", ",", ";", "\0", "1e999", "nan", "-inf", "²", "\ufeff",
       "../../etc", "/dev/null", "a\\b", "9" * 400, "true", "\u202e", "<script>", "0x1", "1_0")  # fmt: skip
CELL = st.one_of(
    st.sampled_from(
        (*CLASSES, *ODD, "a.png", "b.png", "train", "test", "unused", "0.5", "0.25", "1", "True")
    ),
    st.text(max_size=8),
)


def table(whole: pd.DataFrame) -> st.SearchStrategy[bytes]:
    """Return a CSV damaged, or with a header mostly right and lines mostly of the right length, or none."""
    columns = [str(name) for name in whole.columns]
    header = st.one_of(st.just(columns), st.lists(st.one_of(st.sampled_from(columns), CELL), max_size=6))
    row = st.lists(CELL, min_size=len(columns), max_size=len(columns)) | st.lists(CELL, max_size=8)

    def join(names: list[str], rows: list[list[str]], end: str, *, quoted: bool) -> bytes:
        def cell(text: str) -> str:
            return '"' + text.replace('"', '""') + '"' if quoted else text

        lines = [",".join(cell(c) for c in line) for line in [names, *rows]]
        return end.join(lines).encode("utf-8", "surrogatepass")

    made = st.builds(
        join, header, st.lists(row, max_size=6), st.sampled_from(("\n", "\r\n")), quoted=st.booleans()
    )
    return made | damaged(whole.to_csv(index=False).encode()) | st.binary(max_size=60)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | CELL | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(CELL, inner, max_size=3),
    max_leaves=6,
)


def changed(whole: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return an object with some of its values, or of those of the objects in it, changed or gone."""

    def one(value: Any) -> st.SearchStrategy[Any]:
        inner = changed(value) if isinstance(value, dict) and value else VALUE
        return st.one_of(st.just(value), st.just(value), inner, VALUE)

    full = st.fixed_dictionaries({name: one(value) for name, value in whole.items()})
    return st.builds(
        lambda made, drop, more: {k: v for k, v in {**made, **more}.items() if k not in drop},
        full,
        st.just([]) | st.lists(st.sampled_from(list(whole)), max_size=1),
        st.just({}) | st.dictionaries(CELL, VALUE, max_size=1),
    )


def as_json(whole: Any) -> st.SearchStrategy[bytes]:
    """Return JSON changed or damaged; of a list, the first of its objects is changed."""
    if isinstance(whole, list):
        listed = changed(whole[0]).map(lambda first: json.dumps([first, *whole[1:2]]).encode())
        return listed | damaged(json.dumps(whole).encode()) | st.binary(max_size=40)
    text = changed(whole).map(lambda content: json.dumps(content).encode())
    return text | damaged(json.dumps(whole).encode()) | st.binary(max_size=40)


# --- samples ------------------------------------------------------------------------------------------------


def written(write: Callable[[io.BytesIO], Any]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
LABELS = np.arange(6) % 3
PNG = written(lambda file: Image.fromarray(PIXELS[0]).save(file, "PNG"))
IMAGES = [
    written(lambda file, k=kind, m=mode: Image.fromarray(PIXELS[0]).convert(m).save(file, k))  # type: ignore[misc]
    for kind, mode in (
        ("PNG", "RGB"), ("PNG", "P"), ("PNG", "LA"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "P"),
        ("BMP", "RGB"), ("TIFF", "L"), ("WEBP", "RGB"), ("PPM", "RGB"),
    )
]  # fmt: skip
MANIFEST = pd.DataFrame({"path": [f"{n}.png" for n in range(6)], "label": list("aabbcc"), "split": "train"})
PREDICTIONS = pd.DataFrame({"label": CLASSES, "p_ant": 0.5, "p_bee": 0.25, "p_cat": 0.25})
PAIRS = pd.DataFrame(
    {
        "class_a": ["ant", "ant"],
        "class_b": ["bee", "cat"],
        "score": 0.5,
        "samples": 6,
        "chosen": [True, False],
    }
)
EPOCH = {
    "training": "plain", "method": "plain", "phase": "train", "epoch": 1, "step": 1, "steps": 2, "samples_seen": 8,
    "loss": 0.5, "lr": 0.1, "val_accuracy": None, "val_log_loss": 0.7, "seconds": 0.1,
}  # fmt: skip
OUTCOME = {"budget": 8, "seconds": 1.5, "histories": [[EPOCH]], "chosen": {}, "notes": []}
ANSWERS = {"validation": np.full((2, 3), 1 / 3), "probabilities": np.full((4, 3), 1 / 3)}
FINDING = Finding("small class", "warning", "1 class is small.", "add images", ("a.png",), ({"n": 1},))


def make_model() -> Model:
    """Return a model with every predictor that there is, learned and not fitted."""
    predictors = tuple(kind() for kind in PREDICTORS.values())
    spec = ModelSpec(
        recipe="plain+" + "+".join(PREDICTORS),
        backbone="small-cnn",
        classes=CLASSES,
        channels=3,
        image_size=8,
        resize="stretch",
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        augment="flip",
        predictors=tuple(described(predictor) for predictor in predictors),
    )
    known = Known(
        images=PIXELS.transpose(0, 3, 1, 2),
        rows=np.arange(6),
        labels=LABELS,
        groups=(),
        num_classes=3,
        pairs=all_pairs(CLASSES),
        augmentation=spec.augmentation,
        seeds=Seeds(0),
        device=torch.device("cpu"),
    )
    return Model(spec, empty_network(spec), predictors).learned(known)


WHOLE = make_model()
MODEL = {
    "format_version": 3,
    **{k: v for k, v in dataclasses.asdict(WHOLE.spec).items() if k not in (*PREPROCESSING, "predictors")},
    "predictors": [{"name": name, "settings": own} for name, own in WHOLE.spec.predictors],
    "preprocessing": WHOLE.spec.preprocessing(),
}
RUN = {
    "format_version": 2, "status": "running", "command": "sit2", "data": "/data", "methods": ["plain"],
    "root": "/data", "versions": {}, "machine": {}, "seconds": {"images": 0.5},
    "dataset": {"fingerprint": "0" * 32, "classes": CLASSES},
}  # fmt: skip
SETTINGS = {
    "epochs": 2.0,
    "image_size": 16,
    "backbone": "small-cnn",
    "method": "plain",
    "operators": ["blend"],
    "weights": None,
    "seed": 0,
}

# --- targets ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """Something that reads a file."""

    file: str  # the name under which the input is written
    inputs: st.SearchStrategy[bytes]
    read: Callable[[Path], Any]
    beside: Callable[[Path], Any] = lambda _folder: None  # writes what must lie beside the input


def _manifest(path: Path) -> None:
    try:
        read_dataset(path)
    finally:
        read_images(path, CLASSES)


def _image(path: Path) -> None:
    with quiet_libraries():
        channels_of(path)
        decode(path, Decoding(size=8, channels=3, resize="pad"))


def _resume(path: Path) -> None:
    with (
        RunFolder.open(
            path.parent, settings=SETTINGS, identity={"data": "/data"}, command="", resume=True
        ) as run,
        run.stage("images"),
    ):
        run.info.get("dataset", {}).get("fingerprint")


def _evaluate(path: Path) -> None:
    dataset = Dataset("x", Path(), CLASSES, ("a",), ("a.png",), np.zeros(1, np.int64))

    def column(name: str) -> tuple[str, ...]:
        raise DataError(f"no column {name}")

    seen_in_training(dataset, ("0" * 32,), path.parent, nobody, column)


def _predictions(path: Path) -> None:
    is_predictions_file(path)
    read_predictions(path)


def _cache(path: Path) -> None:
    found = cache.load(path.parent, path.stem, fits=lambda size: size < 1 << 20)
    assert found is None or len(found[0]) == len(found[1])


def _yaml_of(whole: dict[str, Any]) -> st.SearchStrategy[bytes]:
    odd = st.sampled_from(
        ("2001-99-99", "0b_", "!!python/object:os.system ls", "&a [*a]", "? [a]", "1:2:3", "<<: 1")
    )
    text = changed(whole).map(lambda content: yaml.safe_dump(content).encode())
    line = st.builds(
        lambda key, value: f"{key}: {value}".encode(), st.sampled_from(sorted(whole)), odd | CELL
    )
    return text | line | damaged(yaml.safe_dump(whole).encode()) | st.binary(max_size=40)


def _model(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "model.json").write_text(json.dumps(MODEL), encoding="utf-8")


WEIGHTS = written(lambda file: torch.save({"a.weight": torch.zeros(3, 2), "b": torch.arange(4)}, file))
OLD_WEIGHTS = written(
    lambda file: torch.save({"a": torch.zeros(3, 2)}, file, _use_new_zipfile_serialization=False)
)
with tempfile.TemporaryDirectory() as _place:
    WHOLE.save(Path(_place))
    SAFETENSORS = (Path(_place) / "model.safetensors").read_bytes()
    save_state(Path(_place) / "state.pt", {"phase": 0, "network": {"a": torch.zeros(3)}})
    STATE = (Path(_place) / "state.pt").read_bytes()
HEADER = 8 + int.from_bytes(SAFETENSORS[:8], "little")


@functools.cache
def exported() -> bytes:
    """Return the file of `sit2 export`, small: without predictors. It takes PyTorch's exporter seconds."""
    return to_onnx(Model(replace(WHOLE.spec, predictors=()), WHOLE.network))


def of_exported() -> dict[str, Target]:
    """Return the target of exported models, where the packages for them are installed.

    A file may be damaged and still load: what it then answers is not asked here, only that nothing but our
    errors escapes while it is read. ONNX Runtime parses it in this process.
    """
    if not all(importlib.util.find_spec(name) for name in ("onnxruntime", "onnxscript")):
        return {}
    return {"model.onnx": Target("model.onnx", st.deferred(lambda: damaged(exported())), onnx_file.load)}


def of_run_folders() -> dict[str, Target]:
    """Return a target for each file of a run folder that is read again, for its report or to be resumed."""
    tables = {
        "run: samples.csv": ("run/samples.csv", read_samples),
        "run: matrix.csv": ("run/confusion/matrix.csv", read_matrix),
        "run: pairs.csv": ("run/confusion/pairs.csv", lambda path: read_pairs(path, CLASSES)),
        "run: history.csv": ("run/history.csv", read_history),
        "run: predictions": ("run/predictions/plain.csv", read_run_predictions),
        "comparison: results.csv": ("comparison/results.csv", read_results),
        "comparison: summary.csv": ("comparison/summary.csv", read_summary),
    }
    objects = {
        "run: run.json": ("run/run.json", lambda path: read_info(path.parent)),
        "run: metrics.json": ("run/metrics.json", read_metrics),
        "run: comparison.json": ("run/comparison.json", read_tests),
        "run: check.json": ("run/check.json", read_findings),
        "comparison: ranks.json": ("comparison/ranks.json", read_ranks),
        "comparison: comparison.json": ("comparison/comparison.json", read_verdicts),
    }
    made: dict[str, Target] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        random_run(place / "run", 3, 6)
        made_comparison(place / "comparison", splits=2)
        (place / "run/check.json").write_text(json.dumps(findings_json([FINDING])))
        for target, (file, read) in tables.items():
            whole = pd.read_csv(place / file, dtype=str, keep_default_na=False)
            made[target] = Target(Path(file).name, table(whole), read)
        for target, (file, read) in objects.items():
            content = json.loads((place / file).read_text(encoding="utf-8"))
            made[target] = Target(Path(file).name, as_json(content), read)
    pictures = {"ids": np.array(list("abcdef")), "images": PIXELS.transpose(0, 3, 1, 2)}
    packed = damaged(written(lambda f: np.savez_compressed(f, **pictures)))
    return {**made, "run: thumbnails.npz": Target("thumbnails.npz", packed, read_thumbnails)}


TARGETS = {
    "manifest.csv": Target("manifest.csv", table(MANIFEST), _manifest),
    "manifest.parquet": Target("manifest.parquet", damaged(written(MANIFEST.to_parquet)), _manifest),
    "npz": Target(
        "images.npz",
        damaged(
            written(lambda f: np.savez(f, images=PIXELS, labels=LABELS)),
            written(lambda f: np.savez_compressed(f, images=PIXELS, labels=LABELS)),
        ),
        _manifest,
    ),
    "image": Target("image.png", damaged(*IMAGES), _image),
    "model.json": Target("model.json", as_json(MODEL), read_spec),
    "model.safetensors": Target(
        "model.safetensors",
        damaged(SAFETENSORS[:HEADER]).map(lambda header: header + SAFETENSORS[HEADER:])
        | damaged(SAFETENSORS),
        lambda path: Model.load(path.parent),
        beside=_model,
    ),
    "weights.pth": Target("weights.pth", damaged(WEIGHTS, OLD_WEIGHTS), read_weights),
    "run.json": Target(
        "run.json",
        as_json(RUN),
        _resume,
        beside=lambda folder: (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS)),
    ),
    "run.json of a model": Target(
        "run.json",
        as_json(RUN),
        _evaluate,
        beside=lambda folder: (
            _model(folder / "model"),
            (folder / "samples.csv").write_text("path,split\na.png,train\n"),
        ),
    ),
    "samples.csv of a model": Target(
        "samples.csv",
        table(MANIFEST),
        _evaluate,
        beside=lambda folder: (_model(folder / "model"), (folder / "run.json").write_text(json.dumps(RUN))),
    ),
    "config.yaml": Target(
        "config.yaml", _yaml_of(SETTINGS), lambda path: make_config(read_config_file(path))
    ),
    "pairs.csv": Target(
        "pairs.csv",
        table(PAIRS),
        lambda path: read_pairs(path, CLASSES),
    ),
    "predictions.csv": Target("p.csv", table(PREDICTIONS), _predictions),
    "predictions.parquet": Target("p.parquet", damaged(written(PREDICTIONS.to_parquet)), _predictions),
    "checkpoint": Target("state.pt", damaged(STATE), load_state),
    "kept outcome": Target(
        "kept.json",
        as_json(OUTCOME),
        lambda path: load_outcome(path.parent, "kept"),
        beside=lambda folder: np.savez(folder / "kept.npz", **ANSWERS),
    ),
    "kept probabilities": Target(
        "kept.npz",
        damaged(written(lambda f: np.savez(f, **ANSWERS))),
        lambda path: load_outcome(path.parent, "kept"),
        beside=lambda folder: (folder / "kept.json").write_text(json.dumps(OUTCOME)),
    ),
    "cache": Target(
        "entry.npy",
        damaged(written(lambda f: np.save(f, PIXELS))),
        _cache,
        beside=lambda folder: (folder / "entry.json").write_text(
            json.dumps({"problems": [""] * 6, "notes": []})
        ),
    ),
    **of_exported(),
    **of_run_folders(),
}


def throw(name: str, count: int, folder: Path) -> Counter[str]:
    """Throw inputs at a target; return how many were read and refused. Any other error is raised."""
    target, ended = TARGETS[name], Counter[str]()
    path = folder / target.file
    target.beside(folder)

    @settings(
        max_examples=count, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @seed(0)
    @given(target.inputs)
    def one(data: bytes) -> None:
        path.write_bytes(data)
        try:
            target.read(path)
            ended["read"] += 1
        except (Sit2Error, DamagedStateError):
            ended["refused"] += 1

    one()
    return ended


def resident() -> float:
    """Return the memory of this process in MB; what grows with the inputs is a leak."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--inputs", type=int, default=10_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    failed = 0
    for name in options.targets or TARGETS:
        began, held = time.monotonic(), resident()
        with tempfile.TemporaryDirectory() as place:
            try:
                ended = throw(name, options.inputs, Path(place))
                told = f"{ended.total():,} inputs, {ended['read']:,} read, {ended['refused']:,} refused"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                failed += 1
                told = f"{type(error).__name__} escaped: {error}\n" + "\n".join(
                    getattr(error, "__notes__", [])
                )
        cost = f"{time.monotonic() - began:.0f} s, {resident() - held:+,.0f} MB"
        print(f"{name}: {told} ({cost})", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
