"""One image file → pixels, against Pillow and NumPy."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from sit2.data.decoding.decode import decode
from sit2.data.decoding.header import channels_of
from sit2.data.decoding.image import Decoding, Unreadable
from sit2.storage.process_state import quiet_libraries

RNG = np.random.default_rng(5)


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    return RNG.integers(0, 256, (height, width, *channels), dtype=np.uint8)


def smooth(height: int, width: int) -> Image.Image:
    """Colours without fine detail, which JPEG keeps well."""
    return Image.fromarray(noise(5, 7, 3)).resize((width, height), Image.Resampling.BICUBIC)


def reason(source, **settings) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(source, Decoding(**{"size": 7, "channels": 3} | settings))
    return str(caught.value)


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("shape", [(11, 11), (11, 11, 3), (11, 11, 1)])
def test_pixels_of_the_right_size_stay_as_they_are(shape, resize):
    pixels = noise(*shape)
    channels = 3 if shape[2:] == (3,) else 1
    result = decode(pixels, Decoding(size=11, channels=channels, resize=resize))
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    expected = pixels.reshape(11, 11, channels).transpose(2, 0, 1)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(("height", "width"), [(13, 29), (29, 13), (3, 5)])
def test_stretch_and_crop_against_pillow(height, width):
    image = Image.fromarray(noise(height, width, 3))
    result = decode(np.asarray(image), Decoding(size=7, channels=3, resize="stretch"))
    expected = np.asarray(image.resize((7, 7), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_allclose(result.astype(int), expected, atol=12)  # two-step reduction of pure noise
    result = decode(np.asarray(image), Decoding(size=7, channels=3, resize="crop"))
    expected = np.asarray(ImageOps.fit(image, (7, 7), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_allclose(result.astype(int), expected, atol=12)


@pytest.mark.parametrize(("height", "width"), [(12, 24), (24, 12), (1, 99)])
def test_pad_keeps_the_shape_and_repeats_the_edges(height, width):
    result = decode(noise(height, width), Decoding(size=12, channels=1, resize="pad"))[0]
    upright = result if width > height else result.T
    inside = max(1, round(12 * min(height, width) / max(height, width)))
    above = (12 - inside) // 2
    for row in range(above):
        np.testing.assert_array_equal(upright[row], upright[above])
    for row in range(above + inside, 12):
        np.testing.assert_array_equal(upright[row], upright[above + inside - 1])


@pytest.mark.parametrize("resize", ["stretch", "crop", "pad"])
def test_large_jpegs_decoded_small_look_the_same(tmp_path, resize):
    image = smooth(331, 547)
    image.save(tmp_path / "a.jpg", quality=95)
    image.save(tmp_path / "a.png")
    quick = decode(tmp_path / "a.jpg", Decoding(size=23, channels=3, resize=resize)).astype(int)
    exact = decode(tmp_path / "a.png", Decoding(size=23, channels=3, resize=resize)).astype(int)
    assert np.abs(quick - exact).mean() < 1
    assert np.abs(quick - exact).max() < 10


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(tmp_path, orientation, suffix):
    image, exif = smooth(16, 32), Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    image.save(path, exif=exif)
    with Image.open(path) as saved:
        expected = ImageOps.exif_transpose(saved).convert("RGB").resize((16, 16), Image.Resampling.BILINEAR)
    result = decode(path, Decoding(size=16, channels=3, resize="stretch"))
    np.testing.assert_allclose(result.transpose(1, 2, 0).astype(int), np.asarray(expected), atol=3)
    if orientation > 1:
        plain = decode(np.asarray(image), Decoding(size=16, channels=3, resize="stretch"))
        assert np.abs(result.astype(int) - plain).max() > 20


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_modes_against_pillow(tmp_path, mode):
    image = smooth(11, 11).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "YCbCr" else "a.tif")
    image.save(path)
    with Image.open(path) as saved:
        expected = np.asarray(saved.convert("RGB"))
    result = decode(path, Decoding(size=11, channels=3, resize="stretch"))
    np.testing.assert_array_equal(result.transpose(1, 2, 0), expected)
    gray = decode(path, Decoding(size=11, channels=1, resize="stretch"))[0]
    expected = np.asarray(Image.fromarray(expected).convert("L"))
    if mode == "YCbCr":  # a JPEG holds its brightness as it is, before any colour is clipped
        with Image.open(path) as saved:
            saved.draft("L", None)
            expected = np.asarray(saved)
    np.testing.assert_allclose(gray.astype(int), expected, atol=2)
    assert channels_of(path) == (1 if mode in ("1", "L", "LA") else 3)


@pytest.mark.parametrize("form", ["RGBA", "LA", "array", "palette", "key"])
def test_transparency_lies_over_white(tmp_path, form):
    alpha = np.repeat(np.array([0, 51, 255], np.uint8)[:, None], 3, axis=1)
    black = np.zeros((3, 3), np.uint8)
    path = tmp_path / "a.png"
    expected = np.repeat(np.array([255, 204, 0])[:, None], 3, axis=1)
    if form == "LA":
        Image.merge("LA", [Image.fromarray(black), Image.fromarray(alpha)]).save(path)
    elif form == "palette":
        image = Image.fromarray(np.repeat(np.array([[0], [1], [2]], np.uint8), 3, axis=1), "L").convert("P")
        image.putpalette([0, 0, 0] * 3)
        image.save(path, transparency=bytes([0, 51, 255]))
    elif form == "key":  # one colour, here 9, is transparent
        Image.fromarray(np.repeat(np.array([[9], [204], [0]], np.uint8), 3, axis=1)).save(
            path, transparency=9
        )
    else:
        Image.fromarray(np.dstack([black, black, black, alpha])).save(path)
    source = np.dstack([black, black, black, alpha]) if form == "array" else path
    result = decode(source, Decoding(size=3, channels=1, resize="stretch"))[0]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_their_range(tmp_path, suffix):
    wide = np.array([[0, 128, 129], [257, 32768, 65407], [65408, 65278, 65535]], np.uint16)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(wide).save(path)
    result = decode(path, Decoding(size=3, channels=1, resize="stretch"))[0]
    np.testing.assert_array_equal(result, np.round(wide / 257))
    assert channels_of(path) == 1
    assert decode(path, Decoding(size=3, channels=3, resize="stretch")).shape == (3, 3, 3)


def test_white_may_be_zero_in_tiffs(tmp_path):
    pixels = noise(5, 7)
    for image in (Image.fromarray(pixels), Image.fromarray(pixels.astype(np.uint16) * 257)):
        image.save(tmp_path / "a.tif", tiffinfo={262: 0})
        data = (tmp_path / "a.tif").read_bytes()
        assert b"\x06\x01\x03\x00\x01\x00\x00\x00\x00" in data  # photometric interpretation: white is zero
        result = decode(tmp_path / "a.tif", Decoding(size=7, channels=1, resize="pad"))[0, 1:-1]
        # Pillow inverts the 8 bits when it writes, so they come back; the 16 it writes as they are
        np.testing.assert_array_equal(result, pixels if image.mode == "L" else 255 - pixels)


def test_the_first_frame_counts(tmp_path):
    frames = [Image.fromarray(noise(7, 7)) for _ in range(3)]
    for name in ("a.gif", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        result = decode(tmp_path / name, Decoding(size=7, channels=1, resize="stretch"))[0]
        np.testing.assert_array_equal(result, np.asarray(frames[0]))


def test_gray_palettes_are_gray(tmp_path):
    gray = Image.fromarray(noise(7, 7)).convert("P")
    gray.putpalette([value for value in range(256) for _ in range(3)])
    gray.save(tmp_path / "gray.png")
    smooth(7, 7).convert("P").save(tmp_path / "colour.png")
    assert channels_of(tmp_path / "gray.png") == 1
    assert channels_of(tmp_path / "colour.png") == 3


@pytest.mark.parametrize(("shape", "channels"), [((5, 7), 1), ((5, 7, 1), 1), ((5, 7, 3), 3), ((5, 7, 4), 3)])
def test_channels_of_arrays(shape, channels):
    assert channels_of(noise(*shape)) == channels


def test_reasons(tmp_path):
    assert reason(tmp_path / "gone.png") == "no such file"
    assert reason(tmp_path) == "a folder, not a file"
    (tmp_path / "empty.png").write_bytes(b"")
    assert reason(tmp_path / "empty.png") == "an empty file"
    (tmp_path / "text.png").write_text("no image at all")
    assert reason(tmp_path / "text.png") == "not an image, or of an unknown format"
    Image.new("I", (7, 7)).save(tmp_path / "wide.tif")
    assert reason(tmp_path / "wide.tif").startswith("32-bit pixels, whose range is unknown (here 0 to 0)")


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises pixels and has none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def test_too_many_pixels(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png_header(20_000, 20_000))
    with quiet_libraries():
        assert (
            reason(tmp_path / "bomb.png")
            == "20,000 × 20,000 pixels, more than 178 million (see --max-megapixels)"
        )


def test_pillows_warnings_can_be_kept_quiet(tmp_path):
    (tmp_path / "large.png").write_bytes(png_header(10_000, 10_000))
    with quiet_libraries():  # 100 million pixels: Pillow warns, we do not mind
        assert channels_of(tmp_path / "large.png") == 1


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "webp", "bmp"])
def test_truncated_files_never_give_pixels(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(41, 43, 3)).save(path)
    data = path.read_bytes()
    with quiet_libraries():
        decode(path, Decoding(size=7, channels=3, resize="stretch"))
        for share in (0.001, 0.01, 0.2, 0.5, 0.9):
            path.write_bytes(data[: int(len(data) * share)])
            assert reason(path)
    path.write_bytes(data[: len(data) // 2])
    if suffix in ("jpg", "png"):
        assert reason(path) == "truncated"


def test_unknown_words_are_not_taken_for_a_default():
    with pytest.raises(ValueError):
        decode(noise(7, 7), Decoding(size=7, channels=1, resize="squash"))
    with pytest.raises(ValueError):
        decode(noise(7, 7), Decoding(size=7, channels=2, resize="crop"))
