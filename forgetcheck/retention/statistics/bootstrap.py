"""The mean drop over many tasks, with its bootstrap interval. Pure, and without Monte Carlo."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from forgetcheck.retention.statistics import special
from forgetcheck.retention.statistics.paired import Floats

PSEUDO = 0.5  # added to lost and to gained: a task where nothing changed isn't certain never to change
_BISECTIONS = 55
_FAR = 60.0  # standard deviations: beyond any quantile asked for
_NEAR = 1e-4  # of the mean, in standard deviations: where the tail formula is 0/0


@dataclass(frozen=True)
class Strata:
    """Groups of samples that are resampled apart: a task, or a concept of one. Arrays (s,).

    The mean drop is the sum of weight * (lost - gained) / n; weights sum to 1.
    """

    weight: Floats
    lost: Floats
    gained: Floats
    n: Floats
    pseudo: Floats  # PSEUDO, or a part of it for one of several strata of a task; 0 for identical weights

    @property
    def mean(self) -> float:
        return float((self.weight * (self.lost - self.gained) / self.n).sum())


def bootstrap_interval(strata: Strata, confidence: float) -> tuple[float, float]:
    """Return the percentile interval that resampling every task's samples in pairs would give.

    Lost and gained answers of a resample are multinomial, so the distribution of their weighted sum
    has a closed cumulant function and its tail follows by the saddlepoint formula of Lugannani and
    Rice (Davison & Hinkley 1988): the limit of ever more resamples, the same at every run.
    """
    tail = (1 - confidence) / 2
    return quantile(strata, tail), quantile(strata, 1 - tail)


def bootstrap_p(strata: Strata, limit: float) -> float:
    """Return the share of resamples with a mean drop of at most `limit`: small speaks for more."""
    if scale(strata) == 0:
        return float(strata.mean <= limit)
    tilt = _solve(strata, lambda s: _cumulants(strata, s)[1] > limit)
    return 1 - _upper_tail(strata, tilt)


def quantile(strata: Strata, share: float) -> float:
    if scale(strata) == 0:
        return strata.mean
    tilt = _solve(strata, lambda s: _upper_tail(strata, s) < 1 - share)
    return _cumulants(strata, tilt)[1]


def _solve(strata: Strata, too_far: Callable[[float], bool]) -> float:
    """Bisect the exponential tilt; `too_far` is false below the answer and true above it."""
    low, high = -_FAR / scale(strata), _FAR / scale(strata)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if too_far(middle) else (middle, high)
    return (low + high) / 2


def scale(strata: Strata) -> float:
    """Return the standard deviation of the mean drop over resamples."""
    return float(np.sqrt(_cumulants(strata, 0.0)[2]))


def _cumulants(strata: Strata, tilt: float) -> tuple[float, float, float, float]:
    """Return the cumulant function of the mean drop and its first three derivatives at `tilt`."""
    step = strata.weight / strata.n  # what one lost answer adds to the mean
    total = strata.n + 2 * strata.pseudo
    lose, gain = (strata.lost + strata.pseudo) / total, (strata.gained + strata.pseudo) / total
    up, down = lose * np.exp(tilt * step), gain * np.exp(-tilt * step)
    norm = 1 - lose - gain + up + down
    first, second = (up - down) / norm, (up + down) / norm
    return (
        float((strata.n * np.log(norm)).sum()),
        float((strata.n * step * first).sum()),
        float((strata.n * step**2 * (second - first**2)).sum()),
        float((strata.n * step**3 * (first - 3 * first * second + 2 * first**3)).sum()),
    )


def _upper_tail(strata: Strata, tilt: float) -> float:
    """Return P(mean drop of a resample >= K'(tilt)), by the saddlepoint formula."""
    value, first, second, third = _cumulants(strata, tilt)
    signed = tilt * np.sqrt(max(second, 0.0))
    root = np.sign(tilt) * np.sqrt(max(2 * (tilt * first - value), 0.0))
    if abs(root) < _NEAR:
        return float(0.5 - third / (6 * np.sqrt(2 * np.pi) * second**1.5) - signed / np.sqrt(2 * np.pi))
    if abs(signed) < _NEAR:  # tilted so far that all resamples are one: beyond every quantile
        return 0.0 if tilt > 0 else 1.0
    density = np.exp(-(root**2) / 2) / np.sqrt(2 * np.pi)
    return float(np.clip(special.ndtr(-root) + density * (1 / signed - 1 / root), 0.0, 1.0))
