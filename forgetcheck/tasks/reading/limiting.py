"""What torchvision downloads by itself, held to the limits of every other download."""

import http.client
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from forgetcheck.errors import DataError
from forgetcheck.network import refuse_offline
from forgetcheck.tasks.reading.download import Partial, limit_of_task

_GDOWN = "gdown"  # by which torchvision gets what lies at Google Drive


@contextmanager
def limited(root: Path) -> Iterator[None]:
    """Limit what `urllib` fetches inside into a folder; what it leaves half-written is removed."""
    watch, usual, gdown = _Watch(root), urllib.request._opener, sys.modules.get(_GDOWN)  # type: ignore[attr-defined]
    urllib.request.install_opener(urllib.request.build_opener(watch))
    sys.modules[_GDOWN] = SimpleNamespace(download=_refuse_drive)  # type: ignore[assignment]
    try:
        yield
    except BaseException:  # also on Ctrl-C
        watch.remove_begun()
        raise
    finally:
        urllib.request.install_opener(usual)  # None, where there was none
        sys.modules.pop(_GDOWN) if gdown is None else sys.modules.update({_GDOWN: gdown})


def _refuse_drive(**_: Any) -> None:
    raise DataError(
        "torchvision gets this from Google Drive, where no limit can be set: download it yourself and name "
        "its folder as root=DIR, without download=true."
    )


class _Watch(urllib.request.BaseHandler):
    """Sees every response before whoever asked for it."""

    handler_order = 2000  # after redirects are followed

    def __init__(self, root: Path) -> None:
        self.root, self.room = root, limit_of_task()
        self.before: dict[Path, tuple[int, int]] | None = None  # None: nothing is begun
        self.sizes: tuple[int, ...] = ()  # that what is begun may have: with the last piece, and without it

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        refuse_offline(f"'{request.full_url}'")
        return request

    def http_response(self, _: Any, response: http.client.HTTPResponse) -> http.client.HTTPResponse:
        if response.status == 200 and "read" not in vars(response):
            self.remove_begun()  # of an attempt that failed: torchvision tries another address
            self.before, self.sizes = self.files(), (0,)
            self.refuse_large(response.url, 0, response.length)
            response.read = self.counted(response, response.read)  # type: ignore[method-assign]
        return response

    https_request, https_response = http_request, http_response

    def counted(self, response: http.client.HTTPResponse, read: Callable[..., bytes]) -> Callable[..., bytes]:
        expected, have, url = response.length, 0, response.url

        def reading(amount: int | None = None) -> bytes:
            nonlocal have
            data = read(amount)
            have += len(data)
            if expected is None:
                self.refuse_large(url, have, None)
            if not data or amount is None:
                if expected is not None and have < expected:
                    raise ConnectionError(f"the connection ended after {have:,} of {expected:,} bytes")
                self.before = None
                self.room -= have
            self.sizes = (have - len(data), have)
            return data

        return reading

    def refuse_large(self, url: str, have: int, expected: int | None) -> None:
        place = next(each for each in (self.root, *self.root.absolute().parents) if each.is_dir())
        Partial(place / ".torchvision.partial", None, self.room).refuse_large(url, have, expected)

    def files(self) -> dict[Path, tuple[int, int]]:
        found = {path: path.lstat() for path in self.root.rglob("*") if path.is_file()}
        return {path: (facts.st_size, facts.st_mtime_ns) for path, facts in found.items()}

    def remove_begun(self) -> None:
        """Remove what was written of a response that never ended: by its size, for others may write here."""
        if self.before is not None:
            for path, facts in self.files().items():
                if self.before.get(path) != facts and facts[0] in self.sizes:
                    path.unlink(missing_ok=True)
