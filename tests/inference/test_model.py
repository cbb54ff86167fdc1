"""A trained model: what it says, and how it is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sit2.confusion.pairs import all_pairs
from sit2.errors import ModelError
from sit2.inference import chain
from sit2.inference.asked_network import Members
from sit2.inference.model import PREDICT_BATCH, Model, empty_network
from sit2.inference.model_spec import ModelSpec, described, find_model, read_spec
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.ensemble import Ensemble
from sit2.inference.predictors.experts import Experts
from sit2.inference.predictors.predictor import Known
from sit2.inference.predictors.temperature import Temperature
from sit2.seeds import Seeds
from sit2.training.augmentations import PRESETS

SPEC = ModelSpec(
    recipe="multi-label@random",
    backbone="small-cnn",
    classes=("ant", "bee", "Käfer 🐞"),
    channels=3,
    image_size=16,
    resize="stretch",
    mean=(0.4, 0.5, 0.6),
    std=(0.2, 0.25, 0.3),
    augment="flip",
    layout="class",
)
COUNT = PREDICT_BATCH + 7
ALL = tuple(PREDICTORS)  # in their turn
RECIPES = {"none": (), "tta": ("tta",), "all": ALL}


def as_if_trained(network, seed=0):
    """Give batch normalisation statistics that do something."""
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    return network


def with_predictors(plain, images, names):
    """A model with predictors that learned from some images and were fitted to others."""
    predictors = tuple(PREDICTORS[name]() for name in names)
    known = Known(
        images=images,
        rows=np.arange(29),
        labels=np.arange(29) % 3,
        groups=(),
        num_classes=3,
        pairs=all_pairs(SPEC.classes)[:1],
        augmentation=plain.spec.augmentation,
        seeds=Seeds(0),
        device=torch.device("cpu"),
    )
    spec = replace(
        plain.spec,
        recipe="+".join([plain.spec.recipe, *names]),
        predictors=tuple(described(one) for one in predictors),
    )
    model = Model(spec, plain.network, predictors).learned(known)
    rows = np.arange(29, COUNT)
    return model.fitted(model.observe(images, rows), rows % 3)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (COUNT, 3, 16, 16), np.uint8)


@pytest.fixture(scope="module", params=["small-cnn", "test_resnet"])
def plain(request):
    spec = replace(SPEC, backbone=request.param)
    return Model(spec, as_if_trained(empty_network(spec)))


@pytest.fixture(scope="module", params=RECIPES)
def model(request, plain, images):
    return with_predictors(plain, images, RECIPES[request.param])


@pytest.fixture
def whole(plain, images):
    """A model with every predictor."""
    return with_predictors(plain, images, ALL)


class TestPrediction:
    def test_rows_are_probabilities(self, model, images):
        probabilities = model.probabilities(images)
        assert probabilities.shape == (COUNT, 3)
        assert probabilities.dtype == np.float64
        assert probabilities.min() > 0
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
        assert len(np.unique(probabilities, axis=0)) == COUNT

    def test_in_batches_of_one_size_an_image_does_not_depend_on_its_company(self, model, images):
        """To the bit: so are a run's own predictions made, and whatever is compared with them."""
        whole = model.probabilities(images, fixed_batch=True)
        order = np.random.default_rng(1).permutation(COUNT)
        assert np.array_equal(model.probabilities(images[order], fixed_batch=True), whole[order])
        for part in ([5], [70, 3], range(30, 60), range(COUNT - 1, 0, -2)):
            rows = np.array(part)
            assert np.array_equal(model.probabilities(images[rows], fixed_batch=True), whole[rows])

    def test_in_batches_of_what_is_asked_it_does_not_either_but_for_rounding(self, model, images):
        whole = model.probabilities(images, fixed_batch=True)
        for part in ([5], [70, 3], range(COUNT)):
            rows = np.array(part)
            np.testing.assert_allclose(model.probabilities(images[rows]), whole[rows], atol=1e-5)

    @pytest.mark.parametrize("count", [1, 3, PREDICT_BATCH, COUNT])
    def test_one_image_costs_one(self, plain, images, count, monkeypatch):
        """Unless batches are to be of one size."""
        sizes, encoder = [], type(plain.network.encoder)
        forward = encoder.forward
        monkeypatch.setattr(encoder, "forward", lambda net, x: (sizes.append(len(x)), forward(net, x))[1])
        plain.probabilities(images[:count])
        assert sizes == [min(count, PREDICT_BATCH), *([COUNT - PREDICT_BATCH] if count == COUNT else [])]
        sizes.clear()
        plain.probabilities(images[:count], fixed_batch=True)
        assert sizes == [PREDICT_BATCH] * (2 if count == COUNT else 1)

    @pytest.mark.parametrize("fixed_batch", [False, True])
    def test_rows_of_a_store(self, model, images, fixed_batch):
        rows = np.random.default_rng(2).permutation(COUNT)[:67]
        expected = model.probabilities(images[rows], fixed_batch=fixed_batch)
        assert np.array_equal(model.probabilities(images, rows, fixed_batch=fixed_batch), expected)

    def test_rows_of_a_memory_map_are_read_a_batch_at_a_time(self, plain, images):
        class Spy:
            shape = images.shape
            taken: list[int] = []  # noqa: RUF012

            def __len__(self):
                return len(images)

            def __getitem__(self, rows):
                self.taken.append(len(rows))
                return images[rows]

        rows = np.arange(COUNT)[::-1].copy()
        assert np.array_equal(plain.probabilities(Spy(), rows), plain.probabilities(images, rows))
        assert max(Spy.taken) == PREDICT_BATCH

    def test_is_the_softmax_of_the_network_on_normalised_pixels(self, plain, images):
        network = plain.network.eval()
        x = images[:5] / 255.0
        x = (x - np.reshape(SPEC.mean, (3, 1, 1))) / np.reshape(SPEC.std, (3, 1, 1))
        with torch.no_grad():
            logits = network(torch.from_numpy(x).float()).double().numpy()
        expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(plain.probabilities(images[:5]), expected, atol=1e-5)

    def test_is_what_its_predictors_make_of_the_network(self, whole, plain, images):
        """But for the experts, whose part test_experts.py computes."""
        whole = replace(
            whole, predictors=tuple(one for one in whole.predictors if not isinstance(one, Experts))
        )
        pixels = torch.from_numpy(images[:5]).float() / 255
        with torch.inference_mode():
            first = torch.from_numpy(plain.probabilities(images[:5])).log()
            mirrored = torch.from_numpy(plain.probabilities(images[:5, :, :, ::-1])).log()
            tta, ensemble, _, temperature, *_ = whole.predictors
            answer = (first + mirrored) / 2
            answer = (1 - ensemble.weight) * answer + ensemble.weight * ensemble.classifier(pixels)
            answer = (answer * ensemble.inverse_temperature).softmax(dim=1)
            pair = (
                first[:, :2].exp().sum(dim=1, keepdim=True)
                * answer[:, :2]
                / answer[:, :2].sum(dim=1, keepdim=True)
            )
            concerned = first.argmax(dim=1, keepdim=True) < 2
            answer = torch.where(concerned, torch.cat([pair, first[:, 2:].exp()], dim=1), first.exp())
            expected = (answer.log() * temperature.inverse_temperature).softmax(dim=1)
        assert tta.mirror
        assert ensemble.weight > 0
        np.testing.assert_allclose(whole.probabilities(images[:5]), expected, atol=1e-5)

    def test_no_images(self, model, images):
        for fixed_batch in (False, True):
            assert model.probabilities(images[:0], fixed_batch=fixed_batch).shape == (0, 3)

    def test_predicts_in_evaluation_mode(self, model, images):
        expected = model.probabilities(images[:5])
        model.network.train()
        assert np.array_equal(model.probabilities(images[:5]), expected)


