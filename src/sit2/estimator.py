"""The scikit-learn face: fit, predict, predict_proba, score on arrays or on paths of images."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from sit2.config.schema import Config, make_config
from sit2.data.pixels import PixelStore
from sit2.data.readers.in_memory import as_sequence, dataset_of, pixels_or_error
from sit2.data.readers.missing import labels_of
from sit2.data.samples import Samples
from sit2.errors import ConfigError, DataError, ModelError, RunFolderError
from sit2.events import nobody
from sit2.execution.parts import Part
from sit2.execution.runner import train_here
from sit2.experiments.confusion import Measured, measure_confusion
from sit2.experiments.planning import plan
from sit2.experiments.prepare import Prepared, fitting, frozen_features, median_size
from sit2.inference.estimator_file import ESTIMATOR, described, read_estimator
from sit2.inference.model import Model
from sit2.inference.model_spec import find_model
from sit2.inference.seen import run_of
from sit2.records import ClassPair, FloatArray
from sit2.seeds import Seeds
from sit2.storage.files import atomic
from sit2.storage.reading import read_settings
from sit2.training.settings import DEFAULT_BACKBONE
from sit2.training.start import start_of


class SIT2Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """An image classifier trained from its own confusion (SIT²), as scikit-learn knows classifiers.

    All images given to ``fit`` are trained on; nothing is held out but for the folds of the confusion.

    Args:
        method: a recipe as `sit2 train --method` takes it: "plain+tta", "multi-label", "not-sure+tta", …
        backbone: "small-cnn" or any timm model.
        image_size: working size in pixels; images are resized to it.
        epochs: budget: samples seen = epochs × images, shared by all phases of the method.
        batch_size: images a step.
        augment: preset of augmentation: "none", "no-flip", "flip" or "dihedral".
        lr: peak learning rate; None: the optimiser's default.
        weights: local file of weights to start from.
        pretrained: start from timm's pretrained weights (download).
        random_state: seed; the same seed gives the same classifier.
        settings: any other setting of :class:`~sit2.config.schema.Config`, by name.

    Attributes:
        classes_: (K,) the class labels, sorted.
        pairs_: class pairs, ranked by confusion; empty for a method that uses none.
    """

    classes_: NDArray[Any]
    pairs_: list[ClassPair]
    model_: Model

    def __init__(
        self,
        method: str = "plain+tta+ensemble",
        *,
        backbone: str = DEFAULT_BACKBONE,
        image_size: int | None = None,
        epochs: float | None = None,
        batch_size: int | None = None,
        augment: str = "flip",
        lr: float | None = None,
        weights: str | Path | None = None,
        pretrained: bool = True,
        random_state: int = 0,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.image_size = image_size
        self.epochs = epochs
        self.batch_size = batch_size
        self.augment = augment
        self.lr = lr
        self.weights = weights
        self.pretrained = pretrained
        self.random_state = random_state
        self.settings = settings

    def fit(
        self, X: ArrayLike | Sequence[str | Path], y: ArrayLike, groups: Sequence[object] | None = None
    ) -> Self:
        """Train.

        Args:
            X: images (N, H, W), (N, H, W, C) or (N, C, H, W), C = 1, 3 or 4, uint8 or floats in [0, 1]; or N paths
                of image files.
            y: (N,) labels, numbers or texts; none may be missing (NaN, None, empty).
            groups: (N,) patients, slides, …, that the folds of the confusion keep together; none may be missing.

        Raises:
            Sit2Error: for images that cannot be read, labels that do not fit, or a setting out of range.
        """
        config, given = self._config(), as_sequence(X)
        labels = labels_of(y, "y")
        if labels.ndim != 1 or len(labels) != len(given):
            raise DataError(f"y has shape {labels.shape}\nexpected one label for each of {len(given)} images")
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        if len(self.classes_) == 1:
            raise DataError(f"y holds only one class, {str(self.classes_[0])!r}\nexpected at least two")
        dataset = dataset_of(given, numbers.astype(np.int64), [str(c) for c in self.classes_], groups)
        config = fitting(config, median_size(dataset))
        images = pixels_or_error(dataset, config)
        everything = np.arange(len(dataset), dtype=np.int64)
        store, splits = PixelStore.of(images), np.full(len(dataset), "train")
        start = start_of(config, channels=images.shape[1], image_size=images.shape[2])
        prepared = Prepared(dataset, store, everything, splits, Samples(), "", start)
        measured = self._measure(prepared, config)
        self.pairs_ = [] if measured is None else list(measured.pairs)
        job = plan(
            config.recipe,
            config=config,
            seeds=Seeds(config.seed),
            classes=dataset.classes,
            store=store,
            train=prepared.part(everything),
            val=Part.empty(),
            predict=Part.empty(),
            start=start,
            chosen=() if measured is None else measured.chosen,
        )
        self.model_ = train_here(job)
        return self

    @staticmethod
    def _measure(prepared: Prepared, config: Config) -> Measured | None:
        """Return the confusion, where the recipe needs it."""
        if not config.recipe.needs_confusion:
            return None
        with tempfile.TemporaryDirectory(prefix="sit2-") as scratch:
            features = frozen_features(prepared, config, Path(scratch), nobody)
            (measured,) = measure_confusion(
                [(prepared, config, features)],
                needed=True,
                networks=Path(scratch),
                keep=None,
                listener=nobody,
            )
        return measured

    def predict_proba(self, X: ArrayLike | Sequence[str | Path]) -> FloatArray:
        """Return (N, K) probabilities, columns as ``classes_``."""
        check_is_fitted(self)
        return self.model_.predict_proba(X)

    def predict(self, X: ArrayLike | Sequence[str | Path]) -> NDArray[Any]:
        """Return (N,) the most probable label of each image."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]  # type: ignore[no-any-return]

    def save(self, folder: str | Path) -> None:
        """Write the model as `sit2 train` does, so that `sit2 predict --model FOLDER` takes it.

        Parameters, labels and pairs are written beside it, for :meth:`load`.

        Raises:
            ModelError: a parameter or label is neither a number nor a text, so that JSON cannot hold it.
        """
        check_is_fitted(self)
        text = described(self.get_params(deep=False), self.classes_, self.pairs_)
        self.model_.save(Path(folder))
        with atomic(Path(folder) / ESTIMATOR) as path:
            path.write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what ``save`` wrote: the same parameters, labels of the same type, the same pairs.

        Of a model that `sit2 train` wrote the parameters are those of its run, where it still lies in one, and
        the labels are texts. A path among the parameters comes back as a text, a tuple as a list.

        Raises:
            ModelError: when there is none, or it is damaged.
        """
        model = Model.load(Path(folder))
        spec, kept = model.spec, read_estimator(find_model(Path(folder)), model.spec.classes)
        if kept is None:
            own = {"method": spec.recipe, "backbone": spec.backbone, "image_size": spec.image_size}
            loaded = cls(**{**own, **_of_run(Path(folder), cls)})
            loaded.classes_, loaded.pairs_ = np.array(spec.classes), []
        else:
            if unknown := sorted(set(kept.parameters) - set(cls._get_param_names())):
                raise ModelError(f"{folder}: {ESTIMATOR} is damaged: there is no parameter {unknown[0]!r}")
            loaded = cls(**kept.parameters)
            loaded.classes_, loaded.pairs_ = kept.classes, kept.pairs
        loaded.model_ = model
        return loaded

    def _config(self) -> Config:
        names = ("method", "backbone", "image_size", "epochs", "batch_size", "augment", "lr", "weights")
        own = {name: getattr(self, name) for name in names}
        if isinstance(self.random_state, bool) or not isinstance(self.random_state, int | np.integer):
            raise ConfigError(
                f"random_state is {self.random_state!r}\nexpected a whole number: equal numbers give equal "
                "classifiers, and another one gives another"
            )
        own |= {"pretrained": self.pretrained, "seed": self.random_state}
        for name in self.settings or {}:
            if name in own:
                parameter = "random_state" if name == "seed" else name
                raise ConfigError(f"settings holds {name!r}\ngive it as the parameter {parameter} instead")
            if name in _OF_A_RUN:
                raise ConfigError(
                    f"settings holds {name!r}, but fit trains on every image it is given\nleave it out"
                )
        config = make_config(own, self.settings or {})
        if config.recipe.is_calibrated:
            raise ConfigError(
                f"{config.recipe}: fit keeps no images that could calibrate it\nuse sit2.train, or leave out what "
                "gives sets or knows what is unlike"
            )
        return config

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.two_d_array = False
        return tags


# What only a run can do: it splits the images, and compares.
_OF_A_RUN = (
    *("allow_leaks", "calibration_fraction", "control", "cv", "early_stop", "group_pattern", "groups"),
    *("labels_per_class", "layout", "refit", "resplit", "split_seed", "test_fraction", "val_fraction"),
    "val_per_class",
)


def _of_run(folder: Path, kind: type[SIT2Classifier]) -> dict[str, Any]:
    """Return the parameters that the run of a model was trained with; none where it lies in no run."""
    run = run_of(folder)
    if run is None:
        return {}
    try:
        found = make_config(read_settings(run / "config.yaml")).as_dict()
    except (ConfigError, RunFolderError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"{folder}: its run does not say how it was trained: {reason}") from None
    default, own = make_config().as_dict(), kind._get_param_names()
    settings = {
        name: value
        for name, value in found.items()
        if name not in (*own, *_OF_A_RUN, "seed") and value != default[name]
    }
    given = {name: found[name] for name in own if name in found}
    return {**given, "random_state": found["seed"], "settings": settings or None}
