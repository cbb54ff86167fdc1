"""AFTER training: one file per predictor, a step between a network's outputs and the answer. Loads no torch."""

from __future__ import annotations

from sit2.inference.predictors.conformal import Conformal
from sit2.inference.predictors.ensemble import Ensemble
from sit2.inference.predictors.experts import Experts
from sit2.inference.predictors.ood import Unlike
from sit2.inference.predictors.pairwise import Pairwise
from sit2.inference.predictors.predictor import Predictor
from sit2.inference.predictors.temperature import Temperature
from sit2.inference.predictors.tta import TestTimeAugmentation

PREDICTORS: dict[str, type[Predictor]] = {
    "tta": TestTimeAugmentation,
    "ensemble": Ensemble,
    "pairwise": Pairwise,
    "experts": Experts,
    "temperature": Temperature,
    "conformal": Conformal,
    "ood": Unlike,
}
