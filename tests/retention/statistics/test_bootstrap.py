"""The bootstrap interval without Monte Carlo, against resampling itself."""

from dataclasses import replace

import numpy as np
import pytest

from forgetcheck.retention.statistics.bootstrap import Strata, bootstrap_interval, bootstrap_p, scale


def strata(lost, gained, n, weight=None, pseudo=0.0):
    lost, gained, n = (np.asarray(column, dtype=float) for column in (lost, gained, n))
    even = np.full(len(n), 1 / len(n)) if weight is None else np.asarray(weight, dtype=float)
    return Strata(even, lost, gained, n, np.full(len(n), pseudo))


CASES = [
    strata([30, 10, 25], [5, 10, 0], [1000, 400, 600]),
    strata([3, 0, 1], [1, 0, 1], [200, 100, 300]),
    strata([300, 10], [5, 10], [1000, 50], [0.9, 0.1]),
]


def resampled(item, times=40_000):
    """Resample every task's samples in pairs: lost +1, gained -1, unchanged 0."""
    rng, total = np.random.default_rng(0), np.zeros(times)
    for weight, lost, gained, n in zip(item.weight, item.lost, item.gained, item.n, strict=True):
        draws = rng.multinomial(int(n), [lost / n, gained / n, 1 - (lost + gained) / n], size=times)
        total += weight * (draws[:, 0] - draws[:, 1]) / n
    return total


@pytest.mark.parametrize("item", CASES)
def test_it_is_the_interval_that_resampling_gives(item):
    means = resampled(item)
    expected = np.quantile(means, [0.025, 0.975])
    step = (item.weight / item.n).max()  # means of a resample are lumpy
    np.testing.assert_allclose(bootstrap_interval(item, 0.95), expected, atol=step + 0.02 * means.std())


@pytest.mark.parametrize("item", CASES)
@pytest.mark.parametrize("quantile", [0.02, 0.3, 0.5, 0.9])
def test_the_p_value_is_the_share_of_resamples(item, quantile):
    means = resampled(item)
    limit = float(np.quantile(means, quantile))
    middle = (np.mean(means <= limit) + np.mean(means < limit)) / 2  # between the lumps
    lump = np.mean(np.abs(means - limit) < 1e-12)
    assert bootstrap_p(item, limit) == pytest.approx(middle, abs=0.02 + lump)


@pytest.mark.parametrize("item", CASES)
def test_interval_and_p_value_agree(item):
    low, high = bootstrap_interval(item, 0.95)
    assert low < item.mean < high
    assert bootstrap_p(item, low) == pytest.approx(0.025, abs=1e-6)
    assert bootstrap_p(item, high) == pytest.approx(0.975, abs=1e-6)
    assert bootstrap_p(item, item.mean) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("item", [strata([5], [0], [100]), strata([0, 2], [3, 0], [60, 90])])
def test_the_p_value_has_no_step_at_the_mean(item):
    """There the formula is another, in which skewness counts: these are skewed."""
    step = 1e-3 * scale(item)
    before, after = (bootstrap_p(item, item.mean + way * step) for way in (-1, 1))
    at = bootstrap_p(item, item.mean)
    assert at == pytest.approx((before + after) / 2, abs=1e-5)
    assert abs(at - 0.5) > 1e-3


def test_swapping_lost_and_gained_mirrors_it():
    item = CASES[0]
    low, high = bootstrap_interval(item, 0.9)
    mirrored = bootstrap_interval(replace(item, lost=item.gained, gained=item.lost), 0.9)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


def test_identical_weights_leave_no_doubt():
    item = strata([0, 0], [0, 0], [100, 200])
    assert bootstrap_interval(item, 0.95) == (0.0, 0.0)
    assert bootstrap_p(item, 0.02) == 1.0
    assert bootstrap_p(item, -0.02) == 0.0


def test_no_change_seen_is_not_no_change_possible():
    low, high = bootstrap_interval(strata([0, 0], [0, 0], [100, 200], pseudo=0.5), 0.95)
    assert low < 0 < high
    assert high < 0.03


def test_certain_losses_stay_finite():
    low, high = bootstrap_interval(strata([50, 50], [0, 0], [50, 50], pseudo=0.5), 0.95)
    assert 0.9 < low <= high <= 1
