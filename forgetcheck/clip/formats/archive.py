"""Zip archives of torch: what torch.save writes, and TorchScript, of which only the numbers are read."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from forgetcheck.clip.formats.base import CONVERT, damaged
from forgetcheck.clip.formats.pickled import MAX_TEXT, read_pickle
from forgetcheck.clip.formats.tensors import Shelf, fill_from
from forgetcheck.errors import CheckpointError

_PICKLE = "data.pkl"
_CODE = "code"  # TorchScript's sources: compressed, and never read
_MAX_MEMBERS = 200_000
_MAX_DIRECTORY = 2**24  # bytes of the list of members, each of which takes ten times its bytes in memory
_LITTLE = b"little"


@dataclass
class _ArchiveShelf(Shelf):
    """Storages as members of an archive. zipfile compares the checksum of what it reads to the end."""

    archive: zipfile.ZipFile
    root: str
    read: dict[str, Tensor] = field(default_factory=dict)

    def take(self, key: str) -> Tensor:
        if key not in self.read:
            member = self.archive.getinfo(f"{self.root}/data/{key}")
            with self.archive.open(member) as file:
                self.read[key] = fill_from(file, member.file_size)
        return self.read[key]


class _Guarded(io.BufferedReader):
    """A file that doesn't let zipfile read a list of members of any length."""

    opening = True

    def read(self, size: int | None = -1) -> bytes:
        if self.opening and size is not None and size > _MAX_DIRECTORY:
            raise zipfile.BadZipFile("its list of members is too long")
        return super().read(size)


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open the archive and refuse it for anything that torch doesn't write."""
    with _Guarded(io.FileIO(path)) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as problem:
            raise damaged(path, problem) from None
        file.opening = False
        _refuse_odd_members(path, archive.infolist())
        _forget_absent_checksums(archive.infolist())
        yield archive


def _forget_absent_checksums(members: list[zipfile.ZipInfo]) -> None:
    """Torch can be told to write none: then all of them are 0, and zipfile must not compare them."""
    if not any(member.CRC for member in members):
        for member in members:
            del member.CRC


def _refuse_odd_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    names = [member.filename for member in members]
    odd = [name for name in names if name.startswith("/") or ".." in name.split("/") or "\\" in name]
    if odd or len(set(names)) < len(names) or len(names) > _MAX_MEMBERS:
        raise CheckpointError(f"'{path}' is an archive with odd names, not one of torch.save: {CONVERT}.")
    packed = [member for member in members if member.compress_type != zipfile.ZIP_STORED]
    if any(member.filename.split("/")[1:2] != [_CODE] for member in packed):
        raise CheckpointError(f"'{path}' is a compressed archive, not a state dict of torch.save: {CONVERT}.")
    if sum(member.compress_size for member in members) > path.stat().st_size:
        raise CheckpointError(f"'{path}' is an archive whose members overlap: copy or save it again.")
    if any(member.file_size != member.compress_size for member in members if member not in packed):
        raise CheckpointError(f"'{path}' is damaged (a member has two sizes): copy or save it again.")


def read_archive(path: Path, archive: zipfile.ZipFile) -> tuple[Any, _ArchiveShelf]:
    """Return the tree of the pickled object, and where its storages are."""
    (root,) = [
        name.removesuffix(f"/{_PICKLE}")
        for name in archive.namelist()
        if name.endswith(f"/{_PICKLE}") and name.count("/") == 1
    ]
    if f"{root}/byteorder" in archive.namelist() and archive.read(f"{root}/byteorder") != _LITTLE:
        raise CheckpointError(f"'{path}' was saved on a big-endian machine: {CONVERT}.")
    if archive.getinfo(f"{root}/{_PICKLE}").file_size > MAX_TEXT:
        raise CheckpointError(f"'{path}' holds far more than weights: {CONVERT}.")
    content = archive.read(f"{root}/{_PICKLE}")
    return read_pickle(io.BytesIO(content), len(content)).root, _ArchiveShelf(archive, root)
