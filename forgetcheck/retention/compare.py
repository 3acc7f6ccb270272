"""One question compared: from paired answers to accuracies, drop, interval and n."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgetcheck.errors import CannotAsk
from forgetcheck.retention.answers import Answers
from forgetcheck.retention.statistics import Floats, at_least, calibration_error, interval

FEW = 30  # below this many samples a row is an anecdote, and says so
Fact = tuple[int, int, int, int, int, float, float, float]  # a row of Tally, its interval and chance_p
CONFUSIONS = 3  # of the new wrong answers of a concept, this many are named


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
    confused: tuple[tuple[str, int], ...] = ()  # of the lost answers: what is said now, and how often
    calibration: tuple[float, float] | None = None  # expected error of base and tuned; whole tasks only

    @property
    def drop(self) -> float:
        return (self.lost - self.gained) / self.n

    @property
    def subject(self) -> str:
        return self.task if self.concept is None else f"{self.task} / {self.concept}"

    @property
    def tuned_right(self) -> int:
        return round(self.tuned * self.n)

    @property
    def churn(self) -> float:
        """The share of answers that change in each direction, beside the drop (or gain)."""
        return min(self.lost, self.gained) / self.n


@dataclass(frozen=True)
class Tally:
    """Counts of many rows at once, aligned arrays (m,)."""

    n: NDArray[np.int64]
    base: NDArray[np.int64]
    tuned: NDArray[np.int64]
    lost: NDArray[np.int64]
    gained: NDArray[np.int64]
    chance: Floats


def compare(questions: Sequence[Answers], confidence: float) -> list[Retention]:
    """Return for each question the whole task first, then each concept that has test samples.

    All rows are computed together: an audit has thousands of them.
    """
    for answers in questions:
        if len(answers.labels) == 0:
            raise CannotAsk(
                f"task '{answers.task}' has no test samples: nothing was measured; check its data."
            )
    if not questions:
        return []
    tallies = [count(answers) for answers in questions]
    tally = Tally(*(np.concatenate([getattr(t, name) for t in tallies]) for name in Tally.__annotations__))
    low, high = interval(tally.lost, tally.gained, np.maximum(tally.n, 1), confidence)
    identical = np.repeat([a.identical for a in questions], [len(t.n) for t in tallies])
    low, high = np.where(identical, 0.0, low), np.where(identical, 0.0, high)
    chance_p = at_least(tally.base, tally.n, tally.chance)
    facts = zip(
        *(column.tolist() for column in (tally.n, tally.base, tally.tuned, tally.lost, tally.gained)),
        low.tolist(),
        high.tolist(),
        chance_p.tolist(),
        strict=True,
    )
    return [
        row
        for answers in questions
        for row in rows_of(answers, [next(facts) for _ in range(len(answers.class_names) + 1)])
    ]


def rows_of(
    answers: Answers, facts: Sequence[tuple[int, int, int, int, int, float, float, float]]
) -> Iterator[Retention]:
    """Yield the rows of one question from their counts, the whole task first.

    A single kind of captions that is all of its task would be the same row once more.
    """
    confused = confusions(answers)
    for place, (concept, fact) in enumerate(zip((None, *answers.class_names), facts, strict=True)):
        n, base, tuned, lost, gained, low, high, chance_p = fact
        whole = answers.chance is not None and concept is not None and n == facts[0][0]
        if n == 0 or whole:
            continue
        yield Retention(
            checkpoint=answers.checkpoint,
            task=answers.task,
            concept=concept,
            probe=answers.probe,
            n=n,
            base=base / n,
            tuned=tuned / n,
            lost=lost,
            gained=gained,
            low=low,
            high=high,
            chance_p=chance_p,
            identical=answers.identical,
            target=answers.target,
            warnings=(*answers.warnings, *few(n)),
            confused=confused.get(place - 1, ()),
            calibration=calibration(answers) if concept is None else None,
        )


def few(n: int) -> tuple[str, ...]:
    return (f"only {n} samples: an anecdote, not evidence",) if n < FEW else ()


def calibration(answers: Answers) -> tuple[float, float]:
    base, tuned = answers.base, answers.tuned
    return (
        calibration_error(base.confidence, base.label == answers.labels),
        calibration_error(tuned.confidence, tuned.label == answers.labels),
    )


def confusions(answers: Answers) -> dict[int, tuple[tuple[str, int], ...]]:
    """Return per class the commonest answers of the tuned model where only the base was right."""
    lost = (answers.base.label == answers.labels) & (answers.tuned.label != answers.labels)
    classes = len(answers.class_names)
    pairs, times = np.unique(
        answers.labels[lost].astype(np.int64) * classes + answers.tuned.label[lost], return_counts=True
    )
    found: dict[int, Counter[str]] = {}
    for pair, number in zip(pairs.tolist(), times.tolist(), strict=True):
        found.setdefault(pair // classes, Counter())[answers.class_names[pair % classes]] += number
    return {label: tuple(counter.most_common(CONFUSIONS)) for label, counter in found.items()}


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


def chance(answers: Answers) -> Floats:
    """Return how often the base would be right without looking at the image, as the probe says or:

    For a class: as often as the base names it at all, so that a model which answers 'dog' to
    everything does not 'know' dogs. For the task: what that gives over its classes, by how common they
    are; a base that always names the commonest class is right just so often. Never below 1/c.
    """
    if answers.chance is not None:
        return answers.chance
    classes, n = len(answers.class_names), len(answers.labels)
    share = np.bincount(answers.labels, minlength=classes) / n
    named = np.bincount(answers.base.label, minlength=classes) / n
    rates: Floats = np.maximum(np.concatenate([[share @ named], named]), 1 / classes)
    return rates
