"""Test-time augmentation: which views are asked about, and the mean of what is said of them."""

import pytest
import torch
from opinions import asked, images_to_predict, learned, look_at

from sit2.inference import chain


@pytest.fixture
def images():
    return images_to_predict()


@pytest.mark.parametrize(("augment", "count"), [("none", 1), ("no-flip", 1), ("flip", 2), ("dihedral", 8)])
def test_the_views_are_those_of_training(images, augment, count):
    views = list(learned("tta", augment=augment).views(images))
    assert len(views) == count
    assert torch.equal(views[0], images)
    different = {view.numpy().tobytes() for view in views}
    assert len(different) == count
    if count == 8:  # however an image is turned, the same eight are seen
        turned = learned("tta", augment=augment).views(images.rot90(1, (2, 3)))
        assert {view.numpy().tobytes() for view in turned} == different


def test_an_image_that_is_not_square_is_not_turned_on_its_side():
    views = list(learned("tta", augment="dihedral").views(torch.rand(2, 3, 8, 16)))
    assert [tuple(view.shape[2:]) for view in views] == [(8, 16)] * 4


@pytest.mark.parametrize("augment", ["none", "flip", "dihedral"])
def test_by_hand(images, augment):
    """The geometric mean of the probabilities of all views, normalised."""
    tta = learned("tta", augment=augment)
    views = [images, images.flip(3)]
    views = {"none": views[:1], "flip": views}.get(augment) or [
        torch.rot90(view, turn, (2, 3)) for view in views for turn in range(4)
    ]
    product = torch.stack([asked(view).exp() for view in views]).prod(dim=0) ** (1 / len(views))
    expected = product / product.sum(dim=1, keepdim=True)
    given = chain.apply((tta,), look_at((tta,), images)).log_probabilities.exp()
    torch.testing.assert_close(given, expected)


def test_a_turned_image_gets_the_same_answer(images):
    tta = learned("tta", augment="dihedral")
    answers = [
        chain.apply((tta,), look_at((tta,), view)).log_probabilities
        for view in (images, images.flip(2), images.rot90(1, (2, 3)))
    ]
    torch.testing.assert_close(answers[1], answers[0])
    torch.testing.assert_close(answers[2], answers[0])


def test_without_another_view_it_is_the_network(images):
    tta = learned("tta", augment="no-flip")
    torch.testing.assert_close(chain.apply((tta,), look_at((tta,), images)).log_probabilities, asked(images))
