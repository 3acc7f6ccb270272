"""The feature cache: what models saw, on disk, by content. Shared by audits, never believed unverified."""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from forgetcheck.errors import InputError
from forgetcheck.files import whole_file
from forgetcheck.provenance import digest

VERSION = 2  # of the format and of what decides an entry: another one never finds what this one wrote
FOLDER = "features"
SUFFIX = ".safetensors"
_GIB = 2**30
_LIMIT = 4 * _GIB
_ABANDONED = 24 * 3600  # seconds after which a half-written file has nobody who finishes it
TAG = "CACHEDIR.TAG"
_SIGNATURE = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This is a cache of forgetcheck: whatever is deleted here is made again when it is needed.\n"
)


class _Damaged(Exception):
    """An entry isn't what was written."""


@dataclass(frozen=True)
class Features:
    """What one model saw in one part of a task, or in its prompts."""

    embeddings: NDArray[np.float32]  # (k, d), L2-normalised
    kept: NDArray[np.int64]  # (k,) which samples of the part they are, ascending
    unread: tuple[tuple[int, str], ...] = ()  # the other samples, and why they can't be decoded

    @property
    def size(self) -> int:
        """In bytes."""
        return self.embeddings.nbytes + self.kept.nbytes


@dataclass(frozen=True)
class _Stored:
    """An entry as it lies in the folder."""

    path: Path
    size: int  # bytes
    used: float  # seconds since 1970


class FeatureCache:
    """A folder of features. Whatever is wrong with it costs time, never an answer.

    `facts` name an entry: everything that decides what is in it. One warning is given when the folder can't
    be written, and one for every entry that is damaged.
    """

    def __init__(
        self, folder: Path, limit: int = _LIMIT, warn: Callable[[str], None] = lambda text: None
    ) -> None:
        self.folder = folder
        self.limit = limit
        self.warn = warn
        self.writable = True
        self.made: set[str] = set()  # by this process
        self.reused: set[str] = set()  # made before by another, or by an audit that was interrupted

    def get(self, facts: Mapping[str, Any]) -> Features | None:
        """Return what is stored under these facts, if it is unharmed."""
        key = key_of(facts)
        path = self.place(key)
        try:
            found = _read_entry(path, key)
        except _Damaged as problem:
            self.warn(f"an entry of the cache is damaged and made again: '{path}' ({problem}).")
            with suppress(OSError):
                path.unlink()
            return None
        except OSError:  # not there, or not to be read: putting it says why
            return None
        with suppress(OSError):
            os.utime(path)  # used now: the least recently used goes first
        if key not in self.made:
            self.reused.add(key)
        return found

    def put(self, facts: Mapping[str, Any], features: Features) -> None:
        """Store features for everybody who asks for the same; what can't be stored is left."""
        if not self.writable or features.size > self.limit:
            return
        try:
            self.open_folder()
            key = key_of(facts)
            path = self.place(key)
            _write_entry(path, facts, features)
            self.made.add(key)
            self.evict(path)
        except (InputError, OSError) as problem:
            self.writable = False
            self.warn(f"{str(problem).rstrip('.')}. It goes on without storing what the models saw.")

    def place(self, key: str) -> Path:
        return self.folder / FOLDER / key[:2] / f"{key}{SUFFIX}"

    def open_folder(self) -> None:
        """Make the folder, for its owner alone, and tell backups to leave it out."""
        if not self.folder.exists():
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.folder / TAG).exists():
            with whole_file(self.folder / TAG) as temporary:
                temporary.write_text(_SIGNATURE, encoding="utf-8")

    def evict(self, fresh: Path) -> None:
        """Keep to the limit: the least recently used entries go, and what others left half-written."""
        stored = sorted(self.entries(), key=lambda entry: entry.used)
        excess = sum(entry.size for entry in stored) - self.limit
        for entry in stored:
            if excess > 0 and entry.path != fresh:
                entry.path.unlink(missing_ok=True)
                excess -= entry.size
        for entry in self.partial():
            if time.time() - entry.used > _ABANDONED:
                entry.path.unlink(missing_ok=True)

    def entries(self) -> Iterator[_Stored]:
        return _stored_in(self.folder, f"*{SUFFIX}")

    def partial(self) -> Iterator[_Stored]:
        """Yield what is being written, or was when a process died."""
        return _stored_in(self.folder, f".*{SUFFIX}.*.partial")

    def clear(self) -> list[_Stored]:
        """Remove every entry, and nothing that isn't ours; return what was removed."""
        removed = list(self.entries())
        for entry in [*removed, *self.partial()]:
            entry.path.unlink(missing_ok=True)
        for folder in [*self.folder.glob(f"{FOLDER}/??"), self.folder / FOLDER]:
            with suppress(OSError):  # not empty, or not there
                folder.rmdir()
        return removed


