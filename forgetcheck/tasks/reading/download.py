"""Download the files of a data set whole into a cache folder; from then on they are used offline."""

import http.client
import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from forgetcheck.documents import reason
from forgetcheck.errors import DataError
from forgetcheck.files import explained, synchronise
from forgetcheck.network import refuse_offline
from forgetcheck.provenance import digest
from forgetcheck.sizes import read_size
from forgetcheck.version import __version__

PAUSES = (1.0, 4.0, 15.0)  # seconds before each new attempt
PATIENCE = 60  # seconds without a byte
_FIRST = 9  # seconds without a byte at the first attempt: whoever mistyped a name waits no longer
_CHUNK = 2**20
_LEGAL = "/%:+,;=@~!$&'()*"  # what may stand in the path of an address
PARTIAL_CONTENT, RANGE_REFUSED = 206, 416
_DENIED = (401, 403, 451)
LARGEST_TEXT = 2**24  # bytes of a list of names
LIMIT = "FORGETCHECK_MAX_DOWNLOAD"  # what the data of one task may take on the disk, as a size
_MOST = "200GiB"  # where nobody says: ImageNet takes 160
UNTOLD = 2**31  # bytes of a file whose size a server doesn't tell, where nobody says more
_SPARE = 2**30  # bytes of the disk that such a file leaves free
_SHOWN = 2**30  # a GiB, in which sizes are told
_HUGGING_FACE = re.compile(
    r"(https://huggingface\.co/datasets/[^/]+/[^/]+)(?:/(?:tree|resolve|raw)/([^/]+)(/.*)?)?"
)

_log = logging.getLogger(__name__)


def limit_downloads(size: str) -> None:
    """Set what the data of one task may take, such as 50GiB; nothing leaves it as it is."""
    if size:
        read_size("--max-download", size)
        os.environ[LIMIT] = size


def cache_folder(kind: str) -> Path:
    """Return where downloads of a kind are kept: FORGETCHECK_CACHE, or the user's own cache."""
    told = os.environ.get("FORGETCHECK_CACHE", "")
    if told:
        return Path(told) / kind
    shared = os.environ.get("XDG_CACHE_HOME", "")  # a relative one is to be ignored, the standard says
    with suppress(RuntimeError):  # no home
        return (Path(shared) if os.path.isabs(shared) else Path.home() / ".cache") / "forgetcheck" / kind
    raise DataError("there is no home folder to keep downloads in: set FORGETCHECK_CACHE to a folder.")


@dataclass(frozen=True)
class Mirror:
    """A folder of the web and its copy here."""

    url: str
    folder: Path

    @classmethod
    def of(cls, address: str, kind: str) -> "Mirror":
        """Raises InputError for an address that is not plain, since reports show it."""
        try:
            parts = urlsplit(address)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.netloc.isascii():
            raise DataError(f"'{address}' is no address of the web: use http://, https:// or a local folder.")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise DataError(
                "the address holds a password or a query, which reports would show: download the files and "
                "name their folder instead."
            )
        path = quote(parts.path.rstrip("/"), safe=_LEGAL)
        url = at_hugging_face(f"{parts.scheme}://{parts.netloc}{path}")
        slug = re.sub(r"[^\w.-]+", "-", f"{parts.hostname}{path}")[-80:].strip("-.")
        return cls(url, cache_folder(kind) / f"{slug}-{digest(url)[:12]}")

    def fetch(self, name: str) -> Path:
        """Return the local copy of a file. Raises InputError if it is neither here nor to be had."""
        place = self.folder / name
        if not place.exists() and not self.download(name):
            raise DataError(f"there is no '{self.url}/{name}': check the address.")
        return place

    def find(self, name: str) -> Path | None:
        """Return the local copy of a file that may be missing there; that it is, is remembered."""
        place, absent = self.folder / name, self.folder / f"{name}.absent"
        if place.exists() or (not absent.exists() and self.download(name)):
            return place
        with explained(absent):
            absent.touch()
        return None

    def download(self, name: str) -> bool:
        """Get a file; False if there is none. Of several processes one downloads, and the others wait."""
        place = self.folder / name
        with explained(place):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.parent.mkdir(exist_ok=True)
        with _alone(self.folder / ".lock"):
            if not place.exists():
                refuse_offline(f"'{self.url}/{name}'")
            return place.exists() or download(f"{self.url}/{quote(name)}", place, self.room())

    def room(self) -> int:
        """Return how many bytes more the data of this task may take on the disk."""
        files = (path for path in self.folder.rglob("*") if not path.name.startswith("."))
        return limit_of_task() - sum(path.lstat().st_size for path in files)


def limit_of_task() -> int:
    """Return how many bytes the data of one task may take on the disk."""
    return read_size(LIMIT, os.environ.get(LIMIT) or _MOST)