class TestFitting:
    def unfitted(self, whole):
        """The model, its predictors as they were before they were fitted."""
        as_they_were = {
            Ensemble: lambda one: replace(one, weight=0.3, inverse_temperature=1.0),
            Experts: lambda one: replace(one, weight=0.3),
            Temperature: lambda _: Temperature(),
        }
        predictors = (as_they_were.get(type(one), lambda one: one)(one) for one in whole.predictors)
        return replace(whole, predictors=tuple(predictors))

    def test_to_one_image_after_the_other_as_to_all_at_once(self, whole, images):
        before = self.unfitted(whole)
        rows = np.arange(3, COUNT)
        assert len(rows) > PREDICT_BATCH
        seen = before.observe(images, rows)
        with torch.inference_mode():
            pixels = torch.from_numpy(images[rows]).float() / 255
            at_once = chain.Observations.of(before.predictors, pixels, before.asking())
        torch.testing.assert_close(seen.first, at_once.first)
        fitted = before.fitted(seen, rows % 3)
        expected = chain.fitted(before.predictors, at_once, torch.from_numpy(rows % 3))
        assert (fitted.predictors[1].weight, fitted.predictors[1].inverse_temperature) == (
            expected[1].weight,
            expected[1].inverse_temperature,
        )
        assert fitted.predictors[4].inverse_temperature == pytest.approx(
            expected[4].inverse_temperature, rel=1e-3
        )
        assert fitted.predictors[4].inverse_temperature != 1

    def test_what_is_seen_depends_on_no_company(self, whole, images):
        seen = whole.observe(images, np.arange(COUNT))
        alone = whole.observe(images, np.array([70]))
        assert torch.equal(alone.first[0], seen.first[70])
        assert torch.equal(alone.observed[0][0], seen.observed[0][70])

    def test_without_images_nothing_is_fitted(self, whole, images):
        before, none = self.unfitted(whole), np.empty(0, np.int64)
        seen = before.observe(images, none)
        assert seen is None
        assert before.fitted(seen, none) is before
        assert before.cross_fitted(seen, none, (), Seeds(0)).shape == (0, 3)

    def test_cross_fitted_probabilities_are_the_chains(self, whole, images):
        before, rows = self.unfitted(whole), np.arange(29, COUNT)
        seen = before.observe(images, rows)
        found = before.cross_fitted(seen, rows % 3, (), Seeds(3))
        expected = chain.cross_fitted(before.predictors, seen, torch.from_numpy(rows % 3), (), Seeds(3)).exp()
        assert np.array_equal(found, expected)
        fitted = before.fitted(seen, rows % 3)
        assert not np.allclose(found, fitted.probabilities(images, rows))


