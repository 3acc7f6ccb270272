"""Streams, progress and messages on a terminal. Results go to stdout, the rest to stderr."""

import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from forgetcheck.errors import InputError
from forgetcheck.progress import silent
from forgetcheck.text import printable

_Callback = Callable[..., None]
_WIDTH = 80  # of a table that goes to a file or a pipe
_QUIET_SECONDS = 15  # between lines of progress


class _Log:
    """A stream to the log of a GitHub runner, for which no line that passes through is a command."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        written: int = self.stream.write(harmless(text))
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def harmless(text: str) -> str:
    """Break what a runner obeys, wherever a name may have brought it: `::` that begins a line, and `##[`."""
    return re.sub(r"(^|\r)([^\S\r\n]*):(?=:)", r"\1\2: ", text, flags=re.MULTILINE).replace("##[", "# #[")


def _obeyed() -> bool:
    """Whether what is printed is read by a runner that takes some lines for commands."""
    return "GITHUB_ACTIONS" in os.environ


class _Patient(Console):
    """Rich leaves the program with exit code 1 when a reader goes away; here 1 means something else."""

    def on_broken_pipe(self) -> None:
        raise  # rich calls this while it handles the BrokenPipeError


def open_streams() -> None:
    """What is said to a closed stdout or stderr (`>&-`), which is None here, goes nowhere, as was asked."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open to the end)


def hush_followers() -> None:
    """Of the processes that torchrun starts for one command, the first speaks for all."""
    if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0":
        for name in ("stdout", "stderr"):
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (open to the end)


def _make_console(stderr: bool = False) -> Console:
    """A console that never breaks on names: no markup, no emoji, no highlighting."""
    stream = sys.stderr if stderr else sys.stdout
    with suppress(AttributeError, ValueError):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    width = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH
    log = cast(IO[str], _Log(stream)) if _obeyed() else stream
    console = _Patient(file=log, markup=False, emoji=False, highlight=False, width=width)
    console.width = console.width or _WIDTH  # COLUMNS=0 would print nothing at all
    return console


def show(*parts: object) -> None:
    """Print to stdout; a reader that went away (`| head`) is no error and changes no exit code."""
    try:
        _make_console().print(*parts, soft_wrap=all(isinstance(part, str) for part in parts))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_line(text: str) -> None:
    show(text)


def print_document(text: str, commands: bool = False) -> None:
    """Write text as it is, for machines; what the stream cannot hold is escaped, as in a file.

    On a GitHub runner only `commands` are commands; what goes to a file (`> report.json`) stays as it is.
    """
    if _obeyed() and not commands and not _to_file():
        text = harmless(text)
    with suppress(AttributeError, ValueError):
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        sys.stdout.flush()
        rest = memoryview(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))
        while rest:  # an unbuffered stream may take a part only, and says how much
            rest = rest[sys.stdout.buffer.write(rest) or 0 :]
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _to_file() -> bool:
    """Whether stdout is a plain file, which a runner doesn't read."""
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False


def print_error(text: str) -> None:
    print_note(f"forgetcheck: {text}")


@contextmanager
def progress_shown(quiet: bool = False) -> Iterator[_Callback]:
    """Yield a progress callback: bars on a terminal, a line now and then elsewhere."""
    if quiet:
        yield silent
    elif _make_console(stderr=True).is_terminal:
        with bars() as callback:
            yield callback
    else:
        yield lines()


@contextmanager
def bars() -> Iterator[_Callback]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=_make_console(stderr=True), transient=True) as progress:
        stages: dict[str, TaskID] = {}

        def callback(stage: str, done: int, total: int, note: str = "") -> None:
            if (
                stage not in stages or done < progress.tasks[0].completed
            ):  # another stage, or the next of its kind
                for old in stages.values():
                    progress.remove_task(old)
                stages.clear()
                stages[stage] = progress.add_task(printable(stage), total=total, note="")
            progress.update(stages[stage], completed=done, total=total, note=printable(note))

        yield callback


def quiet_seconds() -> float:
    text = os.environ.get("FORGETCHECK_QUIET_SECONDS", "")
    try:
        return float(text or _QUIET_SECONDS)
    except ValueError:
        raise InputError(
            f"FORGETCHECK_QUIET_SECONDS={text}: expected seconds; correct it or unset it."
        ) from None


def lines() -> _Callback:
    """Return a callback that prints one line per finished stage and one every so often within it."""
    said, pause = time.monotonic(), quiet_seconds()

    def callback(stage: str, done: int, total: int, note: str = "") -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= pause:
            said = now
            print_note(f"{stage}: {done} of {total} {note}".rstrip())

    return callback


def print_note(text: str) -> None:
    """Print to stderr; one that is full or gone may not change the exit code."""
    with suppress(OSError):
        _make_console(stderr=True).print(Text(printable(text)), soft_wrap=True)
