"""Augmentation: every sample by its own draw, and no more than the preset allows."""

import numpy as np
import pytest
import torch

from sit2.config.schema import SETTINGS, make_config
from sit2.training.augment import augment
from sit2.training.augmentations import ALIASES, PRESETS, Augmentation


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=1, channels=3, size=16, seed=1):
    """Return one smooth, asymmetric picture (a bright corner), ``count`` times, or noise where it matters."""
    y, x = torch.meshgrid(torch.linspace(0, 1, size), torch.linspace(0, 1, size), indexing="ij")
    corner = 0.2 + 0.6 * torch.exp(-((x - 0.2) ** 2 + (y - 0.15) ** 2) / 0.08)
    return corner.expand(count, channels, size, size).contiguous()


def correlation(one, other):
    return float(np.corrcoef(one.flatten().numpy(), other.flatten().numpy())[0, 1])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("channels", [1, 3])
class TestContract:
    def test_shape_and_type(self, name, channels):
        images = torch.rand(5, channels, 16, 16, generator=rng())
        changed = augment(images, PRESETS[name], generator=rng())
        assert changed.shape == images.shape
        assert changed.dtype == torch.float32

    def test_values_stay_near_the_range(self, name, channels):
        images = torch.rand(211, channels, 16, 16, generator=rng()).round()  # black and white
        changed = augment(images, PRESETS[name], generator=rng())
        assert changed.min() > -0.25
        assert changed.max() < 1.25

    def test_the_generator_alone_decides(self, name, channels):
        images = torch.rand(5, channels, 16, 16, generator=rng())
        before, state = images.clone(), torch.get_rng_state()
        first, again = (augment(images, PRESETS[name], generator=rng(3)) for _ in range(2))
        assert torch.equal(first, again)
        assert torch.equal(images, before)
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first, augment(images, PRESETS[name], generator=rng(4))) == (name == "none")

    def test_every_sample_has_its_own_draw(self, name, channels):
        changed = augment(pictures(23, channels), PRESETS[name], generator=rng())
        assert len(changed.flatten(1).unique(dim=0)) == (1 if name == "none" else 23)


def test_the_names_are_those_of_the_setting():
    assert SETTINGS["augment"].rule.choices == tuple(PRESETS)
    assert ALIASES == {"any-way-up": "dihedral"}
    assert make_config({"augment": "any-way-up"}) == make_config({"augment": "dihedral"})


def test_none_returns_the_very_pixels():
    images = torch.rand(5, 3, 16, 16, generator=rng())
    assert torch.equal(augment(images, PRESETS["none"], generator=rng()), images)


@pytest.mark.parametrize(
    ("augmentation", "turns", "mirrors"),
    [
        (Augmentation(mirror=True), [0], [False, True]),
        (Augmentation(dihedral=True), range(4), [False, True]),
    ],
)
@pytest.mark.parametrize("size", [16, 13])
def test_mirroring_and_quarter_turns_change_no_pixel_but_its_place(augmentation, turns, mirrors, size):
    images = torch.rand(397, 3, size, size, generator=rng())
    changed = augment(images, augmentation, generator=rng())
    kinds = [torch.rot90(images.flip(3) if m else images, t, (2, 3)) for t in turns for m in mirrors]
    same = torch.stack([(changed == kind).flatten(1).all(dim=1) for kind in kinds])
    assert (same.sum(dim=0) == 1).all()
    assert same.sum(dim=1).min() > 0.7 * 397 / len(kinds)


def test_a_shape_that_is_not_square_keeps_its_sides():
    images = torch.rand(97, 1, 7, 11, generator=rng())
    changed = augment(images, Augmentation(dihedral=True), generator=rng())
    kinds = [images, images.flip(3), images.flip(2), images.flip((2, 3))]
    assert torch.stack([(changed == kind).flatten(1).all(dim=1) for kind in kinds]).any(dim=0).all()


@pytest.mark.parametrize("seed", range(3))
def test_no_flip_never_mirrors(seed):
    image = pictures()
    for changed in augment(pictures(97), PRESETS["no-flip"], generator=rng(seed)):
        alike = correlation(changed, image)
        assert alike > 0.6
        assert all(correlation(changed, image.flip(axes)) < alike - 0.2 for axes in ((3,), (2,), (2, 3)))


