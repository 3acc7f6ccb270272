"""Every kind of image that users have, as the field sees it; what can't be decoded says why."""

import contextlib
import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from sources import encoded, picture, put

from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.reading import decode as decoding
from forgetcheck.tasks.reading.decode import decode, read_file

RGB = picture("red fox", side=16)
GRAY = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))


def converted(mode, **options):
    return encoded(RGB.convert(mode), **options)


KINDS = {
    "gray": encoded(GRAY),
    "black and white": encoded(GRAY.convert("1")),
    "gray and alpha": encoded(GRAY.convert("LA")),
    "palette": converted("P"),
    "palette, one transparent colour": converted("P", transparency=3),
    "palette, transparency in bytes": converted("P", transparency=bytes(range(200))),
    "alpha": converted("RGBA"),
    "cmyk": converted("CMYK", kind="JPEG"),
    "jpeg": encoded(RGB, "JPEG"),
    "progressive jpeg": encoded(RGB, "JPEG", progressive=True),
    "webp": encoded(RGB, "WEBP"),
    "webp with alpha": converted("RGBA", kind="WEBP", lossless=True),
    "bmp": encoded(RGB, "BMP"),
    "tiff": encoded(RGB, "TIFF"),
    "ppm": encoded(RGB, "PPM"),
    "gif": encoded(RGB, "GIF"),
    "lab": encoded(Image.new("LAB", (4, 4)), "TIFF"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_seen_as_the_field_sees_it(kind):
    found = decode(KINDS[kind])
    with Image.open(io.BytesIO(KINDS[kind])) as image:
        image.info.pop("transparency", None)
        expected = image.convert("RGB")
    assert found.mode == "RGB"
    assert found.tobytes() == expected.tobytes()


def test_transparency_is_dropped_and_nothing_is_laid_under_it():
    clear = RGB.convert("RGBA")
    clear.putalpha(0)
    assert decode(encoded(clear)).tobytes() == RGB.tobytes()


def test_an_image_is_not_turned_by_its_exif():
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    wide = RGB.resize((16, 8))
    assert decode(encoded(wide, "JPEG", exif=exif)).size == (16, 8)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 2
    assert decode(data).getpixel((3, 3)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_gray_are_scaled_and_not_cut_off(kind):
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    found = np.asarray(decode(encoded(Image.fromarray(levels), kind)))
    assert (found[..., 0] == found[..., 2]).all()
    assert np.abs(found[..., 0].astype(float) - levels / 257).max() <= 0.5


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bits_have_no_agreed_range(dtype):
    refused(encoded(Image.fromarray(np.ones((4, 4), dtype)), "TIFF"), "no agreed range")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(side):
    """Return a small PNG that says it is huge."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


JPEG = encoded(picture("red fox", side=96), "JPEG")


def refused(data, words):
    with pytest.raises(Unreadable, match=words) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"\0", "no image of a known format", id="one zero"),
        pytest.param(b"no image at all\n", "no image of a known format", id="text"),
        pytest.param(
            b"version https://git-lfs.github.com/spec/v1\noid x\n", "git lfs pull", id="lfs pointer"
        ),
        pytest.param(JPEG[:-900], "truncated", id="half a JPEG"),
        pytest.param(JPEG[:20], ".", id="20 bytes of a JPEG"),
        pytest.param(KINDS["gray"][:-30], ".", id="a cut PNG"),
        pytest.param(KINDS["webp"][:-8], ".", id="a cut WEBP"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "known format", id="EPS"),
        pytest.param(bomb(12_000), "more than 89,478,485", id="bomb: Pillow warns"),
        pytest.param(bomb(30_000), "more than 89,478,485", id="bomb: Pillow refuses"),
        pytest.param(KINDS["tiff"][:60], ".", id="a cut TIFF"),
    ],
)
def test_what_cannot_be_decoded_says_why(data, words):
    refused(data, words)


def test_the_bound_holds_where_pillow_has_none(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    refused(bomb(12_000), "12000 x 12000 pixels are more than")


def test_flipped_bytes_never_surprise():
    dice = np.random.default_rng(5)
    for data in KINDS.values():
        for _ in range(60):
            broken = bytearray(data)
            for place in dice.integers(0, len(broken), 3):
                broken[place] = dice.integers(256)
            with contextlib.suppress(Unreadable):
                assert decode(bytes(broken)).mode == "RGB"


def test_remarks_of_pillow_are_dropped_and_the_filters_are_as_before():
    exif = b"Exif\0\0II*\0\x08\0\0\0" + bytes(3)
    before = list(warnings.filters)
    assert decode(encoded(RGB, "JPEG", exif=exif)).size == RGB.size
    with ThreadPoolExecutor(4) as threads:
        assert len(list(threads.map(decode, [KINDS["tiff"], bytes(broken_tiff())] * 200))) == 400
    assert warnings.filters == before


def broken_tiff():
    """Return a TIFF that says more of a tag than it holds, which Pillow warns of."""
    data = bytearray(KINDS["tiff"])
    start = int.from_bytes(data[4:8], "little")
    for entry in range(int.from_bytes(data[start : start + 2], "little")):
        place = start + 2 + 12 * entry
        if int.from_bytes(data[place : place + 2], "little") == 278:  # rows per strip
            data[place + 4] = 33
    with pytest.warns(UserWarning, match="278"), Image.open(io.BytesIO(data)) as image:
        image.load()
    return data


def test_a_file_is_read_if_it_is_one(tmp_path, monkeypatch):
    assert read_file(put(tmp_path / "a", b"xy")) == b"xy"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    for name, words in [
        ("pipe", "not a file"),
        (".", "not a file"),
        ("gone", "No such file"),
        ("nowhere", "No such file"),
        ("self", "symbolic links"),
        ("zero\0byte", "null"),
    ]:
        with pytest.raises(Unreadable, match=words):
            read_file(tmp_path / name)
    monkeypatch.setattr(decoding, "LARGEST", 1)
    with pytest.raises(Unreadable, match="at most"):
        read_file(tmp_path / "a")
