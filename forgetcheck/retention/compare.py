"""One question compared: from paired answers to accuracies, drop, interval and n."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forgetcheck.errors import InputError
from forgetcheck.retention.answers import PairedPredictions
from forgetcheck.retention.statistics.association import knowledge_p
from forgetcheck.retention.statistics.clusters import (
    Clustering,
    Spread,
    Sums,
    alone,
    cluster_sums,
    design_effect,
    design_effect_of,
)
from forgetcheck.retention.statistics.paired import (
    Floats,
    at_least,
    calibration_change,
    calibration_error,
    interval,
    share_interval,
)
from forgetcheck.retention.variants import template_counts, training_variance

UNTAUGHT = "its interval is too narrow: it leaves out the choice of the probe's training images"
FEW = 30  # below this many samples only a large drop can be shown, and the row says so
FEW_CLUSTERS = 10  # so it is below this many clusters
_CONFUSIONS = 3  # of the new wrong answers of a concept, this many are named
TRAINED = ("linear", "knn")  # probes that learn from a task's training images
_DIGITS = 12  # of a calibration error: beyond them, the order of the samples shows


class Calibration(NamedTuple):
    """The expected calibration error of base and tuned; how much it rose, and the standard error of that."""

    base: float
    tuned: float
    change: float  # see statistics.calibration_change: noise cancels, so it isn't just the difference
    error: float

    def interval(self, confidence: float) -> tuple[float, float]:
        """Return the two-sided interval of the change, by the normal curve."""
        wide = NormalDist().inv_cdf((1 + confidence) / 2) * self.error
        return self.change - wide, self.change + wide


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
    chance_p: float  # p-value of "the base only guesses": its answers don't go with what is
    identical: bool
    target: bool
    warnings: tuple[str, ...]
    confused: tuple[tuple[str, int], ...] = ()  # of the lost answers: what is said now, and how often
    calibration: Calibration | None = None  # whole tasks only
    clustering: Clustering | None = (
        None  # None: every sample is independent, and nothing was trained on others
    )
    unchanged: bool = False  # every single answer is the base's; said of whole tasks only
    templates: NDArray[np.int32] | None = field(
        default=None, compare=False
    )  # (t, 2) lost, gained by each alone

    @property
    def drop(self) -> float:
        return (self.lost - self.gained) / self.n

    @property
    def subject(self) -> str:
        return self.task if self.concept is None else f"{self.task} / {self.concept}"

    @property
    def base_right(self) -> int:
        return round(self.base * self.n)

    @property
    def tuned_right(self) -> int:
        return round(self.tuned * self.n)

    @property
    def lost_share(self) -> float:
        """The share of the base's right answers that were lost: negative flips; 0 where it had none."""
        return self.lost / self.base_right if self.base_right else 0.0

    @property
    def churn(self) -> float:
        """The share of answers that change in each direction, beside the drop (or gain)."""
        return min(self.lost, self.gained) / self.n

    @property
    def by_template(self) -> tuple[float, float] | None:
        """The smallest and the largest drop that one prompt template gives; None if there is just one."""
        if self.templates is None:
            return None
        drops = (self.templates[:, 0] - self.templates[:, 1]) / self.n
        return float(drops.min()), float(drops.max())

    @property
    def clusters(self) -> int | None:
        """In how many clusters the samples come; None if they are independent."""
        return None if self.clustering is None else self.clustering.number

    @property
    def design_effect(self) -> float:
        """How many samples tell as much about the drop as one independent."""
        return 1.0 if self.clustering is None else design_effect_of(self.clustering.changed, self.drop)

    @property
    def widened(self) -> float:
        """How many times as wide the training images of the probe make the interval of the drop."""
        if self.clustering is None:
            return 1.0
        fixed = replace(self.clustering.changed, training=0.0)
        return math.sqrt(self.design_effect / design_effect_of(fixed, self.drop))

    @property
    def effective(self) -> int:
        """How many independent samples tell as much about the drop."""
        return max(int(_worth(self.n, self.design_effect)), 1)

    def counts(self, drop: float) -> tuple[float, float, float]:
        """Return lost, gained and n of as many independent samples, to test `drop` by."""
        if self.clustering is None:
            return self.lost, self.gained, self.n
        effect = design_effect_of(self.clustering.changed, drop)
        return _worth(self.lost, effect), _worth(self.gained, effect), _worth(self.n, effect)

    def right(self, accuracy: float) -> tuple[float, float]:
        """Return tuned_right and n of as many independent samples, to test `accuracy` by."""
        if self.clustering is None:
            return self.tuned_right, self.n
        effect = design_effect_of(self.clustering.tuned, accuracy)
        return _worth(self.tuned_right, effect), _worth(self.n, effect)

    def flips(self, share: float) -> tuple[float, float]:
        """Return lost and base_right of as many independent samples, to test a share of lost answers by."""
        if self.clustering is None:
            return self.lost, self.base_right
        effect = design_effect_of(self.clustering.lost, share)
        return _worth(self.lost, effect), _worth(self.base_right, effect)

    def tuned_interval(self, confidence: float) -> tuple[float, float]:
        """Return the exact interval of the tuned accuracy."""
        spread = None if self.clustering is None else self.clustering.tuned
        low, high = share_interval(self.tuned_right, self.n, confidence, spread)
        return float(low), float(high)

    def lost_interval(self, confidence: float) -> tuple[float, float]:
        """Return the exact interval of the share of the base's right answers that were lost."""
        if not self.base_right:
            return 0.0, 1.0
        spread = None if self.clustering is None else self.clustering.lost
        low, high = share_interval(self.lost, self.base_right, confidence, spread)
        return float(low), float(high)


