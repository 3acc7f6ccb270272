"""Tar files of a stranger's, read in place: nothing is extracted, and no name in them is used as a path."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from forgetcheck.documents import kind_of, reason
from forgetcheck.errors import DataError, InputError

_BLOCK = 512  # bytes; a tar ends with two that are zero
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz", b"\x28\xb5\x2f\xfd": "unzstd"}


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a tar: where its bytes are."""

    name: str
    offset: int
    size: int


def members(path: Path) -> Iterator[Member]:
    """Yield every file of a tar from its headers, in order.

    Raises InputError for a compressed, cut or damaged tar, and for members that a data set has no use for but
    an attack has: links, devices, absolute names, names with `..`.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"it is {kind_of(path)}, not a file")
        with path.open("rb") as file:
            _refuse_compressed(path, file)
            yield from _walk(path, file)
            _refuse_cut(path, file)
    except InputError:
        raise
    except Exception as problem:  # TarError, and whatever the parsing of a damaged header runs into
        raise DataError(f"cannot read the tar '{path}': {reason(problem)}; get it again.") from None


def _walk(path: Path, file: BinaryIO) -> Iterator[Member]:
    """Yield the files, and leave `file` where the headers end."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        while (entry := tar.next()) is not None:
            tar.members.clear()  # type: ignore[attr-defined]  # kept for looking up by name; a shard has many
            if not entry.isdir():
                _refuse_odd(path, entry)
                yield Member(entry.name.removeprefix("./"), entry.offset_data, entry.size)
        file.seek(tar.offset)


def _refuse_odd(path: Path, entry: tarfile.TarInfo) -> None:
    name = PurePosixPath(entry.name)
    if not entry.isreg() or entry.issparse():
        kind = "link" if entry.issym() or entry.islnk() else "special file"
        raise DataError(f"the tar '{path}' holds the {kind} '{entry.name}': pack the files themselves.")
    if name.is_absolute() or ".." in name.parts:
        raise DataError(f"the tar '{path}' holds '{entry.name}', a name that leads out of it: pack it anew.")


def _refuse_compressed(path: Path, file: BinaryIO) -> None:
    start = file.read(8)
    for magic, program in _COMPRESSED.items():
        if start.startswith(magic):
            raise DataError(f"the tar '{path}' is compressed, so no image can be picked: {program} it.")
    file.seek(0)


def _refuse_cut(path: Path, file: BinaryIO) -> None:
    """A tar that lacks its end lacks samples: tarfile takes both a cut and a damaged header for the end."""
    end = file.read(_BLOCK)
    if end != bytes(_BLOCK):
        what = "is damaged" if len(end) == _BLOCK else "is cut short"
        raise DataError(f"the tar '{path}' {what} at byte {file.tell() - len(end):,}: get it again.")
