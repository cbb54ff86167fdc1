"""The scikit-learn face: what scikit-learn expects of a classifier, on arrays and on paths of images."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from synthetic import CLASSES, SETTINGS, arrays, command, finished, save, write_folder

import sit2.experiments.confusion
from sit2 import ConfigError, DataError, ModelError, SIT2Classifier
from sit2.errors import RunFolderError

IMAGES, LABELS = arrays(8)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Several threads wait for each other where other tests use the same cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tiny(**parameters: Any) -> SIT2Classifier:
    return SIT2Classifier(
        **{
            "backbone": "small-cnn",
            "image_size": 16,
            "epochs": 2,
            "batch_size": 8,
            "settings": {"folds": 2, "workers": 1},
            **parameters,
        }
    )


@pytest.fixture(scope="module")
def fitted() -> SIT2Classifier:
    """Return one that has learned; not to be fitted again."""
    return tiny(epochs=15).fit(IMAGES, LABELS)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], list[str]]:
    """Return IMAGES as files, in the same order, and their labels."""
    root = tmp_path_factory.mktemp("files")
    paths = [save(root / f"{n:02d}.png", pixels) for n, pixels in enumerate(IMAGES)]
    return paths, LABELS.tolist()


class TestFit:
    def test_it_learns(self, fitted: SIT2Classifier) -> None:
        probabilities = fitted.predict_proba(IMAGES)
        assert fitted.classes_.tolist() == list(CLASSES)
        assert probabilities.shape == (24, 3)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert fitted.predict(IMAGES).tolist() == fitted.classes_[probabilities.argmax(axis=1)].tolist()
        assert fitted.score(IMAGES, LABELS) == accuracy_score(LABELS, fitted.predict(IMAGES)) > 0.6
        assert fitted.pairs_ == []  # confusion is not measured where nothing has use for it

    def test_a_method_that_mixes_keeps_the_pairs(self) -> None:
        model = tiny(method="multi-label").fit(IMAGES, LABELS)
        assert model.pairs_[0].chosen
        assert [pair.score for pair in model.pairs_] == sorted((p.score for p in model.pairs_), reverse=True)
        assert len(model.pairs_) == 3
        free = tiny(method="multi-label", settings={"confusion": "closed-form"}).fit(IMAGES, LABELS)
        assert len(free.pairs_) == 3

    @pytest.mark.parametrize("method", ["plain*2+tta", "plain+tta+ensemble+pairwise+temperature"])
    def test_any_recipe(self, method: str, tmp_path: Path) -> None:
        model = tiny(method=method, epochs=1).fit(IMAGES, LABELS)
        probabilities = model.predict_proba(IMAGES)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        model.save(tmp_path / "model")
        loaded = SIT2Classifier.load(tmp_path / "model")
        assert loaded.method == method
        np.testing.assert_array_equal(loaded.predict_proba(IMAGES), probabilities)

    def test_one_random_state_gives_one_classifier(self) -> None:
        first, again, other = (
            tiny(random_state=n).fit(IMAGES, LABELS).predict_proba(IMAGES) for n in (7, 7, 8)
        )
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()

    def test_files_are_as_good_as_arrays(self, files: tuple[list[Path], list[str]]) -> None:
        paths, labels = files
        expected = tiny().fit(IMAGES, LABELS).predict_proba(IMAGES)
        for given in (paths, [str(path) for path in paths], np.array(paths, dtype=str)):
            np.testing.assert_array_equal(tiny().fit(given, labels).predict_proba(given), expected)

    def test_a_column_of_a_table(self, files: tuple[list[Path], list[str]]) -> None:
        """Its rows need not be numbered from 0, as they are not after a filter or a split."""
        table = pd.DataFrame({"path": map(str, files[0]), "label": files[1]}, index=range(100, 124))
        expected = tiny().fit(IMAGES, LABELS).predict_proba(IMAGES)
        model = tiny().fit(table["path"], table["label"])
        np.testing.assert_array_equal(model.predict_proba(table["path"]), expected)

    @pytest.mark.parametrize("count", [23, 25])
    def test_groups_that_do_not_fit(self, count: int) -> None:
        with pytest.raises(
            DataError, match=rf"^groups holds {count}\nexpected one group for each of 24 images$"
        ):
            tiny().fit(IMAGES, LABELS, groups=["a"] * count)

    @pytest.mark.parametrize("shape", [(24, 16, 16), (24, 16, 16, 1)])
    def test_grey_images(self, shape: tuple[int, ...]) -> None:
        grey = IMAGES[:, :, :, 0].reshape(shape)
        model = tiny(method="plain").fit(grey, LABELS)
        assert model.model_.spec.channels == 1
        assert model.predict_proba(grey).shape == (24, 3)

    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            ([10, 9, -1], [-1, 9, 10]),
            (["10", "9", "b"], ["10", "9", "b"]),
            ([True, False, True], [False, True]),
        ],
    )
    def test_labels_come_back_as_they_went_in(self, names: list[Any], expected: list[Any]) -> None:
        labels = np.array(names)[np.unique(LABELS, return_inverse=True)[1]]
        model = tiny(method="plain", epochs=0.5).fit(IMAGES, labels)
        assert model.classes_.tolist() == expected
        assert model.predict(IMAGES).dtype == labels.dtype
        assert set(model.predict(IMAGES)) <= set(expected)

    def test_groups_stay_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[Any] = []
        folds = sit2.experiments.confusion.folds

        def see(labels: Any, groups: Any, *rest: Any, **more: Any) -> Any:
            seen.append(groups)
            return folds(labels, groups, *rest, **more)

        monkeypatch.setattr(sit2.experiments.confusion, "folds", see)
        tiny(method="multi-label", epochs=0.5, settings={"confusion": "folds"}).fit(
            IMAGES, LABELS, groups=np.arange(24) // 2
        )
        assert seen == [tuple(str(n // 2) for n in range(24))]

    def test_nothing_to_predict(self, fitted: SIT2Classifier) -> None:
        assert fitted.predict_proba([]).shape == (0, 3)
        assert fitted.predict([]).tolist() == []


class TestScikitLearn:
    def test_it_is_a_classifier(self) -> None:
        assert is_classifier(SIT2Classifier())

    def test_parameters(self) -> None:
        model = tiny(random_state=3)
        assert model.get_params()["random_state"] == 3
        assert model.set_params(method="plain", epochs=1).method == "plain"
        with pytest.raises(ValueError, match="Invalid parameter 'epoch'"):
            model.set_params(epoch=1)

    def test_clone_and_repr(self, fitted: SIT2Classifier) -> None:
        copy = clone(fitted)
        assert copy.get_params() == fitted.get_params()
        assert not hasattr(copy, "classes_")
        assert repr(copy).startswith(
            "SIT2Classifier(backbone='small-cnn', batch_size=8, epochs=15, image_size=16,"
        )

    def test_fit_changes_no_parameter(self, fitted: SIT2Classifier) -> None:
        assert fitted.get_params() == tiny(epochs=15).get_params()

    def test_cross_val_score(self, files: tuple[list[Path], list[str]]) -> None:
        expected = cross_val_score(tiny(), IMAGES, LABELS, cv=2)
        assert expected.shape == (2,)
        assert ((expected >= 0) & (expected <= 1)).all()
        paths = pd.Series([str(path) for path in files[0]])
        assert cross_val_score(tiny(), paths, files[1], cv=2).tolist() == expected.tolist()

    def test_grid_search(self) -> None:
        search = GridSearchCV(tiny(epochs=0.5), {"method": ["plain", "mixup"]}, cv=2)
        assert search.fit(IMAGES, LABELS).best_params_["method"] in ("plain", "mixup")

    @pytest.mark.parametrize("call", ["predict", "predict_proba"])
    def test_it_must_be_fitted_first(self, call: str, tmp_path: Path) -> None:
        with pytest.raises(NotFittedError):
            getattr(tiny(), call)(IMAGES)
        with pytest.raises(NotFittedError):
            tiny().save(tmp_path / "model")
        assert not (tmp_path / "model").exists()


class TestSaved:
    def test_it_comes_back(self, fitted: SIT2Classifier, tmp_path: Path) -> None:
        fitted.save(tmp_path / "model")
        names = sorted(p.name for p in (tmp_path / "model").iterdir())
        assert names == ["estimator.json", "model.json", "model.safetensors"]
        loaded = SIT2Classifier.load(tmp_path / "model")
        np.testing.assert_array_equal(loaded.predict_proba(IMAGES), fitted.predict_proba(IMAGES))
        assert loaded.predict(IMAGES).tolist() == fitted.predict(IMAGES).tolist()
        assert loaded.classes_.tolist() == list(CLASSES)
        assert (loaded.method, loaded.backbone, loaded.image_size) == ("plain+tta+ensemble", "small-cnn", 16)

    @pytest.mark.parametrize(
        "kind", [np.int64, np.uint8, np.float32, object, str, bool], ids=lambda kind: np.dtype(kind).name
    )
    def test_labels_keep_their_type(self, kind: Any, fitted: SIT2Classifier, tmp_path: Path) -> None:
        """What fit would have made of such labels; the network is the same."""
        known = {"cross": "2", "disc": "3", "oval": "10"}
        y = np.array([known[name] for name in LABELS.tolist()])
        y = LABELS == "oval" if kind is bool else y.astype(kind)
        own = tiny(epochs=0.5, method="plain").fit(IMAGES, y)
        own.save(tmp_path / "model")
        loaded = SIT2Classifier.load(tmp_path / "model")
        assert loaded.classes_.dtype == own.classes_.dtype
        np.testing.assert_array_equal(loaded.classes_, own.classes_)
        assert loaded.predict(IMAGES).dtype == own.predict(IMAGES).dtype
        assert loaded.score(IMAGES, y) == own.score(IMAGES, y)

    def test_every_parameter_comes_back_and_a_refit_is_the_same(self, tmp_path: Path) -> None:
        own = tiny(
            method="sure-or-not@random",
            epochs=np.float64(0.5),
            augment="no-flip",
            batch_size=np.int64(6),
            lr=0.002,
            pretrained=False,
            random_state=np.int64(5),
        ).fit(IMAGES, LABELS)
        own.save(tmp_path / "model")
        loaded = SIT2Classifier.load(tmp_path / "model")
        assert loaded.get_params() == own.get_params()
        assert repr(loaded.pairs_) == repr(own.pairs_)  # a random pair has no score: NaN equals nothing
        assert loaded.pairs_
        again = clone(loaded).fit(IMAGES, LABELS)
        np.testing.assert_array_equal(again.predict_proba(IMAGES), own.predict_proba(IMAGES))

    def test_a_run_says_how_it_was_trained(self) -> None:
        loaded = SIT2Classifier.load(finished().run)
        told = loaded.get_params()
        known = {
            name: SETTINGS[name] for name in ("method", "backbone", "image_size", "epochs", "batch_size")
        }
        assert {name: told[name] for name in known} == known
        assert told["settings"].items() >= {"confusion": "folds", "folds": 2, "workers": 1}.items()
        assert loaded._config().folds == 2  # a refit would take them

    @pytest.mark.parametrize(
        ("edit", "why"),
        [
            (lambda content: content["labels"].update(classes=["a", "b", "c"]), "not those of the model"),
            (lambda content: content["labels"].update(dtype="nonsense"), "nonsense"),
            (lambda content: content.update(pairs=[{"a": 1}]), "missing"),
            (lambda content: content.update(format_version=9), "its format version is 9, not 1"),
            (lambda content: content["parameters"].update(evil=1), "there is no parameter 'evil'"),
        ],
    )
    def test_a_damaged_file(self, edit: Any, why: str, fitted: SIT2Classifier, tmp_path: Path) -> None:
        fitted.save(tmp_path / "model")
        path = tmp_path / "model" / "estimator.json"
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))
        with pytest.raises(ModelError, match=r"estimator\.json is damaged: .*" + why):
            SIT2Classifier.load(tmp_path / "model")

    @pytest.mark.parametrize("place", ["file", "file/model"])
    def test_onto_a_file(self, place: str, fitted: SIT2Classifier, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(RunFolderError, match=r"/file is a file\nexpected a folder; give another place$"):
            fitted.save(tmp_path / place)
        assert (tmp_path / "file").read_text() == "mine"

    def test_what_json_cannot_hold(self, tmp_path: Path) -> None:
        own = tiny(epochs=0.5, method="plain").fit(IMAGES, LABELS)
        own.set_params(settings={"folds": object()})
        with pytest.raises(ModelError, match=r"^settings holds <object .* cannot be saved\n"):
            own.save(tmp_path / "model")
        assert not (tmp_path / "model").exists()

    def test_the_command_predicts_the_same(
        self, fitted: SIT2Classifier, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fitted.save(tmp_path / "model")
        data = write_folder(tmp_path / "shapes", 8)  # the same images as IMAGES
        assert command(("predict", data, "--model", tmp_path / "model")) == 0
        table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        paths = [data / row["path"] for row in table]
        printed = [[row[f"p_{name}"] for name in CLASSES] for row in table]
        own = [[f"{value:.6f}" for value in row] for row in fitted.predict_proba(paths)]
        assert printed == own

    def test_nothing_to_load(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="expected a run folder"):
            SIT2Classifier.load(tmp_path)


class TestRefused:
    @pytest.mark.parametrize("gone", [None, float("nan"), pd.NA, ""])
    def test_what_is_missing(self, gone: Any) -> None:
        values = [*LABELS.tolist()[:-1], gone]
        with pytest.raises(
            DataError, match=r"^y: 1 label of 24 is missing \(None, NaN or empty\), in row 23, "
        ):
            tiny().fit(IMAGES, values)
        with pytest.raises(DataError, match=r"^groups: 1 group of 24 is missing .*, in row 23, "):
            tiny().fit(IMAGES, LABELS, groups=values)

    def test_a_path_that_cannot_be_read(self, files: tuple[list[Path], list[str]], tmp_path: Path) -> None:
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"not an image")
        with pytest.raises(DataError) as caught:
            tiny().fit([*files[0], broken], [*files[1], "disc"])
        assert str(caught.value) == (
            f"1 image cannot be read: {broken} (not an image, or of an unknown format)\n"
            "leave out what cannot be read, and its label"
        )

    @pytest.mark.parametrize("channels", [3, 4])
    def test_one_image_without_its_axis(self, channels: int, fitted: SIT2Classifier) -> None:
        """It would be read as gray images, 3 or 4 pixels wide."""
        image = np.zeros((16, 24, channels), np.uint8)
        with pytest.raises(DataError) as caught:
            fitted.predict_proba(image)
        assert str(caught.value) == (
            f"X has the shape (16, 24, {channels}), which looks like one colour image\n"
            "expected images (N, H, W) or (N, H, W, 3); of a single image X give X[None]"
        )
        assert fitted.predict_proba(image[None]).shape == (1, 3)

    @pytest.mark.parametrize("state", [None, np.random.RandomState(0), True, 1.5])
    def test_a_random_state_that_is_no_number(self, state: Any) -> None:
        with pytest.raises(ConfigError, match=r"^random_state is .*\nexpected a whole number: equal numbers"):
            tiny(random_state=state).fit(IMAGES, LABELS)

    def test_a_path_that_is_not_there(self, fitted: SIT2Classifier) -> None:
        with pytest.raises(DataError, match=r"^1 image cannot be read: nowhere\.png \(no such file\)\n"):
            fitted.predict(["nowhere.png"])

    @pytest.mark.parametrize(
        ("images", "labels", "message"),
        [
            (IMAGES, LABELS[:5], "y has shape (5,)\nexpected one label for each of 24 images"),
            (IMAGES, LABELS[:, None], "y has shape (24, 1)\nexpected one label for each of 24 images"),
            (IMAGES, ["disc"] * 24, "y holds only one class, 'disc'\nexpected at least two"),
            (
                [IMAGES[0], IMAGES[1][:9]],
                ["a", "b"],
                "X: the images differ in shape\nexpected all of one size, or paths",
            ),
            (
                IMAGES / 2,
                LABELS,
                (
                    f"X: pixels are float64 from {IMAGES.min() / 2:.6g} to {IMAGES.max() / 2:.6g}\nexpected floats "
                    "from 0 to 1, or uint8: divide them, or use images.astype('uint8') where they lie between 0 "
                    "and 255"
                ),
            ),
        ],
        ids=["too few labels", "labels in a column", "one class", "ragged", "floats"],
    )
    def test_data(self, images: Any, labels: Any, message: str) -> None:
        with pytest.raises(DataError) as caught:
            tiny().fit(images, labels)
        assert str(caught.value) == message

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            (
                {"method": "second-look"},
                "'second-look' is no method any more\nwrite 'plain+tta+ensemble+pairwise'",
            ),
            (
                {"method": "multilabel"},
                "unknown method 'multilabel'\ndid you mean 'multi-label' or 'soft-label'?",
            ),
            ({"settings": {"fold": 3}}, "unknown setting 'fold'\ndid you mean 'folds'?"),
            (
                {"settings": {"epochs": 3}},
                "settings holds 'epochs'\ngive it as the parameter epochs instead",
            ),
            (
                {"settings": {"seed": 3}},
                "settings holds 'seed'\ngive it as the parameter random_state instead",
            ),
            (
                {"settings": {"early_stop": 3}},
                "settings holds 'early_stop', but fit trains on every image it is given\nleave it out",
            ),
        ],
    )
    def test_settings(self, parameters: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError) as caught:
            tiny(**parameters).fit(IMAGES, LABELS)
        assert str(caught.value) == message
