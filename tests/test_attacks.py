"""Files made to do harm, each refused; docs/safety.md holds the same table."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from sit2.config.schema import make_config, read_config_file
from sit2.data.decoding.decode import decode
from sit2.data.decoding.image import Decoding
from sit2.data.readers import read_dataset
from sit2.errors import Sit2Error
from sit2.inference.model import Model, empty_network
from sit2.inference.model_spec import ModelSpec
from sit2.storage.files import DamagedStateError, load_state
from sit2.storage.process_state import quiet_libraries
from sit2.storage.run_folder import RunFolder
from sit2.training.backbones import read_weights

SAFETY = Path(__file__).parents[1] / "docs" / "safety.md"
SPEC = ModelSpec("plain", "small-cnn", ("ant", "bee"), 3, 16, "stretch", (0.5,) * 3, (0.2,) * 3, "flip")


class Evil:
    """What an attacker pickles: reading it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.trace),)


class Attack(NamedTuple):
    """A row of the table."""

    file: str
    attack: str
    refusal: str  # a part of the message
    make: Callable[[Path], None]  # writes the file
    read: Callable[[Path], object]


def model(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Write a model whose model.json is changed."""

    def make(path: Path) -> None:
        Model(SPEC, empty_network(SPEC)).save(path.parent)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return make


def predictors(*content: dict[str, Any]) -> Callable[[Path], None]:
    return model(lambda whole: whole.update(predictors=list(content)))


def tensors(header: dict[str, Any] | bytes) -> Callable[[Path], None]:
    """Write a model whose weights have this header."""

    def make(path: Path) -> None:
        Model(SPEC, empty_network(SPEC)).save(path.parent)
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        size = len(text) if text else 1 << 40
        path.write_bytes(struct.pack("<Q", size) + text + bytes(16))

    return make


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def npz(**members: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for name, data in members.items():
                file.writestr(f"{name}.npy", data)

    return make


def npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def objects(path: Path) -> None:
    np.savez(path, images=np.array([Evil(path.parent / "trace")], object), labels=np.zeros(1, np.int64))


def many_rows(path: Path) -> None:
    """A hundred million rows, which a Parquet file holds in a few kilobytes."""
    import pyarrow as pa
    import pyarrow.parquet

    column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(4_000_000, np.int32)), pa.array(["a.png"]))
    with pyarrow.parquet.ParquetWriter(path, pa.schema([("path", column.type)])) as file:
        for _ in range(25):
            file.write_table(pa.table({"path": column}))


def compressed_weights(path: Path) -> None:
    plain = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def stretched_weights(path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)


def forged_state(path: Path) -> None:
    payload = pickle.dumps(Evil(path.parent / "trace"))
    path.write_bytes(hashlib.blake2b(payload, digest_size=20).digest() + payload)


def huge_image(path: Path) -> None:
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "BMP")
    data = bytearray(file.getvalue())
    data[18:26] = struct.pack("<ii", 100_000, 100_000)
    path.write_bytes(data)


def resume(path: Path) -> object:
    return RunFolder.open(path.parent, settings={}, identity={}, command="", resume=True)


def load(path: Path) -> object:
    return Model.load(path.parent)


def config(path: Path) -> object:
    return make_config(read_config_file(path))


def image(path: Path) -> object:
    with quiet_libraries():
        return decode(path, Decoding(16, 3))


def preprocessing(**values: Any) -> Callable[[Path], None]:
    return model(lambda content: content["preprocessing"].update(values))


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
DEEP = "[" * 100_000

ATTACKS = (
    Attack("model.json", "a standard deviation of 0", "which cannot be 0",
           preprocessing(std=[0.2, 0, 0.2]), load),
    Attack("model.json", "NaN in the mean", "mean and std must be numbers",
           preprocessing(mean=[float("nan")] * 3), load),
    Attack("model.json", "an image size of 10⁶", "a whole number from 8 to 1024",
           preprocessing(image_size=10**6), load),
    Attack("model.json", "a field more, with a path", "unexpected keyword argument",
           model(lambda content: content.update(start="/etc/passwd")), load),
    Attack("model.json", "a backbone to fetch from a hub", "unknown backbone",
           model(lambda content: content.update(backbone="hf-hub:me/mine")), load),
    Attack("model.json", "10⁹ networks", "networks must be a whole number up to 64",
           model(lambda content: content.update(networks=10**9)), load),
    Attack("model.json", "a predictor that is none", "unknown predictor 'os.system'",
           predictors({"name": "os.system", "settings": {}}), load),
    Attack("model.json", "a setting that a predictor does not have", "has no setting 'classifier'",
           predictors({"name": "ensemble", "settings": {"classifier": "/etc/passwd"}}), load),
    Attack("model.json", "a weight of 10⁹", "expected a number from 0.0 to 1.0",
           predictors({"name": "ensemble", "settings": {"ensemble_weight": 1e9}}), load),
    Attack("model.json", "a predictor whose tensors are not there", "cannot be loaded",
           model(lambda whole: whole.update(recipe="plain+temperature",
                                            predictors=[{"name": "temperature", "settings": {}}])), load),
    Attack("model.json", "brackets nested 100,000 deep", "nested too deeply", model(lambda _: None), load),
    Attack("model.safetensors", "a header that claims 10¹² numbers", "cannot be loaded",
           tensors({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}), load),
    Attack("model.safetensors", "offsets outside the file", "cannot be loaded",
           tensors({"a": {"dtype": "F32", "shape": [4], "data_offsets": [1 << 30, (1 << 30) + 16]}}), load),
    Attack("model.safetensors", "a header of 10¹² bytes", "cannot be loaded", tensors(b""), load),
    Attack("weights.pth", "a pickle that runs a command", "refused",
           lambda path: torch.save({"a": Evil(path.parent / "trace")}, path), read_weights),
    Attack("weights.pth", "a tensor of one number stretched to 10¹²", "claims more numbers than it holds",
           stretched_weights, read_weights),
    Attack("weights.pth", "compressed tensors", "it is compressed", compressed_weights, read_weights),
    Attack("state/*.pt", "a pickle that runs a command", "training begins again", forged_state, load_state),
    Attack("images.npz", "Python objects", "could run any code", objects, read_dataset),
    Attack("images.npz", "a header that claims 10¹² pixels", "claims 1,000,000,000,",
           npz(images=npy((10**6, 1000, 1000)), labels=npy((3,), b"abc")), read_dataset),
    Attack("images.npz", "a negative shape", "cannot be read as .npz",
           npz(images=npy((-4, 8, 8)), labels=npy((3,), b"abc")), read_dataset),
    Attack("manifest.parquet", "10⁸ rows in a few kilobytes", "more than the memory holds",
           many_rows, read_dataset),
    Attack("config.yaml", "a tag that runs a command", "could not determine a constructor",
           text("seed: !!python/object/apply:os.system [ls]\n"), config),
    Attack("config.yaml", "a billion laughs", "aliases", text(LAUGHS), config),
    Attack("config.yaml", "brackets nested 100,000 deep", "nested too deeply", text("a: " + DEEP), config),
    Attack("run.json", "brackets nested 100,000 deep", "nested too deeply", text(DEEP), resume),
    Attack("run.json", "a list in place of the data set", "cannot read",
           text('{"format_version": 2, "status": "running", "seconds": {}, "dataset": []}'), resume),
    Attack("image.png", "a pipe in place of a file", "a device or a pipe", os.mkfifo, image),
    Attack("image.png", "a header that claims 10¹⁰ pixels", "more than 178 million", huge_image, image),
)  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.file}: {attack.attack}")
def test_it_is_refused(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / Path(attack.file.replace("*", "x")).name
    attack.make(path)
    if attack.file == "model.json" and "nested" in attack.attack:
        path.write_text(DEEP)
    if attack.file == "manifest.parquet":
        monkeypatch.setattr("sit2.data.parquet.fits", lambda size: size < 1 << 30)  # of a machine with 2 GB
    with pytest.raises((Sit2Error, DamagedStateError)) as caught:
        attack.read(path)
    message = str(caught.value) or "the training begins again"
    assert attack.refusal in message
    assert len(message) < 1000
    assert not (tmp_path / "trace").exists()


def test_the_attacks_do_run_where_nobody_refuses(tmp_path: Path) -> None:
    """The trace that the tests look for is one that would be there."""
    pickle.loads(pickle.dumps(Evil(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


def test_the_page_has_the_same_table() -> None:
    rows = [f"| `{a.file}` | {a.attack} | … {a.refusal} … |" for a in ATTACKS]
    page = SAFETY.read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows


def test_a_manifest_may_name_any_image_but_nothing_else_of_it_is_read(tmp_path: Path) -> None:
    """A path outside the folder is taken as the user's own: decoded as an image, or said to be none."""
    secret = tmp_path / "secret.txt"
    secret.write_text("root:x:0")
    for n in range(2):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{n}.png")
    folder = tmp_path / "set"
    folder.mkdir()
    rows = [(str(tmp_path / "0.png"), "a"), ("../1.png", "a"), (str(secret), "b"), ("/dev/zero", "b")]
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(folder / "m.csv", index=False)
    dataset = read_dataset(folder / "m.csv")
    from sit2.data.pixels import load_pixels

    problems = load_pixels(dataset, size=8).problems
    assert problems == ("", "", "not an image, or of an unknown format", "not a file, but a device or a pipe")