class TestViews:
    def test_of_the_predictor_with_most(self, whole, images):
        pixels = torch.from_numpy(images[:2]).float() / 255
        views = list(whole.views(pixels))
        assert len(views) == 2
        assert torch.equal(views[0], pixels)
        assert torch.equal(views[1], pixels.flip(3))

    def test_the_network_is_asked_about_each_once(self, whole, images):
        """Predictors ask about the image itself again, and for its features."""
        asked = []
        whole.network.encoder.register_forward_hook(lambda *_: asked.append(1))
        whole.answers(images[:3])
        assert len(asked) == len(list(whole.views(torch.from_numpy(images[:3]))))

    def test_without_predictors_there_is_one(self, plain, images):
        pixels = torch.from_numpy(images[:2]).float() / 255
        (view,) = plain.views(pixels)
        assert torch.equal(view, pixels)


class TestMembers:
    def test_their_answers_are_averaged(self, plain, images):
        networks = [as_if_trained(empty_network(plain.spec), seed) for seed in range(3)]
        alone = [Model(plain.spec, network.eval()).probabilities(images) for network in networks]
        assert not np.allclose(alone[0], alone[1])
        together = Model(replace(plain.spec, networks=3), Members(networks))
        np.testing.assert_allclose(together.probabilities(images), np.mean(alone, axis=0), atol=1e-6)

    def test_roundtrip(self, plain, images, tmp_path):
        networks = [as_if_trained(empty_network(plain.spec), seed) for seed in range(2)]
        together = Model(replace(plain.spec, networks=2), Members(networks))
        together.save(tmp_path)
        loaded = Model.load(tmp_path)
        assert isinstance(loaded.network, Members)
        assert np.array_equal(loaded.probabilities(images), together.probabilities(images))

    def test_another_number_of_networks_is_refused(self, plain, tmp_path):
        networks = [empty_network(plain.spec) for _ in range(2)]
        Model(replace(plain.spec, networks=2), Members(networks)).save(tmp_path)
        for networks in (1, 3):
            replace(plain.spec, networks=networks).save(tmp_path / "model.json")
            assert message(tmp_path).startswith(f"the weights in {tmp_path} cannot be loaded: ")


