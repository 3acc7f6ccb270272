"""A stretch of a file that stays on the disk: what is large is read from there, piece by piece."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from forgetcheck.documents import reason
from forgetcheck.tasks.base import Unreadable


@dataclass(frozen=True)
class Stretch:
    """So many bytes of a file from an offset on; a `whole` file must not have become longer."""

    path: Path
    offset: int
    size: int
    whole: bool = False

    @contextmanager
    def opened(self) -> Iterator[io.BufferedReader]:
        """Yield a file that ends where the stretch does. Raises Unreadable."""
        with self.raw() as file:
            yield io.BufferedReader(_Section(file, self.offset, self.size))
            if self.whole and file.seek(0, io.SEEK_END) > self.size:
                raise Unreadable("it grew while it was read")

    def start(self, count: int) -> bytes:
        with self.raw() as file:
            file.seek(self.offset)
            return file.read(min(count, self.size))

    def raw(self) -> io.FileIO:
        try:
            return self.path.open("rb", buffering=0)
        except OSError as problem:
            raise Unreadable(reason(problem)) from None


class _Section(io.RawIOBase):
    """Part of an open file, which is told and sought as if it were all."""

    def __init__(self, file: io.FileIO, offset: int, size: int) -> None:
        self.file, self.offset, self.size, self.place = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.place, io.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek value {start + offset}")
        self.place = start + offset
        return self.place

    def readinto(self, target: memoryview) -> int:  # type: ignore[override]  # a narrower kind of buffer
        wanted = memoryview(target)[: max(self.size - self.place, 0)]
        try:
            self.file.seek(self.offset + self.place)
            count = self.file.readinto(wanted)
        except OSError as problem:
            raise Unreadable(reason(problem)) from None
        self.place += count
        return count


def opened(stored: bytes | Stretch) -> AbstractContextManager[io.BytesIO | io.BufferedReader]:
    """Return what is stored as a file."""
    return io.BytesIO(stored) if isinstance(stored, bytes) else stored.opened()


def fingerprint(stored: bytes | Stretch) -> bytes:
    """Return the SHA-256 of bytes, wherever they are."""
    if isinstance(stored, bytes):
        return hashlib.sha256(stored).digest()
    with stored.opened() as file:
        return hashlib.file_digest(file, "sha256").digest()