def at_hugging_face(url: str) -> str:
    """Return where the files of a page of the Hugging Face hub lie, any other address as it is."""
    page = _HUGGING_FACE.fullmatch(url)
    if page is None:
        return url
    repository, branch, inner = page.groups()
    return f"{repository}/resolve/{branch or 'main'}{inner or ''}"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however that ends."""
    with explained(lock), lock.open("ab") as file:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def download(url: str, place: Path, room: int) -> bool:
    """Write a file whole, going on where an earlier attempt died; False if the server has none.

    Raises InputError for one of more than `room` bytes, or than the disk has free, before it fills it.
    """
    _log.info("downloading %s", url)
    partial = Partial(place.with_name(f".{place.name}.partial"), _limit_of(place), room)
    for attempt, pause in enumerate((*PAUSES, None)):
        try:
            partial.go_on(url, PATIENCE if attempt else _FIRST)
            break
        except HTTPError as problem:
            problem.close()
            if problem.code in (404, 410):
                return False
            why = f"the server says {problem.code} {problem.reason}"
            if problem.code in _DENIED:
                raise DataError(
                    f"cannot download {url}: {why}; download it yourself and name its folder."
                ) from None
        except (OSError, http.client.HTTPException) as problem:
            why = reason(getattr(problem, "reason", None) or problem) or type(problem).__name__
            if attempt == 0 and isinstance(problem, URLError):
                pause = None  # it can't be reached at all: no use to wait
        if pause is None:
            raise DataError(
                f"cannot download {url}: {why}; run it again to go on from there, or put the file at "
                f"'{place}' yourself."
            )
        time.sleep(pause)
    with explained(place):
        synchronise(partial.path)
        os.replace(partial.path, place)
        partial.mark.unlink(missing_ok=True)
    return True


def _limit_of(place: Path) -> int | None:
    """Return the most bytes that a file may have: lists of names are short, shards are not."""
    return LARGEST_TEXT if place.suffix == ".txt" else None


@dataclass(frozen=True)
class Partial:
    """A file that is being downloaded, with what the server said to know its version by."""

    path: Path
    limit: int | None
    room: int

    @property
    def mark(self) -> Path:
        return self.path.with_name(f"{self.path.name}.version")

    def go_on(self, url: str, patience: float) -> None:
        """Get what is missing. Raises OSError or HTTPException where the connection ends before that."""
        have, version = self.state()
        headers = {"User-Agent": f"forgetcheck/{__version__}"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": version}  # another version is sent whole
        try:
            response = urlopen(Request(url, headers=headers), timeout=patience)  # noqa: S310 - Mirror checked it
        except HTTPError as problem:
            if problem.code == RANGE_REFUSED:  # the file is shorter now, or was complete
                self.begin("")
            raise
        with response:
            if not (response.status == PARTIAL_CONTENT and _starts_at(response) == have):
                have = 0
                self.begin(_version_of(response))
            self.write(response, have)

    def state(self) -> tuple[int, str]:
        """Return how many bytes there are of which version; 0 if that can't be told."""
        with explained(self.path):
            if not (self.path.is_file() and self.mark.is_file()):
                return 0, ""
            version = self.mark.read_text(encoding="latin-1")
            return (self.path.stat().st_size, version) if version else (0, "")

    def begin(self, version: str) -> None:
        """Start anew. The old bytes go first: they must never be taken for the new version's."""
        with explained(self.path):
            self.path.unlink(missing_ok=True)
            self.mark.write_text(version, encoding="latin-1")

    def write(self, response: http.client.HTTPResponse, have: int) -> None:
        expected = None if response.length is None else have + response.length
        self.refuse_large(response.url, have, expected)
        with explained(self.path):
            file = self.path.open("ab")
        with file:
            while chunk := response.read(_CHUNK):
                have += len(chunk)
                if self.limit is not None and have > self.limit:
                    raise DataError(
                        f"{response.url} is no list of names: it has more than {self.limit >> 20} MiB."
                    )
                if expected is None:  # else the size was refused before, and no more than it is read
                    self.refuse_large(response.url, have, None)
                with explained(self.path):
                    file.write(chunk)
            with explained(self.path):
                file.flush()
        if expected is not None and have != expected:
            raise ConnectionError(f"the connection ended after {have:,} of {expected:,} bytes")

    def refuse_large(self, url: str, have: int, expected: int | None) -> None:
        """Raise InputError for more bytes than may come, or than the disk has room for; what came is removed.

        Without an `expected` size only what came is known, so the disk is asked again and again.
        """
        told = os.environ.get(LIMIT)
        room = self.room if expected is not None or told else min(self.room, UNTOLD)
        with explained(self.path):
            free = shutil.disk_usage(self.path.parent).free
        if (have if expected is None else expected) > room:
            size = "whose size isn't told" if expected is None else f"of {_gigabytes(expected)}"
            why = f"the data of a task may take {told or _MOST}, and this file {_gigabytes(max(room, 0))}"
            way = "pass --max-download, or set FORGETCHECK_MAX_DOWNLOAD, if you trust it"
        elif free < (_SPARE if expected is None else expected - have):
            size = "" if expected is None else f"of {_gigabytes(expected)}"
            why = f"the disk has {_gigabytes(free)} free"
            way = "free some space, or set FORGETCHECK_CACHE to a folder elsewhere"
        else:
            return
        with explained(self.path):
            self.path.unlink(missing_ok=True)
            self.mark.unlink(missing_ok=True)
        raise DataError(f"won't download {url} {size}: {why}; {way}.")


def _gigabytes(size: int) -> str:
    return f"{size / _SHOWN:,.1f} GiB"


def _version_of(response: http.client.HTTPResponse) -> str:
    """Return what If-Range may name, empty if the server gives nothing that tells two versions apart."""
    tag = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


def _starts_at(response: http.client.HTTPResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found.group(1)) if found else None
