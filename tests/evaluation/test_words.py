"""Display: nothing is rounded to what it is not."""

import pytest

from sit2.evaluation.words import p_value, percent, points, ratio


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.8312, "83.1 %"),
        (1.0, "100.0 %"),
        (0.99996, "> 99.9 %"),
        (0.0, "0.0 %"),
        (0.0002, "< 0.1 %"),
        (0.5, "50.0 %"),
    ],
)
def test_percent(share, text):
    assert percent(share) == text


@pytest.mark.parametrize(
    ("difference", "text"),
    [
        (0.0312, "3.1"),
        (-0.004, "−0.4"),
        (0.0002, "0.02"),
        (-0.00004, "−0.004"),
        (0.0, "0.0"),
        (-1e-17, "0.0"),
    ],
)
def test_points(difference, text):
    assert points(difference) == text


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (1e-300, "p < 0.001"),
        (0.0, "p < 0.001"),
        (0.001, "p = 0.001"),
        (0.0132, "p = 0.013"),
        (0.04999, "p < 0.05"),
        (0.05, "p = 0.050"),
        (0.9999, "p > 0.999"),
        (1.0, "p = 1"),
    ],
)
def test_p_value(p, text):
    assert p_value(p) == text


def test_a_ratio_is_never_rounded_to_what_it_is_not():
    shown = {0.95749: "0.957", 0.9996: "> 0.999", 1.0: "1.000", 0.0004: "< 0.001", 0.0: "0.000", 0.5: "0.500"}
    assert {value: ratio(value) for value in shown} == shown
