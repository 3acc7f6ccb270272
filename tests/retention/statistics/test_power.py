"""What a number of samples can show, against exact sums and simulation."""

import numpy as np
import pytest
from scipy.stats import binom

from forgetcheck.retention.statistics.paired import interval, p_more_than
from forgetcheck.retention.statistics.power import POWER, detectable, fewest_lost, provable


def exact_power(n, churn, drop, limit, level):
    """Sum the trinomial over every lost and gained count."""
    total = 0.0
    for gained in range(n + 1):
        chance = binom.pmf(gained, n, churn)
        if chance > 1e-14:
            lost = np.arange(n - gained + 1)
            rejected = p_more_than(lost, gained, n, limit) <= level
            share = (churn + drop) / (1 - churn)
            total += chance * binom.pmf(lost, n - gained, share)[rejected].sum()
    return total


@pytest.mark.parametrize(("n", "churn"), [(50, 0), (50, 0.02), (200, 0.03), (400, 0.1)])
@pytest.mark.parametrize("limit", [0, 0.02])
@pytest.mark.parametrize("level", [0.025, 0.0005])
def test_the_smallest_detectable_drop_is_found_4_times_in_5(n, churn, limit, level):
    drop = float(detectable(n, churn, limit, level)[0])
    assert drop > limit
    assert exact_power(n, churn, drop, limit, level) == pytest.approx(POWER, abs=5e-3)


def test_it_is_what_a_simulation_finds():
    n, churn, limit, level = 2000, 0.02, 0.02, 0.025
    drop = float(detectable(n, churn, limit, level)[0])
    draws = np.random.default_rng(0).multinomial(n, [churn + drop, churn, 1 - 2 * churn - drop], size=5000)
    found = (p_more_than(draws[:, 0], draws[:, 1], n, limit) <= level).mean()
    assert found == pytest.approx(POWER, abs=4 * (0.16 / 5000) ** 0.5)


def test_without_churn_it_is_the_binomial_that_loses_six():
    """At level 0.025 six losses of six changed answers are needed: 1/64 < 0.025 < 1/32."""
    drop = float(detectable(100, 0, 0, 0.025)[0])
    assert binom.sf(5, 100, drop) == pytest.approx(POWER, abs=1e-4)


def test_more_samples_find_smaller_drops_and_a_limit_costs():
    drops = detectable([50, 200, 1000, 10_000], 0.02, 0, 0.025)
    assert (np.diff(drops) < 0).all()
    assert (
        detectable([200, 1000], 0.02, [0.02, 0.02], 0.025) > detectable([200, 1000], 0.02, 0, 0.025)
    ).all()


@pytest.mark.parametrize("limit", [0, 0.001, 0.005, 0.02])
@pytest.mark.parametrize("level", [0.025, 0.01, 1e-8])
def test_the_fewest_lost_answers_are_found_though_not_all_are_tried(limit, level):
    """The search begins at the normal curve, which may be eight answers short of 65 (n = 5000, 1e-8)."""
    gained, n = (column.ravel() for column in np.meshgrid([0.0, 1, 5, 20], [100.0, 500, 5000]))
    found = fewest_lost(gained, n, limit * np.ones_like(n), level)
    able = found <= n - gained
    assert able.any()
    assert (p_more_than(found, gained, n, limit)[able] <= level).all()
    assert (p_more_than(found - 1, gained, n, limit) > level).all()


def test_where_no_drop_would_be_found_it_says_so():
    assert np.isnan(detectable(4, 0, 0, 0.025)).all()  # four losses of four are 1/16
    assert np.isnan(detectable(20, 0.45, 0.02, 0.025)).all()


@pytest.mark.parametrize(("n", "churn"), [(200, 0.01), (1000, 0.02), (5000, 0.05)])
def test_the_smallest_provable_limit_is_shown_4_times_in_5(n, churn):
    limit = float(provable(n, churn, 0.95))
    draws = np.random.default_rng(1).multinomial(n, [churn, churn, 1 - 2 * churn], size=2000)
    shown = (interval(draws[:, 0], draws[:, 1], n, 0.95)[1] <= limit).mean()
    assert shown == pytest.approx(POWER, abs=0.05)  # a plan: counts are lumpy
