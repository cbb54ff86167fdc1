"""Labels that are probably wrong: confident learning (Northcutt, Jiang & Chuang, 2021) by cleanlab."""

from __future__ import annotations

import numpy as np

from sit2.data.quality.findings import Finding
from sit2.data.words import counted, listed
from sit2.errors import ConfigError
from sit2.records import Dataset, FloatArray


def suspicious_labels(dataset: Dataset, probabilities: FloatArray, credible: float) -> list[Finding]:
    """Find images whose label is probably wrong, the surest first, with the class that is more likely.

    Where none is found that is said, in a note.

    Args:
        dataset: N images.
        probabilities: (N, K), each row of a classifier that did not learn from it; NaN where there is none.
        credible: a label with more than this probability is not suspected.

    Raises:
        ConfigError: when cleanlab is not installed.
    """
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        raise ConfigError("--labels needs cleanlab\npip install 'sit2[labels]'") from None
    known = np.flatnonzero(~np.isnan(probabilities).any(axis=1))
    if not len(known):
        return [Finding("labels", "note", "No label was examined: no image has a prediction.", "")]
    issues = find_label_issues(
        dataset.labels[known],
        probabilities[known],
        filter_by="both",  # the strictest: what both of its rules would take away
        return_indices_ranked_by="normalized_margin",
        n_jobs=1,
    )
    rows = known[issues]
    rows = rows[probabilities[rows, dataset.labels[rows]] <= credible]
    if not len(rows):
        rest = len(dataset) - len(known)
        without = f" ({counted(rest, 'image')} without a prediction not)" if rest else ""
        return [
            Finding(
                "labels",
                "note",
                f"No label looks wrong: {counted(len(known), 'label')} examined{without}.",
                "a wrong label that a classifier finds likely too is not found",
            )
        ]
    details = tuple(_suspicion(dataset, probabilities, int(n)) for n in rows)
    shown = [f"{d['id']} ({d['label']}, rather {d['suggested']})" for d in details]
    return [
        Finding(
            "suspicious label",
            "warning",
            f"{counted(len(rows), 'label')} may be wrong, the likeliest first: {listed(shown)}.",
            "look at them, and correct those that are wrong; a classifier errs too",
            tuple(dataset.ids[n] for n in rows),
            details,
        )
    ]


def _suspicion(dataset: Dataset, probabilities: FloatArray, n: int) -> dict[str, object]:
    given, best = int(dataset.labels[n]), int(probabilities[n].argmax())
    return {
        "id": dataset.ids[n],
        "label": dataset.classes[given],
        "suggested": dataset.classes[best],
        "p_label": round(float(probabilities[n, given]), 4),
        "p_suggested": round(float(probabilities[n, best]), 4),
    }
