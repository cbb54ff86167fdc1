"""What a comparison can show before it is made: how large a difference must be. This module never imports torch."""

from __future__ import annotations

import numpy as np

from sit2.evaluation.statistics import ALPHA

DIFFER = 0.1  # of the test images that two methods are taken to answer differently
POWER = 0.8  # chance that a difference of the size that is told is shown
ENOUGH = 5  # splits; with fewer, Student's t asks for much larger differences


def detectable(
    images: int, splits: int, *, train: float, test: float, comparisons: int, differ: float = DIFFER
) -> float:
    """Return the difference of accuracies that is shown four times in five; infinite on one split.

    It is that of :func:`~sit2.evaluation.repeated.corrected_t_test` on splits of one pool of images, where the
    two methods are right on different images in a fraction ``differ`` of the test, and training adds as much
    chance to a difference as the test images do.

    Args:
        images: in one test.
        splits: different test sets.
        train: the fraction of all images that a training takes.
        test: the fraction that a test takes.
        comparisons: made together, for which the test is corrected.
        differ: fraction of the test images that only one of the two classifies correctly.
    """
    from scipy import stats

    if splits < 2 or images < 1:
        return float("inf")
    own = differ / images  # variance of one difference by its test images
    told = 2 * own / splits + train * own  # and as much again by training, of which splits share a part
    shared = own * test
    level = ALPHA / comparisons / 2
    student, normal = stats.t.isf(level, splits - 1), stats.norm.isf(level)
    half = float(np.hypot(student * np.sqrt(told), normal * np.sqrt(shared)))
    return half + float(stats.t.isf(1 - POWER, splits - 1)) * float(np.sqrt(told + shared))


def design_sentence(
    name: str, images: int, splits: int, *, train: float, test: float, comparisons: int
) -> str:
    """Say what a comparison on one data set can show, and what more splits would.

    Args:
        name: of the data set.
        images, splits, train, test, comparisons: see :func:`detectable`.
    """

    def told(count: int) -> str:
        found = detectable(images, count, train=train, test=test, comparisons=comparisons)
        return "none" if found >= 1 else f"one of about {100 * found:.0f} points or more"

    more, each = max(ENOUGH, 2 * splits), f"of {images:,} test images each"
    design = f"{splits} splits {each} show" if splits > 1 else f"1 split of {images:,} test images shows"
    then = f"--splits {more} would show {told(more)}"
    return f"{name}: {design}, of differences between methods, {told(splits)}; {then}"
