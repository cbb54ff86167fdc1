"""What is answered: the same as `Model.predict` says, image by image, in whatever company."""

from __future__ import annotations

import asyncio
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Open
from synthetic import command, finished

import sit2
from sit2.errors import ConfigError
from sit2.inference.model import Model
from sit2.serve.answering import Answerer, File
from sit2.serve.app import create_app
from sit2.serve.settings import ServeSettings
from sit2.serve.worker import Worker

Files = list[tuple[str, bytes]]


def parts(files: Files) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", one) for one in files]


def test_answers_are_those_of_the_model(opened: Open, files: Files, tmp_path: Path) -> None:
    for name, content in files:
        (tmp_path / name).write_bytes(content)
    model = sit2.load(finished().run)
    paths = [str(tmp_path / name) for name, _ in files]
    said, chances = model.predict(paths), model.predict_proba(paths)
    found = opened().post("/predict", files=parts(files))
    assert found.status_code == 200
    assert found.json()["coverage"] is None
    for one, decision, row, (name, _) in zip(found.json()["images"], said, chances, files, strict=True):
        assert (one["path"], one["problem"], one["notes"]) == (name, "", [])
        assert (one["predicted"], one["decision"]) == (decision.predicted, decision.decision)
        assert list(one["probabilities"]) == list(model.spec.classes)
        np.testing.assert_allclose(list(one["probabilities"].values()), row, atol=1e-6)
        assert one["confidence"] == max(one["probabilities"].values())


