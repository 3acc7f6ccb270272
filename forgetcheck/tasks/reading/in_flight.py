"""What images may take in the memory while threads decode them: each waits until there is room for its own.

Two budgets, always asked for in this order, so that no two threads wait for one another: the bytes of
files, then the pixels that are made of them. An image of a size beyond a budget takes all of it, and is
alone. What is decoded is the same whoever waits; a single thread never does.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

FILES = 2**27  # bytes of files at once
LARGE = 2**24  # bytes or pixels of an image, from which on its memory is handed back at once
_PIXELS = 2**28 // 3  # pixels at once, of 4 bytes each: as many as the largest image may have


class Budget:
    """An amount that threads take parts of, and wait for."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.begin()

    def begin(self) -> None:
        self.free = self.total
        self.changed = threading.Condition()

    def take(self, amount: int) -> int:
        """Wait for an amount, or all there is if that is less. Returns what was taken."""
        taken = min(amount, self.total)
        with self.changed:
            self.changed.wait_for(lambda: self.free >= taken)
            self.free -= taken
        return taken

    def give(self, amount: int) -> None:
        with self.changed:
            self.free += amount
            self.changed.notify_all()


FILE_BUDGET, PIXEL_BUDGET = Budget(FILES), Budget(_PIXELS)
if hasattr(os, "register_at_fork"):  # what other threads hold is never given back in the child
    for _budget in (FILE_BUDGET, PIXEL_BUDGET):
        os.register_at_fork(after_in_child=_budget.begin)


class _Held(threading.local):
    """What this thread holds of each budget; None where it isn't one of many."""

    amounts: dict[Budget, int] | None = None


_HELD = _Held()


@contextmanager
def one_of_many() -> Iterator[None]:
    """Count what is read and decoded inside, by this thread, until the block ends."""
    held: dict[Budget, int] = {}
    _HELD.amounts = held
    try:
        yield
    finally:
        _HELD.amounts = None
        if max(held.values(), default=0) >= LARGE:
            _hand_back()
        for budget, amount in held.items():
            budget.give(amount)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    """Return glibc's function of that name, None where another library allocates."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None


def _hand_back() -> None:
    """Give what was freed back to the system: glibc keeps for each thread what large images took."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def reading(size: int) -> None:
    """Wait until a file of so many bytes may be read; what this thread held before is given back."""
    _release(PIXEL_BUDGET)
    _hold(FILE_BUDGET, size)


def decoding(pixels: int) -> None:
    """Wait until so many pixels may be made."""
    _hold(PIXEL_BUDGET, pixels)


def _hold(budget: Budget, amount: int) -> None:
    _release(budget)
    if _HELD.amounts is not None:
        _HELD.amounts[budget] = budget.take(amount)


def _release(budget: Budget) -> None:
    if _HELD.amounts is not None:
        budget.give(_HELD.amounts.pop(budget, 0))
