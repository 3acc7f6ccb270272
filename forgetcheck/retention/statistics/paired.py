"""Paired statistics on right/wrong answers. Pure: counts in, numbers out.

Throughout, for n samples seen by both models: `lost` is how many the base got right and the tuned
model wrong, `gained` the reverse, and drop = (lost - gained) / n. All functions take scalars or
arrays that broadcast, and return float arrays of the common shape. Counts need not be whole: those of
clustered samples are divided by their design effect, and binomial tails go on between whole numbers
as the incomplete beta function that they are.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forgetcheck.retention.statistics import special
from forgetcheck.retention.statistics.clusters import Spread, design_effect

Floats = NDArray[np.float64]
ECE_BINS = 15  # as in arXiv:2308.13320
# That the halves of a sample tell each other's signs adds to the variance of a mean: where nothing is off, by
# 2 / pi; where much is, nothing. The larger is taken, so that an interval is rather too wide.
_HALVES = (1 + 2 / np.pi) ** 0.5
_POINTS = 33  # at most, of a sum over likely counts
_REACH = 4.0  # standard deviations to each side of it
_TINY = 1e-300  # in place of a 0 that the incomplete beta function doesn't take
_BISECTIONS = 60  # halvings of [-1, 1]: the end points are exact to 2e-18


def score(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, drop: ArrayLike) -> Floats:
    """Return the score statistic of "the true drop is `drop`" (Tango 1998, Stat. Med. 17, 891-908).

    Standard normal under that hypothesis; large where the observed drop is larger. The variance
    uses the maximum-likelihood probability of a gain under the hypothesis, which keeps the test
    honest where few answers change: Wald's variance is 0 there.
    """
    lost, gained, n, drop = (np.asarray(value, dtype=np.float64) for value in (lost, gained, n, drop))
    variance = n * (2 * likely_gain(lost, gained, n, drop) + drop * (1 - drop))
    distance = lost - gained - n * drop
    # no variance: the hypothesis fits exactly (0), or is impossible (infinite)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(distance == 0, 0.0, distance / np.sqrt(np.maximum(variance, 0))))


def likely_gain(lost: Floats, gained: Floats, n: Floats, drop: Floats) -> Floats:
    """Return the maximum-likelihood probability of a gain if the true drop is `drop`."""
    half = -(lost + gained) + (2 * n - lost + gained) * drop
    root = np.sqrt(np.maximum(half**2 + 8 * n * gained * drop * (1 - drop), 0))
    return np.asarray(np.maximum((root - half) / (4 * n), 0))


def interval(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, confidence: float = 0.95, spread: Spread | None = None
) -> tuple[Floats, Floats]:
    """Return the two-sided score interval (low, high) of the drop: all drops `score` doesn't reject.

    `spread` tells how lost - gained comes in clusters; None: every sample is independent.
    """
    bound = NormalDist().inv_cdf((1 + confidence) / 2)
    return _invert(lost, gained, n, bound, spread), _invert(lost, gained, n, -bound, spread)


def _invert(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, bound: float, spread: Spread | None) -> Floats:
    """Find the drop whose score is `bound`; the score falls as the hypothetical drop grows."""
    shape = np.broadcast_shapes(*(np.shape(value) for value in (lost, gained, n)))
    low, high = np.full(shape, -1.0), np.full(shape, 1.0)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        # of counts divided by a design effect, the score is this one divided by its root
        root = 1.0 if spread is None else np.sqrt(design_effect(spread, middle))
        above = score(lost, gained, n, middle) / root > bound
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.asarray((low + high) / 2)


def p_more_than(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, limit: ArrayLike) -> Floats:
    """Return the one-sided p-value of "the true drop is at most `limit`"; small means it is more.

    Exact (McNemar) at a limit of 0, where the changed answers are fair coin flips. Else that of the
    score test, with its tail summed rather than read off the normal curve: far out, where a gate
    over many questions looks, the curve promises up to three times too much.
    """
    lost, gained, n, limit = np.broadcast_arrays(lost, gained, n, limit)
    p, inexact = mcnemar(lost, gained), limit != 0
    if inexact.any():
        asked = lost[inexact], gained[inexact], n[inexact], limit[inexact]
        p[inexact] = np.maximum(special.ndtr(-score(*asked)), tail(*asked))
    return p


def tail(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, drop: ArrayLike) -> Floats:
    """Return P(as large a drop as observed) if the true one is `drop`, gains being as likely as then."""
    shape = np.broadcast_shapes(*(np.shape(value) for value in (lost, gained, n, drop)))
    columns = (np.asarray(value, dtype=np.float64) for value in (lost, gained, n, drop))
    lost, gained, n, drop = (np.broadcast_to(column, shape).ravel() for column in columns)
    gain = likely_gain(lost, gained, n, drop)
    counts, weight = likely_counts(n, gain)
    share = np.clip((gain + drop) / np.maximum(1 - gain, 1e-12), 0, 1)
    left = n[:, None] - counts
    needed = np.clip((lost - gained)[:, None] + counts, 0, left + 1)
    return np.asarray((weight * at_least(needed, left, share[:, None])).sum(axis=1).reshape(shape))


def likely_counts(n: Floats, share: Floats, points: int = _POINTS) -> tuple[Floats, Floats]:
    """Return likely counts (m, points) of n (m,) draws that each hit with `share` (m,), and their weights.

    All counts within four standard deviations, evenly thinned where they are more than `points`;
    weights are binomial and sum to 1.
    """
    n, share = np.asarray(n, dtype=np.float64)[:, None], share[:, None]
    middle, spread = n * share, _REACH * np.sqrt(n * share * (1 - share)) + 1
    low, high = np.floor(np.maximum(middle - spread, 0)), np.ceil(np.minimum(middle + spread, n))
    counts = low + np.ceil((high - low + 1) / points) * np.arange(points, dtype=np.float64)
    inside = counts <= high
    counts = np.where(inside, counts, 0)
    ways = special.gammaln(n + 1) - special.gammaln(counts + 1) - special.gammaln(n - counts + 1)
    chance = np.exp(ways + special.xlogy(counts, share) + special.xlog1py(n - counts, -share))
    weight = np.where(inside, chance, 0.0)
    return counts, weight / weight.sum(axis=1, keepdims=True)


def mcnemar(lost: ArrayLike, gained: ArrayLike) -> Floats:
    """Return the exact one-sided p-value of "no drop": P(at least `lost` of the changed answers)."""
    lost, gained = np.asarray(lost, dtype=np.float64), np.asarray(gained, dtype=np.float64)
    return at_least(lost, lost + gained, 0.5)


def at_least(successes: ArrayLike, trials: ArrayLike, chance: float | Floats) -> Floats:
    """Return the exact binomial P(X >= successes)."""
    successes, trials = np.asarray(successes, dtype=np.float64), np.asarray(trials)
    tail = special.bdtrc(np.maximum(successes - 1, 0), trials.astype(np.int64), chance)
    between = (successes % 1 != 0) | (trials % 1 != 0)
    if between.any():
        rest = np.maximum(trials - successes + 1, _TINY)
        tail = np.where(between, special.betainc(np.maximum(successes, _TINY), rest, chance), tail)
    return np.asarray(np.where(successes <= 0, 1.0, tail))


def share_interval(
    successes: ArrayLike, trials: ArrayLike, confidence: float, spread: Spread | None = None
) -> tuple[Floats, Floats]:
    """Return the exact interval (low, high) of a share, such as an accuracy (Clopper & Pearson 1934).

    `spread` tells how the successes come in clusters; None: every trial is independent.
    """
    k, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    tail = (1 - confidence) / 2
    if spread is not None:
        return _lowest_share(k, n, tail, spread), 1 - _lowest_share(n - k, n, tail, spread.opposite)
    low = np.where(k > 0, special.betaincinv(np.maximum(k, 1), n - k + 1, tail), 0.0)
    high = np.where(k < n, special.betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    return low, high


def _lowest_share(successes: Floats, trials: Floats, level: float, spread: Spread) -> Floats:
    """Find the share of which as many successes, as clustered, are just too many at this level."""
    low, high = np.zeros_like(successes), np.ones_like(successes)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        effect = design_effect(spread, middle)
        enough = at_least(successes / effect, trials / effect, middle) > level
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return low


def _calibration_gaps(confidence: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> Floats:
    """Return what each sample adds to n times the expected calibration error (Guo et al. 2017, eq. 5). (n,)

    confidence (n,) in [0, 1], right (n,) flags. The error is the mean of these; 0 is a model whose confidence
    is its accuracy in each of equal bins of confidence.
    """
    confidence, right = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return np.asarray(np.sign(gaps)[place] * (right - confidence))


def calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = ECE_BINS) -> float:
    """Return the expected calibration error over equal bins of confidence."""
    return float(_calibration_gaps(confidence, right, bins).mean())


def calibration_change(
    base: tuple[ArrayLike, ArrayLike],
    tuned: tuple[ArrayLike, ArrayLike],
    groups: NDArray[np.int32] | None = None,
    bins: int = ECE_BINS,
) -> tuple[float, float]:  # (confidence (n,), right (n,)) each
    """Return how much the calibration error rose, and the standard error of that.

    Not the difference of two errors: noise makes each look larger than it is, that of a well calibrated model
    most. Whether a bin is too sure or not sure enough is told by the other half of its samples, so that noise
    cancels; then the change is a mean over samples, taken pair by pair.
    """
    columns = [np.asarray(column, dtype=np.float64) for column in (*base, *tuned)]
    half = np.empty(len(columns[0]), dtype=np.int64)
    half[np.lexsort(columns)] = np.arange(len(half)) % 2  # by what they are, not by their order
    before, after = (_signed(columns[k], columns[k + 1], half, bins) for k in (0, 2))
    moved = after - before
    return float(moved.mean()), _HALVES * _standard_error(moved, groups)


def _signed(confidence: Floats, right: Floats, half: NDArray[np.int64], bins: int) -> Floats:
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(place + bins * half, weights=right - confidence, minlength=2 * bins).reshape(2, bins)
    return np.asarray(np.sign(gaps[1 - half, place]) * (right - confidence))


def _standard_error(values: Floats, groups: NDArray[np.int32] | None = None) -> float:
    """Return the standard error of a mean (n,), over clusters of samples where there are any."""
    excess = values - values.mean()
    if groups is not None:
        excess = np.bincount(np.unique(groups, return_inverse=True)[1], excess)
    return float(np.sqrt((excess**2).sum() * len(excess) / max(len(excess) - 1, 1)) / len(values))