def _worth(count: int, effect: float) -> float:
    """Divide a count; what should be a whole number is one."""
    return round(count / effect, 9)


@dataclass(frozen=True)
class _Tally:
    """Counts of many rows at once, aligned arrays (m,) or (m, k)."""

    n: NDArray[np.int64]
    base: NDArray[np.int64]
    tuned: NDArray[np.int64]
    lost: NDArray[np.int64]
    gained: NDArray[np.int64]
    chance: Floats  # how often the base would be right by guessing, where a probe says so; else 1
    known_p: Floats  # of "the base guesses", where no chance is given; else NaN
    training: Floats  # (m, 3) see variants.training_variance
    number: NDArray[np.int64]  # of clusters, and of them the columns of Sums
    sizes: NDArray[np.int64]
    products: NDArray[np.int64]  # (m, 3): of lost - gained, base and tuned
    clustered: NDArray[np.int64]
    lost_sizes: NDArray[np.int64]  # the same over the samples that the base has right, of lost answers
    lost_products: NDArray[np.int64]
    lost_clustered: NDArray[np.int64]

    @property
    def spreads(self) -> tuple[Spread, Spread, Spread, Spread]:
        """How lost - gained, the base's right answers, the tuned model's and the lost ones vary together."""
        sums = Sums(self.number, self.sizes, self.products, self.clustered)
        moved, right, flipped = self.training.T
        lost = self.lost_sizes, self.lost_products, self.lost_clustered
        return (
            sums.spread(0, self.n, self.lost - self.gained, self.lost + self.gained, moved),
            sums.spread(1, self.n, self.base, self.base),
            sums.spread(2, self.n, self.tuned, self.tuned, right),
            Spread(self.base, self.lost, self.lost, *lost, flipped),
        )


