"""The refinement among confused classes against a computation by hand, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from opinions import PAIRS, asked, context, images_to_predict, learned, look_at, outputs, some_answers

from sit2.inference import chain
from sit2.inference.predictors.pairwise import Pairwise


def refine(first, so_far, *pairs):
    """(N, 4) probabilities after the refinement."""
    return learned("pairwise", *pairs)(outputs(first, so_far), None).log_probabilities.exp()


def test_by_hand_after_an_ensemble():
    """One pair: its two classes' mass is shared as network and classifier say, the others keep theirs."""
    ensemble, images = learned("ensemble"), images_to_predict()
    predictors = (replace(ensemble, weight=0.3), learned("pairwise", (0, 1)))
    first, other = asked(images).exp().numpy(), ensemble.classifier(images).exp().numpy()
    refined = chain.apply(predictors, look_at(predictors, images)).log_probabilities.exp().numpy()
    concerned = first.argmax(axis=1) < 2
    assert 0 < concerned.sum() < 11
    odds = (first[:, 0] / first[:, 1]) ** 0.7 * (other[:, 0] / other[:, 1]) ** 0.3
    mass = first[:, 0] + first[:, 1]
    expected = np.stack([mass * odds / (1 + odds), mass / (1 + odds), first[:, 2], first[:, 3]], axis=1)
    np.testing.assert_allclose(refined[concerned], expected[concerned])
    np.testing.assert_array_equal(refined[~concerned], first[~concerned])


def test_with_all_pairs_it_is_the_answer_so_far():
    (_, first), (_, so_far) = some_answers(50, 1.0), some_answers(50, 1.0, seed=1)
    torch.testing.assert_close(refine(first, so_far, *PAIRS), so_far.exp())


def test_without_pairs_it_is_the_network():
    (_, first), (_, so_far) = some_answers(50, 1.0), some_answers(50, 1.0, seed=1)
    assert torch.equal(refine(first, so_far), first.exp())


@given(pairs=st.sets(st.sampled_from(sorted(PAIRS))), seed=st.integers(0, 99), right=st.floats(-3, 3))
def test_what_always_holds(pairs, seed, right):
    (_, first), (_, so_far) = some_answers(7, right, seed), some_answers(7, right, seed + 100)
    refined = refine(first, so_far, *sorted(pairs))
    torch.testing.assert_close(refined.sum(dim=1), torch.ones(7, dtype=torch.float64))
    for before, between, after in zip(first.exp(), so_far.exp(), refined, strict=True):
        predicted = int(before.argmax())
        partners = {b if a == predicted else a for a, b in pairs if predicted in (a, b)}
        inside = sorted({predicted} | partners)
        outside = [k for k in range(4) if k not in inside]
        assert torch.equal(after[outside], before[outside])
        if partners:  # whose classes divide among themselves as the answer so far says
            torch.testing.assert_close(
                after[inside] / after[inside].sum(), between[inside] / between[inside].sum()
            )
            torch.testing.assert_close(after[inside].sum(), before[inside].sum())
        else:
            assert torch.equal(after, before)


@pytest.mark.parametrize(
    "partners",
    [
        None,
        torch.zeros(3, 3, dtype=torch.bool),
        torch.zeros(4, 4),
        torch.ones(4, 4, dtype=torch.bool).triu(1),
    ],
)
def test_pairs_that_do_not_fit_are_refused(partners):
    state = {} if partners is None else {"partners": partners}
    with pytest.raises(ValueError, match="pairwise has pairs that do not fit the classes"):
        Pairwise.from_state({}, state, context())
