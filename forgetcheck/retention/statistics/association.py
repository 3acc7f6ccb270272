"""Whether the base knows anything of a question: does what it says go with what is? Pure.

Knowledge is an association between answers and labels. A base that names one class always, or often, is right
as often as that class comes up without looking at an image; its labels could be dealt anew and it would be
right as often. The tests here ask just that: how often labels dealt anew would be met as well.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forgetcheck.retention.statistics import special

_Floats = NDArray[np.float64]
_Whole = NDArray[np.int64]
_SURE = 1e-20  # a tail this small is not summed to its end: it is a bound then
_SYMMETRIC = 1e-3  # skewness below which a distribution is taken for normal
PAIR, HALF_OF_PAIR = 0.95, 0.1  # shares of two classes that leave nothing to a third: hits come in twos


@dataclass(frozen=True)
class _Table:
    """What was said of what, as counts. c classes; an answer may name k of them, as in acc@k."""

    n: int  # samples
    are: _Floats  # (c,) samples of each class
    said: _Floats  # (c,) answers that name it
    hits: _Floats  # (c,) answers that name it for a sample of it

    @property
    def expected(self) -> float:
        """How many answers are right if labels are dealt anew."""
        return float(self.are @ self.said) / self.n


def knowledge_p(
    labels: NDArray[np.int32], named: NDArray[np.int32], classes: int, groups: NDArray[np.int32] | None = None
) -> _Floats:  # (n,), (n, k), c, (n,) -> (1 + c,)
    """Return the p-value of "the base guesses" for the whole task, then for each class; small: it knows.

    For a class, Fisher's exact test (one-sided) of "named it" against "is it"; for the task, the permutation
    test of how many answers are right (Hoeffding 1951, Ann. Math. Stat. 22, 558-566), by its first three
    moments, and exact where there are two classes. `groups` are clusters of samples (None: independent):
    counts are divided by the design effect of the association. A class without samples has p = 1.
    """
    table = _tabulated(labels, named, classes)
    effects = np.ones(1 + classes) if groups is None else _design_effects(labels, named, table, groups)
    every = (table.hits, table.said, table.are, np.full(classes, float(table.n)))
    each = association_p(*(np.round(column / effects[1:], 9) for column in every))
    return np.concatenate([[_task_p(named, table, each, effects[0])], each])


def _tabulated(labels: NDArray[np.int32], named: NDArray[np.int32], classes: int) -> _Table:
    are, said = np.bincount(labels, minlength=classes), np.bincount(named.ravel(), minlength=classes)
    right = (named == labels[:, None]).any(axis=1)
    hits = np.bincount(labels[right], minlength=classes)
    return _Table(len(labels), are.astype(float), said.astype(float), hits.astype(float))


def association_p(hits: ArrayLike, said: ArrayLike, are: ArrayLike, n: ArrayLike) -> _Floats:  # (m,) each
    """Return Fisher's one-sided p-value: P(as many hits) if `said` of n are drawn and `are` of n are right.

    The upper tail of the hypergeometric distribution, summed by the ratios of its neighbours. Counts need not
    be whole: those of clusters, divided by a design effect, stand on the lattice of whole steps from `hits`.
    """
    columns = np.broadcast_arrays(*(np.atleast_1d(np.asarray(x, dtype=float)) for x in (hits, said, are, n)))
    hits, said, are, n = (column.ravel() for column in columns)
    upper = _sum_from(hits, said, are, n, 1)  # relative to the probability of `hits` itself
    lower = _sum_from(hits, said, are, n, -1)
    return np.asarray((1 + upper) / (1 + upper + lower))


def _sum_from(hits: _Floats, said: _Floats, are: _Floats, n: _Floats, step: int) -> _Floats:
    """Sum the probabilities beyond `hits` in one direction, as multiples of the one at `hits`. (m,)"""
    total, term, place = np.zeros_like(hits), np.ones_like(hits), hits.copy()
    going = np.ones(len(hits), dtype=bool)
    while going.any():
        at, s, a, size = place[going], said[going], are[going], n[going]
        rest = size - s - a  # those neither said nor so, less the hits
        with np.errstate(divide="ignore", invalid="ignore"):
            if step > 0:
                ratio = (a - at) * (s - at) / ((at + 1) * (rest + at + 1))
                inside = (at + 1 <= np.minimum(a, s) + 1e-9) & (rest + at + 1 > 0)
            else:
                ratio = at * (rest + at) / ((a - at + 1) * (s - at + 1))
                inside = (at - 1 >= -1e-9) & (rest + at - 1 >= -1e-9)
        grown = term[going] * np.where(inside, np.maximum(ratio, 0.0), 0.0)
        term[going] = grown
        total[going] += grown
        place[going] += step
        # falling terms end where they no longer count, rising ones where the answer is beyond doubt
        going[going] = (grown > 1e-17 * (1 + total[going])) & (total[going] < 1 / _SURE)
    return total


def _task_p(named: NDArray[np.int32], table: _Table, each: _Floats, effect: float) -> float:
    used = np.flatnonzero(table.are + table.said)
    if named.shape[1] == 1 and len(used) <= 2:
        return float(each[used[0]])  # hits of one class decide those of the other: Fisher's own table
    mean, variance, third = _moments(named, table, effect)
    if variance <= 0:
        return 1.0
    right = table.hits.sum() / effect
    return _upper_tail(right - _half_step(table), mean, variance, third)


def _half_step(table: _Table) -> float:
    """Return half the distance between the numbers of right answers that can come about.

    One, but where two classes are nearly all there is: there a hit more in one is a hit more in the other.
    """
    shares = np.sort(np.minimum(table.are, table.said) / table.n)[-2:]
    return 1.0 if shares.sum() >= PAIR and shares.min() >= HALF_OF_PAIR else 0.5


def _moments(named: NDArray[np.int32], table: _Table, effect: float) -> tuple[float, float, float]:
    """Return mean, variance and third central moment of the right answers if labels are dealt anew.

    Those of a sum over a random permutation of the table [sample i names the label of sample j], of as many
    independent samples as the design effect leaves.
    """
    n, are, said = table.n, table.are, table.said
    if named.shape[1] == 1:  # by class, of which there are fewer than samples
        answers, times = np.arange(len(are))[:, None], said
    else:
        answers, counts = np.unique(named, axis=0, return_counts=True)  # (a, k), (a,)
        times = counts.astype(np.float64)
    pairs = float(are @ said)
    row = are[answers].sum(axis=1)  # (a,) in how many samples each answer would be right
    u, v = pairs / n**2 - row / n, -said / n  # what double centring takes from each answer, and each label
    squares = pairs - (times @ row**2) / n - (are @ said**2) / n + pairs**2 / n**2
    misses = (
        n * (times @ u**3)
        + 3 * (times @ u**2) * (are @ v)
        + 3 * (times @ u) * (are @ v**2)
        + n * (are @ v**3)
    )
    w = u[:, None] + v[answers]
    hits = times @ (are[answers] * (3 * w**2 + 3 * w + 1)).sum(axis=1)
    worth = n / effect
    mean, variance = pairs / n / effect, squares / effect**2 / max(worth - 1, 1)
    if squares < 1e-9 * n or worth <= 2:  # nothing can vary, but for rounding
        return mean, 0.0, 0.0
    third = worth * (misses + hits) / effect**2 / ((worth - 1) * (worth - 2))
    return mean, float(variance), float(third)


def _upper_tail(value: float, mean: float, variance: float, third: float) -> float:
    """Return P(X >= value) of a Pearson type III variable, a shifted gamma, with these moments."""
    z, skew = (value - mean) / variance**0.5, third / variance**1.5
    if abs(skew) < _SYMMETRIC:
        return float(special.ndtr(-z))
    shape = 4 / skew**2
    place = max(shape + z * shape**0.5 * np.sign(skew), 0.0)
    tail = float(special.gammaincc(shape, place))
    return tail if skew > 0 else 1 - tail


def _design_effects(
    labels: NDArray[np.int32], named: NDArray[np.int32], table: _Table, groups: NDArray[np.int32]
) -> _Floats:  # (1 + c,)
    """Return how many clustered samples tell as much of the association as one independent; at least 1.

    The variance over clusters of the doubly centred hits, by that over samples. One sample more is imagined
    whose cluster moved as one, as in clusters.design_effect.
    """
    n, are, said = table.n, table.are, table.said
    numbers = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(numbers).astype(float)
    as_one = float((sizes**2).sum()) / n
    right = (named == labels[:, None]).any(axis=1)
    excess = right - are[named].sum(axis=1) / n - said[labels] / n + float(are @ said) / n**2
    of_task = _effect((np.bincount(numbers, excess) ** 2).sum(), (excess**2).sum(), as_one, n)
    return np.concatenate([[of_task], _class_effects(labels, named, table, numbers, sizes, as_one)])


def _class_effects(
    labels: NDArray[np.int32],
    named: NDArray[np.int32],
    table: _Table,
    numbers: NDArray[np.intp],
    sizes: _Floats,
    as_one: float,
) -> _Floats:  # (c,)
    n, count, classes = table.n, len(sizes), len(table.are)
    p, q = table.are / n, table.said / n
    # cells (class, cluster) that a label or an answer falls into; in the others only the centring is left
    repeated = np.repeat(numbers, named.shape[1])
    right = named == labels[:, None]
    keys = np.concatenate(
        [labels.astype(np.int64) * count + numbers, named.ravel() * np.int64(count) + repeated]
    )
    cells, place = np.unique(keys, return_inverse=True)
    length = len(labels)
    is_c = np.bincount(place[:length], minlength=len(cells)).astype(float)
    said_c = np.bincount(place[length:], minlength=len(cells)).astype(float)
    hits = np.bincount(place[length:], right.ravel(), minlength=len(cells))
    of, size = cells // count, sizes[cells % count]
    excess = hits - p[of] * said_c - q[of] * is_c + size * (p * q)[of]
    left = (sizes**2).sum() - np.bincount(of, size**2, minlength=classes)
    by_cluster = np.bincount(of, excess**2, minlength=classes) + left * (p * q) ** 2
    missed, wrong = table.are - table.hits, table.said - table.hits
    by_sample = (
        table.hits * ((1 - p) * (1 - q)) ** 2
        + wrong * (p * (1 - q)) ** 2
        + missed * (q * (1 - p)) ** 2
        + (n - table.hits - missed - wrong) * (p * q) ** 2
    )
    return np.asarray(_effect(by_cluster, by_sample, as_one, n))


def _effect(by_cluster: ArrayLike, by_sample: ArrayLike, as_one: float, n: int) -> _Floats:
    by_cluster, by_sample = np.asarray(by_cluster, dtype=float), np.asarray(by_sample, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = (by_cluster + as_one * by_sample / n) / (by_sample * (1 + 1 / n))
    # rounded, or the order of the samples would show in the last digits
    return np.asarray(np.where(by_sample > 0, np.maximum(effect, 1.0), 1.0).round(9))