@pytest.mark.parametrize(("name", "views"), [("no-flip", 1), ("flip", 2), ("dihedral", 8)])
def test_how_many_views_a_picture_has(name, views):
    preset = PRESETS[name]
    still = Augmentation(mirror=preset.mirror, dihedral=preset.dihedral)
    changed = augment(pictures(97), still, generator=rng())
    assert len((changed * 1000).round().flatten(1).unique(dim=0)) == views


def test_a_shift_moves_by_at_most_its_fraction():
    image = torch.zeros(1, 1, 20, 20)
    image[..., 10, 10] = 1
    moved = augment(image.expand(499, 1, 20, 20), Augmentation(shift=0.1), generator=rng())
    place = torch.arange(20.0)
    rows = (moved[:, 0].sum(dim=2) * place).sum(dim=1) - 10
    columns = (moved[:, 0].sum(dim=1) * place).sum(dim=1) - 10
    for off in (rows, columns):
        assert -2.01 < off.min() < -1.9
        assert 1.9 < off.max() < 2.01
    assert abs(np.corrcoef(rows.numpy(), columns.numpy())[0, 1]) < 0.15


def test_a_shift_is_a_crop_of_the_image_with_mirrored_borders():
    images = torch.rand(499, 2, 7, 11, generator=rng())
    moved = augment(images, Augmentation(shift=0.2), generator=rng())  # 1.4 pixels down, 2.2 pixels across
    padded = np.pad(images.numpy(), [(0, 0), (0, 0), (1, 1), (2, 2)], mode="reflect")
    crops = [padded[:, :, y : y + 7, x : x + 11] for y in range(3) for x in range(5)]
    same = np.stack([(moved.numpy() == crop).all(axis=(1, 2, 3)) for crop in crops])
    assert (same.sum(axis=0) == 1).all()
    assert same.sum(axis=1).min() > 5


@pytest.mark.parametrize("width", [21, 31])
def test_a_rotation_keeps_the_centre_and_the_distance(width):
    image = torch.zeros(1, 1, 21, width)
    image[..., 10, width // 2 + 6] = 1  # 6 pixels from the centre
    changed = augment(image.expand(998, 1, 21, width), Augmentation(rotation=30), generator=rng())[:, 0]
    turned, left = changed[::2], changed[1::2]
    assert torch.equal(left, image[:, 0].expand(499, 21, width))  # sharp, as the images of the test are
    rows, columns = torch.arange(21.0) - 10, torch.arange(float(width)) - width // 2
    mass = turned.sum(dim=(1, 2))
    y, x = (turned.sum(dim=2) * rows).sum(1) / mass, (turned.sum(dim=1) * columns).sum(1) / mass
    assert (x**2 + y**2).sqrt().sub(6).abs().max() < 0.5
    angle = torch.atan2(y, x).rad2deg()
    assert -31 < angle.min() < -28
    assert 28 < angle.max() < 31


def test_light_is_one_line_through_all_pixels():
    images = torch.rand(31, 3, 8, 8, generator=rng())
    changed = augment(images, Augmentation(light=0.2), generator=rng())
    for before, after in zip(images, changed, strict=True):
        slope, offset = np.polyfit(before.flatten().numpy(), after.flatten().numpy(), 1)
        assert 0.8 <= slope <= 1.2
        np.testing.assert_allclose(after, slope * before + offset, atol=1e-5)
        assert abs(float(after.mean() - before.mean())) <= 0.1 + 1e-6


def test_tint_shifts_each_colour_on_its_own_and_leaves_gray_alone():
    tint = Augmentation(tint=0.2)
    images = torch.rand(31, 3, 8, 8, generator=rng())
    shift = augment(images, tint, generator=rng()) - images
    assert shift.std(dim=(2, 3)).max() < 1e-6
    assert shift.abs().max() <= 0.1
    assert shift.mean(dim=(2, 3)).std(dim=1).min() > 0
    gray = images[:, :1]
    torch.testing.assert_close(augment(gray, tint, generator=rng()), gray)
