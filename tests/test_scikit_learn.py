"""The estimator in scikit-learn's own tools, and those of its estimator checks that apply to images.

scikit-learn leaves out all checks of data for an estimator that does not take tables (N, F): they fit on numbers
from a normal distribution, two or three features a row, which are no images. Those that need no data
are run. ``sample_weight`` is not supported: every step takes one full batch of images, drawn
evenly; classes can be weighted with ``settings={"balance": "weights"}``.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import cross_val_predict, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import has_fit_parameter
from synthetic import arrays

from sit2 import SIT2Classifier

torch.set_num_threads(1)

IMAGES, LABELS = arrays(8)
WITHOUT_DATA = (
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
)


def tiny(**parameters: Any) -> SIT2Classifier:
    small = {"backbone": "small-cnn", "image_size": 16, "epochs": 2, "batch_size": 8, "method": "plain"}
    return SIT2Classifier(**{**small, **parameters})


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says that the checks of data are left out: images are no table
    yielded = parametrize_with_checks([tiny()])


@yielded
def test_what_scikit_learn_yields(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("name", WITHOUT_DATA)
def test_checks_that_need_no_data(name: str) -> None:
    getattr(estimator_checks, name)("SIT2Classifier", tiny())


def test_a_pipeline() -> None:
    darker = FunctionTransformer(lambda images: images // 2)
    model = make_pipeline(darker, tiny()).fit(IMAGES, LABELS)
    assert model.predict(IMAGES).shape == (24,)
    alone = tiny().fit(IMAGES // 2, LABELS)
    assert np.array_equal(model.predict_proba(IMAGES), alone.predict_proba(IMAGES // 2))


def test_cross_validation_gives_probabilities_and_scores() -> None:
    chances = cross_val_predict(tiny(), IMAGES, LABELS, cv=2, method="predict_proba")
    assert chances.shape == (24, 3)
    np.testing.assert_allclose(chances.sum(axis=1), 1)
    scores = cross_validate(tiny(), IMAGES, LABELS, cv=2, scoring=["neg_log_loss", "f1_macro"])
    assert np.isfinite(scores["test_neg_log_loss"]).all()


def test_it_is_calibrated() -> None:
    model = CalibratedClassifierCV(tiny(), cv=2, method="sigmoid").fit(IMAGES, LABELS)
    chances = model.predict_proba(IMAGES)
    assert chances.shape == (24, 3)
    np.testing.assert_allclose(chances.sum(axis=1), 1)


def test_sample_weight_is_refused_not_ignored() -> None:
    assert not has_fit_parameter(tiny(), "sample_weight")
    with pytest.raises(TypeError, match="sample_weight"):
        tiny().fit(IMAGES, LABELS, sample_weight=np.ones(24))
