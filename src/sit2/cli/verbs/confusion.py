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
from sit2.errors import ConfigError
from sit2.storage.output_folder import refuse_taken
from sit2.training.settings import OPTIMISING, TRAINING

if TYPE_CHECKING:
    from sit2.confusion.external_predictions import Columns
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

    from sit2.cli.terminal import Terminal
    from sit2.confusion.external_predictions import Columns
    from sit2.experiments.recording import record_confusion, record_data
    from sit2.experiments.run import open_folder
    from sit2.report.page import write_report

    columns = Columns(options.label_column, options.predicted_column, options.probability_prefix)
    with Terminal(screen) as terminal:
        if options.out is None:
            prepared, measured = measure(options.data, config, terminal, columns)
            _print(prepared, measured, screen)
            return DONE
        with open_folder(options.out, options.data, config, overwrite=options.overwrite) as folder:
            prepared, measured = measure(options.data, config, terminal, columns)
            folder.begin()
            if prepared is not None:
                record_data(folder, prepared)
            record_confusion(folder, measured, place="")
            write_report(folder.path, last=True)
            folder.finish()
    _print(prepared, measured, screen)
    page = folder.path / "report.html"
    screen.paths({"The pairs": folder.path / "pairs.csv", "The report, for a browser": page})
    return DONE


def _print(prepared: Prepared | None, measured: Measured, screen: Screen) -> None:
    """Say how good what measured the confusion is, and which pairs are confused."""
    from sit2.cli.results import print_pairs
    from sit2.report.quality import measured_by

    if prepared is not None:
        screen.say("")  # below what was said of the images
    if measured.by is not None:
        screen.say(measured_by(measured.by))
    print_pairs(measured.pairs, measured.confusion.classes, screen)


def measure(
    source: Path, config: Config, listener: Listener, columns: Columns | None = None
) -> tuple[Prepared | None, Measured]:
    """Return prepared images, where there are some, and their confusion.

    Raises:
        ConfigError: columns are named and the source is no table.
    """
    import tempfile

    from sit2.confusion.predictions_file import is_predictions_file, read_predictions
    from sit2.experiments.confusion import measure_confusion, summed
    from sit2.experiments.prepare import frozen_features, load_images, split_images

    if columns and not source.is_file():
        raise ConfigError(f"columns are named, and {source} is no table\nexpected a .csv or .parquet file")
    if columns or is_predictions_file(source):
        probabilities, labels, classes = read_predictions(source, columns)
        return None, summed(probabilities, labels, classes, config, by=f"the predictions of {source.name}")
    loaded = load_images(source, config, listener)
    prepared, config = split_images(loaded, loaded.config, listener), loaded.config
    with tempfile.TemporaryDirectory(prefix="sit2-") as scratch:
        folder = Path(scratch)
        features = frozen_features(prepared, config, folder, listener)
        (measured,) = measure_confusion(
            [(prepared, config, features)], needed=True, networks=folder, keep=None, listener=listener
        )
    assert measured is not None
    return prepared, measured


VERB = Verb(
    run,
    "find the pairs of classes that are confused, from images or from a file of predictions",
    (
        argument(
            "data",
            metavar="DATA",
            type=Path,
            help="images; or a table of any program's predictions: the true class, and probabilities or the "
            "predicted class",
        ),
        out("folder for pairs.csv, matrix.csv and report.html (default: print only)"),
        OVERWRITE,
        argument(
            "--label-column",
            metavar="NAME",
            help="column of the true class (default: 'label', 'target' or the like)",
        ),
        argument(
            "--predicted-column",
            metavar="NAME",
            help="column of the predicted class, in place of probabilities (default: 'predicted' or the like)",
        ),
        argument(
            "--probability-prefix",
            metavar="TEXT",
            help="what stands before the class in names of columns of probabilities (default: 'p_', 'prob_' or "
            "the like, or nothing)",
        ),
    ),
    settings=SETTINGS,
    basic=BASIC,
    config_file=True,
)
