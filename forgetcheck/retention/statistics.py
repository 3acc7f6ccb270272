"""Paired statistics on right/wrong answers. Pure: counts in, numbers out.

Throughout, for n samples seen by both models: `lost` is how many the base got right and the tuned
model wrong, `gained` the reverse, and drop = (lost - gained) / n. All functions take scalars or
arrays that broadcast, and return float arrays of the common shape.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc, betaincinv, ndtr

Floats = NDArray[np.float64]
ECE_BINS = 15  # as in arXiv:2308.13320
BISECTIONS = 60  # halvings of [-1, 1]: the end points are exact to 2e-18


def score(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, drop: ArrayLike) -> Floats:
    """Return the score statistic of "the true drop is `drop`" (Tango 1998, Stat. Med. 17, 891-908).

    Standard normal under that hypothesis; large where the observed drop is larger. The variance
    uses the maximum-likelihood probability of a gain under the hypothesis, which keeps the test
    honest where few answers change: Wald's variance is 0 there.
    """
    lost, gained, n, drop = (np.asarray(value, dtype=np.float64) for value in (lost, gained, n, drop))
    half = -(lost + gained) + (2 * n - lost + gained) * drop
    gain = (np.sqrt(np.maximum(half**2 + 8 * n * gained * drop * (1 - drop), 0)) - half) / (4 * n)
    variance = n * (2 * np.maximum(gain, 0) + drop * (1 - drop))
    distance = lost - gained - n * drop
    # no variance: the hypothesis fits exactly (0), or is impossible (infinite)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(distance == 0, 0.0, distance / np.sqrt(np.maximum(variance, 0))))


def interval(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[Floats, Floats]:
    """Return the two-sided score interval (low, high) of the drop: all drops `score` doesn't reject."""
    bound = NormalDist().inv_cdf((1 + confidence) / 2)
    return invert(lost, gained, n, bound), invert(lost, gained, n, -bound)


def invert(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, bound: float) -> Floats:
    """Find the drop whose score is `bound`; the score falls as the hypothetical drop grows."""
    shape = np.broadcast_shapes(*(np.shape(value) for value in (lost, gained, n)))
    low, high = np.full(shape, -1.0), np.full(shape, 1.0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = score(lost, gained, n, middle) > bound
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray((low + high) / 2)


def p_more_than(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, limit: ArrayLike) -> Floats:
    """Return the one-sided p-value of "the true drop is at most `limit`"; small means it is more.

    Exact (McNemar) at a limit of 0, where the changed answers are fair coin flips; else the score test.
    """
    limit = np.asarray(limit, dtype=np.float64)
    inexact = ndtr(-score(lost, gained, n, limit))
    return np.asarray(np.where(limit == 0, mcnemar(lost, gained), inexact))


def mcnemar(lost: ArrayLike, gained: ArrayLike) -> Floats:
    """Return the exact one-sided p-value of "no drop": P(at least `lost` of the changed answers)."""
    lost, gained = np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    return at_least(lost, lost + gained, 0.5)


def at_least(successes: ArrayLike, trials: ArrayLike, chance: float | Floats) -> Floats:
    """Return the exact binomial P(X >= successes)."""
    successes, trials = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.int64)
    tail = bdtrc(np.maximum(successes - 1, 0), trials, chance)
    return np.asarray(np.where(successes <= 0, 1.0, tail))


def share_interval(successes: ArrayLike, trials: ArrayLike, confidence: float) -> tuple[Floats, Floats]:
    """Return the exact interval (low, high) of a share, such as an accuracy (Clopper & Pearson 1934)."""
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    tail = (1 - confidence) / 2
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    return low, high


def calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error over equal bins of confidence (Guo et al. 2017, eq. 5).

    confidence (n,) in [0, 1], right (n,) flags; 0 is a model whose confidence is its accuracy.
    """
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
