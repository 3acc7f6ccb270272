"""What is large stays on the disk: the same pixels, digests and words as from the memory."""

import hashlib
import io
import tarfile

import pytest
from PIL import ImageFile, PngImagePlugin
from sources import encoded, folder, picture, put, shards

from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.folder import Folder
from forgetcheck.tasks.reading import decode as decoding
from forgetcheck.tasks.reading import shards as tars
from forgetcheck.tasks.reading.decode import decode, read_file
from forgetcheck.tasks.reading.stretches import Stretch, fingerprint
from forgetcheck.tasks.webdataset import Webdataset

DATA = bytes(range(256)) * 100
FOX = picture("red fox", side=40)
FORMATS = [name for name in decoding.formats() if name not in ("DIB", "MPO")]


@pytest.fixture
def all_are_long(monkeypatch):
    monkeypatch.setattr(decoding, "LONG", 0)
    monkeypatch.setattr(tars, "LONG", 0)


@pytest.fixture
def stretch(tmp_path):
    return Stretch(put(tmp_path / "a", b"before" + DATA + b"behind"), 6, len(DATA))


def test_a_stretch_reads_as_if_it_were_all_there_is(stretch):
    with stretch.opened() as file:
        assert file.read(3) == DATA[:3]
        assert (file.seek(-10, io.SEEK_END), file.read(99)) == (len(DATA) - 10, DATA[-10:])
        assert (file.seek(10**9), file.read(1)) == (10**9, b"")
        file.seek(5)
        assert (file.seek(7, io.SEEK_CUR), file.tell(), file.read(2)) == (12, 12, DATA[12:14])
        assert (file.seek(0), file.read()) == (0, DATA)
        with pytest.raises(ValueError, match="negative"):
            file.seek(-1)
    assert fingerprint(stretch) == fingerprint(DATA) == hashlib.sha256(DATA).digest()


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_is_the_same_from_the_disk(tmp_path, all_are_long, kind):
    data = encoded(FOX, kind)
    path = put(tmp_path / "a", data)
    assert isinstance(read_file(path), Stretch)
    assert decode(read_file(path)).tobytes() == decode(data).tobytes()
    inside = Stretch(put(tmp_path / "b", data + data), len(data), len(data))
    assert decode(inside).tobytes() == decode(data).tobytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_wrong_is_said_in_the_same_words(tmp_path, all_are_long, kind):
    data = encoded(FOX, kind)
    for broken in (data[: len(data) // 2], data[:9], data[:30] + bytes(20) + data[50:]):
        said = []
        for stored in (broken, read_file(put(tmp_path / "a", broken))):
            try:
                said.append(decode(stored).tobytes())
            except Unreadable as problem:
                said.append(str(problem).split("<")[0])  # some name the file object
        assert said[0] == said[1]


def test_a_source_is_the_same_from_the_disk(tmp_path, request):
    folder(tmp_path / "f"), shards(tmp_path / "w")
    sources = [Folder(str(tmp_path / "f")), Webdataset(str(tmp_path / "w"))]
    before = [(each.split("test").contents(), each.split("test").image(3).tobytes()) for each in sources]
    request.getfixturevalue("all_are_long")
    again = [Folder(str(tmp_path / "f")), Webdataset(str(tmp_path / "w"))]
    assert before == [
        (each.split("test").contents(), each.split("test").image(3).tobytes()) for each in again
    ]


def test_a_file_that_is_gone_or_grew_is_unreadable(tmp_path, all_are_long):
    path = put(tmp_path / "a", encoded(FOX))
    stored = read_file(path)
    put(path, encoded(FOX) + b"more")
    with pytest.raises(Unreadable, match="it grew while it was read"):
        decode(stored)
    with pytest.raises(Unreadable, match="it grew while it was read"):
        fingerprint(stored)
    path.unlink()
    with pytest.raises(Unreadable, match="No such file"):
        decode(stored)


@pytest.mark.parametrize(("kind", "raised"), [("PNG", True), ("TIFF", True), ("PPM", False)])
def test_pillow_reads_long_chunks_of_very_large_files_at_once(
    tmp_path, all_are_long, monkeypatch, kind, raised
):
    usual, seen = ImageFile.SAFEBLOCK, []
    monkeypatch.setattr(decoding.in_flight, "FILES", 0)
    monkeypatch.setattr(decoding, "as_rgb", lambda image, white: seen.append(ImageFile.SAFEBLOCK))
    decode(read_file(put(tmp_path / "a", encoded(FOX, kind))))
    assert seen == [decoding.LARGEST if raised else usual]
    assert usual == ImageFile.SAFEBLOCK


def test_the_limit_of_texts_in_png_is_pillows_own():
    assert PngImagePlugin.MAX_TEXT_CHUNK == 2**20


def test_a_tar_that_was_cut_meanwhile_ends_where_it_ends(tmp_path, all_are_long):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo("0.png")
        info.size = len(DATA)
        file.addfile(info, io.BytesIO(DATA))
    with Stretch(path, 512, len(DATA)).opened() as file:
        assert file.read() == DATA
    put(path, path.read_bytes()[:600])
    with Stretch(path, 512, len(DATA)).opened() as file:
        assert file.read() == DATA[:88]
