"""Heat maps lie where the answer comes from, and a page is made whatever is missing.

The networks are made by hand: they hand red and green on, unchanged, from layer to layer, and answer with the
colour of which there is more.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_run import write_run
from PIL import Image
from test_report_page import Page, check_page
from torch import nn

from sit2.confusion.pairs import all_pairs
from sit2.confusion.predictions_file import predictions_table
from sit2.features.closed_form import fit_probe
from sit2.inference.model import Classifier, ModelSpec
from sit2.inference.second_look import SecondLook
from sit2.records import Predictions
from sit2.report.data import load_run
from sit2.report.heat import Heat, Seer, brightest, last_map, overlay
from sit2.report.page import render, run_context
from sit2.seeds import Seeds
from sit2.training.augment import PRESETS

COLOURS = ("red", "green")
SIDE = 32
QUADRANTS = [(row, column) for row in (0, 1) for column in (0, 1)]
WORDS = {(0, 0): "at the top left", (0, 1): "at the top right"} | {
    (1, 0): "at the bottom left",
    (1, 1): "at the bottom right",
}
ABSENT = "Heat maps of where the networks looked are left out"


def patches(row: int, column: int, *, side: int = SIDE) -> np.ndarray:
    """Return (side, side, 3) uint8: red in one quadrant, as much green in the opposite one."""
    pixels, half, edge = np.zeros((side, side, 3), np.uint8), side // 2, side // 8
    for colour, (at_y, at_x) in enumerate(((row, column), (1 - row, 1 - column))):
        y, x = at_y * half + edge, at_x * half + edge
        pixels[y : y + half - 2 * edge, x : x + half - 2 * edge, colour] = 200
    return pixels


def colour_classifier(prefers: str, *, backbone: str = "small-cnn", method: str = "plain") -> Classifier:
    """Return a network for which one of two equal colours counts twice."""
    spec = ModelSpec(backbone, COLOURS, 3, SIDE, "stretch", (0.0,) * 3, (1.0,) * 3, method)
    network = spec.build().eval()
    with torch.no_grad():
        for module in network.encoder.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                middle = module.weight.shape[2] // 2
                module.weight[[0, 1], [0, 1], middle, middle] = 1.0
        network.head.weight.zero_()
        network.head.bias.zero_()
        network.head.weight[[0, 1], [0, 1]] = 1.0
        network.head.weight[COLOURS.index(prefers)] *= 2
    return Classifier(spec, network)


def twice(classifier: Classifier, *, pairs: bool = True) -> Classifier:
    """Return a network that looks a second time, at images laid all eight ways, with a probe of no weight."""
    images = np.stack([patches(*place) for place in 2 * QUADRANTS]).transpose(0, 3, 1, 2)
    flips = {"mirror": True, "dihedral": True}
    probe, _ = fit_probe(images, np.arange(8) // 4, 2, seeds=Seeds(0), **flips)
    look = SecondLook.of(
        probe, all_pairs(COLOURS) if pairs else [], num_classes=2, weight=0, augment=PRESETS["dihedral"]
    )
    return replace(classifier, spec=replace(classifier.spec, second_look=True), second_look=look)


def answer_with(run: Path, classifier: Classifier, place: str) -> None:
    """Save a model in a run, and its answers to the run's images."""
    classifier.save(run / place)
    path = run / "predictions" / f"{classifier.spec.method}.csv"
    table = pd.read_csv(path)
    images = np.stack([np.asarray(Image.open(run.parent / "images" / name)) for name in table["path"]])
    chances = classifier.predict_proba(images.transpose(0, 3, 1, 2))
    known = Predictions(tuple(table["path"]), np.array([0, 0, 0, 0, 1, 1, 1, 1]), chances, ())
    predictions_table(known, COLOURS, table["path"]).to_csv(path, index=False)


def colour_run(folder: Path) -> Path:
    """Write a run of eight images: the control calls each red, the method green; every second is green."""
    places = [QUADRANTS[n % 4] for n in range(8)]
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    names = [f"{COLOURS[k]}/{n}.png" for n, k in enumerate(labels)]
    images = np.stack([patches(*place) for place in places])
    for name, pixels in zip(names, images, strict=True):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    run, root = folder / "run", folder / "images"
    write_run(run, COLOURS, labels, labels * 0, labels * 0 + 1, images=root, names=names)
    for method, prefers, place in (("plain", "red", "model/plain"), ("multi-label", "green", "model")):
        answer_with(run, colour_classifier(prefers, method=method), place)
    return run


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return colour_run(tmp_path_factory.mktemp("heat")).parent


