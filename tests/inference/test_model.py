"""A trained model: what it says, and how it is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sit2.confusion.pairs import all_pairs
from sit2.errors import ModelError
from sit2.features.closed_form import fit_probe
from sit2.inference.model import PREDICT_BATCH, Classifier, ModelSpec, find_model, read_spec
from sit2.inference.second_look import SecondLook
from sit2.seeds import Seeds
from sit2.training.augment import PRESETS

SPEC = ModelSpec(
    backbone="small-cnn",
    classes=("ant", "bee", "Käfer 🐞"),
    channels=3,
    image_size=16,
    resize="stretch",
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.25, 0.3),
    method="multi-label@random",
)
COUNT = PREDICT_BATCH + 7


@pytest.fixture(scope="module", params=["small-cnn", "test_resnet"])
def classifier(request):
    spec = ModelSpec(**{**vars(SPEC), "backbone": request.param})
    network = spec.build(seed=3)
    generator = torch.Generator().manual_seed(0)
    for name, buffer in network.named_buffers():  # as if trained
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return Classifier(spec, network)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), np.uint8)


class TestPrediction:
    def test_rows_are_probabilities(self, classifier, images):
        probabilities = classifier.predict_proba(images)
        assert probabilities.shape == (COUNT, 3)
        assert probabilities.dtype == np.float64
        assert probabilities.min() > 0
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
        assert len(np.unique(probabilities, axis=0)) == COUNT

    def test_an_image_does_not_depend_on_its_company(self, classifier, images):
        whole = classifier.predict_proba(images)
        order = np.random.default_rng(1).permutation(COUNT)
        assert np.array_equal(classifier.predict_proba(images[order]), whole[order])
        for part in ([5], [70, 3], range(30, 60), range(COUNT - 1, 0, -2)):
            rows = np.array(part)
            assert np.array_equal(classifier.predict_proba(images[rows]), whole[rows])

    def test_rows_of_a_store(self, classifier, images):
        rows = np.random.default_rng(2).permutation(COUNT)[:67]
        expected = classifier.predict_proba(images[rows])
        assert np.array_equal(classifier.predict_proba(images, rows), expected)

    def test_is_the_softmax_of_the_network_on_normalised_pixels(self, classifier, images):
        network = classifier.network.eval()
        x = images[:5] / 255.0
        x = (x - np.reshape(SPEC.mean, (3, 1, 1))) / np.reshape(SPEC.std, (3, 1, 1))
        with torch.no_grad():
            logits = network(torch.from_numpy(x).float()).double().numpy()
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(classifier.predict_proba(images[:5]), expected, atol=1e-5)

    def test_no_images(self, classifier, images):
        assert classifier.predict_proba(images[:0]).shape == (0, 3)

    def test_predicts_in_evaluation_mode(self, classifier, images):
        expected = classifier.predict_proba(images[:5])
        classifier.network.train()
        assert np.array_equal(classifier.predict_proba(images[:5]), expected)


class TestKept:
    @pytest.mark.parametrize("place", ["", "model"])
    def test_roundtrip(self, classifier, images, place, tmp_path):
        classifier.save(tmp_path / place)
        loaded = Classifier.load(tmp_path)
        assert loaded.spec == classifier.spec
        assert np.array_equal(loaded.predict_proba(images), classifier.predict_proba(images))

    def test_equal_models_are_equal_bytes(self, classifier, tmp_path):
        for name in ("a", "b"):
            classifier.save(tmp_path / name)
        for file in ("model.safetensors", "model.json"):
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["model.json", "model.safetensors"]

    def test_what_model_json_says(self, tmp_path):
        Classifier(SPEC, SPEC.build()).save(tmp_path)
        text = (tmp_path / "model.json").read_text(encoding="utf-8")
        assert "Käfer 🐞" in text
        assert json.loads(text) == {
            "format_version": 1,
            "backbone": "small-cnn",
            "classes": ["ant", "bee", "Käfer 🐞"],
            "method": "multi-label@random",
            "preprocessing": {
                "channels": 3,
                "image_size": 16,
                "resize": "stretch",
                "depth_window": "full",
                "background": "white",
                "max_megapixels": 178,
                "mean": [0.4, 0.5, 0.6],
                "std": [0.2, 0.25, 0.3],
            },
        }


class TestSecondLook:
    @pytest.fixture
    def twice(self, classifier, images):
        labels = np.arange(29) % 3
        probe = fit_probe(images[:29], labels, 3, mirror=True, seeds=Seeds(0))[0]
        pair = all_pairs(SPEC.classes)[:1]
        look = SecondLook.of(probe, pair, num_classes=3, weight=0.3, augment=PRESETS["flip"])
        look = replace(look, sharpness=1.5)
        return replace(classifier, spec=replace(classifier.spec, second_look=True), second_look=look)

    def test_only_images_of_the_pair_are_answered_anew(self, classifier, twice, images):
        before, after = classifier.predict_proba(images), twice.predict_proba(images)
        named = before.argmax(axis=1)
        assert np.array_equal((before != after).any(axis=1), named < 2)
        np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-12)

    def test_an_image_does_not_depend_on_its_company(self, twice, images):
        whole = twice.predict_proba(images)
        for part in ([5], [70, 3], range(COUNT - 1, 0, -2)):
            rows = np.array(part)
            assert np.array_equal(twice.predict_proba(images[rows]), whole[rows])

    def test_it_is_fitted_to_given_images(self, twice, images):
        """However many there are; to one image after the other as to all at once."""
        rows, labels = np.arange(3, COUNT), np.arange(COUNT - 3) % 3
        assert len(rows) > 64
        fitted = twice.fit_second_look(images, rows, labels).second_look

        def ask(pixels):
            return twice.network(twice.prepare(pixels)).double().log_softmax(dim=1)

        with torch.inference_mode():
            pixels = torch.from_numpy(images[rows]).float() / 255
            expected = twice.second_look.fitted(
                twice.second_look.asked(pixels, ask), torch.from_numpy(labels)
            )
        assert (fitted.weight, fitted.sharpness) == (expected.weight, expected.sharpness)
        assert (fitted.weight, fitted.sharpness) != (0.3, 1.5)

    def test_without_images_or_a_second_look_nothing_is_fitted(self, classifier, twice, images):
        none = np.empty(0, np.int64)
        assert twice.fit_second_look(images, none, none) is twice
        assert classifier.fit_second_look(images, np.arange(3), np.arange(3)) is classifier

    def test_roundtrip(self, twice, images, tmp_path):
        twice.save(tmp_path)
        loaded = Classifier.load(tmp_path)
        assert loaded.spec == twice.spec
        assert np.array_equal(loaded.predict_proba(images), twice.predict_proba(images))

    def test_a_sit2_that_knows_no_second_look_refuses_it(self, twice, tmp_path):
        twice.save(tmp_path)
        content = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
        assert content["format_version"] == 2
        assert content["second_look"] is True

    def test_damaged(self, twice, tmp_path):
        twice.save(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        del state["second_look.partners"]
        save_file(state, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match="cannot be loaded: the second look's pairs do not fit"):
            Classifier.load(tmp_path)

    @pytest.mark.parametrize("known", [29, 12])  # torch computes distances to few landmarks in another way
    def test_its_onnx_program_says_the_same(self, twice, images, known, tmp_path):
        pytest.importorskip("onnxruntime")
        from sit2.inference.export import export_onnx

        if twice.spec.backbone == "small-cnn":
            probe = fit_probe(images[:known], np.arange(known) % 3, 3, mirror=True, seeds=Seeds(0))[0]
            replace(twice, second_look=replace(twice.second_look, probe=probe)).save(tmp_path)
            _, difference = export_onnx(tmp_path)
            assert difference < 1e-5


@pytest.fixture
def folder(tmp_path):
    Classifier(SPEC, SPEC.build()).save(tmp_path)
    return tmp_path


def message(folder):
    with pytest.raises(ModelError) as error:
        Classifier.load(folder)
    text = str(error.value)
    assert 1 <= len(text.split("\n")) <= 3
    return text


class TestDamaged:
    def test_no_folder(self, tmp_path):
        hint = "\nexpected a run folder that `sit2 train` finished, or its model folder"
        assert message(tmp_path / "none") == f"no such folder: {tmp_path / 'none'}{hint}"
        assert message(tmp_path) == f"there is no model.json in {tmp_path}{hint}"

    @pytest.mark.parametrize("version", [0, 3, "1", None])
    def test_another_version(self, folder, version):
        self.change(folder, format_version=version)
        assert message(folder) == (
            f"{folder / 'model.json'} has format version {version!r}\n"
            "this sit2 reads versions 1 and 2; train again"
        )

    @pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', '{"format_version": 1}', "\xff"])
    def test_not_a_model(self, folder, text):
        (folder / "model.json").write_bytes(text.encode("latin-1"))
        assert str(folder / "model.json") in message(folder)

    @pytest.mark.parametrize("name", ["backbone", "classes", "method", "preprocessing"])
    def test_a_field_is_missing(self, folder, name):
        self.change(folder, without=name)
        assert message(folder).startswith(f"{folder / 'model.json'} is damaged: ")

    @pytest.mark.parametrize("name", ["channels", "image_size", "resize", "mean", "std"])
    def test_a_field_of_the_preprocessing_is_missing(self, folder, name):
        self.change(folder, preprocessing={k: v for k, v in self.preprocessing(folder).items() if k != name})
        assert name in message(folder)

    def test_a_field_too_many(self, folder):
        self.change(folder, weights="/etc/passwd")
        assert message(folder) == (
            f"{folder / 'model.json'} is damaged: ModelSpec.__init__() got an unexpected keyword argument "
            "'weights'\ntrain again, or restore the file"
        )

    @pytest.mark.parametrize(
        ("place", "value", "reason"),
        [
            ("backbone", 3, "a name is not a text"),
            ("classes", ["ant", 3], "a name is not a text"),
            ("classes", ["ant", "ant"], "classes must be two or more different names"),
            ("classes", ["ant"], "classes must be two or more different names"),
            ("classes", "ant", "classes must be two or more different names"),
            ("classes", {"ant": 0, "bee": 1, "cat": 2}, "classes must be two or more different names"),
            ("channels", 2, "channels must be 1 or 3, with as many means and deviations"),
            ("mean", [0.5], "channels must be 1 or 3, with as many means and deviations"),
            ("mean", ["a", "b", "c"], "mean and std must be numbers"),
            ("std", [0.2, 0.2, None], "mean and std must be numbers"),
            ("image_size", 0, "image_size must be a whole number up to 1024"),
            ("image_size", 10**6, "image_size must be a whole number up to 1024"),
            ("image_size", "16", "image_size must be a whole number up to 1024"),
        ],
    )
    def test_a_wrong_value(self, folder, place, value, reason):
        if place in self.preprocessing(folder):
            value = {**self.preprocessing(folder), place: value}
            place = "preprocessing"
        self.change(folder, **{place: value})
        expected = f"{folder / 'model.json'} is damaged: {reason}\ntrain again, or restore the file"
        assert message(folder) == expected

    @pytest.mark.parametrize("value", [3, [1, 2], "text", None, [["channels", 3]]])
    def test_preprocessing_that_is_none(self, folder, value):
        self.change(folder, preprocessing=value)
        assert message(folder).startswith(f"{folder / 'model.json'} is damaged: ")

    def test_an_unknown_backbone(self, folder):
        self.change(folder, backbone="smal-cnn")
        assert message(folder) == (
            f"the weights in {folder} cannot be loaded: unknown backbone 'smal-cnn' did you mean 'small-cnn'?"
        )

    @pytest.mark.parametrize("backbone", ["hf-hub:someone/something", "local-dir:/tmp"])
    def test_a_backbone_is_not_fetched_from_anywhere(self, folder, backbone):
        self.change(folder, backbone=backbone)
        assert "unknown backbone" in message(folder)

    @pytest.mark.parametrize("damage", ["gone", "empty", "cut", "pickle"])
    def test_the_weights(self, folder, damage):
        file = folder / "model.safetensors"
        whole = file.read_bytes()
        if damage == "gone":
            file.unlink()
        elif damage == "pickle":
            torch.save({"a": torch.zeros(1)}, file)
        else:
            file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
        assert message(folder).startswith(f"the weights in {folder} cannot be loaded: ")

    def test_weights_of_other_classes(self, folder):
        state = load_file(folder / "model.safetensors")
        save_file({**state, "head.bias": torch.zeros(4)}, folder / "model.safetensors")
        assert "size mismatch for head.bias" in message(folder)

    def test_reading_the_spec_alone(self, folder):
        assert read_spec(find_model(folder) / "model.json") == SPEC

    @staticmethod
    def preprocessing(folder):
        return json.loads((folder / "model.json").read_text(encoding="utf-8"))["preprocessing"]

    @staticmethod
    def change(folder, without="", **values):
        content = json.loads((folder / "model.json").read_text(encoding="utf-8")) | values
        content.pop(without, None)
        (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")
