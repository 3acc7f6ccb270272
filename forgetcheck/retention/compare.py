"""One question compared: from paired answers to accuracies, drop, interval and n."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgetcheck.errors import CannotAsk
from forgetcheck.retention.answers import Answers
from forgetcheck.retention.statistics import at_least, interval

FEW = 30  # below this many samples a row is an anecdote, and says so


@dataclass(frozen=True)
class Retention:
    """How much of one question (a whole task, or one concept of it) the tuned model retained.

    Accuracies and drops are fractions; drop = base - tuned, so positive is forgetting.
    """

    checkpoint: str
    task: str
    concept: str | None  # None: the whole task
    probe: str
    n: int
    base: float
    tuned: float
    lost: int  # right by the base, wrong by the tuned model
    gained: int
    low: float  # interval of the drop
    high: float
    chance_p: float  # p-value of "the base is no better than chance"
    identical: bool
    target: bool
    warnings: tuple[str, ...]

    @property
    def drop(self) -> float:
        return (self.lost - self.gained) / self.n


@dataclass(frozen=True)
class Tally:
    """Counts of many rows at once, aligned arrays (m,)."""

    n: NDArray[np.int64]
    base: NDArray[np.int64]
    tuned: NDArray[np.int64]
    lost: NDArray[np.int64]
    gained: NDArray[np.int64]
    chance: NDArray[np.float64]


def compare(answers: Answers, confidence: float) -> Iterator[Retention]:
    """Yield the whole task first, then each concept that has test samples, in class order."""
    if len(answers.labels) == 0:
        raise CannotAsk(f"task '{answers.task}' has no test samples: nothing was measured; check its data.")
    tally = count(answers)
    some = np.maximum(tally.n, 1)  # a concept without samples is skipped below, not divided by
    low, high = interval(tally.lost, tally.gained, some, confidence)
    if answers.identical:
        low, high = np.zeros_like(low), np.zeros_like(high)
    chance_p = at_least(tally.base, tally.n, tally.chance)
    for row, concept in enumerate((None, *answers.class_names)):
        n = int(tally.n[row])
        if n == 0:
            continue
        yield Retention(
            checkpoint=answers.checkpoint,
            task=answers.task,
            concept=concept,
            probe=answers.probe,
            n=n,
            base=int(tally.base[row]) / n,
            tuned=int(tally.tuned[row]) / n,
            lost=int(tally.lost[row]),
            gained=int(tally.gained[row]),
            low=float(low[row]),
            high=float(high[row]),
            chance_p=float(chance_p[row]),
            identical=answers.identical,
            target=answers.target,
            warnings=(*answers.warnings, *few(n)),
        )


def few(n: int) -> tuple[str, ...]:
    return (f"only {n} samples: an anecdote, not evidence",) if n < FEW else ()


def count(answers: Answers) -> Tally:
    """Count right, lost and gained answers of the whole task (row 0) and of each class (rows 1..c)."""
    classes = len(answers.class_names)
    base_right = answers.base.label == answers.labels
    tuned_right = answers.tuned.label == answers.labels

    def rows(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
        per_class = np.bincount(answers.labels[flags], minlength=classes)
        return np.concatenate([[per_class.sum()], per_class])

    return Tally(
        n=rows(np.ones(len(answers.labels), dtype=np.bool_)),
        base=rows(base_right),
        tuned=rows(tuned_right),
        lost=rows(base_right & ~tuned_right),
        gained=rows(~base_right & tuned_right),
        chance=chance(answers),
    )


def chance(answers: Answers) -> NDArray[np.float64]:
    """Return how often the base would be right without looking at the image.

    For the task: always naming the commonest class. For a class: as often as the base names it at
    all, so that a model which answers 'dog' to everything does not 'know' dogs. Never below 1/c.
    """
    classes, n = len(answers.class_names), len(answers.labels)
    commonest = np.bincount(answers.labels, minlength=classes).max() / n
    named = np.bincount(answers.base.label, minlength=classes) / n
    rates: NDArray[np.float64] = np.maximum(np.concatenate([[commonest], named]), 1 / classes)
    return rates