class TestKept:
    @pytest.mark.parametrize("place", ["", "model"])
    def test_roundtrip(self, model, images, place, tmp_path):
        model.save(tmp_path / place)
        loaded = Model.load(tmp_path)
        assert loaded.spec == model.spec
        assert [type(one) for one in loaded.predictors] == [type(one) for one in model.predictors]
        assert np.array_equal(loaded.probabilities(images), model.probabilities(images))

    def test_equal_models_are_equal_bytes(self, model, tmp_path):
        for name in ("a", "b"):
            model.save(tmp_path / name)
        for file in ("model.safetensors", "model.json"):
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
        assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["model.json", "model.safetensors"]

    def test_what_model_json_says(self, whole, tmp_path):
        replace(whole, spec=replace(whole.spec, backbone="small-cnn")).save(tmp_path)
        text = (tmp_path / "model.json").read_text(encoding="utf-8")
        assert "Käfer 🐞" in text
        assert json.loads(text) == {
            "format_version": 3,
            "recipe": "multi-label@random+" + "+".join(PREDICTORS),
            "backbone": "small-cnn",
            "classes": ["ant", "bee", "Käfer 🐞"],
            "augment": "flip",
            "layout": "class",
            "networks": 1,
            "predictors": [
                {"name": "tta", "settings": {}},
                {"name": "ensemble", "settings": {"ensemble_weight": None}},
                {"name": "pairwise", "settings": {}},
                {"name": "experts", "settings": {"experts_least": 0.05}},
                {"name": "temperature", "settings": {}},
                {"name": "conformal", "settings": {"coverage_per_class": False}},
                {"name": "ood", "settings": {"false_alarms": 0.05}},
            ],
            "weights": "",
            "weights_digest": "",
            "stages": False,
            "figures": "",
            "preprocessing": {
                "channels": 3,
                "image_size": 16,
                "resize": "stretch",
                "depth_window": "full",
                "background": "white",
                "max_megapixels": 178,
                "channels_from": [],
                "mean": [0.4, 0.5, 0.6],
                "std": [0.2, 0.25, 0.3],
            },
        }

    @pytest.mark.parametrize("name", PREDICTORS)
    def test_state_that_is_missing_or_of_no_predictor_is_refused(self, whole, name, tmp_path):
        whole.save(tmp_path)
        state = load_file(tmp_path / "model.safetensors")
        own = [key for key in state if key.startswith(f"predictor.{name}.")]
        if own:
            save_file({k: v for k, v in state.items() if k != own[0]}, tmp_path / "model.safetensors")
            assert message(tmp_path).startswith(f"the weights in {tmp_path} cannot be loaded: ")
        save_file(state, tmp_path / "model.safetensors")
        Model.load(tmp_path)
        TestDamaged.change(
            tmp_path,
            predictors=[one for one in TestDamaged.content(tmp_path)["predictors"] if one["name"] != name],
        )
        assert "but its predictors are" in message(tmp_path)


@pytest.fixture
def folder(tmp_path):
    Model(SPEC, empty_network(SPEC)).save(tmp_path)
    return tmp_path


def message(folder):
    with pytest.raises(ModelError) as error:
        Model.load(folder)
    text = str(error.value)
    assert 1 <= len(text.split("\n")) <= 3
    return text


