"""The model card of an exported network: what its run says of data, figures, confused pairs and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sit2.evaluation.class_figures import class_figures, weakest
from sit2.evaluation.metrics import METRICS
from sit2.evaluation.words import percent
from sit2.inference.model_spec import ModelSpec
from sit2.report.data import RunData, load_run
from sit2.report.pairs import pair_row
from sit2.report.quality import how_good
from sit2.report.run_page import class_counts, metric_words
from sit2.report.tables import METRIC_TITLES
from sit2.report.wording import trust
from sit2.storage.escaping import visible

WEAKEST = 5  # classes that are named
PAIRS = 10  # that are named


def model_card(spec: ModelSpec, folder: Path | None) -> str:
    """Return the text of README.md for a network, in Markdown with the Hub's front matter.

    Args:
        spec: of the model.
        folder: of its run; None where the model came without: the card then says that nothing is known.

    Raises:
        RunFolderError: the run is damaged.
    """
    run = None if folder is None else load_run(folder)
    sections = [_front(spec, run), *_use(spec)]
    if run is None:
        sections.append("## Figures\n\nUnknown: the model was exported without its run.")
    else:
        sections += [_data(run), *_figures(run, spec), *_confused(run, spec)]
    return "\n\n".join([*sections, *_limits(run, spec)]) + "\n"


def _front(spec: ModelSpec, run: RunData | None) -> str:
    name = _plain((run.info.dataset.name if run is not None else "") or "images")
    return (
        "---\nlibrary_name: timm\npipeline_tag: image-classification\ntags:\n- image-classification\n- timm\n"
        f"- sit2\n---\n\n# {spec.backbone} on {name}\n\n"
        f"An image classifier of {len(spec.classes)} classes, trained by sit2 with the recipe `{spec.recipe}`"
        + (f", starting from {_plain(spec.weights)}." if spec.weights else ", from scratch.")
    )


def _use(spec: ModelSpec) -> Iterator[str]:
    scaled = "stretched to a square" if spec.resize == "stretch" else f"made square by {spec.resize}"
    yield (
        "## Use\n\n```python\nimport timm\n\n"
        'model = timm.create_model("local-dir:FOLDER", pretrained=True).eval()\n'
        "logits = model(images)  # (N, K)\n```\n\n"
        f"`images` is (N, {spec.channels}, {spec.image_size}, {spec.image_size}) float32: pixels in [0, 1], images "
        f"{_plain(scaled)}, minus the mean and divided by the deviation of `config.json`. The order of the "
        "logits is that of `label_names` there."
    )
    left = [f"`{name}`" for name, _ in spec.predictors]
    yield "## What is not in this folder\n\n" + (
        f"The predictors {', '.join(left)} of the recipe: this is the network alone. Its figures are therefore not "
        'those below, its probabilities are not calibrated by them, and no answer is "not sure" or "unlike the '
        'training images".'
        if left
        else "Nothing: the recipe has no predictors."
    )
    yield (
        f"## Intended use\n\nTo sort images like the training images into these {len(spec.classes)} classes, with "
        "a person who looks at what depends on it. It gives every image one of them, whatever it shows. It was "
        "not examined for any other use, nor as a medical device."
    )


def _data(run: RunData) -> str:
    rows = [(name, *map(str, counts)) for name, counts in class_counts(run)]
    head = ("class", "training", "validation", "test", "unused")
    about = f"{run.info.dataset.images:,} readable images, fingerprint `{run.info.dataset.fingerprint}`."
    return f"## Data\n\n{about}\n\n{_table(head, rows)}"


def _figures(run: RunData, spec: ModelSpec) -> Iterator[str]:
    own = run.metrics.get(spec.recipe)
    if own is None or spec.recipe not in run.predictions:
        yield "## Figures\n\nNone: this recipe was not tested in its run."
        return
    rows = [(METRIC_TITLES[name], metric_words(own, name)) for name in METRICS if name in own]
    whose = f"\n\nThey are those of {_plain(spec.figures)}, not of this network." if spec.figures else ""
    told = _plain(how_good(run, spec.recipe))
    yield f"## Figures\n\nOf the recipe with its predictors. {told}{whose}\n\n{_table(('test', 'value'), rows)}"
    recalls = [
        (one.name, one.recall) for one in weakest(class_figures(run.predictions[spec.recipe], run.classes))
    ]
    rows = [(name, f"{recall.hits} of {recall.n}") for name, recall in recalls[:WEAKEST]]
    yield "Weakest classes, by recall:\n\n" + _table(("class", "correct"), rows)


def _confused(run: RunData, spec: ModelSpec) -> Iterator[str]:
    if spec.recipe not in run.predictions or not run.pairs:
        return
    chosen = (run.chosen or run.pairs)[:PAIRS]
    found = [pair_row(n, pair, [run.predictions[spec.recipe]]) for n, pair in enumerate(chosen, 1)]
    rows = []
    for row in found:
        errors = row.method_errors
        low, high = errors.interval
        interval = f"{percent(low)} to {percent(high)}" if errors.images else "–"
        rows.append((row.pair.class_a, row.pair.class_b, f"{errors.errors} of {errors.images}", interval))
    head = ("class", "and", "test images taken for the other", "95 % interval")
    yield f"## Confused pairs\n\n{_table(head, rows)}"


def _limits(run: RunData | None, spec: ModelSpec) -> Iterator[str]:
    known = [] if run is None else [_plain(sentence) for sentence in trust(run)]
    known.append(
        f"Images were used at {spec.image_size} × {spec.image_size} pixels: what is smaller than that shows is not "
        "seen. Images from another device, place or time may be classified worse than these figures say."
    )
    yield "## Limits\n\n" + "\n".join(f"- {sentence}" for sentence in known)
    if run is not None and run.info.versions:
        yield "Versions: " + ", ".join(f"{name} {version}" for name, version in run.info.versions.items())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return a text in which Markdown sees no markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", visible(text, newlines=False))
