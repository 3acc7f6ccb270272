"""How the library says how far it is: a callback, silent by default."""

from typing import Protocol


class Progress(Protocol):
    """Called after every unit of work of a named stage."""

    def __call__(self, stage: str, done: int, total: int, note: str = "", /) -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Say nothing."""
