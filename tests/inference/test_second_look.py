"""A second look against a computation by hand, and what it leaves alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from sit2.confusion.pairs import all_pairs
from sit2.features.closed_form import fit_probe
from sit2.inference.second_look import SHARPNESS, WEIGHTS, SecondLook
from sit2.seeds import Seeds
from sit2.training.augment import PRESETS

CLASSES = ("ant", "bee", "cat", "dog")
PAIRS = {(p.a, p.b): p for p in all_pairs(CLASSES)}


@pytest.fixture(scope="module")
def probe():
    rng = np.random.default_rng(0)
    labels = np.arange(29) % 4
    noise = rng.integers(0, 160, (29, 3, 16, 16)) + 30 * labels[:, None, None, None]
    return fit_probe(noise.astype(np.uint8), labels, 4, seeds=Seeds(0))[0]


@pytest.fixture
def images():
    return torch.rand(11, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def look(probe, *pairs, weight=0.3, augment="none"):
    chosen = [PAIRS[pair] for pair in pairs]
    return SecondLook.of(probe, chosen, num_classes=4, weight=weight, augment=PRESETS[augment])


def asked(pixels):
    """A network that answers by the brightness of corners: laid another way, another answer."""
    corners = pixels[:, 0, [0, 0, -1, -1], [0, -1, 0, -1]].double()
    return (5 * corners).log_softmax(dim=1)


def test_by_hand(probe, images):
    """One pair: its two classes' mass is shared as network and probe say, the others keep theirs."""
    first, other = asked(images).exp().numpy(), probe(images).exp().numpy()
    given = look(probe, (0, 1))(images, asked).exp().numpy()
    concerned = first.argmax(axis=1) < 2
    assert 0 < concerned.sum() < 11
    odds = (first[:, 0] / first[:, 1]) ** 0.7 * (other[:, 0] / other[:, 1]) ** 0.3
    mass = first[:, 0] + first[:, 1]
    expected = np.stack([mass * odds / (1 + odds), mass / (1 + odds), first[:, 2], first[:, 3]], axis=1)
    np.testing.assert_allclose(given[concerned], expected[concerned])
    np.testing.assert_array_equal(given[~concerned], np.exp(asked(images).numpy())[~concerned])


def test_with_all_pairs_it_is_the_mean_of_both(probe, images):
    mean = 0.7 * asked(images) + 0.3 * probe(images)
    expected = mean.softmax(dim=1)
    torch.testing.assert_close(look(probe, *PAIRS)(images, asked).exp(), expected)


def test_without_pairs_it_is_the_network(probe, images):
    assert torch.equal(look(probe)(images, asked), asked(images))


@given(
    pairs=st.sets(st.sampled_from(sorted(PAIRS))),
    weight=st.floats(0, 1),
    augment=st.sampled_from(sorted(PRESETS)),
)
def test_what_always_holds(probe, pairs, weight, augment):
    images = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    given = look(probe, *sorted(pairs), weight=weight, augment=augment)(images, asked).exp()
    first = asked(images).exp()
    torch.testing.assert_close(given.sum(dim=1), torch.ones(7, dtype=torch.float64))
    for image, before, after in zip(range(7), first, given, strict=True):
        named = int(before.argmax())
        partners = {b if a == named else a for a, b in pairs if named in (a, b)}
        outside = [k for k in range(4) if k != named and k not in partners]
        assert torch.equal(after[outside], before[outside]), image


@pytest.mark.parametrize(("augment", "ways"), [("none", 1), ("no-flip", 1), ("flip", 2), ("dihedral", 8)])
def test_the_ways_to_lay_an_image_are_those_of_training(probe, images, augment, ways):
    views = list(look(probe, (0, 1), augment=augment).views(images))
    assert len(views) == ways
    assert torch.equal(views[0], images)
    different = {view.numpy().tobytes() for view in views}
    assert len(different) == ways
    if ways == 8:  # whichever way it lies, the same eight are seen
        turned = look(probe, (0, 1), augment=augment).views(images.rot90(1, (2, 3)))
        assert {view.numpy().tobytes() for view in turned} == different


def test_an_image_that_is_not_square_is_not_laid_on_its_side(probe):
    views = list(look(probe, (0, 1), augment="dihedral").views(torch.rand(2, 3, 8, 16)))
    assert [tuple(view.shape[2:]) for view in views] == [(8, 16)] * 4


