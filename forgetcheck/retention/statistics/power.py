"""What this many samples can show: the smallest drop found and the smallest limit proved. Pure."""

from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forgetcheck.retention.statistics import special
from forgetcheck.retention.statistics.paired import (
    Floats,
    at_least,
    interval,
    likely_counts,
    p_more_than,
    score,
)

POWER = 0.8
_FEW_POINTS = 9  # of a sum over likely counts, where two digits are enough
_HALVINGS = 20  # of the drop: to a millionth
SLACK, SLACK_SHARE = 6, 0.3  # lost answers that the exact tail may ask for beyond the normal curve


def detectable(n: ArrayLike, churn: ArrayLike, limit: ArrayLike, level: float) -> Floats:
    """Return the smallest true drop that "the drop is at most `limit`" is rejected for, 4 times in 5.

    n samples, of which a share `churn` is gained and as many are lost beside the drop; `level` is
    that of the one-sided test. NaN where no drop, however large, would be found. Exact up to the
    thinning of the sum over gained answers.
    """
    columns = np.broadcast_arrays(*(np.atleast_1d(value) for value in (n, churn, limit)))
    cases, place = np.unique(np.stack(columns).astype(np.float64), axis=1, return_inverse=True)
    return _smallest(cases[0], cases[1], cases[2], level)[place.ravel()]


def _smallest(n: Floats, churn: Floats, limit: Floats, level: float) -> Floats:
    """Bisect the drop at which the test has its power. (m,) each"""
    gained, weight = likely_counts(n, churn)
    critical = fewest_lost(gained, n[:, None], limit[:, None], level)

    def power(drop: Floats) -> Floats:
        share = np.clip((churn + drop) / np.maximum(1 - churn, 1e-12), 0, 1)
        found = at_least(critical, n[:, None] - gained, share[:, None])
        return np.asarray((weight * found).sum(axis=1))

    low, high = limit.copy(), np.maximum(1 - 2 * churn, limit)
    possible = power(high) >= POWER
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        enough = power(middle) >= POWER
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(possible, high, np.nan)


def fewest_lost(gained: Floats, n: Floats, limit: Floats, level: float | Floats) -> Floats:
    """Return the fewest lost answers the test rejects for; one more than there are if none will do."""
    none, all_of_them = gained * 0 - 1, n - gained + 1
    by_curve = _bisect(lambda lost: special.ndtr(-score(lost, gained, n, limit)) <= level, none, all_of_them)
    # beyond a limit of 0 the exact tail asks for no less, and for a few answers more: look there only
    wider = np.minimum(np.floor(by_curve + SLACK + by_curve * SLACK_SHARE), all_of_them)
    low, high = np.where(limit == 0, none, by_curve - 1), np.where(limit == 0, all_of_them, wider)
    return _bisect(lambda lost: p_more_than(lost, gained, n, limit) <= level, low, high)


def _bisect(rejected: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats) -> Floats:
    """Find the smallest whole number that is rejected; `low` isn't, `high` is taken to be."""
    while (high - low > 1).any():
        middle = np.floor((low + high) / 2)
        yes = rejected(np.maximum(middle, 0)) & (middle >= 0)
        high, low = np.where(yes, middle, high), np.where(yes, low, middle)
    return high


def lost_power(n: Floats, lose: Floats, gain: Floats, limit: Floats, level: Floats) -> Floats:
    """Return how often "the drop is at most `limit`" is rejected of n samples (m,).

    A share `lose` of them is lost and `gain` gained. Exact up to the thinning of the sum over gained answers.
    """
    gained, weight = likely_counts(n, gain, _FEW_POINTS)
    critical = fewest_lost(gained, n[:, None], limit[:, None], level[:, None])
    share = np.clip(lose / np.maximum(1 - gain, 1e-12), 0, 1)
    return np.asarray((weight * at_least(critical, n[:, None] - gained, share[:, None])).sum(axis=1))


def kept_power(n: Floats, lose: Floats, gain: Floats, limit: Floats, level: Floats) -> Floats:
    """Return how often the interval of n samples (m,) ends within `limit`; `level` is of its upper end."""
    gained, weight = likely_counts(n, gain, _FEW_POINTS)
    size, held = n[:, None], limit[:, None]
    bound = np.array([NormalDist().inv_cdf(each) for each in level.ravel()])[:, None]
    none, all_of_them = gained * 0 - 1, size - gained + 1
    first_too_many = _bisect(lambda lost: score(lost, gained, size, held) > bound, none, all_of_them)
    share = np.clip(lose / np.maximum(1 - gain, 1e-12), 0, 1)
    too_many = at_least(first_too_many, size - gained, share[:, None])
    # at a limit of 0 nothing lost and nothing gained is no proof
    return np.asarray((weight * (1 - np.where(first_too_many <= 0, 1.0, too_many))).sum(axis=1))


def provable(n: ArrayLike, churn: ArrayLike, confidence: float) -> Floats:
    """Return the smallest limit that an unchanged model is shown to keep, about 4 times in 5.

    The interval's upper end at the drop that chance exceeds once in five: a plan, not a test.
    """
    n, churn = np.asarray(n, dtype=np.float64), np.asarray(churn, dtype=np.float64)
    by_chance = NormalDist().inv_cdf(POWER) * np.sqrt(2 * churn / n)
    lost = np.minimum(n * (churn + by_chance / 2), n)
    gained = np.maximum(n * (churn - by_chance / 2), 0)
    return interval(lost, gained, n, confidence)[1]
