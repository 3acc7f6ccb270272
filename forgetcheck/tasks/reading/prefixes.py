"""Prefixes of servers and mounts that tables of labelling tools write before the paths of images.

Label Studio writes `/data/upload/3/cat.jpg`, `/data/local-files/?d=photos/cat.jpg`, `s3://bucket/cat.jpg`;
others write where a disk was mounted. `strip=` says what to drop; where dropping it finds a file, the
message for a path that leads nowhere says so.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from forgetcheck.errors import DataError
from forgetcheck.tasks.reading.samples import located

_BETWEEN = "|"  # several prefixes
_PLACES = re.compile(r"[/\\=]")  # where the rest of a path may begin


def stripped(text: str, strip: str) -> str:
    """Return a path without the longest of the prefixes, one of several between `|`, that it begins with."""
    for prefix in sorted(filter(None, strip.split(_BETWEEN)), key=len, reverse=True):
        if text.startswith(prefix):
            return text.removeprefix(prefix).lstrip("/")
    return text


def advice(root: Path, text: str) -> str:
    """Say which `strip=` would find a file below the root for a path that leads nowhere; empty if none."""
    written = re.sub(r"^(\w+:/)(?=[^/])", r"\1/", text)  # a path keeps one slash of a server's address
    for place in _PLACES.finditer(written):
        rest = written[place.end() :]
        if any(_is_inside(root, spelled) for spelled in (rest, unquote(rest))):
            return f"strip={written[: place.end()]} of the source would find it"
    return ""


def refuse_lost(where: str, root: Path, strip: str, paths: Sequence[tuple[str, str]]) -> None:
    """Refuse paths, each as written and below the root, none of which is there, where stripping would help.

    They would be unreadable one by one, and a table that is split by content would fall apart before that.
    A prefix that none of them begins with is refused as well: it was meant to be one.
    """
    for prefix in filter(None, strip.split(_BETWEEN)):
        if paths and not any(written.startswith(prefix) for written, _ in paths):
            raise DataError(
                f"{where}: strip={prefix} begins none of its paths, such as '{paths[0][0]}': correct it, or "
                "leave it out."
            )
    told = advice(root, stripped(paths[0][0], strip)) if paths else ""
    if told and not any(_is_there(root, name) for _, name in paths):
        raise DataError(f"{where}: none of its images is below '{root}', such as '{paths[0][0]}': {told}.")


def _is_there(root: Path, name: str) -> bool:
    with suppress(OSError, ValueError):
        return located(root, name).exists()
    return False


def _is_inside(root: Path, name: str) -> bool:
    if not name or name.startswith(("/", "\\")) or ".." in Path(name.replace("\\", "/")).parts:
        return False
    with suppress(OSError, ValueError):
        return (root / name.replace("\\", "/")).is_file()
    return False
