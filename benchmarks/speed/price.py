"""What SIT² costs beside plain training of the same budget, its confusion measured in closed form.

Results before 2026-11-27 call the closed-form classifier "probe".
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.speed.timing import Ratio, Work, measure
from benchmarks.speed.training import CLASSES
from sit2.config.recipe import Recipe
from sit2.config.schema import Config
from sit2.confusion.pairs import choose_pairs, rank_pairs
from sit2.confusion.pairs import measure as measure_confusion
from sit2.data.pixels import PixelStore
from sit2.execution.parts import Part
from sit2.execution.runner import train_here
from sit2.experiments.planning import plan
from sit2.features.closed_form import closed_form_probabilities
from sit2.records import ClassPair, FloatArray
from sit2.seeds import Seeds
from sit2.training.start import Start

IMAGES = 400
TRAINED_EPOCHS, EPOCHS = (
    10,
    100,
)  # measured, and those that the cost is set against: time grows with epochs alone


def ratios(rounds: int) -> Iterator[Ratio]:
    """Measure the small network at 32 px."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(IMAGES) % CLASSES
    names = tuple(str(k) for k in range(CLASSES))
    store, every = PixelStore.of(images), Part(np.arange(IMAGES), labels)

    def closed_form() -> FloatArray:
        return closed_form_probabilities(images, labels, CLASSES, mirror=True, seeds=Seeds(0))

    def training(method: str, epochs: float) -> Work:
        config = Config(backbone="small-cnn", image_size=32, epochs=epochs)

        def work() -> None:
            pairs: tuple[ClassPair, ...] = ()
            if method != "plain":
                ranked = rank_pairs(measure_confusion(closed_form(), labels, names))
                chosen = choose_pairs(
                    ranked, num_classes=CLASSES, coverage=0.5, min_confused=1.0, max_pairs=None
                )
                pairs = tuple(pair for pair in chosen if pair.chosen)
            job = plan(
                Recipe(method),
                config=config,
                seeds=Seeds(0),
                classes=names,
                store=store,
                train=every,
                val=Part.empty(),
                predict=Part.empty(),
                start=Start(),
                chosen=pairs,
            )
            train_here(job)

        return work

    cost = measure("closed_form_cost", "", closed_form, training("plain", TRAINED_EPOCHS), rounds=rounds)
    fraction = TRAINED_EPOCHS / EPOCHS
    yield Ratio(
        "closed_form_cost",
        cost.ratio * fraction,
        cost.low * fraction,
        cost.high * fraction,
        rounds,
        f"closed-form classifier over a plain training of {EPOCHS:.0f} epochs ({TRAINED_EPOCHS} "
        f"measured), {IMAGES} images of 32 px, small-cnn",
    )
    epochs = 25.0
    yield measure(
        "method_price",
        f"closed-form classifier and multi-label over plain training of the same {epochs:.0f} epochs (a quarter of "
        f"the default, so the classifier weighs four times as much), {IMAGES} images of 32 px, small-cnn",
        training("multi-label", epochs),
        training("plain", epochs),
        rounds=max(5, rounds - 2),
    )
