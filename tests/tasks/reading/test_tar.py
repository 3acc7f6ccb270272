"""Tars: read where they lie; links, devices, names that lead out, cuts and damage are refused in one line."""

import gzip
import io
import tarfile

import numpy as np
import pytest
from sources import put

from forgetcheck.errors import InputError
from forgetcheck.tasks.reading.tar import members

LONG = "very/" * 40 + "long name é.jpg"


@pytest.fixture(autouse=True)
def nobody_is_called(guard):
    """Whatever is in a file: no process is started and no address is asked."""
    yield
    assert guard.started == []
    assert guard.network == []


def entry(name, data=b"", **facts):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, io.BytesIO(data)


def pack(path, *entries, kind=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=kind) as tar:
        for info, data in entries:
            tar.addfile(info, data)
    return path


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        list(members(path))
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_are_found_where_they_lie(tmp_path, kind):
    names = ["a.jpg", "./b.cls", "c c/ü.png"] + ([LONG] if kind != tarfile.USTAR_FORMAT else [])
    folder = entry("c c", type=tarfile.DIRTYPE)
    path = pack(tmp_path / "x.tar", folder, *(entry(name, name.encode()) for name in names), kind=kind)
    found = list(members(path))
    data = path.read_bytes()
    assert [member.name for member in found] == [name.removeprefix("./") for name in names]
    assert [data[m.offset : m.offset + m.size].decode() for m in found] == names


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (entry("x.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "holds the link 'x.jpg'"),
        (entry("x.jpg", type=tarfile.LNKTYPE, linkname="a.jpg"), "holds the link 'x.jpg'"),
        (entry("x.jpg", type=tarfile.CHRTYPE), "holds the special file 'x.jpg'"),
        (entry("x.jpg", type=tarfile.BLKTYPE), "holds the special file"),
        (entry("x.jpg", type=tarfile.FIFOTYPE), "holds the special file"),
        (entry("../x.jpg", b"1"), "'../x.jpg', a name that leads out"),
        (entry("a/../../x.jpg", b"1"), "leads out"),
        (entry("/etc/x.jpg", b"1"), "'/etc/x.jpg', a name that leads out"),
    ],
)
def test_what_an_attack_has_is_refused(tmp_path, odd, words):
    refused(pack(tmp_path / "x.tar", entry("a.jpg", b"1"), odd), words, "x.tar")


@pytest.mark.parametrize("cut", [1, 100, 511, 512, 600, 1024, 1025, 1536, 1700])
def test_a_cut_tar_is_refused_wherever_it_is_cut(tmp_path, cut):
    whole = pack(tmp_path / "whole.tar", entry("a.jpg", b"1" * 300), entry("b.jpg", b"2" * 300)).read_bytes()
    assert whole[2048:] == bytes(len(whole) - 2048)
    refused(put(tmp_path / "x.tar", whole[:cut]), "x.tar", "get it again")


def test_a_damaged_header_does_not_end_a_tar(tmp_path):
    path = pack(tmp_path / "x.tar", *(entry(f"{number}.jpg", b"1") for number in range(4)))
    data = bytearray(path.read_bytes())
    data[2 * 1024 + 5] ^= 255
    refused(put(path, data), "is damaged at byte 2,048")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot read the tar"),
        (b"text, not a tar\n" * 100, "cannot read the tar"),
        (gzip.compress(b"x" * 3000), "is compressed, so no image can be picked: gunzip it"),
        (b"BZh91AY&SY", "bunzip2"),
        (b"\xfd7zXZ\0", "unxz"),
    ],
    ids=["nothing", "text", "gzip", "bzip2", "xz"],  # a name made of gzip's bytes would hold the time
)
def test_what_is_no_plain_tar(tmp_path, data, words):
    refused(put(tmp_path / "x.tar", data), words)
    refused(tmp_path / "gone.tar", "No such file")
    refused(tmp_path, "it is a folder")


def test_headers_within_headers_do_not_exhaust_anything(tmp_path):
    longname, _ = entry("././@LongLink", b"x" * 100, type=tarfile.GNUTYPE_LONGNAME)
    header = longname.tobuf(tarfile.GNU_FORMAT) + b"x" * 100 + bytes(412)
    refused(put(tmp_path / "deep.tar", header * 5000 + bytes(1024)), "cannot read the tar")
    huge, _ = entry("x", type=tarfile.XHDTYPE)
    huge.size = 2**40
    path = put(tmp_path / "huge.tar", huge.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    refused(path, "huge.tar")


def test_flipped_bytes_never_surprise(tmp_path):
    path = pack(tmp_path / "x.tar", entry(LONG, b"1" * 99), entry("b.jpg", b"2" * 300), entry("c.cls", b"3"))
    data, dice = path.read_bytes(), np.random.default_rng(3)
    for _ in range(400):
        broken = bytearray(data)
        for place in dice.integers(0, len(data), 4):
            broken[place] = dice.integers(256)
        try:
            found = list(members(put(path, broken)))
        except InputError:
            continue
        assert all(0 <= m.offset <= m.offset + m.size <= len(data) for m in found)
