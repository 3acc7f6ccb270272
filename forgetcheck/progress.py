"""How the library says how far it is: a callback, silent by default."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Progress(Protocol):
    """Called after every unit of work of a named stage."""

    def __call__(self, stage: str, done: int, total: int, note: str = "", /) -> None: ...


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """Say nothing."""


@dataclass
class Steps:
    """Steps of one stage, one after the other, in one unit."""

    progress: Progress
    stage: str
    total: int
    begun: int = 0  # what the steps so far amount to

    def step(self, size: int, count: int) -> Callable[[int, str], None]:
        """Begin a step of this size; what it returns is told how many of `count` things are done."""
        before, self.begun = self.begun, self.begun + size

        def report(done: int, note: str = "") -> None:
            self.progress(self.stage, before + size * done // max(count, 1), self.total, note)

        return report