@pytest.fixture(name="run")
def _run(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    folder = shutil.copytree(made, tmp_path / "copy")
    info = folder / "run" / "run.json"
    info.write_text(info.read_text().replace(str(made), str(folder)))
    return folder / "run"


def page_of(run: Path, *, room: int = 5_000_000) -> Page:
    """Return a run's page as ``write_report`` makes it, without the figures and tables beside it."""
    path = run / "page.html"
    path.write_text(render("run.html", run_context(load_run(run), room)), encoding="utf-8")
    return Page(path)


def looks(page: Page) -> list[str]:
    """The alternative texts of a page's heat maps."""
    return [a["alt"] for tag, a in page.tags if tag == "img" and a["alt"].startswith("Where ")]


@pytest.mark.parametrize("backbone", ["small-cnn", "resnet18"])
def test_the_map_lies_where_the_answer_comes_from(backbone):
    pytest.importorskip("pytorch_grad_cam")
    for prefers in COLOURS:
        classifier = colour_classifier(prefers, backbone=backbone)
        layer, cells = last_map(classifier)
        assert cells == {"small-cnn": (8, 8), "resnet18": (4, 4)}[backbone]
        seer = Seer("plain", classifier, layer)
        for row, column in QUADRANTS:
            pixels = patches(row, column).transpose(2, 0, 1)
            pixels.flags.writeable = False  # as the images of a run's own file are
            heat, chances = seer.look(pixels)
            assert heat.shape == (SIDE, SIDE)
            assert (heat.min(), heat.max()) == pytest.approx((0, 1))
            assert COLOURS[chances.argmax()] == prefers
            assert chances == pytest.approx(classifier.predict_proba(pixels[None])[0], abs=1e-5)
            at = (row, column) if prefers == "red" else (1 - row, 1 - column)
            quadrants = heat.reshape(2, SIDE // 2, 2, SIDE // 2).sum(axis=(1, 3))
            assert quadrants[at] > 0.7 * heat.sum()


def test_a_second_looks_map_is_laid_back():
    """The network sees colours only: however an image is laid, it looks at the same things."""
    pytest.importorskip("pytorch_grad_cam")
    for prefers in COLOURS:
        classifier = colour_classifier(prefers)
        once, again = (
            Seer("plain", one, last_map(one)[0]) for one in (classifier, twice(colour_classifier(prefers)))
        )
        for place in QUADRANTS:
            pixels = patches(*place)
            pixels[3:7, 20:24, 2] = 250  # so that no two ways to lay it are alike
            (first, _), (second, chances) = (seer.look(pixels.transpose(2, 0, 1)) for seer in (once, again))
            np.testing.assert_allclose(second, first, atol=1e-5)
            assert COLOURS[chances.argmax()] == prefers


def test_a_second_looks_map_is_of_the_ways_that_were_asked():
    pytest.importorskip("pytorch_grad_cam")
    asked = []
    pixels = patches(0, 0).transpose(2, 0, 1)
    for pairs in (True, False):
        classifier = twice(colour_classifier("red"), pairs=pairs)
        layer = last_map(classifier)[0]
        with classifier.network.register_forward_hook(lambda *_: asked.append(torch.is_grad_enabled())):
            heat, _ = Seer("second-look", classifier, layer).look(pixels)
        assert heat.max() == pytest.approx(1)
        assert sum(asked) == (8 if pairs else 1)  # those that a map is made of
        asked.clear()


def test_a_map_of_nothing_is_dark():
    pytest.importorskip("pytorch_grad_cam")
    classifier = colour_classifier("red")
    heat, _ = Seer("plain", classifier, last_map(classifier)[0]).look(np.zeros((3, SIDE, SIDE), np.uint8))
    assert not heat.any()
    assert brightest(heat) == ""


def test_before_and_after_stand_side_by_side(run):
    pytest.importorskip("pytorch_grad_cam")
    page = page_of(run)
    check_page(page)
    # The first three of each kind: green images were mended, red ones broken.
    expected = []
    for row, column in [*QUADRANTS[:3], *QUADRANTS[:3]]:
        expected += [
            f"Where plain looked for its answer red: brightest {WORDS[row, column]}",
            f"Where multi-label looked for its answer green: brightest {WORDS[1 - row, 1 - column]}",
        ]
    assert looks(page) == expected
    assert "is a hint, not evidence" in page.text
    assert "8 × 8 cells (plain) and 8 × 8 cells (multi-label)" in page.text
    assert ABSENT not in page.text
    chances = Classifier.load(run / "model" / "plain").predict_proba(patches(0, 0).transpose(2, 0, 1)[None])
    assert f"plain: red {100 * chances.max():.0f} %" in page.text
    assert page_of(run).source == page.source


def test_the_page_says_that_a_model_looks_twice(run):
    pytest.importorskip("pytorch_grad_cam")
    before = page_of(run)
    assert "looks twice" not in before.text
    answer_with(run, twice(colour_classifier("green", method="multi-label")), "model")
    page = page_of(run)
    check_page(page)
    assert "multi-label looks twice: its map is the mean over all ways" in page.text
    assert looks(page) == looks(before)


def test_images_that_came_as_arrays(run):
    pytest.importorskip("pytorch_grad_cam")
    images = run.parent / "images"
    names = sorted(p.relative_to(images).as_posix() for p in images.rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(images / name)) for name in names]).transpose(0, 3, 1, 2)
    before = looks(page_of(run))
    shutil.rmtree(images)
    np.savez(run / "thumbnails.npz", ids=np.array(names), images=pixels)
    assert looks(page_of(run)) == before
    np.savez(run / "thumbnails.npz", ids=np.array(names), images=pixels[:, :, ::2, ::2])
    page = page_of(run)
    assert looks(page) == []
    assert "6 of the images below have no heat map" in page.text