def known_or_made(
    cache: FeatureCache | None,
    facts: Sequence[Mapping[str, Any]],
    make: Callable[[Sequence[int]], Sequence[Features]],
    spared: Callable[[], None] = lambda: None,
) -> list[Features]:
    """Return an entry for each of `facts`: from the cache, or made together; equal ones are made once.

    `make` is given the places of those that are missing. `spared` is called if none is.
    """
    keys = [digest(each) for each in facts]
    places = {key: number for number, key in reversed(list(enumerate(keys)))}
    found = {key: cache.get(facts[number]) if cache else None for key, number in places.items()}
    missing = sorted(number for key, number in places.items() if found[key] is None)
    if not missing:
        spared()
    for number, made in zip(missing, make(missing) if missing else (), strict=True):
        if cache:
            cache.put(facts[number], made)
        found[keys[number]] = made
    return [entry for key in keys if (entry := found[key]) is not None]


def cache_folder() -> Path | None:
    """Return where this user's caches lie; None where there is no home."""
    told = os.environ.get("FORGETCHECK_CACHE", "")
    if told:
        return Path(told).absolute()
    general = os.environ.get("XDG_CACHE_HOME", "")
    base = general if os.path.isabs(general) else os.path.expanduser("~/.cache")
    return Path(base) / "forgetcheck" if os.path.isabs(base) else None


def _stored_in(folder: Path, pattern: str) -> Iterator[_Stored]:
    for path in folder.glob(f"{FOLDER}/??/{pattern}"):
        with suppress(OSError):  # another process was faster
            found = path.stat()
            yield _Stored(path, found.st_size, found.st_mtime)


def key_of(facts: Mapping[str, Any]) -> str:
    return digest({"version": VERSION, **facts})


def _write_entry(path: Path, facts: Mapping[str, Any], features: Features) -> None:
    """Write whole or not at all; the header says what it is, and what it must hash to."""
    arrays: dict[str, NDArray[Any]] = {"embeddings": features.embeddings, "kept": features.kept}
    unread = json.dumps(features.unread)
    key = key_of(facts)
    header = {
        "key": key,
        "facts": json.dumps(facts, sort_keys=True),
        "unread": unread,
        "digest": _content_digest(key, arrays, unread),
    }
    with whole_file(path) as temporary:
        save_file(arrays, temporary, metadata=header)


def _read_entry(path: Path, key: str) -> Features:
    """Read an entry. Raises Damaged for anything but what was written under this key."""
    with path.open("rb"):  # what the system refuses is no damage
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in ("embeddings", "kept")}
    except (SafetensorError, ValueError, TypeError, AttributeError) as problem:
        raise _Damaged(" ".join(str(problem).split())[:100]) from None
    if header.get("key") != key:
        raise _Damaged("it is another entry")
    if header.get("digest") != _content_digest(key, arrays, header.get("unread", "")):
        raise _Damaged("its digest is another")
    unread = tuple((int(place), str(why)) for place, why in json.loads(header["unread"]))
    return Features(np.array(arrays["embeddings"]), np.array(arrays["kept"]), unread)


def _content_digest(key: str, arrays: Mapping[str, NDArray[Any]], unread: str) -> str:
    """Hash names, types, shapes and bytes: safetensors itself has no checksum."""
    hashed = hashlib.sha256(f"{key}{unread}".encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hashed.update(f"{name}{array.dtype}{array.shape}".encode())
        hashed.update(array.data)
    return hashed.hexdigest()
