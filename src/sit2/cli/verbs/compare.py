"""`sit2 compare`: recipes over repeated splits and seeds, on one data set or many."""

from __future__ import annotations

import argparse
from pathlib import Path

from sit2.cli.progress import Screen
from sit2.cli.verbs.verb import (
    ALL,
    BASIC,
    DONE,
    OVERWRITE,
    Verb,
    argument,
    config_of,
    one_way,
    out,
    require,
    words,
)
from sit2.errors import ConfigError
from sit2.experiments.design import DEFAULT_METHODS, check_metric, check_repeats, make_grid
from sit2.storage.output_folder import refuse_taken


def run(options: argparse.Namespace, screen: Screen) -> int:
    """Compare; print the table and the verdicts."""
    one_way(options)
    config = config_of(options)
    runs = [is_run(Path(text).expanduser()) for text in options.data]
    if all(runs) and len(runs) > 1:
        return _finished([Path(text).expanduser() for text in options.data], options, screen)
    if any(runs):
        raise ConfigError(
            f"{options.data[runs.index(True)]} is the folder of a run, not a set of images\n"
            "give images, or two or more runs to compare"
        )
    if options.out is None:
        raise ConfigError("-o is missing\nname a folder for results.csv and the report")
    check_repeats(config)
    try:
        numbers = tuple(int(word) for word in words(options.labels))
    except ValueError:
        raise ConfigError(f"--labels is {options.labels!r}\nexpected numbers, such as 10,50,200") from None
    check_metric(options.metric)
    grid = make_grid(
        options.data,
        words(options.methods) or DEFAULT_METHODS,
        splits=options.splits,
        seeds=options.seeds,
        labels=numbers,
        trials=options.tune,
        control=config.control,
    )
    for source in grid.sources:
        assert isinstance(source.data, Path)
        require(source.data)
    refuse_taken(options.out, overwrite=options.overwrite, comparison=True)

    from sit2.cli.comparisons import print_comparison
    from sit2.cli.terminal import Terminal
    from sit2.experiments.comparison import compare_grid

    with Terminal(screen) as terminal:
        comparison = compare_grid(
            grid,
            options.out,
            config,
            metric=options.metric,
            listener=terminal,
            overwrite=options.overwrite,
            keep_best=options.keep_best,
        )
    print_comparison(comparison, screen)
    return DONE


def is_run(path: Path) -> bool:
    """Say whether a path is the folder of a run or a comparison, which is no set of images."""
    return path.is_dir() and (path / "run.json").is_file()


def _finished(folders: list[Path], options: argparse.Namespace, screen: Screen) -> int:
    """Compare finished runs; print the table and the verdicts."""
    if options.out is not None:
        raise ConfigError("finished runs are compared on the screen only\nleave -o out")

    from sit2.cli.results import print_metrics
    from sit2.experiments.finished_runs import compare_finished

    found = compare_finished(folders)
    print_metrics(found.predictions, found.metrics, screen, folds=found.folds)
    for test in found.tests.values():
        screen.say("")
        screen.say(test.sentence.removesuffix(" " + test.limit), style="bold")
    for limit in dict.fromkeys(test.limit for test in found.tests.values()):
        screen.say(limit)
    return DONE


VERB = Verb(
    run,
    "compare recipes over repeated splits and seeds, on one data set or many",
    (
        argument(
            "data",
            metavar="DATA",
            nargs="+",
            help="folders of class folders, manifests, or .npz files; name=DATA for a name of your own. Or "
            "two or more finished runs that have the same test images",
        ),
        out("folder for results.csv; what an earlier call finished there is taken up"),
        argument("--resume", action="store_true", help="as it does anyway: go on in --out"),
        OVERWRITE,
        argument(
            "--methods",
            metavar="A,B,C",
            help="recipes to compare; the control of each is added (default: plain, label-smoothing, SIT²'s three "
            "strategies and confusion-smoothing)",
        ),
        argument("--splits", type=int, default=5, metavar="N", help="splits (default: 5)"),
        argument("--seeds", type=int, default=1, metavar="N", help="trainings on each split (default: 1)"),
        argument("--labels", metavar="N,N", help="numbers of training images a class to go through"),
        argument(
            "--keep-best",
            action="store_true",
            help="also write a run of the recipe that is best by validation, with its model, into the folder best",
        ),
        argument(
            "--tune",
            type=int,
            default=1,
            metavar="N",
            help="trainings of each cell to choose among by its validation images (default: 1)",
        ),
        argument(
            "--metric",
            default="accuracy",
            metavar="accuracy|macro_f1|balanced_accuracy",
            help="what the verdicts are about (default: accuracy)",
        ),
    ),
    settings=tuple(name for name in ALL if name != "method"),
    basic=tuple(name for name in BASIC if name != "method"),
    resume="again",
    lists=True,
    config_file=True,
)
