"""What the stages of a run are expected to cost, before anything of it is measured."""

from __future__ import annotations

from collections.abc import Sequence

from sit2.config.recipe import Recipe
from sit2.config.schema import Config
from sit2.events import Cost, Planned
from sit2.experiments.grid import Place
from sit2.experiments.planning import of_fold
from sit2.inference.predictors import PREDICTORS
from sit2.inference.predictors.predictor import Stage
from sit2.methods import METHODS

# Of a training step on the same images, and of nothing in particular: they only weigh the parts of a bar.
_ASKING, _VIEWS = 1 / 3, 4
_EVALUATION, _REPORT = 3.0, 6.0  # seconds, as most runs on record took


def planned(places: Sequence[Place], kept: Place | None, recipes: Sequence[Recipe]) -> Planned:
    """Return what the stages after the images are expected to cost.

    Args:
        places: where recipes are trained and evaluated.
        kept: where they are trained once more; None where what was evaluated is kept.
        recipes: what is trained.
    """
    asked = sum(len(place.prepared.rows(split)) for place in places for split in ("val", "test"))
    views = sum(_views(recipe) * recipe.trainings for recipe in recipes)
    again = 0.0
    if kept is not None:
        epochs = len(kept.prepared.rows("train")) / max(1, len(places[0].prepared.rows("train")))
        again = (
            epochs * _samples(places[0], recipes) + sum(len(one.unseen) for one in places) * views * _ASKING
        )
    measured = [*places, kept] if kept is not None and kept.config.cv else places
    costs = (
        Cost("confusion", sum(_cost_of_folds(place, recipes) for place in measured)),
        Cost("training", sum(_samples(place, recipes) for place in places)),
        Cost("evaluation", asked * views * _ASKING, _EVALUATION),  # and the answers, which come before it
        *([] if kept is None else [Cost("refit", again)]),
        Cost("report", seconds=_REPORT),
    )
    return Planned(costs)


def _views(recipe: Recipe) -> int:
    return _VIEWS if any(PREDICTORS[name].stage is Stage.VIEWS for name in recipe.predictors) else 1


def _samples(place: Place, recipes: Sequence[Recipe]) -> float:
    """Return the samples that are trained on at one place; those of smaller images count less."""
    config, train = place.config, len(place.prepared.rows("train"))
    solved = {recipe for recipe in recipes if config.make_method(recipe.method).in_closed_form}
    members: dict[tuple[str, str], int] = {}  # of what is trained: those of a smaller ensemble are shared
    for recipe in set(recipes) - solved:
        for method in recipe.methods:
            trained = method, recipe.pairs if METHODS[method].uses_pairs else ""
            members[trained] = max(members.get(trained, 0), recipe.members)
    return sum(members.values()) * config.work(train, _side(place)) + len(solved) * train


def _cost_of_folds(place: Place, recipes: Sequence[Recipe]) -> float:
    """Return the samples that the confusion's folds are trained on; whatever else measures it trains on none."""
    config, train = place.config, len(place.prepared.rows("train"))
    if config.confusion != "folds" or not any(recipe.needs_confusion for recipe in recipes):
        return 0.0
    inside = max(1, train * (config.folds - 1) // config.folds)
    fold: Config = of_fold(config, inside)
    return config.folds * fold.work(inside, _side(place))


def _side(place: Place) -> int:
    side: int = place.prepared.store.images.shape[2]
    return side
