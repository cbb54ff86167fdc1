"""One contract for every synthesizer, and the exact masks of each."""

import pytest
import torch

from sit2.synthesis import SYNTHESIZERS
from sit2.synthesis.mixer import mix

SIZES = [(16, 16), (7, 11), (13, 5)]
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def draw(name, count, height, width, *, seed=0, device="cpu"):
    generator = torch.Generator(device).manual_seed(seed)
    return SYNTHESIZERS[name]().masks(count, height, width, generator=generator)


def parents(count=5, channels=3, height=7, width=11):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, count, channels, height, width, generator=generator).unbind()


@pytest.mark.parametrize("name", SYNTHESIZERS)
@pytest.mark.parametrize(("height", "width"), SIZES)
class TestContract:
    def test_shape_type_and_range(self, name, height, width):
        masks = draw(name, 19, height, width)
        assert masks.shape in {(19, 1, height, width), (19, 1, 1, 1)}
        assert masks.dtype == torch.float32
        assert masks.min() >= 0
        assert masks.max() <= 1

    def test_neither_parent_is_favoured(self, name, height, width):
        shares = draw(name, 4001, height, width).mean(dim=(1, 2, 3))
        assert shares.mean() == pytest.approx(0.5, abs=0.01)

    def test_every_image_has_approximately_equal_proportions(self, name, height, width):
        shares = draw(name, 499, height, width).mean(dim=(1, 2, 3))
        assert shares.min() > 0.35
        assert shares.max() < 0.65

    def test_every_pixel_comes_from_either_parent_equally_often(self, name, height, width):
        shares = draw(name, 4001, height, width).expand(4001, 1, height, width).mean(dim=(0, 1))
        assert shares.sub(0.5).abs().max() < 0.05

    def test_the_generator_alone_decides(self, name, height, width):
        first, again = draw(name, 19, height, width), draw(name, 19, height, width)
        assert torch.equal(first, again)
        assert not torch.equal(first, draw(name, 19, height, width, seed=1))

    def test_images_of_a_batch_differ(self, name, height, width):
        masks = draw(name, 31, height, width).flatten(1)
        assert len(masks.unique(dim=0)) >= 4

    @pytest.mark.parametrize("device", DEVICES)
    def test_masks_lie_on_the_generators_device(self, name, height, width, device):
        assert draw(name, 2, height, width, device=device).device.type == device

    def test_no_images(self, name, height, width):
        assert len(draw(name, 0, height, width)) == 0


@pytest.mark.parametrize(("height", "width"), [(7, 11), (6, 10)])
def test_halves_are_exactly_the_parents_halves(height, width):
    """Where a side is odd, its middle belongs to the left or upper half."""
    left, right = parents(count=97, height=height, width=width)
    middle, centre = (width + 1) // 2, (height + 1) // 2
    mixed, weight, operator = mix(left, right, ["halves"], generator=torch.Generator().manual_seed(0))
    kinds = {"left": 0, "right": 0, "top": 0, "bottom": 0}  # which half is the left parent's
    for n in range(97):
        for kind, mine in {
            "left": (slice(None), slice(None), slice(0, middle)),
            "right": (slice(None), slice(None), slice(middle, width)),
            "top": (slice(None), slice(0, centre)),
            "bottom": (slice(None), slice(centre, height)),
        }.items():
            expected = right[n].clone()
            expected[mine] = left[n][mine]
            if torch.equal(mixed[n], expected):
                kinds[kind] += 1
                share = {"left": middle / width, "top": centre / height}
                share |= {"right": 1 - middle / width, "bottom": 1 - centre / height}
                assert weight[n].item() == pytest.approx(share[kind], abs=1e-6)
    assert sum(kinds.values()) == 97
    assert min(kinds.values()) > 10
    assert (operator == 0).all()


def test_blend_is_the_weighted_mean():
    left, right = parents(count=101)
    mixed, weight, _ = mix(left, right, ["blend"], generator=torch.Generator().manual_seed(0))
    assert 0.4 <= weight.min() < 0.41
    assert 0.59 < weight.max() <= 0.6
    w = weight.double()[:, None, None, None]
    torch.testing.assert_close(mixed.double(), w * left + (1 - w) * right, rtol=0, atol=1e-6)


def test_patches_are_a_checkerboard_of_unmixed_pixels():
    left, right = parents(count=53, height=16, width=16)
    mixed, weight, _ = mix(left, right, ["patches"], generator=torch.Generator().manual_seed(0))
    from_left = (mixed == left).all(dim=1)
    assert torch.equal(from_left, ~(mixed == right).all(dim=1))
    torch.testing.assert_close(weight, from_left.float().mean(dim=(1, 2)))
    # A row of the board is another row or its opposite, and a cell is 16 / 4 pixels long.
    for board in from_left:
        assert all(torch.equal(row, board[0]) or torch.equal(row, ~board[0]) for row in board)
        changes = (board[0, 1:] != board[0, :-1]).nonzero()[:, 0]
        assert changes.diff().tolist() == [4] * (len(changes) - 1)
        assert len(changes) in {3, 4}
    assert weight.sub(0.5).abs().max() < 0.1