class TestDamaged:
    def test_no_folder(self, tmp_path):
        hint = "\nexpected a run folder that `sit2 train` finished, or its model folder"
        assert message(tmp_path / "none") == f"no such folder: {tmp_path / 'none'}{hint}"
        assert message(tmp_path) == f"there is no model.json in {tmp_path}{hint}"

    @pytest.mark.parametrize("version", [0, 1, 2, 4, "3", None])
    def test_another_version(self, folder, version):
        """Those before were never released."""
        self.change(folder, format_version=version)
        assert message(folder) == (
            f"{folder / 'model.json'} has format version {version!r}, and this sit2 reads version 3 only: "
            "train again"
        )

    @pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"text"', '{"format_version": 3}', "\xff"])
    def test_not_a_model(self, folder, text):
        (folder / "model.json").write_bytes(text.encode("latin-1"))
        assert str(folder / "model.json") in message(folder)

    @pytest.mark.parametrize(
        "name", ["recipe", "backbone", "classes", "augment", "predictors", "preprocessing"]
    )
    def test_a_field_is_missing(self, folder, name):
        self.change(folder, without=name)
        assert message(folder).startswith(f"{folder / 'model.json'} is damaged: ")

    @pytest.mark.parametrize("name", ["channels", "image_size", "resize", "mean", "std"])
    def test_a_field_of_the_preprocessing_is_missing(self, folder, name):
        self.change(folder, preprocessing={k: v for k, v in self.preprocessing(folder).items() if k != name})
        assert name in message(folder)

    def test_a_field_too_many(self, folder):
        self.change(folder, start="/etc/passwd")
        assert message(folder) == (
            f"{folder / 'model.json'} is damaged: ModelSpec.__init__() got an unexpected keyword argument "
            "'start'\ntrain again, or restore the file"
        )

    @pytest.mark.parametrize(
        ("place", "value", "reason"),
        [
            ("backbone", 3, "a name is not a text"),
            ("recipe", None, "a name is not a text"),
            ("layout", 3, "a name is not a text"),
            ("augment", "flop", "augment must be one of none, no-flip, flip, dihedral"),
            ("networks", 0, "networks must be a whole number up to 64"),
            ("networks", 65, "networks must be a whole number up to 64"),
            ("networks", True, "networks must be a whole number up to 64"),
            ("predictors", [{"name": "crystal ball", "settings": {}}], "unknown predictor 'crystal ball'"),
            ("predictors", [{"name": "tta", "settings": {"a": 1}}], "the predictor tta has no setting 'a'"),
            (
                "predictors",
                [{"name": "ensemble", "settings": {"ensemble_weight": 2}}],
                "ensemble_weight is 2\nexpected a number from 0.0 to 1.0",
            ),
            (
                "predictors",
                [{"name": "tta", "settings": {}}],
                "its recipe is 'multi-label@random', but its predictors are: tta",
            ),
            ("recipe", "plain+tta", "its recipe is 'plain+tta', but its predictors are: none"),
            ("classes", ["ant", 3], "a name is not a text"),
            ("classes", ["ant", "ant"], "classes must be two or more different names"),
            ("classes", ["ant"], "classes must be two or more different names"),
            ("classes", "ant", "classes must be two or more different names"),
            ("classes", {"ant": 0, "bee": 1, "cat": 2}, "classes must be two or more different names"),
            ("channels", 2, "channels must be 1 or 3, with as many means and deviations"),
            ("mean", [0.5], "channels must be 1 or 3, with as many means and deviations"),
            ("mean", ["a", "b", "c"], "mean and std must be numbers"),
            ("std", [0.2, 0.2, None], "mean and std must be numbers"),
            ("image_size", 0, "image_size must be a whole number from 8 to 1024"),
            ("image_size", 10**6, "image_size must be a whole number from 8 to 1024"),
            ("image_size", "16", "image_size must be a whole number from 8 to 1024"),
        ],
    )
    def test_a_wrong_value(self, folder, place, value, reason):
        if place in self.preprocessing(folder):
            value = {**self.preprocessing(folder), place: value}
            place = "preprocessing"
        self.change(folder, **{place: value})
        expected = f"{folder / 'model.json'} is damaged: {reason}\ntrain again, or restore the file"
        assert message(folder) == expected

    @pytest.mark.parametrize(
        "value",
        [
            3,
            None,
            "tta",
            [3],
            ["tta"],
            [{"name": "tta"}],
            {"tta": {}},
            [[]],
            [{"name": ["tta"], "settings": {}}],
        ],
    )
    def test_predictors_that_are_none(self, folder, value):
        self.change(folder, predictors=value)
        assert message(folder).startswith(f"{folder / 'model.json'} is damaged: ")

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

    def test_an_augmentation_means_what_its_preset_says(self):
        for name, augmentation in PRESETS.items():
            assert replace(SPEC, augment=name).augmentation == augmentation

    @staticmethod
    def content(folder):
        return json.loads((folder / "model.json").read_text(encoding="utf-8"))

    @classmethod
    def preprocessing(cls, folder):
        return cls.content(folder)["preprocessing"]

    @classmethod
    def change(cls, folder, without="", **values):
        content = cls.content(folder) | values
        content.pop(without, None)
        (folder / "model.json").write_text(json.dumps(content), encoding="utf-8")
