"""Heat maps lie where the prediction comes from, and a page is made whatever is missing.

The networks are made by hand: they hand red and green on, unchanged, from layer to layer, and predict the
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
from made_run import page_text, write_run
from PIL import Image
from test_report_page import Page, check_page
from torch import nn

from sit2.confusion.predictions_file import predictions_table
from sit2.inference.model import Model, empty_network
from sit2.inference.model_spec import ModelSpec
from sit2.inference.predictors.tta import TestTimeAugmentation
from sit2.records import Predictions
from sit2.report.gradcam import Explainer, HeatMaps, brightest, last_map, overlay

COLOURS = ("red", "green")
SIDE = 32
QUADRANTS = [(row, column) for row in (0, 1) for column in (0, 1)]
WORDS = {(0, 0): "at the top left", (0, 1): "at the top right"} | {
    (1, 0): "at the bottom left",
    (1, 1): "at the bottom right",
}
ABSENT = "There are no heat maps of the images below"


def patches(row: int, column: int, *, side: int = SIDE) -> np.ndarray:
    """Return (side, side, 3) uint8: red in one quadrant, as much green in the opposite one."""
    pixels, half, edge = np.zeros((side, side, 3), np.uint8), side // 2, side // 8
    for colour, (at_y, at_x) in enumerate(((row, column), (1 - row, 1 - column))):
        y, x = at_y * half + edge, at_x * half + edge
        pixels[y : y + half - 2 * edge, x : x + half - 2 * edge, colour] = 200
    return pixels


def colour_model(prefers: str, *, backbone: str = "small-cnn", recipe: str = "plain") -> Model:
    """Return a network for which one of two equal colours counts twice."""
    spec = ModelSpec(recipe, backbone, COLOURS, 3, SIDE, "stretch", (0.0,) * 3, (1.0,) * 3, "dihedral")
    network = empty_network(spec).eval()
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
    return Model(spec, network)


def averaging(model: Model) -> Model:
    """Return a model that averages its network over all eight views of an image."""
    spec = replace(model.spec, recipe=f"{model.spec.recipe}+tta", predictors=(("tta", {}),))
    return replace(model, spec=spec, predictors=(TestTimeAugmentation(mirror=True, dihedral=True),))


def predict_with(run: Path, model: Model, place: str) -> None:
    """Save a model in a run, and its predictions of the run's images."""
    model.save(run / place)
    path = run / "predictions" / f"{model.spec.recipe}.csv"
    table = pd.read_csv(path)
    images = np.stack([np.asarray(Image.open(run.parent / "images" / name)) for name in table["path"]])
    probabilities = model.probabilities(images.transpose(0, 3, 1, 2))
    known = Predictions(tuple(table["path"]), np.array([0, 0, 0, 0, 1, 1, 1, 1]), probabilities, ())
    predictions_table(known, COLOURS, table["path"]).to_csv(path, index=False)


def colour_run(folder: Path, *, averages: bool = False) -> Path:
    """Write a run of eight images: the control calls each red, the method green; every second is green.

    ``averages``: both average their networks over all views of an image.
    """
    recipes = ("plain+tta", "multi-label+tta") if averages else ("plain", "multi-label")
    quadrants = [QUADRANTS[n % 4] for n in range(8)]
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    names = [f"{COLOURS[k]}/{n}.png" for n, k in enumerate(labels)]
    images = np.stack([patches(*quadrant) for quadrant in quadrants])
    for name, pixels in zip(names, images, strict=True):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    run, root = folder / "run", folder / "images"
    answers = labels * 0, labels * 0 + 1
    write_run(run, COLOURS, labels, *answers, recipes=recipes, images=root, names=names)
    places = zip(recipes, ("red", "green"), (f"model/{recipes[0]}", "model"), strict=True)
    for recipe, prefers, place in places:
        model = colour_model(prefers, recipe=recipe.removesuffix("+tta"))
        predict_with(run, averaging(model) if averages else model, place)
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
    """Return a run's page."""
    path = run / "page.html"
    path.write_text(page_text(run, room=room), encoding="utf-8")
    return Page(path)


def maps(page: Page) -> list[str]:
    """The alternative texts of a page's heat maps."""
    return [a["alt"] for tag, a in page.tags if tag == "img" and a["alt"].startswith("Heat map of ")]


