"""Write files and folders whole or not at all."""

import errno
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from forgetcheck.errors import OutputError

RUN_MANIFEST = "tune.json"
AUDIT_MANIFEST = "audit.json"
CONVERT_MANIFEST = "convert.json"
OURS = (RUN_MANIFEST, AUDIT_MANIFEST, CONVERT_MANIFEST)  # in what we wrote, and may replace

LOCAL_DIR = "local-dir"
KINDS = {LOCAL_DIR: "", "safetensors": ".safetensors", "pt": ".pt"}  # how weights are written -> suffix


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; take its place only if the block succeeds.

    A link is followed to its file. Refuses devices and pipes, whose place a file would take.
    """
    with explained(path):
        place = _place_of(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.", suffix=".partial")
        os.close(handle)
    temporary = Path(name)
    try:
        with explained(path):
            yield temporary
            os.chmod(temporary, 0o666 & ~_current_umask())
            synchronise(temporary)
            os.replace(temporary, place)
    finally:
        temporary.unlink(missing_ok=True)


def _place_of(path: Path) -> Path:
    """Return where a file of this name is to stand; refuses what isn't a file, or isn't the user's."""
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder, not a file: choose another name.")
    if path.exists() and not path.is_file():
        raise OutputError(f"'{path}' is a device, not a file: choose another name, or leave it out.")
    if path.absolute().parts[1:2] in (("dev",), ("proc",)):  # /dev/stdout may be a file to be added to
        raise OutputError(f"'{path}' is the system's, not a file of yours: leave the path out for stdout.")
    return followed(path)


def refuse_unwritable(path: Path) -> None:
    """Refuse a file that can't be written, before any work is done."""
    with explained(path):
        place = _place_of(path)
        with _partial_folder(_nearest_folder(place), place.name):
            return


def followed(path: Path) -> Path:
    """Return where links lead; a loop of them leads nowhere."""
    try:
        return path.resolve()
    except RuntimeError:  # an OSError from Python 3.13 on
        raise OutputError(f"'{path}' is a link that leads back to itself: choose another name.") from None


@contextmanager
def whole_folder(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; take its place only if the block succeeds.

    Refuses a `path` that exists, unless it is empty, or `overwrite` is set and something of ours is in it.
    """
    refuse_existing(path, overwrite)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial"))
    try:
        with explained(path):
            yield temporary
            os.chmod(temporary, 0o777 & ~_current_umask())
            for file in temporary.rglob("*"):
                mode = 0o777 if file.is_dir() else 0o666
                os.chmod(file, mode & ~_current_umask())  # safetensors leaves 0600
                synchronise(file)
            _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all; what UTF-8 cannot hold is escaped with a backslash."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse an output folder that would replace something or can't be written, before any work is done.

    What a killed `--overwrite` took from its place is put back first.
    """
    if path.name in ("", "..") or (not found(path) and path.is_symlink()):
        raise OutputError(f"'{path}' is no name for a folder of its own: choose another name.")
    _restore(path)
    if found(path) and not path.is_dir():
        raise OutputError(f"'{path}' is a file, not a folder: choose another name.")
    if found(path) and any(path.iterdir()):
        if not overwrite:
            raise OutputError(
                f"'{path}' already exists: choose another name, or pass --overwrite to replace it."
            )
        if not any((path / name).is_file() for name in OURS):
            raise OutputError(
                f"'{path}' holds neither a run nor an audit nor a converted checkpoint, so --overwrite won't "
                "replace it: choose another name."
            )
    with explained(path), _partial_folder(_nearest_folder(path), path.name):
        return


def refuse_existing_file(path: Path, overwrite: bool) -> None:
    """Refuse an output file that would replace something or can't be written, before any work is done."""
    refuse_unwritable(path)
    if path.exists() and not overwrite:
        raise OutputError(f"'{path}' already exists: choose another name, or pass --overwrite to replace it.")


def found(path: Path) -> bool:
    with explained(path):  # a name can be too long to ask for
        return path.exists()


def _partial_folder(parent: Path, name: str) -> "tempfile.TemporaryDirectory[str]":
    """Make a folder as whole_folder will: what the system has against it shows before the work."""
    return tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}.", suffix=".partial")


def _nearest_folder(path: Path) -> Path:
    """Return the closest parent that exists: where a folder of that name would begin."""
    return next(parent for parent in path.absolute().parents if parent.exists())


def _replace_folder(fresh: Path, path: Path) -> None:
    """Move `fresh` to `path`; whatever was there stays until the move has succeeded."""
    if not path.exists():
        os.rename(fresh, path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".old"))
    try:
        os.rename(path, old / "was")
        os.rename(fresh, path)
    finally:
        if not path.exists():  # also after Ctrl-C; if this fails too, the old folder is kept as it is
            os.rename(old / "was", path)
        shutil.rmtree(old, ignore_errors=True)


def _restore(path: Path) -> None:
    """Put back what lay at `path` where somebody was killed between the two renames that replace it."""
    with explained(path):
        for old in () if path.exists() else path.parent.glob(f".{glob.escape(path.name)}.*.old"):
            if (old / "was").is_dir() and not path.exists():
                os.rename(old / "was", path)
                shutil.rmtree(old, ignore_errors=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into one line with the way out."""
    try:
        yield
    except OSError as problem:
        raise OutputError(_cannot_write(path, problem)) from problem
    except Exception as problem:
        # safetensors reports the operating system's refusal in an exception of its own, as text
        named = re.search(r"os error (\d+)", str(problem))
        if named is None:
            raise
        number = int(named.group(1))
        raise OutputError(_cannot_write(path, OSError(number, os.strerror(number)))) from problem


def _cannot_write(path: Path, problem: OSError) -> str:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"cannot write '{path}': the disk is full; free some space or choose another place."
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"cannot write '{path}': no permission; choose another place."
    return f"cannot write '{path}': {problem.strerror or problem}."


def synchronise(path: Path) -> None:
    """Ask the operating system to put a file on the disk before it gets its final name."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _current_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
