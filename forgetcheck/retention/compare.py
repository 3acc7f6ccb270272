"""One question compared: from paired answers to accuracies, drop, interval and n."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forgetcheck.errors import CannotAsk
from forgetcheck.retention.answers import Answers
from forgetcheck.retention.clusters import Clustering, Spread, Sums, alone, cluster_sums, design_effect
from forgetcheck.retention.statistics import Floats, at_least, calibration_error, interval, share_interval

FEW = 30  # below this many samples a row is an anecdote, and says so
FEW_CLUSTERS = 10  # so it is below this many clusters
Fact = tuple[int, int, int, int, int, float, float, float, Clustering | None]  # of Tally, and from it
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
    clustering: Clustering | None = None  # None: every sample is independent

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

    @property
    def clusters(self) -> int | None:
        """In how many clusters the samples come; None if they are independent."""
        return None if self.clustering is None else self.clustering.number

    @property
    def design_effect(self) -> float:
        """How many samples tell as much about the drop as one independent."""
        return 1.0 if self.clustering is None else float(design_effect(self.clustering.changed, self.drop))

    @property
    def effective(self) -> int:
        """How many independent samples tell as much about the drop."""
        return max(int(worth(self.n, self.design_effect)), 1)

    def counts(self, drop: float) -> tuple[float, float, float]:
        """Return lost, gained and n of as many independent samples, to test `drop` by."""
        if self.clustering is None:
            return self.lost, self.gained, self.n
        effect = float(design_effect(self.clustering.changed, drop))
        return worth(self.lost, effect), worth(self.gained, effect), worth(self.n, effect)

    def right(self, accuracy: float) -> tuple[float, float]:
        """Return tuned_right and n of as many independent samples, to test `accuracy` by."""
        if self.clustering is None:
            return self.tuned_right, self.n
        effect = float(design_effect(self.clustering.tuned, accuracy))
        return worth(self.tuned_right, effect), worth(self.n, effect)

    def tuned_interval(self, confidence: float) -> tuple[float, float]:
        """Return the exact interval of the tuned accuracy."""
        spread = None if self.clustering is None else self.clustering.tuned
        low, high = share_interval(self.tuned_right, self.n, confidence, spread)
        return float(low), float(high)


def worth(count: int, effect: float) -> float:
    """Divide a count; what should be a whole number is one."""
    return round(count / effect, 9)


@dataclass(frozen=True)
class Tally:
    """Counts of many rows at once, aligned arrays (m,)."""

    n: NDArray[np.int64]
    base: NDArray[np.int64]
    tuned: NDArray[np.int64]
    lost: NDArray[np.int64]
    gained: NDArray[np.int64]
    chance: Floats
    number: NDArray[np.int64]  # of clusters, and of them the columns of Sums
    sizes: NDArray[np.int64]
    products: NDArray[np.int64]  # (m, 3): of lost - gained, base and tuned
    clustered: NDArray[np.int64]

    @property
    def spreads(self) -> tuple[Spread, Spread, Spread]:
        """How lost - gained, the base's right answers and the tuned model's come in clusters."""
        sums = Sums(self.number, self.sizes, self.products, self.clustered)
        return (
            sums.spread(0, self.n, self.lost - self.gained, self.lost + self.gained),
            sums.spread(1, self.n, self.base, self.base),
            sums.spread(2, self.n, self.tuned, self.tuned),
        )


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
    changed, base, tuned = tally.spreads
    tied = [clustered(answers) for answers in questions]
    # where every sample is its own cluster the design effect is 1, without computing it sixty times
    low, high = interval(
        tally.lost, tally.gained, np.maximum(tally.n, 1), confidence, changed if any(tied) else None
    )
    identical = np.repeat([a.identical for a in questions], [len(t.n) for t in tallies])
    low, high = np.where(identical, 0.0, low), np.where(identical, 0.0, high)
    effect = design_effect(base, tally.chance)
    chance_p = at_least(tally.base / effect, tally.n / effect, tally.chance)
    clusterings = in_rows(changed, tuned, tally.number, np.repeat(tied, [len(t.n) for t in tallies]))
    facts = zip(
        *(column.tolist() for column in (tally.n, tally.base, tally.tuned, tally.lost, tally.gained)),
        low.tolist(),
        high.tolist(),
        chance_p.tolist(),
        clusterings,
        strict=True,
    )
    return [
        row
        for answers in questions
        for row in rows_of(answers, [next(facts) for _ in range(len(answers.class_names) + 1)])
    ]


def in_rows(
    changed: Spread, tuned: Spread, number: NDArray[np.int64], tied: NDArray[np.bool_]
) -> Iterator[Clustering | None]:
    """Yield what is known of the clusters of each row, None where samples are independent."""
    every = zip(
        number.tolist(), zip(*changed.columns, strict=True), zip(*tuned.columns, strict=True), strict=True
    )
    for known, (clusters, moved, right) in zip(tied.tolist(), every, strict=True):
        yield Clustering(clusters, Spread(*map(float, moved)), Spread(*map(float, right))) if known else None


def rows_of(answers: Answers, facts: Sequence[Fact]) -> Iterator[Retention]:
    """Yield the rows of one question from their counts, the whole task first.

    A single kind of captions that is all of its task would be the same row once more.
    """
    confused = confusions(answers)
    for place, (concept, fact) in enumerate(zip((None, *answers.class_names), facts, strict=True)):
        n, base, tuned, lost, gained, low, high, chance_p, clustering = fact
        whole = answers.chance is not None and concept is not None and n == facts[0][0]
        if n == 0 or whole:
            continue
        row = Retention(
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
            clustering=clustering,
        )
        told = tuple(of_clusters(row))
        yield replace(row, warnings=(*row.warnings, *told)) if told else row


def few(n: int) -> tuple[str, ...]:
    return (f"only {n} samples: an anecdote, not evidence",) if n < FEW else ()


def of_clusters(row: Retention) -> Iterator[str]:
    """Say what clustered samples are worth, where that isn't their number."""
    if row.clusters is None or row.clusters == row.n or row.identical:
        return
    yield (
        f"{row.n:,} samples in {row.clusters:,} clusters count as about {row.effective:,} independent ones "
        f"(design effect {row.design_effect:.1f})"
    )
    if row.clusters < FEW_CLUSTERS and not few(row.n):
        yield f"only {row.clusters} clusters: an anecdote, not evidence"


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
    lost, gained = base_right & ~tuned_right, ~base_right & tuned_right

    def rows(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
        per_class = np.bincount(answers.labels[flags], minlength=classes)
        return np.concatenate([[per_class.sum()], per_class])

    every = (np.ones_like(base_right), base_right, tuned_right, lost, gained)
    n, base, tuned, fell, rose = (rows(flags) for flags in every)
    if answers.groups is not None and clustered(answers):
        values = np.stack([lost.astype(np.int64) - gained, base_right, tuned_right], axis=1)
        sums = cluster_sums(answers.groups, answers.labels, classes, values)
    else:
        totals, squares = [fell - rose, base, tuned], [fell + rose, base, tuned]
        sums = alone(n, np.stack(totals, axis=1), np.stack(squares, axis=1))
    return Tally(n, base, tuned, fell, rose, chance(answers), **vars(sums))


def clustered(answers: Answers) -> bool:
    """Whether two samples of a question belong to one cluster."""
    return answers.groups is not None and len(np.unique(answers.groups)) < len(answers.labels)


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