@pytest.mark.parametrize("backbone", ["small-cnn", "resnet18"])
def test_the_map_lies_where_the_prediction_comes_from(backbone):
    pytest.importorskip("pytorch_grad_cam")
    for prefers in COLOURS:
        model = colour_model(prefers, backbone=backbone)
        layer, cells = last_map(model)
        assert cells == {"small-cnn": (8, 8), "resnet18": (4, 4)}[backbone]
        explainer = Explainer("plain", model, layer)
        for row, column in QUADRANTS:
            pixels = patches(row, column).transpose(2, 0, 1)
            pixels.flags.writeable = False  # as the images of a run's own file are
            heat, chances = explainer.explain(pixels)
            assert heat.shape == (SIDE, SIDE)
            assert (heat.min(), heat.max()) == pytest.approx((0, 1))
            assert COLOURS[chances.argmax()] == prefers
            assert chances == pytest.approx(model.probabilities(pixels[None])[0], abs=1e-5)
            at = (row, column) if prefers == "red" else (1 - row, 1 - column)
            quadrants = heat.reshape(2, SIDE // 2, 2, SIDE // 2).sum(axis=(1, 3))
            assert quadrants[at] > 0.7 * heat.sum()


def test_the_map_of_a_view_is_turned_back():
    """The network sees colours only: however an image is turned, the same parts of it count."""
    pytest.importorskip("pytorch_grad_cam")
    for prefers in COLOURS:
        model = colour_model(prefers)
        once, averaged = (
            Explainer("plain", one, last_map(one)[0]) for one in (model, averaging(colour_model(prefers)))
        )
        for quadrant in QUADRANTS:
            pixels = patches(*quadrant)
            pixels[3:7, 20:24, 2] = 250  # so that no two views are alike
            (first, _), (second, chances) = (
                one.explain(pixels.transpose(2, 0, 1)) for one in (once, averaged)
            )
            np.testing.assert_allclose(second, first, atol=1e-5)
            assert COLOURS[chances.argmax()] == prefers


def test_the_map_is_the_mean_over_the_views():
    pytest.importorskip("pytorch_grad_cam")
    with_gradient = []
    pixels = patches(0, 0).transpose(2, 0, 1)
    for model, views in ((colour_model("red"), 1), (averaging(colour_model("red")), 8)):
        layer = last_map(model)[0]
        with model.network.register_forward_hook(lambda *_: with_gradient.append(torch.is_grad_enabled())):
            heat, _ = Explainer("plain", model, layer).explain(pixels)
        assert heat.max() == pytest.approx(1)
        assert sum(with_gradient) == views  # those that a map is made of
        with_gradient.clear()


def test_a_map_of_nothing_is_dark():
    pytest.importorskip("pytorch_grad_cam")
    model = colour_model("red")
    heat, _ = Explainer("plain", model, last_map(model)[0]).explain(np.zeros((3, SIDE, SIDE), np.uint8))
    assert not heat.any()
    assert brightest(heat) == ""


def test_before_and_after_stand_side_by_side(run):
    pytest.importorskip("pytorch_grad_cam")
    page = page_of(run)
    check_page(page)
    # The first three of each kind: errors on green images were fixed, on red ones introduced.
    expected = []
    for row, column in [*QUADRANTS[:3], *QUADRANTS[:3]]:
        expected += [
            f"Heat map of plain for its prediction red: brightest {WORDS[row, column]}",
            f"Heat map of multi-label for its prediction green: brightest {WORDS[1 - row, 1 - column]}",
        ]
    assert maps(page) == expected
    assert "as a hint, not as evidence" in page.text
    assert "8 × 8 cells (plain) and 8 × 8 cells (multi-label)" in page.text
    assert ABSENT not in page.text
    chances = Model.load(run / "model" / "plain").probabilities(patches(0, 0).transpose(2, 0, 1)[None])
    assert f"plain: red {100 * chances.max():.0f} %" in page.text
    assert page_of(run).source == page.source


def test_the_page_says_where_a_map_is_a_mean_over_views(run, tmp_path):
    pytest.importorskip("pytorch_grad_cam")
    before = page_of(run)
    assert "the mean over the views" not in before.text
    page = page_of(colour_run(tmp_path / "averages", averages=True))
    check_page(page)
    assert "The map of multi-label+tta is the mean over the views that it averages." in page.text
    assert [text.replace("+tta", "") for text in maps(page)] == maps(before)


def test_a_run_without_a_control_shows_one_map_an_image(tmp_path):
    pytest.importorskip("pytorch_grad_cam")
    run = colour_run(tmp_path)
    for name in ("comparison.json", "predictions/plain.csv"):
        (run / name).unlink()
    page = page_of(run)
    check_page(page)
    quadrants = [WORDS[1 - row, 1 - column] for row, column in QUADRANTS[:3]]  # red images, called green
    where = [f"Heat map of multi-label for its prediction green: brightest {words}" for words in quadrants]
    assert maps(page) == where
    assert "Confused images (4)" in page.text


def test_images_that_came_as_arrays(run):
    pytest.importorskip("pytorch_grad_cam")
    images = run.parent / "images"
    names = sorted(p.relative_to(images).as_posix() for p in images.rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(images / name)) for name in names]).transpose(0, 3, 1, 2)
    before = maps(page_of(run))
    shutil.rmtree(images)
    np.savez(run / "thumbnails.npz", ids=np.array(names), images=pixels)
    assert maps(page_of(run)) == before
    np.savez(run / "thumbnails.npz", ids=np.array(names), images=pixels[:, :, ::2, ::2])
    page = page_of(run)
    assert maps(page) == []
    assert "6 of the images below have no heat map" in page.text


