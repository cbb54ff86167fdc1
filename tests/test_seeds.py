"""One root seed, named generators."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sit2.seeds import Seeds

names = st.lists(st.text(max_size=5) | st.integers(-9, 9), max_size=4)


def test_the_numbers_never_change():
    """A new version of sit2 that draws otherwise would not repeat anybody's results."""
    assert Seeds(0).integer("batches", "pretrain", 17) == 7533423710971638584
    assert Seeds(2024).child("training").sklearn("folds") == 2572434454


@given(names, names, st.integers(0, 2**70))
def test_a_child_is_a_path(first, second, root):
    assert Seeds(root).child(*first).integer(*second) == Seeds(root).integer(*first, *second)
    assert 0 <= Seeds(root).integer(*first) < 2**63
    assert 0 <= Seeds(root).sklearn(*first) < 2**32


def test_paths_and_roots_are_independent():
    paths = [
        (),
        ("a",),
        ("a", "b"),
        ("ab",),
        ("b", "a"),
        ("a", 1),
        ("a", "1"),
        ("a1",),
        ("a", 11),
        ("a", 1, 1),
    ]
    made = [Seeds(root).integer(*path) for root in range(100) for path in paths]
    assert len(set(made)) == 1000


def test_bits_are_even():
    made = np.array([Seeds(0).integer(n) for n in range(2000)])
    share = [((made >> bit) & 1).mean() for bit in range(63)]
    assert share == pytest.approx([0.5] * 63, abs=0.06)


def test_generators_of_neighbouring_names_are_uncorrelated():
    draws = np.stack([Seeds(0).numpy("step", n).standard_normal(2000) for n in range(7)])
    correlation = np.corrcoef(draws) - np.eye(7)
    assert np.abs(correlation).max() < 0.1


def test_nothing_depends_on_what_was_drawn_before():
    seeds = Seeds(3).child("part")
    fresh = Seeds(3).child("part").numpy("x").random(5)
    seeds.numpy("y").random(100)
    assert np.array_equal(seeds.numpy("x").random(5), fresh)
    assert np.array_equal(seeds.numpy("x").random(5), fresh)
