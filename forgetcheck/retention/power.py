"""What this many samples can show: the smallest drop found and the smallest limit proved. Pure."""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, xlog1py, xlogy

from forgetcheck.retention.statistics import Floats, at_least, interval, p_more_than

POWER = 0.8
POINTS = 33  # of the gained answers, over four standard deviations to each side: all of them if fewer
REACH = 4.0
HALVINGS = 20  # of the drop: to a millionth


def detectable(n: ArrayLike, churn: ArrayLike, limit: ArrayLike, level: float) -> Floats:
    """Return the smallest true drop that "the drop is at most `limit`" is rejected for, 4 times in 5.

    n samples, of which a share `churn` is gained and as many are lost beside the drop; `level` is
    that of the one-sided test. NaN where no drop, however large, would be found. Exact up to the
    thinning of the sum over gained answers.
    """
    n, churn, limit = np.broadcast_arrays(*(np.atleast_1d(value) for value in (n, churn, limit)))
    n, churn, limit = n.astype(np.int64), churn.astype(np.float64), limit.astype(np.float64)
    gained, weight = gained_answers(n, churn)
    critical = fewest_lost(gained, n[:, None], limit[:, None], level)

    def power(drop: Floats) -> Floats:
        share = np.clip((churn + drop) / np.maximum(1 - churn, 1e-12), 0, 1)
        found = at_least(critical, n[:, None] - gained, share[:, None])
        return np.asarray((weight * found).sum(axis=1))

    low, high = limit.copy(), np.maximum(1 - 2 * churn, limit)
    possible = power(high) >= POWER
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = power(middle) >= POWER
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.where(possible, high, np.nan)


def gained_answers(n: ArrayLike, churn: ArrayLike) -> tuple[Floats, Floats]:
    """Return likely counts of gained answers (m, points) and how likely each is, summing to 1."""
    n, churn = np.asarray(n)[:, None], np.asarray(churn)[:, None]
    middle, spread = n * churn, REACH * np.sqrt(n * churn * (1 - churn)) + 1
    low, high = np.floor(np.maximum(middle - spread, 0)), np.ceil(np.minimum(middle + spread, n))
    gained = low + np.ceil((high - low + 1) / POINTS) * np.arange(POINTS)
    inside = gained <= high
    gained = np.where(inside, gained, 0)
    ways = gammaln(n + 1) - gammaln(gained + 1) - gammaln(n - gained + 1)
    chance = np.exp(ways + xlogy(gained, churn) + xlog1py(n - gained, -churn))  # binomial
    weight = np.where(inside, chance, 0.0)
    return gained, weight / weight.sum(axis=1, keepdims=True)


def fewest_lost(gained: Floats, n: ArrayLike, limit: ArrayLike, level: float) -> Floats:
    """Return the fewest lost answers the test rejects for; one more than there are if none will do."""
    n = np.asarray(n)
    low, high = np.full(gained.shape, -1.0), n - gained + 1  # low is never rejected, high counts as rejected
    for _ in range(int(np.ceil(np.log2(n.max() + 2))) + 1):
        middle = np.floor((low + high) / 2)
        rejected = (p_more_than(np.maximum(middle, 0), gained, n, limit) <= level) & (middle >= 0)
        settled = high - low <= 1
        low = np.where(settled | rejected, low, middle)
        high = np.where(~settled & rejected, middle, high)
    return high


def provable(n: ArrayLike, churn: ArrayLike, confidence: float) -> Floats:
    """Return the smallest limit that an unchanged model is shown to keep, about 4 times in 5.

    The interval's upper end at the drop that chance exceeds once in five: a plan, not a test.
    """
    n, churn = np.asarray(n, dtype=np.float64), np.asarray(churn, dtype=np.float64)
    by_chance = NormalDist().inv_cdf(POWER) * np.sqrt(2 * churn / n)
    lost = np.minimum(n * (churn + by_chance / 2), n)
    gained = np.maximum(n * (churn - by_chance / 2), 0)
    return interval(lost, gained, n, confidence)[1]