def test_an_image_that_is_gone_or_another_has_none(run):
    pytest.importorskip("pytorch_grad_cam")
    images = run.parent / "images" / "green"
    (images / "4.png").unlink()
    Image.fromarray(patches(0, 0)[:, :, [1, 0, 2]] // 4).save(images / "5.png")
    page = page_of(run)
    assert len(maps(page)) == 2 * (1 + 3)
    assert "2 of the images below have no heat map" in page.text


def test_without_the_extra_a_sentence_stands_there(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    page = page_of(run)
    assert maps(page) == []
    assert f"{ABSENT}: they need pip install 'sit2[gradcam]'" in page.text
    assert "Errors fixed (4)" in page.text
    assert all(image["src"] for image in page.data["images"])


def test_without_a_model_or_with_a_damaged_one(run):
    pytest.importorskip("pytorch_grad_cam")
    weights = run / "model" / "plain" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert f"{ABSENT}: the model of plain cannot be loaded." in page_of(run).text
    shutil.copytree(run / "model", run / "model" / "plain", dirs_exist_ok=True)
    assert f"{ABSENT}: the model in the folder of plain is another one." in page_of(run).text
    shutil.rmtree(run / "model" / "plain")
    page = page_of(run)
    assert f"{ABSENT}: the run folder holds no model of plain." in page.text
    assert maps(page) == []


def test_a_failing_network_fails_no_page(run, monkeypatch):
    pytest.importorskip("pytorch_grad_cam")

    def fail(*_):
        raise RuntimeError("no gradient")

    monkeypatch.setattr(Explainer, "explain", fail)
    assert f"{ABSENT}: Grad-CAM fails on this network (RuntimeError)." in page_of(run).text


def test_without_errors_there_is_nothing_to_say(tmp_path, monkeypatch):
    monkeypatch.setattr(HeatMaps, "_explained", None)
    labels = np.arange(20) % 2
    page = page_of(write_run(tmp_path / "run", COLOURS, labels, labels, labels))
    assert "heat map" not in page.text.lower()


def test_maps_give_way_where_there_is_no_room(run):
    pytest.importorskip("pytorch_grad_cam")
    few, many = (maps(page_of(run, room=room)) for room in (40_000, 5_000_000))
    assert 0 < len(few) < len(many)
    assert few == many[: len(few)]
    assert maps(page_of(run, room=0)) == []


def test_a_network_of_tokens_has_no_map():
    network = ("vit_tiny_patch16_224", COLOURS, 3, SIDE)
    spec = ModelSpec("plain", *network, "stretch", (0.5,) * 3, (0.5,) * 3, "flip")
    assert last_map(Model(spec, empty_network(spec))) is None


def test_several_networks_have_no_map(run):
    pytest.importorskip("pytorch_grad_cam")
    spec = replace(colour_model("red").spec, recipe="plain", networks=2)
    Model(spec, empty_network(spec)).save(run / "model" / "plain")
    assert f"{ABSENT}: plain averages 2 networks." in page_of(run).text


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