def compare(questions: Sequence[PairedPredictions], confidence: float) -> list[Retention]:
    """Return for each question the whole task first, then each concept that has test samples.

    All rows are computed together: an audit has thousands of them.
    """
    for answers in questions:
        if len(answers.labels) == 0:
            raise InputError(
                f"task '{answers.task}' has no test samples: nothing was measured; check its data."
            )
    if not questions:
        return []
    tallies = [_count(answers) for answers in questions]
    names = [each.name for each in fields(_Tally)]
    tally = _Tally(*(np.concatenate([getattr(t, name) for t in tallies]) for name in names))
    lengths = [len(t.n) for t in tallies]
    changed, base, tuned, lost = tally.spreads
    tied = [_clustered(answers) for answers in questions]
    together = np.repeat(tied, lengths) | (tally.training > 0).any(axis=1)
    # where every sample is its own cluster the design effect is 1, without computing it sixty times
    low, high = interval(
        tally.lost, tally.gained, np.maximum(tally.n, 1), confidence, changed if together.any() else None
    )
    identical = np.repeat([a.identical for a in questions], lengths)
    low, high = np.where(identical, 0.0, low), np.where(identical, 0.0, high)
    effect = design_effect(base, tally.chance)
    guessed = at_least(tally.base / effect, tally.n / effect, tally.chance)
    chance_p = np.where(np.isnan(tally.known_p), guessed, tally.known_p)
    facts = zip(
        *(column.tolist() for column in (tally.n, tally.base, tally.tuned, tally.lost, tally.gained)),
        low.tolist(),
        high.tolist(),
        chance_p.tolist(),
        _in_rows((changed, tuned, lost), tally.number, np.repeat(tied, lengths), together),
        strict=True,
    )
    return [
        row
        for answers in questions
        for row in _rows_of(answers, [_Fact(*next(facts)) for _ in range(len(answers.class_names) + 1)])
    ]


class _Fact(NamedTuple):
    """What is known of one row."""

    n: int
    base: int
    tuned: int
    lost: int
    gained: int
    low: float
    high: float
    chance_p: float
    clustering: Clustering | None


def _in_rows(
    spreads: tuple[Spread, Spread, Spread],
    number: NDArray[np.int64],
    tied: NDArray[np.bool_],
    together: NDArray[np.bool_],
) -> Iterator[Clustering | None]:
    """Yield how the answers of each row vary together, None where every sample is independent."""
    columns = [
        zip(*(part.tolist() for part in np.broadcast_arrays(*s.columns)), strict=True) for s in spreads
    ]
    every = zip(number.tolist(), tied.tolist(), together.tolist(), *columns, strict=True)
    for clusters, known, needed, moved, right, flipped in every:
        number_of = clusters if known else None
        yield Clustering(number_of, Spread(*moved), Spread(*right), Spread(*flipped)) if needed else None


def _rows_of(answers: PairedPredictions, facts: Sequence[_Fact]) -> Iterator[Retention]:
    """Yield the rows of one question from their counts, the whole task first.

    A single kind of captions that is all of its task would be the same row once more.
    """
    confused = _confusions(answers)
    templates = template_counts(answers)
    untaught = _untaught(answers)
    for place, (concept, fact) in enumerate(zip((None, *answers.class_names), facts, strict=True)):
        n = fact.n
        whole = answers.chance is not None and concept is not None and n == facts[0].n
        if n == 0 or whole:
            continue
        row = Retention(
            checkpoint=answers.checkpoint,
            task=answers.task,
            concept=concept,
            probe=answers.probe,
            n=n,
            base=fact.base / n,
            tuned=fact.tuned / n,
            lost=fact.lost,
            gained=fact.gained,
            low=fact.low,
            high=fact.high,
            chance_p=fact.chance_p,
            identical=answers.identical,
            target=answers.target,
            warnings=(*answers.warnings, *_few(n), *untaught),
            confused=confused.get(place - 1, ()),
            calibration=_calibration(answers) if concept is None else None,
            clustering=fact.clustering,
            unchanged=concept is None and bool((answers.base.label == answers.tuned.label).all()),
            templates=None if templates is None else templates[place],
        )
        told = tuple(_of_clusters(row))
        yield replace(row, warnings=(*row.warnings, *told)) if told else row


def _few(n: int) -> tuple[str, ...]:
    return (f"only {n} {'sample' if n == 1 else 'samples'}: no small drop can be shown",) if n < FEW else ()


def _untaught(answers: PairedPredictions) -> tuple[str, ...]:
    """Say where nobody knows what the training images of a probe bring to its interval."""
    if answers.probe.partition(":")[0] not in TRAINED or answers.identical:
        return ()
    known = answers.base.variants is not None and answers.tuned.variants is not None
    return () if known else (UNTAUGHT,)


