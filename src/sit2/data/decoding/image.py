"""What every decoder takes and gives: how to decode, pixels before they have 8 bits, why it failed.

Letters: H, W height and width of the file's image, S samples of a pixel: gray, gray + alpha, RGB, RGBA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from sit2.data.words import counted
from sit2.errors import DataError

RESIZES = ("stretch", "crop", "pad")
BACKGROUNDS = ("white", "black")
MAX_MEGAPIXELS = 178  # 534 MB of RGB; beyond that a file is more likely an attack than a picture

Tell = Callable[[str], None]  # called with what is worth knowing about an image that could be read


class Unreadable(DataError):  # noqa: N818 - it names the file's state, and travels as a short reason
    """An image that cannot be decoded. Its text is a short reason, such as "truncated"."""


class UnreadableNow(Unreadable):
    """An image that could be decoded another time, without a change to its file."""


class DecodingSettings(Protocol):
    """What a configuration and a model both say about decoding."""

    @property
    def image_size(self) -> int | None:
        """Height and width, in pixels; None before the images were looked at."""

    @property
    def channels(self) -> str | int:
        """1, 3 or "auto"."""

    @property
    def channels_from(self) -> tuple[int, ...]:
        """Which channels of a file become the image; none: as they are."""

    @property
    def resize(self) -> str:
        """What becomes of an image that is not square."""

    @property
    def depth_window(self) -> str:
        """What becomes 0 to 255 of more than 8 bits."""

    @property
    def background(self) -> str:
        """What lies under transparent pixels."""

    @property
    def max_megapixels(self) -> int:
        """Images of more than this many million pixels are refused."""


@dataclass(frozen=True)
class Decoding:
    """How an image becomes pixels: the same in training and in prediction."""

    size: int  # height and width of the result
    channels: int  # of the result: 1 (gray) or 3 (RGB)
    resize: str = "stretch"  # it; or "crop" its middle; or "pad" it by repeating its edges
    depth_window: str = "full"  # which values become 0…255 where there are more than 8 bits, see bit_depth.py
    background: str = "white"  # what lies under transparent pixels
    max_megapixels: int = MAX_MEGAPIXELS  # a larger image is refused
    channels_from: tuple[
        int, ...
    ] = ()  # which of the file's channels become the image, from 0; none: as they are

    def __post_init__(self) -> None:
        if self.resize not in RESIZES or self.channels not in (1, 3) or self.background not in BACKGROUNDS:
            raise ValueError(f"no such decoding: {self}")

    @classmethod
    def of(cls, settings: DecodingSettings, *, channels: int, size: int | None = None) -> Decoding:
        """Return what settings ask for, at another size if one is given; the settings' must be known."""
        side = settings.image_size if size is None else size
        assert side is not None
        return cls(
            side,
            channels,
            settings.resize,
            settings.depth_window,
            settings.background,
            settings.max_megapixels,
            settings.channels_from,
        )

    def check_size(self, width: int, height: int) -> None:
        """Raise :class:`Unreadable` for more pixels than are allowed."""
        if width * height > self.max_megapixels * 10**6:
            raise Unreadable(
                f"{width:,} × {height:,} pixels, more than {self.max_megapixels} million "
                "(see --max-megapixels)"
            )


def chosen(pixels: NDArray[Any], channels: tuple[int, ...]) -> NDArray[Any]:
    """Return the channels that --channels-from names of (H, W) or (H, W, S): (H, W), or (H, W, 3).

    Raises:
        Unreadable: there are not so many.
    """
    planes = pixels if pixels.ndim == 3 else pixels[:, :, None]
    there = planes.shape[2]
    if max(channels) >= there:
        raise Unreadable(
            f"it has {counted(there, 'channel')}, and --channels-from names number {max(channels)} (the first is 0)"
        )
    return planes[:, :, channels[0]] if len(channels) == 1 else planes[:, :, list(channels)]


@dataclass(frozen=True)
class Wide:
    """Pixels that may have more than 8 bits."""

    pixels: NDArray[Any]  # (H, W) or (H, W, S), any type of numbers; uint8 stays as it is
    full: tuple[float, float] | None  # the values that "full" makes 0 and 255; None: not known
    inverted: bool = False  # the lowest value is white
