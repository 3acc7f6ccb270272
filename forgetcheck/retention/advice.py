"""How many samples would decide what is unsure, if the drop stays as it is; or why no number would. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forgetcheck.retention.compare import Retention
from forgetcheck.retention.statistics import special
from forgetcheck.retention.statistics.clusters import design_effect_of
from forgetcheck.retention.statistics.paired import Floats, at_least, likely_gain
from forgetcheck.retention.statistics.power import POWER, kept_power, lost_power

_SIZES = np.unique(np.geomspace(5, 1e8, 1000).round())  # numbers of samples that a share is tried with
_MOST = 100  # times as many samples as there are: advice that nobody can follow is none
_DIGITS = 2  # of a number that rests on what was seen
_NORMAL_END = NormalDist().inv_cdf(POWER)
_EXACT = 40  # questions of which the number is found by the tests themselves; of more, by the normal curve
STEPS, STEP = 4, 1.02  # at most so many corrections, and what a number that isn't enough yet grows by
_FAR = 3.0  # standard deviations: beyond them a power says nothing of how far off a number is
Reason = Literal["", "at the limit", "near the limit", "training images"]


@dataclass(frozen=True)
class Advice:
    """The number of samples that decides a question 4 times in 5."""

    samples: int | None  # in all; None: none would
    why: Reason = ""  # why none would


def advice_on_drops(
    rows: Sequence[Retention], limits: Sequence[float], levels: Sequence[float], confidence: float
) -> list[Advice]:
    """Return for each row how many samples would show its drop to exceed the limit, or to be within it.

    By the power of the very tests that the gate makes, at the shares of lost and gained answers that were
    seen. To be shown within its limit a question stands alone; to be shown beyond it, among all the others.
    """
    if not rows:
        return []
    lost, gained, n = np.array([(row.lost, row.gained, row.n) for row in rows], dtype=np.float64).T
    asked = _Asked(
        lose=lost / n,
        gain=gained / n,
        limit=np.array(limits, dtype=np.float64),
        level=np.where((lost - gained) / n > limits, levels, (1 - confidence) / 2),
    )
    needed = asked.by_curve
    exact = np.flatnonzero(needed <= 2 * _MOST * n)[:_EXACT]
    needed[exact] = _enough(asked.take(exact), needed[exact])
    return [
        _advice(row, float(limit), size, float(drop))
        for row, limit, size, drop in zip(rows, asked.limit, needed.tolist(), asked.drop, strict=True)
    ]


@dataclass(frozen=True)
class _Asked:
    """Questions that are unsure: the shares of answers lost and gained, and what is to be shown. (m,) each"""

    lose: Floats
    gain: Floats
    limit: Floats
    level: Floats  # one-sided, of what is to be shown

    @property
    def drop(self) -> Floats:
        return self.lose - self.gain

    def take(self, places: NDArray[np.int64]) -> "_Asked":
        return _Asked(*(column[places] for column in vars(self).values()))

    @property
    def spread(self) -> Floats:
        """The standard deviation of one sample, as it is."""
        return np.sqrt(np.maximum(self.lose + self.gain - self.drop**2, 0))

    @property
    def by_curve(self) -> Floats:
        """How many samples are enough by the normal curve; infinite where none are."""
        gain = likely_gain(self.lose, self.gain, np.ones_like(self.lose), self.limit)
        supposed = np.sqrt(np.maximum(2 * gain + self.limit * (1 - self.limit), 0))
        wide = _NORMAL_END * self.spread - special.ndtri(self.level) * supposed
        distance = np.abs(self.drop - self.limit)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(distance > 0, np.maximum((wide / distance) ** 2, 1.0), np.inf)

    def power(self, n: Floats) -> Floats:
        """How often n samples (m,) show it."""
        found = np.empty_like(n)
        beyond = self.drop > self.limit
        for some, power in ((beyond, lost_power), (~beyond, kept_power)):
            one = self.take(np.flatnonzero(some))
            found[some] = power(n[some], one.lose, one.gain, one.limit, one.level)
        return found


def _enough(asked: _Asked, start: Floats) -> Floats:
    """Correct numbers of samples until their power is enough; its quantile grows with their root."""
    growth = np.abs(asked.drop - asked.limit) / np.maximum(asked.spread, np.sqrt(asked.limit) / 2 + 1e-3)
    n = np.ceil(start)
    for _ in range(STEPS):
        short = _NORMAL_END - np.clip(special.ndtri(asked.power(n)), -_FAR, _FAR)
        n = np.ceil(np.maximum(np.sqrt(n) + short / growth, np.sqrt(n) / 2) ** 2)
    for _ in range(STEPS):
        n = np.where(asked.power(n) < POWER, np.ceil(STEP * n), n)
    return n


def _advice(row: Retention, limit: float, independent: float, drop: float) -> Advice:
    """Turn a number of independent samples into one of samples as clustered as these."""
    if drop == limit:
        return Advice(None, "at the limit")
    if row.clustering is None:
        return _rounded(independent, row.n)
    changed = row.clustering.changed
    n, total, squares, *_, training = (float(column) for column in changed.columns)
    each = (squares + 1 - 2 * limit * total + limit**2 * n) / n  # variance of one sample
    left = each / independent - training / n**2
    if left <= 0:
        return Advice(None, "training images" if training else "near the limit")
    clusters = design_effect_of(replace(changed, training=0.0), limit)
    return _rounded(clusters * each / left, row.n)


def advice_on_accuracy(share: float, n: int, limit: float, level: float, confidence: float) -> Advice:
    """Return how many samples would show a share to exceed its limit, or to be within it: exact binomial."""
    if share == limit or n == 0:
        return Advice(None, "at the limit")
    if share > limit:
        few = _critical(_SIZES, limit, level)
        power = at_least(few, _SIZES, share)
    else:  # the interval's upper end is within the limit where so few are improbable at it
        few = _critical(_SIZES, 1 - limit, (1 - confidence) / 2)
        power = at_least(few, _SIZES, 1 - share)
    enough = np.flatnonzero(power >= POWER)
    return _rounded(float(_SIZES[enough[0]]) if len(enough) else np.inf, n)


def _critical(sizes: Floats, share: float, level: float) -> Floats:
    """Return the fewest successes that are too many for a share; one more than there can be if none are."""
    low, high = np.full_like(sizes, -1.0), sizes + 1
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        rejected = at_least(np.maximum(middle, 0), sizes, share) < level
        low, high = np.where(rejected, low, middle), np.where(rejected, middle, high)
    return high


def advice_on_mean(value: float, error: float, n: int, limit: float, level: float, alone: float) -> Advice:
    """Return how many samples would decide a mean with a standard error, by the normal curve.

    `level` is that of being shown beyond the limit, `alone` that of being shown within it.
    """
    distance = abs(value - limit)
    if distance == 0 or error == 0:
        return Advice(None, "at the limit")
    normal = NormalDist()
    wide = normal.inv_cdf(1 - (level if value > limit else alone)) + normal.inv_cdf(POWER)
    return _rounded(n * (wide * error / distance) ** 2, n)


def _rounded(samples: float, n: int) -> Advice:
    """Write a number as one would say it; beyond what anybody has there is none."""
    if not samples <= _MOST * n:
        return Advice(None, "near the limit")
    exact = max(int(np.ceil(samples)), n + 1)
    unit = 10 ** max(len(str(exact)) - _DIGITS, 0)
    return Advice(-(-exact // unit) * unit)
