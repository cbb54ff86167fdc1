"""The quick way for JPEG files gives what Pillow gives, and leaves to Pillow what is not plain."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sit2.data.decoding import jpeg
from sit2.data.decoding.decode import decode
from sit2.data.decoding.image import Decoding, Unreadable
from sit2.data.decoding.jpeg import decode_jpeg


def picture(height, width, seed=0):
    """A smooth colour picture: what decoders disagree on is sharp edges."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    phase = np.random.default_rng(seed).uniform(0, 6, 3)
    waves = [127 + 80 * np.sin(3 * x + y * (k + 1) + p) for k, p in enumerate(phase)]
    return Image.fromarray(np.stack(waves, axis=2).astype(np.uint8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("jpeg")


def saved(path, image, **options):
    image.save(path, quality=95, **options)
    return path


@settings(deadline=None)
@given(
    height=st.integers(40, 301),
    width=st.integers(40, 301),
    size=st.integers(16, 40),
    resize=st.sampled_from(["stretch", "pad", "crop"]),
)
def test_any_shape_against_pillow(folder, resize, height, width, size):
    path = saved(folder / "a.jpg", picture(height, width))
    ours = decode(path, Decoding(size=size, channels=3, resize=resize))
    with Image.open(path) as image:
        slow = decode(np.asarray(image), Decoding(size=size, channels=3, resize=resize))
    assert ours.shape == (3, size, size)
    assert np.abs(ours.astype(int) - slow).mean() < 5  # half a pixel of the smaller picture, in a crop


@pytest.mark.parametrize("size", [16, 48, 97, 200])
def test_only_where_twice_the_size_is_left_is_a_jpeg_decoded_smaller(tmp_path, monkeypatch, size):
    path = saved(tmp_path / "a.jpg", picture(400, 300))
    sides = []
    real = jpeg.simplejpeg.decode_jpeg

    def spy(*args, **options):
        pixels = real(*args, **options)
        sides.append(min(pixels.shape[:2]))
        return pixels

    monkeypatch.setattr(jpeg.simplejpeg, "decode_jpeg", spy)
    decode(path, Decoding(size=size, channels=3, resize="stretch"))
    assert sides[0] >= min(300, 2 * size)
    assert sides[0] < 4 * size or sides[0] <= 300 // 8 + 1


@pytest.mark.parametrize("kind", ["cmyk", "truncated", "empty", "garbage"])
def test_what_is_not_plain_is_left_to_pillow(tmp_path, kind):
    path = saved(tmp_path / "a.jpg", picture(40, 30))
    if kind == "cmyk":
        picture(40, 30).convert("CMYK").save(path)
    else:
        content = path.read_bytes()
        path.write_bytes(
            {"truncated": content[:-200], "empty": b"", "garbage": b"\xff\xd8\xff" + b"no"}[kind]
        )
    assert decode_jpeg(path.read_bytes(), Decoding(size=8, channels=3, resize="stretch")) is None
    if kind == "cmyk":
        assert decode(path, Decoding(size=8, channels=3, resize="stretch")).shape == (3, 8, 8)
    else:
        with pytest.raises(Unreadable):
            decode(path, Decoding(size=8, channels=3, resize="stretch"))


def test_damage_in_the_middle_is_never_passed_over_by_the_quick_way(tmp_path):
    buffer = io.BytesIO()
    picture(64, 64).save(buffer, format="JPEG", quality=95)
    whole = bytearray(buffer.getvalue())
    rng = np.random.default_rng(0)
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(whole))
    good = decode(path, Decoding(size=64, channels=3, resize="stretch")).astype(int)
    for _ in range(60):
        hurt = bytearray(whole)
        place = int(rng.integers(len(whole) - 300, len(whole) - 20))
        hurt[place : place + 12] = bytes(12)
        path.write_bytes(bytes(hurt))
        result = decode_jpeg(path.read_bytes(), Decoding(size=64, channels=3, resize="stretch"))
        if result is not None:  # the zeros were a valid code: a few blocks may differ, the rest is there
            assert (np.abs(result.transpose(2, 0, 1) - good).max(axis=0) < 40).mean() > 0.5


def test_too_many_pixels_are_left_to_pillows_refusal(tmp_path):
    data = bytearray(saved(tmp_path / "a.jpg", picture(40, 30)).read_bytes())
    assert decode_jpeg(bytes(data), Decoding(size=8, channels=3)) is not None
    frame = data.index(b"\xff\xc0") + 5  # height and width, of two bytes each
    data[frame : frame + 4] = b"\x10\x00\x10\x00"  # 4096 × 4096: more than a million
    assert decode_jpeg(bytes(data), Decoding(size=8, channels=3, max_megapixels=1)) is None


def test_damaged_exif_data_turns_nothing(tmp_path):
    path = saved(tmp_path / "a.jpg", picture(16, 16), exif=b"Exif\0\0MM\0*\0\0\0\xff\xff\xff")
    plain = saved(tmp_path / "b.jpg", picture(16, 16))
    one, other = (decode(p, Decoding(size=16, channels=3, resize="stretch")) for p in (path, plain))
    np.testing.assert_array_equal(one, other)