def test_sharper_by_hand(probe, images):
    """Among all classes: the product of powers of both, and of that another power."""
    sharper = replace(look(probe, *PAIRS, weight=0.25), sharpness=2.0)
    expected = asked(images).exp() ** 1.5 * probe(images).exp() ** 0.5
    torch.testing.assert_close(sharper(images, asked).exp(), expected / expected.sum(dim=1, keepdim=True))


def some_answers(count, right, seed=0):
    """Return labels (count,), and log-probabilities (count, 4) that favour them as much as ``right`` says."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    logits = torch.randn(count, 4, generator=generator, dtype=torch.float64)
    logits[torch.arange(count), labels] += right
    return labels, logits.log_softmax(dim=1)


class TestFitted:
    def fit(self, probe, network, other, labels, *pairs):
        return look(probe, *(pairs or PAIRS)).fitted((network, network, other), labels)

    def test_a_probe_that_guesses_is_not_listened_to(self, probe):
        labels, network = some_answers(400, 3.0)
        _, other = some_answers(400, 0.0, seed=1)
        assert self.fit(probe, network, other, labels).weight <= 0.05

    def test_a_probe_that_knows_more_is(self, probe):
        labels, network = some_answers(400, 0.0)
        _, other = some_answers(400, 3.0, seed=1)
        assert self.fit(probe, network, other, labels).weight >= 0.85

    def test_who_is_too_sure_becomes_less_so(self, probe):
        """The sharpness undoes a factor on all log-probabilities, to the nearest step."""
        labels, answers = some_answers(4000, 2.0)
        even = self.fit(probe, answers, answers, labels)
        surer = (4 * answers).log_softmax(dim=1)
        assert self.fit(probe, surer, surer, labels).sharpness == pytest.approx(even.sharpness / 4)

    @pytest.mark.parametrize("pairs", [[(0, 1)], [(0, 1), (1, 3)], sorted(PAIRS)])
    def test_it_is_the_least_price_of_a_grid(self, probe, pairs):
        """Against scikit-learn's log-loss and the prior as it is documented."""
        labels, network = some_answers(60, 1.0)
        _, other = some_answers(60, 1.0, seed=1)
        one = look(probe, *pairs)

        def price(weight, sharpness):
            given = replace(one, weight=weight, sharpness=sharpness).said(network, network, other).exp()
            total = log_loss(labels, given, normalize=False, labels=range(4))
            return total + ((weight - 0.3) / 0.3) ** 2 + np.log(sharpness) ** 2

        best = min(((w, s) for w in WEIGHTS for s in SHARPNESS), key=lambda at: price(*at))
        fitted = one.fitted((network, network, other), labels)
        assert (fitted.weight, fitted.sharpness) == best
        assert (fitted.probe, fitted.partners is one.partners) == (one.probe, True)

    def test_one_image_moves_little(self, probe):
        labels, network = some_answers(1, 0.0)
        _, other = some_answers(1, 5.0, seed=1)
        fitted = self.fit(probe, network, other, labels)
        assert 0.3 <= fitted.weight <= 0.6
        assert 0.5 <= fitted.sharpness <= 2


def test_taken_apart_and_put_together_it_is_the_same(probe, images):
    one = replace(look(probe, (0, 1), (1, 3)), sharpness=1.5)
    again = SecondLook.restore(one.state(), channels=3, num_classes=4)
    assert torch.equal(again(images, asked), one(images, asked))


@pytest.mark.parametrize(
    ("name", "tensor", "reason"),
    [
        ("numbers", None, "lacks its numbers"),
        ("numbers", torch.zeros(2, dtype=torch.float64), "lacks its numbers"),
        ("numbers", torch.tensor([1.5, 0, 0, 1]), "weight is not from 0 to 1"),
        ("numbers", torch.tensor([torch.nan, 0, 0, 1]), "weight is not from 0 to 1"),
        ("numbers", torch.tensor([0.3, 0, 0, 0]), "sharpness is not above 0"),
        ("numbers", torch.tensor([0.3, 0, 0, torch.inf]), "sharpness is not above 0"),
        ("partners", None, "pairs do not fit"),
        ("partners", torch.zeros(3, 3, dtype=torch.bool), "pairs do not fit"),
        ("partners", torch.zeros(4, 4), "pairs do not fit"),
        ("marks", None, "the probe lacks 'marks'"),
    ],
)
def test_what_does_not_fit_is_refused(probe, name, tensor, reason):
    state = look(probe, (0, 1)).state()
    state.pop(name)
    if tensor is not None:
        state[name] = tensor
    with pytest.raises(ValueError, match=reason):
        SecondLook.restore(state, channels=3, num_classes=4)