def test_one_bad_file_does_not_lose_the_others(opened: Open, files: Files) -> None:
    good = files[0][1]
    bad = [("a.png", b"no image"), ("b.png", b""), ("c.png", good[: len(good) // 2])]
    found = opened().post("/predict", files=parts([files[0], *bad, files[1]])).json()["images"]
    assert [bool(one["problem"]) for one in found] == [False, True, True, True, False]
    assert [one["problem"] for one in found[1:4]] == [
        "not an image, or of an unknown format",
        "an empty file",
        "truncated",
    ]
    assert all(one["predicted"] is one["probabilities"] is None for one in found[1:4])


def test_only_bad_files(opened: Open) -> None:
    found = opened().post("/predict", files=parts([("a.png", b"no image")]))
    assert found.status_code == 200
    assert found.json()["images"][0]["problem"]


def test_more_pixels_than_are_allowed(opened: Open) -> None:
    from served import png

    bomb = png(np.zeros((1001, 1000), np.uint8))
    found = opened(max_megapixels=1).post("/predict", files=parts([("bomb.png", bomb)])).json()
    assert found["images"][0]["problem"] == "1,000 × 1,001 pixels, more than 1 million (see --max-megapixels)"


def test_a_batch_gives_what_single_questions_give(files: Files) -> None:
    model = Model.load(finished().run)
    answerer = Answerer(model, None, 50)
    answerer.open()
    images = np.stack([asyncio.run(answerer.decoded([File(*one)]))[0].pixels for one in files])
    answerer.close()
    worker, sizes = Worker(model), list[int]()
    answers = Model.answers

    class Counting(Model):
        def answers(self, images: Any, *given: Any, **more: Any) -> Any:
            sizes.append(len(images))
            return answers(self, images, *given, **more)

    object.__setattr__(model, "__class__", Counting)
    worker.coming = 1  # so it waits for the others
    asked = [worker.ask(images[n : n + 1]) for n in range(len(images))]
    found = np.concatenate([one.result().probabilities for one in asked])
    worker.close()
    assert sum(sizes) == len(images)
    assert len(sizes) < len(images)
    np.testing.assert_allclose(found, Model.load(finished().run).probabilities(images), atol=1e-6)


def test_an_error_reaches_whoever_asked_and_the_next_is_answered() -> None:
    model = Model.load(finished().run)
    worker, size = Worker(model), model.spec.image_size
    assert isinstance(worker.ask(np.zeros((1, 7, size, size), np.uint8)).exception(), Exception)
    gone = worker.call(lambda: 1 / 0)
    assert isinstance(gone.exception(), ZeroDivisionError)
    good = np.zeros((1, model.spec.channels, size, size), np.uint8)
    assert worker.ask(good).result().probabilities.shape == (1, 3)
    worker.close()


def test_many_at_once(opened: Open, files: Files) -> None:
    client = opened()

    def ask(n: int) -> Any:
        return client.post("/predict", files=parts([files[n % len(files)]])).json()["images"][0]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(36)))
    for n, one in enumerate(found):
        assert one["path"] == files[n % len(files)][0]
        assert one["confidence"] == pytest.approx(found[n % len(files)]["confidence"], abs=1e-6)


def test_the_card(opened: Open) -> None:
    card = opened().get("/model").json()
    spec = Model.load(finished().run).spec
    assert (card["classes"], card["backbone"], card["recipe"]) == (
        list(spec.classes),
        spec.backbone,
        spec.recipe,
    )
    assert card["accuracy"]["lower"] <= card["accuracy"]["value"] <= card["accuracy"]["upper"]
    assert len(card["digest"]) == 32


def test_a_model_folder_alone(files: Files, tmp_path: Path) -> None:
    from starlette.testclient import TestClient

    shutil.copytree(finished().run / "model", tmp_path / "model")
    app = create_app(tmp_path / "model", ServeSettings())
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/model").json()["accuracy"] is None
        assert client.post("/predict", files=parts(files)).status_code == 200
    with pytest.raises(ConfigError, match="lies in no run folder"):
        create_app(tmp_path / "model", ServeSettings(with_examples=True))


def test_examples_are_shown_only_where_that_was_asked_for(opened: Open, files: Files) -> None:
    found = opened().post("/explain", files=parts(files[:1])).json()
    assert found["examples"] == []
    assert found["image"].startswith("data:image/")
    found = opened(with_examples=True).post("/explain", files=parts(files[:1])).json()
    chances = found["answer"]["probabilities"]
    first = sorted(chances, key=chances.get, reverse=True)[:2]
    assert [one["label"] for one in found["examples"]] == [first[0]] * 3 + [first[1]] * 3


def test_the_nearest_example_of_a_training_image_is_itself() -> None:
    from sit2.data.decoding.decode import decode
    from sit2.data.decoding.image import Decoding
    from sit2.events import nobody
    from sit2.serve.explaining import Neighbours

    model = Model.load(finished().run)
    how = Decoding.of(model.spec, channels=model.spec.channels)
    near = Neighbours.of(model, finished().run, how, nobody)
    for place, label in list(zip(near.places, near.labels, strict=True))[:5]:
        assert near.nearest(decode(place, how), [int(label)])[0][0] == place


def test_examples_that_have_changed_are_not_shown(tmp_path: Path) -> None:
    from synthetic import TINY, write_folder

    from sit2.events import nobody
    from sit2.serve.explaining import Neighbours

    data = write_folder(tmp_path / "data")
    assert command(("train", data, "-o", tmp_path / "run", *TINY, "--epochs", "1", "--quiet")) == 0
    model = Model.load(tmp_path / "run")
    from sit2.data.decoding.image import Decoding

    how = Decoding.of(model.spec, channels=model.spec.channels)
    whole = Neighbours.of(model, tmp_path / "run", how, nobody)
    whole.places[0].write_bytes(whole.places[1].read_bytes())
    assert whole.example(whole.places[0], "x", whole.digests[0]) is None
    told: list[Any] = []
    assert len(Neighbours.of(model, tmp_path / "run", how, told.append).places) == len(whole.places) - 1
    assert "1 training image gone or changed" in told[0].text
    shutil.rmtree(data)
    with pytest.raises(ConfigError, match="none of the training images"):
        Neighbours.of(model, tmp_path / "run", how, nobody)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(opened: Open, path: str) -> None:
    found = opened().get(path)
    assert found.headers["content-type"].startswith("text/html")
    policy = found.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "http://" not in found.text
    assert "https://" not in found.text
