"""Random pairs are a control only as far as they are not the chosen ones."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sit2.confusion.pairs import all_pairs, random_pairs
from sit2.methods.phases import overlap, pairs_from
from sit2.seeds import Seeds


def names(pairs):
    return {(pair.a, pair.b) for pair in pairs}


@given(st.integers(2, 9), st.data())
def test_chosen_pairs_are_drawn_only_where_no_others_are_left(number, data):
    classes = [f"class {n}" for n in range(number)]
    every = all_pairs(classes)
    picked = data.draw(st.lists(st.integers(0, len(every) - 1), unique=True))
    chosen = [every[n] for n in picked]
    drawn = random_pairs(
        classes, len(chosen), np.random.default_rng(data.draw(st.integers(0, 99))), avoid=chosen
    )
    assert len(names(drawn)) == len(chosen)
    common = len(names(drawn) & names(chosen))
    assert common == max(0, 2 * len(chosen) - len(every))
    assert common == overlap("random", chosen, number)


def test_others_are_drawn_evenly():
    classes, chosen = list("abcdefg"), all_pairs(list("abcdefg"))[:4]
    counts = dict.fromkeys(combinations(range(7), 2), 0)
    for seed in range(2000):
        for pair in random_pairs(classes, 4, np.random.default_rng(seed), avoid=chosen):
            counts[pair.a, pair.b] += 1
    others = [count for pair, count in counts.items() if pair not in names(chosen)]
    assert all(counts[pair] == 0 for pair in names(chosen))
    assert min(others) > 0.8 * 2000 * 4 / 17
    assert max(others) < 1.2 * 2000 * 4 / 17


def test_a_recipe_of_random_pairs_gets_the_chosen_ones_scores():
    from dataclasses import replace

    classes = list("abcde")
    chosen = [replace(pair, score=0.1 * (n + 1)) for n, pair in enumerate(all_pairs(classes)[:3])]
    drawn = pairs_from("random", chosen, classes, Seeds(0))
    assert not names(drawn) & names(chosen)
    assert [pair.score for pair in drawn] == pytest.approx([0.1, 0.2, 0.3])
    assert overlap("random", chosen, 5) == overlap("all", chosen, 5) == 0
