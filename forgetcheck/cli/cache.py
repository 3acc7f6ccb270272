"""`forgetcheck cache`: what the feature cache holds, and how to empty it."""

from datetime import UTC, datetime

import typer

from forgetcheck.cli import console
from forgetcheck.clip.features.cache import FeatureCache, cache_folder
from forgetcheck.errors import InputError
from forgetcheck.sizes import read_size
from forgetcheck.text import counted

app = typer.Typer(
    name="cache",
    help="What audits keep of what models saw, so that none looks twice.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def info() -> None:
    """Say where the cache is and what it holds."""
    cache = _found_cache()
    stored = list(cache.entries())
    console.print_line(
        f"{cache.folder}: {counted(len(stored), 'entry', 'entries')}, {spoken(sum(e.size for e in stored))}."
    )
    if stored:
        oldest, newest = (pick(entry.used for entry in stored) for pick in (min, max))
        console.print_line(f"last used between {_day(oldest)} and {_day(newest)}.")


@app.command()
def clear() -> None:
    """Empty the cache; what is needed again is computed again."""
    cache = _found_cache()
    removed = cache.clear()
    gone = counted(len(removed), "entry", "entries")
    console.print_line(f"{cache.folder}: removed {gone}, {spoken(sum(e.size for e in removed))}.")


def open_cache(size: str) -> FeatureCache | None:
    """Return this user's cache; None where there is no home to put it."""
    limit = read_size("--cache-size", size)
    folder = cache_folder()
    return None if folder is None else FeatureCache(folder, limit, console.print_note)


def _found_cache() -> FeatureCache:
    folder = cache_folder()
    if folder is None:
        raise InputError("no home folder, so there is no cache: set FORGETCHECK_CACHE to a folder.")
    return FeatureCache(folder)


def spoken(size: int) -> str:
    for unit, width in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size >= width:
            return f"{size / width:.1f} {unit}"
    return f"{size} bytes"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
