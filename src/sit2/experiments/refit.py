"""What a run keeps where that is not what it evaluated: models of all images; and the folds' answers as one.

K classes, N images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from sit2.config.recipe import Recipe
from sit2.execution.recipe_job import Evaluated, Outcome, RecipeJob
from sit2.execution.runner import run_recipes
from sit2.experiments.folds import all_to_train, figures_of, in_order
from sit2.experiments.grid import Cell, GridRun, Models, Place
from sit2.experiments.planning import of_refit
from sit2.inference.decisions import Answers

KEPT = "all images: "  # before the names of these trainings


def kept_place(places: Sequence[Place]) -> Place:
    """Return where what is kept is trained: on the images of all splits."""
    first, cv = places[0], bool(places[0].fold)
    return replace(first, prepared=all_to_train(first.prepared, every=cv), fold=0)


def refit_jobs(
    work: GridRun, places: Sequence[Place], kept: Place, cells: Sequence[Cell], models: Models
) -> list[RecipeJob]:
    """Return the jobs that train each recipe once more, for deployment, in the grid's order.

    Args:
        work: the grid.
        places: where the recipes were evaluated: one, or the folds.
        kept: :func:`kept_place`.
        cells: of every recipe at every place, as ``work`` answered.
        models: where to write which recipe's model.
    """
    images = len(kept.prepared.rows("train"))
    folds = len(places) if places[0].fold else 0
    figures = figures_of(folds, len(kept.prepared.dataset), images)
    jobs = []
    for recipe in work.grid.recipes:
        own = _of(cells, recipe)
        trained = [(cell.train_images, history) for cell in own for history in cell.outcome.histories]
        evaluated = [Evaluated(place.job(recipe, name=work.name_of(place)), place.unseen) for place in places]
        jobs.append(
            kept.job(
                recipe,
                config=of_refit(kept.config, trained),
                name=KEPT,
                save_to=models(recipe),
                evaluated=[one for one in evaluated if len(one.unseen)],
                figures=figures,
            )
        )
    return jobs


def refit(
    work: GridRun,
    jobs: Sequence[RecipeJob],
    *,
    title: str = "Training on all images",
    done: Callable[[int, Outcome], None],
) -> None:
    """Train, and write the models; ``done`` hears the index of each job and its outcome."""
    run_recipes(
        jobs,
        config=work.config,
        listener=work.listener,
        title=title,
        networks=work.networks,
        keep=work.keep,
        done=done,
    )


def pooled(cells: Sequence[Cell], places: Sequence[Place], judged: Place) -> list[Cell]:
    """Return one cell for each recipe: what the folds say of the images that they left out, in order.

    Args:
        cells: of every recipe in every fold.
        places: the folds.
        judged: all images as the test.
    """
    if not places[0].fold:
        return list(cells)
    folds = [place.prepared for place in places]
    found = []
    for recipe in dict.fromkeys(cell.recipe for cell in cells):
        own = _of(cells, recipe)
        answers = in_order(folds, [cell.outcome.probabilities for cell in own])
        outcome = Outcome(
            validation=np.empty((0, answers.shape[1])),
            answers=Answers(answers),
            budget=sum(cell.outcome.budget for cell in own),
            seconds=sum(cell.outcome.seconds for cell in own),
        )
        found.append(judged.cell(recipe, outcome))
    return found


def _of(cells: Sequence[Cell], recipe: Recipe) -> list[Cell]:
    return [cell for cell in cells if cell.recipe == recipe]
