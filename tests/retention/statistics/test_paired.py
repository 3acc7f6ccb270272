"""The statistics against scipy, published values, and the definitions they are computed from."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import xlogy
from scipy.stats import beta, binom, binomtest

from forgetcheck.retention.statistics.paired import (
    at_least,
    calibration_error,
    interval,
    mcnemar,
    p_more_than,
    score,
    share_interval,
)

pytestmark = pytest.mark.slow

Z = NormalDist().inv_cdf(0.975)
CASES = [(0, 0, 10), (1, 0, 44), (0, 5, 5), (5, 0, 5), (9, 1, 50), (16, 6, 161), (400, 380, 10_000)]


@st.composite
def counts(draw):
    n = draw(st.integers(1, 5000))
    lost = draw(st.integers(0, n))
    return lost, draw(st.integers(0, n - lost)), n


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (0, 3), (3, 0), (1, 7), (16, 6), (60, 40), (900, 850)])
def test_mcnemar_is_the_exact_binomial_test(lost, gained):
    expected = binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-12)


def test_mcnemar_as_published():
    """Cavo et al. 2012 in Fagerland, Lydersen & Laake: two-sided P = 0.052479."""
    assert 2 * mcnemar(16, 6) == pytest.approx(0.052479, abs=5e-7)


@pytest.mark.parametrize("chance", [0.01, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("trials", [1, 2, 30, 1000])
def test_at_least_is_the_binomial_tail(trials, chance):
    successes = np.arange(trials + 1)
    expected = binom.sf(successes - 1, trials, chance)
    np.testing.assert_allclose(at_least(successes, trials, chance), expected, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("chance", [0.05, 0.5, 0.9])
def test_at_least_goes_on_between_whole_numbers(chance):
    """Clustered samples count in parts: the tail falls evenly with successes, and meets the whole ones."""
    tail = at_least(np.linspace(0, 20, 201), 20, chance)
    assert (np.diff(tail) <= 1e-14).all()
    assert at_least(7 + 1e-9, 20, chance) == pytest.approx(float(at_least(7, 20, chance)), rel=1e-6)
    assert at_least(3.5, 10.5, chance) == pytest.approx(beta.cdf(chance, 3.5, 8))
    assert at_least(10.5, 10.5, chance) == pytest.approx(chance**10.5)


def test_at_least_where_nothing_can_be_told():
    assert at_least(0, 0, 0.5) == 1.0
    assert at_least(10, 10, 1.0) == 1.0


@pytest.mark.parametrize(
    ("lost", "gained", "n", "low", "high"),
    [
        (16, 6, 161, 0.0054, 0.1240),  # Cavo et al. 2012, as R's contingencytables tests it
        (7, 1, 21, 0.026, 0.517),  # Bentur et al. 2009, Fagerland, Lydersen & Laake 2014
    ],
)
def test_interval_as_published(lost, gained, n, low, high):
    digits = 5e-5 if n == 161 else 5e-4
    assert [float(end) for end in interval(lost, gained, n)] == pytest.approx([low, high], abs=digits)


@pytest.mark.parametrize("n", [1, 20, 50, 100, 10_000])
def test_interval_without_changes_is_closed_form(n):
    low, high = interval(0, 0, n)
    assert high == pytest.approx(Z**2 / (n + Z**2), abs=1e-14)
    assert low == pytest.approx(-high, abs=1e-14)


@pytest.mark.parametrize("n", [1, 5, 600])
def test_interval_of_a_total_loss_is_closed_form(n):
    low, high = interval(n, 0, n)
    assert low == pytest.approx((n - Z**2) / (n + Z**2), abs=1e-14)
    assert high == 1.0


@given(counts())
def test_interval_contains_the_observed_drop(case):
    lost, gained, n = case
    low, high = interval(lost, gained, n)
    drop = (lost - gained) / n
    assert -1 <= low <= drop + 1e-15
    assert drop - 1e-15 <= high <= 1


@given(counts(), st.sampled_from([0.8, 0.95, 0.999]))
def test_interval_ends_where_the_score_rejects(case, confidence):
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    low, high = interval(*case, confidence)
    assert low == -1 or score(*case, low) == pytest.approx(z, abs=1e-6)
    assert high == 1 or score(*case, high) == pytest.approx(-z, abs=1e-6)


@given(counts())
def test_interval_mirrors_when_lost_and_gained_swap(case):
    lost, gained, n = case
    low, high = interval(lost, gained, n)
    other_low, other_high = interval(gained, lost, n)
    assert (other_low, other_high) == pytest.approx((-high, -low), abs=1e-12)


@given(counts())
def test_more_confidence_is_wider(case):
    narrow, wide = interval(*case, 0.8), interval(*case, 0.99)
    assert wide[0] <= narrow[0]
    assert narrow[1] <= wide[1]


@pytest.mark.parametrize(("lost", "gained"), [(9, 1), (1, 9), (30, 30)])
def test_score_of_no_drop_is_mcnemars_statistic(lost, gained):
    assert score(lost, gained, 100, 0) == pytest.approx((lost - gained) / (lost + gained) ** 0.5)


@given(counts(), st.floats(1e-6, 0.99), st.floats(1e-6, 0.99))
def test_p_more_than_grows_with_the_limit(case, one, other):
    lenient, strict = p_more_than(*case, max(one, other)), p_more_than(*case, min(one, other))
    assert 0 <= strict <= lenient + 1e-12
    assert lenient <= 1


@pytest.mark.parametrize("case", CASES)
def test_p_more_than_zero_is_exact(case):
    assert p_more_than(*case, 0) == mcnemar(*case[:2])


@given(counts(), st.floats(1e-6, 0.5))
def test_a_drop_shown_beyond_a_limit_has_its_interval_beyond_it(case, limit):
    if p_more_than(*case, limit) < 0.025:
        assert interval(*case, 0.95)[0] > limit - 1e-12


def exact_tail(lost, gained, n, drop):
    """Sum the trinomial at the most likely gain under the hypothesis, found by brute force."""
    grid = np.linspace(0, (1 - drop) / 2, 200_001)[:-1]
    likelihood = xlogy(lost, grid + drop) + xlogy(gained, grid)
    likelihood += xlogy(n - lost - gained, 1 - drop - 2 * grid)
    gain = grid[np.argmax(likelihood)]
    total = 0.0
    for count in range(n + 1):
        share = min((gain + drop) / (1 - gain), 1)
        total += binom.pmf(count, n, gain) * binom.sf(lost - gained + count - 1, n - count, share)
    return total


@pytest.mark.parametrize(
    ("lost", "gained", "n"),
    [(9, 1, 50), (16, 6, 161), (40, 25, 300), (20, 0, 400), (5, 0, 30), (40, 10, 400), (60, 20, 400)],
)
@pytest.mark.parametrize("limit", [0.01, 0.02, 0.05])
def test_p_more_than_a_limit_is_an_exact_sum(lost, gained, n, limit):
    summed = exact_tail(lost, gained, n, limit)
    curve = NormalDist().cdf(-float(score(lost, gained, n, limit)))
    assert p_more_than(lost, gained, n, limit) == pytest.approx(max(summed, curve), rel=5e-3)


def test_the_normal_curve_promises_too_much_far_out():
    """36 losses of 1000 under a limit of 2 %: the binomial says 0.00066, the curve half of it."""
    assert p_more_than(36, 0, 1000, 0.02) == pytest.approx(binom.sf(35, 1000, 0.02), rel=1e-9)
    assert NormalDist().cdf(-float(score(36, 0, 1000, 0.02))) < 0.5 * p_more_than(36, 0, 1000, 0.02)


def test_many_at_once_equal_one_at_a_time():
    lost, gained, n = np.array(CASES).T
    low, high = interval(lost, gained, n)
    assert list(zip(low, high, strict=True)) == [interval(*case) for case in CASES]
    for limit in (0, 0.02):
        assert p_more_than(lost, gained, n, limit).tolist() == [p_more_than(*case, limit) for case in CASES]


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (10, 10), (3, 10), (1, 1), (997, 1000)])
def test_share_interval_is_clopper_pearson(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(0.95, "exact")
    found = [float(end) for end in share_interval(successes, trials, 0.95)]
    assert found == pytest.approx([expected.low, expected.high], abs=1e-12)


def naive_calibration_error(confidence, right, bins=15):
    total = 0.0
    for place in range(bins):
        low, high = place / bins, (place + 1) / bins
        inside = [k for k, c in enumerate(confidence) if low < c <= high or (place == 0 and c == 0)]
        if inside:
            gap = np.mean([right[k] for k in inside]) - np.mean([confidence[k] for k in inside])
            total += len(inside) / len(confidence) * abs(gap)
    return total


@given(st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=1, max_size=50))
def test_calibration_error_is_its_definition(pairs):
    confidence, right = zip(*pairs, strict=True)
    expected = naive_calibration_error(confidence, right)
    assert calibration_error(confidence, right) == pytest.approx(expected, abs=1e-9)


def test_calibration_error_by_hand():
    assert calibration_error([1.0, 1.0], [True, True]) == 0
    assert calibration_error([0.0, 0.0], [True, False]) == 0.5
    assert calibration_error([0.9, 0.9, 0.1], [True, False, False]) == pytest.approx((0.8 + 0.1) / 3)