def _of_clusters(row: Retention) -> Iterator[str]:
    """Say what clustered samples are worth, where that isn't their number."""
    if row.clusters is None or row.clusters == row.n or row.identical:
        return
    yield (
        f"{row.n:,} samples in {row.clusters:,} clusters count as about {row.effective:,} independent ones "
        f"(design effect {row.design_effect:.1f})"
    )
    if row.clusters < FEW_CLUSTERS and not _few(row.n):
        yield f"only {row.clusters} clusters: no small drop can be shown"


def _calibration(answers: PairedPredictions) -> Calibration:
    base, tuned = (
        (reply.confidence, reply.label == answers.labels) for reply in (answers.base, answers.tuned)
    )
    numbers = (
        calibration_error(*base),
        calibration_error(*tuned),
        *calibration_change(base, tuned, answers.groups),
    )
    return Calibration(*(round(number, _DIGITS) for number in numbers))


def _confusions(answers: PairedPredictions) -> dict[int, tuple[tuple[str, int], ...]]:
    """Return per class the commonest answers of the tuned model where only the base was right."""
    lost = (answers.base.label == answers.labels) & (answers.tuned.label != answers.labels)
    classes = len(answers.class_names)
    pairs, times = np.unique(
        answers.labels[lost].astype(np.int64) * classes + answers.tuned.label[lost], return_counts=True
    )
    found: dict[int, Counter[str]] = {}
    for pair, number in zip(pairs.tolist(), times.tolist(), strict=True):
        found.setdefault(pair // classes, Counter())[answers.class_names[pair % classes]] += number
    return {label: tuple(counter.most_common(_CONFUSIONS)) for label, counter in found.items()}


def _count(answers: PairedPredictions) -> _Tally:
    """Count right, lost and gained answers of the whole task (row 0) and of each class (rows 1..c)."""
    classes, labels = len(answers.class_names), answers.labels
    base_right, tuned_right = answers.base.label == labels, answers.tuned.label == labels
    lost, gained = base_right & ~tuned_right, ~base_right & tuned_right

    def rows(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
        per_class = np.bincount(labels[flags], minlength=classes)
        return np.concatenate([[per_class.sum()], per_class])

    every = (np.ones_like(base_right), base_right, tuned_right, lost, gained)
    n, base, tuned, fell, rose = (rows(flags) for flags in every)
    groups = answers.groups if _clustered(answers) else None
    if groups is not None:
        values = np.stack([lost.astype(np.int64) - gained, base_right, tuned_right], axis=1)
        sums = cluster_sums(groups, labels, classes, values)
        held = groups[base_right], labels[base_right], classes, lost[base_right, None].astype(np.int64)
        flips = cluster_sums(*held) if base_right.any() else alone(base, fell[:, None], fell[:, None])
    else:
        totals, squares = [fell - rose, base, tuned], [fell + rose, base, tuned]
        sums = alone(n, np.stack(totals, axis=1), np.stack(squares, axis=1))
        flips = alone(base, fell[:, None], fell[:, None])
    training = training_variance(answers)
    return _Tally(
        n,
        base,
        tuned,
        fell,
        rose,
        *_knowledge(answers, groups),
        np.zeros((1 + classes, 3)) if training is None or answers.identical else training,
        **vars(sums),
        lost_sizes=flips.sizes,
        lost_products=flips.products[:, 0],
        lost_clustered=flips.clustered[:, 0],
    )


def _clustered(answers: PairedPredictions) -> bool:
    """Whether two samples of a question belong to one cluster."""
    return answers.groups is not None and len(np.unique(answers.groups)) < len(answers.labels)


def _knowledge(answers: PairedPredictions, groups: NDArray[np.int32] | None) -> tuple[Floats, Floats]:
    """Return how often the base would be right by chance, or else the p-values of "it guesses". (1 + c,) each

    A probe may know its chance, such as one in two; else the answers are held against the labels.
    """
    classes = len(answers.class_names)
    if answers.chance is not None:
        return answers.chance, np.full(1 + classes, np.nan)
    named = answers.base.label[:, None] if answers.base.named is None else answers.base.named
    return np.ones(1 + classes), knowledge_p(answers.labels, named, classes, groups)
