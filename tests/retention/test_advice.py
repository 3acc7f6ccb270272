"""How many samples would tell: true by simulation, and owned up to where none would."""

from dataclasses import replace

import numpy as np
import pytest
from planted import make_answers, make_judged

from forgetcheck.retention.advice import Advice, advice_on_accuracy, advice_on_drops, advice_on_mean
from forgetcheck.retention.planning import question
from forgetcheck.retention.statistics.clusters import Clustering, Spread
from forgetcheck.retention.statistics.paired import interval, p_more_than, share_interval

LEVEL = 0.025


def asked(n, lost, gained, **fields):
    return replace(question("task", None, n, "zero-shot"), lost=lost, gained=gained, **fields)


def simulated(n, lose, gain, limit, level, beyond, runs=4000):
    """How often the gate's own tests decide it, of audits that are drawn."""
    lost, gained, _ = np.random.default_rng(0).multinomial(n, [lose, gain, 1 - lose - gain], size=runs).T
    if beyond:
        return float((p_more_than(lost, gained, n, limit) < level).mean())
    return float((interval(lost, gained, n, 0.95)[1] <= limit).mean())


@pytest.mark.parametrize(
    ("n", "lost", "gained", "limit", "tried"),
    [
        (100, 6, 1, 0.02, 1),
        (100, 8, 2, 0.02, 40),
        (50, 4, 0, 0.0, 1),
        (300, 9, 8, 0.02, 1),
        (200, 1, 1, 0.02, 1),
        (100, 1, 3, 0.05, 1),
        (400, 10, 18, 0.0, 1),
    ],
)
def test_so_many_samples_decide_it_four_times_in_five(n, lost, gained, limit, tried):
    """Within rounding up to two digits: not clearly fewer than 80 % of audits, and not far more."""
    row = asked(n, lost, gained)
    (found,) = advice_on_drops([row], [limit], [LEVEL / tried], 0.95)
    beyond = row.drop > limit
    power = simulated(found.samples, lost / n, gained / n, limit, LEVEL / tried, beyond)
    assert 0.77 < power < 0.92
    fewer = simulated(int(0.7 * found.samples), lost / n, gained / n, limit, LEVEL / tried, beyond)
    assert fewer < 0.8


def test_a_p_value_of_08_needs_far_more_than_one_sample_more():
    """23 samples, of which one was lost beyond a limit of 0: a normal guess says 24."""
    check = make_judged(make_answers({"a": (10, 3, 0, 0), "b": (10, 0, 0, 0)}), max_drop=0).checks[0]
    assert check.p_adjusted > 0.08
    assert check.advice.samples > 1.5 * check.n


@pytest.mark.parametrize(("lost", "gained", "limit"), [(0, 0, 0.0), (5, 5, 0.0), (2, 0, 0.02)])
def test_at_the_limit_no_number_tells(lost, gained, limit):
    assert advice_on_drops([asked(100, lost, gained)], [limit], [LEVEL], 0.95) == [
        Advice(None, "at the limit")
    ]


def test_beyond_what_anybody_has_there_is_none():
    assert advice_on_drops([asked(1000, 30, 9)], [0.0205], [LEVEL], 0.95) == [Advice(None, "near the limit")]


def test_many_questions_are_advised_on_alike():
    """Beyond the first few by the normal curve, which is near."""
    row = asked(300, 9, 8)
    found = advice_on_drops([row] * 60, [0.02] * 60, [LEVEL] * 60, 0.95)
    assert found[0].samples == pytest.approx(found[-1].samples, rel=0.1)
    assert advice_on_drops([], [], [], 0.95) == []


def test_clusters_need_more_and_training_images_may_forbid_it():
    row = asked(300, 9, 8)
    (alone,) = advice_on_drops([row], [0.02], [LEVEL], 0.95)
    spread = Spread(300.0, 1.0, 17.0, 300.0 * 4, 4.0, 17.0 * 4)
    tied = replace(row, clustering=Clustering(75, spread, spread, spread))
    (clustered,) = advice_on_drops([tied], [0.02], [LEVEL], 0.95)
    assert clustered.samples == pytest.approx(4 * alone.samples, rel=0.1)
    taught = replace(spread, sizes=300.0, products=1.0, clustered=17.0, training=1000.0)
    trained = replace(row, clustering=Clustering(None, taught, taught, taught))
    assert advice_on_drops([trained], [0.02], [LEVEL], 0.95) == [Advice(None, "training images")]


@pytest.mark.parametrize(("share", "limit"), [(0.08, 0.05), (0.03, 0.05), (0.0, 0.05)])
def test_shares_are_advised_on_by_the_exact_binomial(share, limit):
    found = advice_on_accuracy(share, 100, limit, LEVEL, 0.95)
    hits = np.random.default_rng(0).binomial(found.samples, share, size=4000)
    low, high = share_interval(hits, np.full(4000, found.samples), 0.95)
    assert ((low > limit) if share > limit else (high <= limit)).mean() > 0.77
    assert advice_on_accuracy(limit, 100, limit, LEVEL, 0.95) == Advice(None, "at the limit")


def test_a_mean_is_advised_on_by_the_normal_curve():
    found = advice_on_mean(0.03, 0.01, 1000, 0.02, LEVEL, LEVEL)
    assert found.samples == pytest.approx(1000 * (1.96 + 0.8416) ** 2, rel=0.1)
    assert advice_on_mean(0.02, 0.01, 1000, 0.02, LEVEL, LEVEL).samples is None
