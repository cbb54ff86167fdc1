"""What SIT² costs beside plain training of the same budget, with the probe for its confusion."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.speed.timing import Ratio, Work, measure
from benchmarks.speed.training import CLASSES
from sit2.config.schema import Config
from sit2.confusion.pairs import choose_pairs, rank_pairs
from sit2.confusion.pairs import measure as measure_confusion
from sit2.execution.job import Job, run_job
from sit2.features.closed_form import probe_probabilities
from sit2.seeds import Seeds

IMAGES = 400
TRAINED_EPOCHS = 10  # of the 100 that the probe's cost is set against: time grows with epochs alone


def ratios(rounds: int) -> Iterator[Ratio]:
    """Measure the small network at 32 px."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(IMAGES) % CLASSES
    names = tuple(str(k) for k in range(CLASSES))
    rows = np.arange(IMAGES)

    def probe() -> None:
        probe_probabilities(images, labels, CLASSES, mirror=True, seeds=Seeds(0))

    def training(method: str, epochs: float) -> Work:
        config = Config(image_size=32, epochs=epochs)

        def work() -> None:
            pairs = ()
            if method != "plain":
                probabilities = probe_probabilities(images, labels, CLASSES, mirror=True, seeds=Seeds(0))
                ranked = rank_pairs(measure_confusion(probabilities, labels, names))
                chosen = choose_pairs(
                    ranked, num_classes=CLASSES, coverage=0.5, min_confused=1.0, max_pairs=None
                )
                pairs = tuple(pair for pair in chosen if pair.chosen)
            run_job(Job(method, config, Seeds(0), names, images, labels, rows, rows[:1], pairs=pairs))

        return work

    cost = measure("probe_cost", "", probe, training("plain", TRAINED_EPOCHS), rounds=rounds)
    share = TRAINED_EPOCHS / Config().epochs
    yield Ratio(
        "probe_cost",
        cost.ratio * share,
        cost.low * share,
        cost.high * share,
        rounds,
        f"probe over a plain training of {Config().epochs:.0f} epochs ({TRAINED_EPOCHS} measured), "
        f"{IMAGES} images of 32 px, small-cnn",
    )
    epochs = 25.0
    yield measure(
        "method_price",
        f"probe and multi-label over plain training of the same {epochs:.0f} epochs (a quarter of the "
        f"default, so the probe weighs four times as much), {IMAGES} images of 32 px, small-cnn",
        training("multi-label", epochs),
        training("plain", epochs),
        rounds=max(5, rounds - 2),
    )
