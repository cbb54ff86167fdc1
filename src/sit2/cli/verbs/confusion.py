"""`sit2 confusion`: the pairs of classes that are confused, from images or from anybody's predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import DONE, OVERWRITE, Verb, argument, by_topic, config_of, out, require
from sit2.config.schema import RUN, Config
from sit2.confusion.settings import CONFUSION
from sit2.data.settings import DATA, DECODING, SPLITTING
from sit2.storage.output_folder import refuse_taken
from sit2.training.settings import OPTIMISING, TRAINING

if TYPE_CHECKING:
    from sit2.events import Listener
    from sit2.experiments.confusion import Measured
    from sit2.experiments.prepare import Prepared

SETTINGS = by_topic(DATA, DECODING, SPLITTING, CONFUSION, TRAINING, OPTIMISING, RUN)
BASIC = ("groups", "image_size", "augment", *by_topic(CONFUSION), "seed", "device")


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Measure confusion on images, or read it from a file of predictions; print and write the pairs."""
    config = config_of(options)
    require(options.data)
    if options.out is not None:
        refuse_taken(options.out, overwrite=options.overwrite)

    from sit2.cli.results import print_pairs
    from sit2.cli.terminal import Terminal
    from sit2.experiments.run import open_folder, record_confusion, record_data

    with Terminal(screen) as terminal:
        if options.out is None:
            prepared, measured = measure(options.data, config, terminal)
            _part_from(prepared, screen)
            print_pairs(measured.pairs, measured.confusion.classes, screen)
            return DONE
        with open_folder(options.out, options.data, config, overwrite=options.overwrite) as folder:
            prepared, measured = measure(options.data, config, terminal)
            folder.begin()
            if prepared is not None:
                record_data(folder, prepared)
            record_confusion(folder, measured)
            folder.finish()
    _part_from(prepared, screen)
    print_pairs(measured.pairs, measured.confusion.classes, screen)
    screen.say(f"Written: {folder.path / 'confusion' / 'pairs.csv'}, matrix.csv beside it")
    return DONE


def _part_from(prepared: Prepared | None, screen: Screen) -> None:
    """Leave a line empty below what was said of the images, where there are some."""
    if prepared is not None:
        screen.say("")


def measure(source: Path, config: Config, listener: Listener) -> tuple[Prepared | None, Measured]:
    """Return prepared images, where there are some, and their confusion."""
    import tempfile

    from sit2.confusion.pairs import measure as sum_up
    from sit2.confusion.predictions_file import is_predictions_file, read_predictions
    from sit2.experiments.confusion import Measured, choose, measure_confusion
    from sit2.experiments.prepare import frozen_features, load_images, split_images

    if is_predictions_file(source):
        probabilities, labels, classes = read_predictions(source)
        confusion = sum_up(probabilities, labels, classes)
        return None, Measured(confusion, choose(confusion, config))
    loaded = load_images(source, config, listener)
    prepared, config = split_images(loaded, loaded.config, listener), loaded.config
    with tempfile.TemporaryDirectory(prefix="sit2-") as scratch:
        folder = Path(scratch)
        features = frozen_features(prepared, config, folder, listener, "Measuring confusion")
        (measured,) = measure_confusion(
            [(prepared, config, features)], needed=True, networks=folder, keep=None, listener=listener
        )
    assert measured is not None
    return prepared, measured


VERB = Verb(
    run,
    "find the pairs of classes that are confused, from images or from a file of predictions",
    (
        argument("data", metavar="DATA", type=Path, help="images, or a CSV with label,p_<class>…"),
        out("folder for matrix.csv and pairs.csv (default: print only)"),
        OVERWRITE,
    ),
    settings=SETTINGS,
    basic=BASIC,
    config_file=True,
)