def test_an_image_that_is_gone_or_another_has_none(run):
    pytest.importorskip("pytorch_grad_cam")
    images = run.parent / "images" / "green"
    (images / "4.png").unlink()
    Image.fromarray(patches(0, 0)[:, :, [1, 0, 2]] // 4).save(images / "5.png")
    page = page_of(run)
    assert len(looks(page)) == 2 * (1 + 3)
    assert "2 of the images below have no heat map" in page.text


def test_without_the_extra_a_sentence_stands_there(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    page = page_of(run)
    assert looks(page) == []
    assert f"{ABSENT}: they need pip install 'sit2[gradcam]'" in page.text
    assert "Errors mended (4)" in page.text
    assert all(image["src"] for image in page.data["images"])


def test_without_a_model_or_with_a_damaged_one(run):
    pytest.importorskip("pytorch_grad_cam")
    weights = run / "model" / "plain" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert f"{ABSENT}: the model of plain cannot be loaded." in page_of(run).text
    shutil.copytree(run / "model", run / "model" / "plain", dirs_exist_ok=True)
    assert f"{ABSENT}: the model of plain is another's." in page_of(run).text
    shutil.rmtree(run / "model" / "plain")
    page = page_of(run)
    assert f"{ABSENT}: the run folder holds no model of plain." in page.text
    assert looks(page) == []


def test_a_failing_network_fails_no_page(run, monkeypatch):
    pytest.importorskip("pytorch_grad_cam")

    def fail(*_):
        raise RuntimeError("no gradient")

    monkeypatch.setattr(Seer, "look", fail)
    assert f"{ABSENT}: Grad-CAM fails on this network (RuntimeError)." in page_of(run).text


def test_without_errors_there_is_nothing_to_say(tmp_path, monkeypatch):
    monkeypatch.setattr(Heat, "_look", None)
    labels = np.arange(20) % 2
    page = page_of(write_run(tmp_path / "run", COLOURS, labels, labels, labels))
    assert "heat map" not in page.text.lower()


def test_maps_give_way_where_there_is_no_room(run):
    pytest.importorskip("pytorch_grad_cam")
    few, many = (looks(page_of(run, room=room)) for room in (40_000, 5_000_000))
    assert 0 < len(few) < len(many)
    assert few == many[: len(few)]
    assert looks(page_of(run, room=0)) == []


def test_a_network_of_tokens_has_no_map():
    spec = ModelSpec("vit_tiny_patch16_224", COLOURS, 3, SIDE, "stretch", (0.5,) * 3, (0.5,) * 3, "plain")
    assert last_map(Classifier(spec, spec.build())) is None


def test_hot_is_brighter_than_cold_whatever_lies_below():
    def light(shade: int, heat: float) -> float:
        image = overlay(np.full((3, 8, 8), shade, np.uint8), np.full((4, 4), heat))
        assert image.size == (8, 8)
        return float(np.asarray(image.convert("L")).mean())

    lights = [[light(shade, heat) for shade in (0, 255)] for heat in (0.0, 0.5, 1.0)]
    assert max(lights[0]) < max(lights[1]) < max(lights[2])
    assert max(lights[0]) < min(lights[2])


def test_brightest_in_words():
    heat = np.zeros((7, 9))
    assert brightest(heat) == ""
    heat[3, 4] = 1
    assert brightest(heat) == "in the middle"
    heat[0, 4] = 9
    assert brightest(heat) == "at the top"
