"""What code under test opens, connects to, starts and imports: written down by one audit hook.

A hook can't be removed from an interpreter, so there is one, and it listens only while a `Guard` is on.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import forgetcheck

FILES = ("open",)  # os.open raises it as well
STARTS = (
    "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "os.forkpty",
    "os.startfile", "pty.spawn",
)  # fmt: skip
NETWORK = (
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.sendto",
    "socket.sendmsg", "socket.bind", "urllib.Request", "http.client.connect", "ftplib.connect",
    "smtplib.connect",
)  # fmt: skip
CODE = ("pickle.find_class", "ctypes.dlopen", "code.__new__", "marshal.loads")
PACKAGES = tuple(
    os.path.realpath(place)
    for place in (
        sys.prefix,
        sys.base_prefix,
        os.path.dirname(os.__file__),
        Path(forgetcheck.__file__).parent,
    )
)  # whose own files a program may always read: those of Python, installed packages and forgetcheck


@dataclass
class Guard:
    """What was heard. `files` are real paths with their modes; the rest are events and their arguments."""

    files: list[tuple[str, str]] = field(default_factory=list)
    started: list[tuple[str, Any]] = field(default_factory=list)
    network: list[tuple[str, Any]] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    code: list[tuple[str, Any]] = field(default_factory=list)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILES:
            path, mode, flags = (*arguments, None, None)[:3]
            if isinstance(path, str | bytes | os.PathLike):  # an int is a file that is open already
                writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
                if not writes and not os.path.exists(path):  # nothing is read; or it lies in an open folder
                    return
                self.files.append((os.path.realpath(os.fsdecode(path)), "w" if writes else str(mode or "r")))
        elif event in STARTS:
            self.started.append((event, arguments))
        elif event in NETWORK:
            self.network.append((event, arguments))
        elif event == "import":
            self.imports.append(str(arguments[0]))
        elif event in CODE:
            self.code.append((event, arguments))

    def outside(self, *allowed: Path | str) -> list[str]:
        """Return the files that were opened in none of these folders, Python's and forgetcheck's aside."""
        folders = [*PACKAGES, *map(os.path.realpath, allowed)]
        opened = dict.fromkeys(path for path, _ in self.files)
        return [path for path in opened if not any(is_in(path, folder) for folder in folders)]

    def check(self, *allowed: Path | str) -> None:
        """Assert that no process was started, no address asked, and no file opened but in these folders."""
        assert self.started == []
        assert self.network == []
        assert self.outside(*allowed) == []


def is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class _Ear:
    """The one hook of this process, and who is told."""

    def __init__(self) -> None:
        self.guards: list[Guard] = []
        self.hearing = threading.local()
        self.hooked = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.guards or getattr(self.hearing, "busy", False):
            return
        self.hearing.busy = True  # realpath raises events of its own
        try:
            for guard in self.guards:
                guard.hear(event, arguments)
        finally:
            self.hearing.busy = False


EAR = _Ear()


@contextmanager
def guarded() -> Iterator[Guard]:
    """Write down everything that happens in the block, in whatever thread.

    Import what a test needs beforehand: modules that are first used in the block are opened in it.
    """
    if not EAR.hooked:
        sys.addaudithook(EAR.hook)
        EAR.hooked = True
    guard = Guard()
    EAR.guards.append(guard)
    try:
        yield guard
    finally:
        EAR.guards.remove(guard)
