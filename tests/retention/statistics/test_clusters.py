"""Clustered samples: copies add no information, and clusters of one are no clusters."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import make_answers, make_judged

from forgetcheck.retention.answers import Predictions
from forgetcheck.retention.compare import compare
from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.policy import Limit
from forgetcheck.retention.statistics.clusters import IMAGINED, Spread, cluster_sums, design_effect
from forgetcheck.retention.statistics.paired import interval, p_more_than, share_interval
from forgetcheck.retention.verdict import Verdict, claim_of, p_values

pytestmark = pytest.mark.slow

PETS = {"cat": (60, 9, 2, 9), "dog": (40, 1, 0, 4), "owl": (30, 0, 0, 3)}
tables = st.lists(st.tuples(*[st.integers(0, 12)] * 4), min_size=2, max_size=4).filter(
    lambda rows: all(sum(row) for row in rows)
)


def copied(item, times):
    """Every sample `times` times, the copies of one in one cluster."""
    places = np.repeat(np.arange(len(item.labels)), times)
    return replace(
        item,
        labels=item.labels[places],
        base=Predictions(item.base.label[places], item.base.confidence[places]),
        tuned=Predictions(item.tuned.label[places], item.tuned.confidence[places]),
        groups=places.astype(np.int32),
    )


def grouped(groups, truth, base, tuned, **fields):
    """One question of two classes, from which class each sample is of and who is right."""
    labels = np.asarray(truth, dtype=np.int32)
    replies = (
        Predictions(
            np.where(right, labels, 1 - labels).astype(np.int32), np.full(len(labels), 0.5, np.float32)
        )
        for right in (base, tuned)
    )
    item = replace(make_answers({"cat": (1, 0, 0, 0), "dog": (1, 0, 0, 0)}), labels=labels, **fields)
    return replace(
        item, **dict(zip(("base", "tuned"), replies, strict=True)), groups=np.asarray(groups, np.int32)
    )


def alike(found, expected):
    assert [row.concept for row in found] == [row.concept for row in expected]
    for name in ("base", "tuned", "drop", "low", "high", "chance_p"):
        pairs = [getattr(row, name) for row in found], [getattr(row, name) for row in expected]
        assert pairs[0] == pytest.approx(pairs[1], rel=1e-9, abs=1e-12), name
    for limit in (0.0, 0.02, 0.1):
        limits = [Limit(limit, True)] * len(found)
        assert p_values(found, limits) == pytest.approx(p_values(expected, limits), rel=1e-9)
    ends = [[row.tuned_interval(0.95) for row in rows] for rows in (found, expected)]
    assert np.array(ends[0]) == pytest.approx(np.array(ends[1]), abs=1e-9)


@pytest.mark.parametrize("times", [2, 3, 7])
@given(table=tables)
def test_copies_add_no_information(times, table):
    item = make_answers({str(k): row for k, row in enumerate(table)})
    found, expected = compare([copied(item, times)], 0.95), compare([item], 0.95)
    alike(found, expected)
    assert [row.n for row in found] == [times * row.n for row in expected]  # shown as they are
    assert [row.lost for row in found] == [times * row.lost for row in expected]
    assert [row.design_effect for row in found] == pytest.approx([times] * len(found))
    assert [row.clusters for row in found] == [row.n for row in expected]


def test_copies_that_nobody_knows_of_would_be_taken_for_evidence():
    """The test above could fail."""
    item = make_answers(PETS)
    fooled = compare([replace(copied(item, 3), groups=None)], 0.95)[0]
    assert fooled.high < compare([item], 0.95)[0].high - 0.01


@given(table=tables)
def test_clusters_of_one_are_none(table):
    item = make_answers({str(k): row for k, row in enumerate(table)})
    order = np.random.default_rng(0).permutation(len(item.labels)).astype(np.int32)
    assert compare([replace(item, groups=order)], 0.95) == compare([item], 0.95)


def test_independent_samples_are_not_touched_by_the_clusters_of_others():
    item, other = make_answers(PETS), make_answers(PETS, task="copies")
    found = compare([item, copied(other, 4)], 0.95)
    assert found[:4] == compare([item], 0.95)
    assert found[4:] == compare([copied(other, 4)], 0.95)


def test_the_order_and_the_names_of_clusters_do_not_matter():
    item = copied(make_answers(PETS), 3)
    order = np.random.default_rng(1).permutation(len(item.labels))
    names = np.random.default_rng(2).permutation(500).astype(np.int32) - 250
    shuffled = replace(
        item,
        labels=item.labels[order],
        base=Predictions(item.base.label[order], item.base.confidence[order]),
        tuned=Predictions(item.tuned.label[order], item.tuned.confidence[order]),
        groups=names[item.groups[order]],
    )
    for row, same in zip(compare([shuffled], 0.95), compare([item], 0.95), strict=True):
        assert replace(row, calibration=None) == replace(same, calibration=None)  # a sum of floats


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1), st.integers(-1, 1)), min_size=1, max_size=60),
    st.floats(-1, 1),
)
def test_the_design_effect_is_the_variance_of_clusters_over_that_of_samples(samples, mean):
    groups, labels, values = (np.array(column) for column in zip(*samples, strict=True))
    sums = cluster_sums(groups.astype(np.int32), labels.astype(np.int32), 2, values[:, None])
    for row, here in enumerate([labels >= 0, labels == 0, labels == 1]):
        x, owner = values[here].astype(float), groups[here]
        spread = Spread(
            len(x), x.sum(), (x**2).sum(),
            *(column[row] for column in (sums.sizes, sums.products[:, 0], sums.clustered[:, 0])),
        )  # fmt: skip
        clusters = [x[owner == name] for name in set(owner.tolist())]
        assert sums.number[row] == len(clusters)
        if clusters:
            imagined = IMAGINED * sum(len(c) ** 2 for c in clusters) / len(x)
            by_cluster = sum(((c - mean).sum()) ** 2 for c in clusters) + imagined
            expected = max(by_cluster / (((x - mean) ** 2).sum() + IMAGINED), 1)
            assert design_effect(spread, mean) == pytest.approx(expected)
            flipped = spread.opposite
            assert flipped.opposite == spread
            assert flipped.total == sum(1 - x)


def test_where_nothing_changed_a_cluster_counts_once():
    """No change is seen, so nobody knows that changes would not come by clusters."""
    item = grouped(np.repeat(np.arange(40), 5), np.zeros(200), np.ones(200), np.ones(200))
    row = compare([item], 0.95)[0]
    assert (row.low, row.high) == pytest.approx([float(end) for end in interval(0, 0, 40)])
    assert row.effective == 40


def test_changes_that_come_one_by_one_are_evidence_of_independence():
    groups, right = np.repeat(np.arange(40), 5), np.ones(200, dtype=bool)
    apart, together = right.copy(), right.copy()
    apart[0::10], together[:20] = False, False  # one in each of 20 clusters; all of 4 clusters
    one, four = (compare([grouped(groups, 0 * right, right, now)], 0.95)[0] for now in (apart, together))
    assert one.drop == four.drop == 0.1
    assert (one.design_effect, four.design_effect) == (1, pytest.approx(5))
    assert four.high > one.high
    assert four.low < 0.01 < 0.06 < one.low


def test_a_single_change_does_not_prove_independence():
    right = np.ones(1000, dtype=bool)
    now = right.copy()
    now[0] = False
    row = compare([grouped(np.repeat(np.arange(200), 5), 0 * right, right, now)], 0.95)[0]
    assert 2 < row.design_effect < 5
    assert row.high > interval(1, 0, 1000)[1]


def test_a_concept_has_its_own_design_effect():
    truth = np.repeat([0, 1], [60, 60])
    groups = np.concatenate([np.repeat(np.arange(20), 3), np.arange(20, 80)])  # cats by three, dogs alone
    tuned = np.ones(120, dtype=bool)
    tuned[[0, 1, 2, 60, 61, 62]] = False
    task, cat, dog = compare([grouped(groups, truth, np.ones(120), tuned)], 0.95)
    assert (task.clusters, cat.clusters, dog.clusters) == (80, 20, 60)
    assert cat.design_effect == pytest.approx(3)
    assert dog.design_effect == 1
    assert 1 < task.design_effect < 3
    assert (cat.low, cat.high) == pytest.approx([float(end) for end in interval(1, 0, 20)])
    assert (dog.low, dog.high) == pytest.approx([float(end) for end in interval(3, 0, 60)])
    assert [len(row.warnings) for row in (task, cat, dog)] == [1, 1, 0]


def across(clusters, lost):
    """Each cluster has a cat and a dog, and loses both or none."""
    tuned = np.repeat(np.arange(clusters) >= lost, 2)
    return grouped(np.repeat(np.arange(clusters), 2), [0, 1] * clusters, np.ones(2 * clusters), tuned)


def test_clusters_across_concepts_weigh_on_the_task_alone():
    task, cat, dog = compare([across(50, 6)], 0.95)
    assert (cat.design_effect, dog.design_effect, cat.clusters, cat.n) == (1, 1, 50, 50)
    assert task.design_effect == pytest.approx(2)
    assert (task.low, task.high) == pytest.approx((cat.low, cat.high))
    assert (len(task.warnings), cat.warnings) == (1, ())


def test_concepts_that_share_clusters_are_not_independent_tries():
    """Their chances don't multiply; but what they could never come to isn't added."""
    report = make_judged(across(50, 6), max_drop=0.0, concepts=[{"match": "shape/*", "max_drop": 0.0}])
    assert [f.p for f in report.findings] == pytest.approx([0.5**6] * 3)
    assert [f.p_adjusted for f in report.findings] == pytest.approx([3 * 0.5**6] * 3)
    _, cat, _ = compare([across(50, 6)], 0.95)
    claim = claim_of(cat, Limit(0.0, True), 0.5**6)
    assert (claim.exact, claim.least) == (False, pytest.approx(0.5**6))
    assert claim_of(replace(cat, identical=True), Limit(0.0, True), 1.0).exact
    assert claim_of(cat, Limit(0.02, True), 0.1).least == 0


def test_what_copies_seem_to_show_is_not_shown():
    """Six lost of 300 are beyond a limit of 0; three copies of two lost are not."""
    thin = make_answers({"cat": (49, 2, 0, 0), "dog": (49, 0, 0, 0)})
    fooled = make_judged(replace(copied(thin, 3), groups=None), max_drop=0.0)
    known = make_judged(copied(thin, 3), max_drop=0.0)
    assert fooled.findings[0].verdict is Verdict.FORGOT
    assert known.findings[0].verdict is Verdict.UNSURE
    assert known.findings[0].p == pytest.approx(0.25)
    assert known.findings[0].detectable == make_judged(thin, max_drop=0.0).findings[0].detectable


@pytest.mark.parametrize("weights", [[], [{"match": "*/cat", "weight": 3.0}]])
def test_every_demand_goes_by_clusters(weights):
    policy = {
        "max_mean_drop": 0.01,
        "min_target_accuracy": 0.9,
        "concepts": [{"match": "*/dog", "must_forget": True, "max_accuracy": 0.85}, *weights],
    }
    items = [
        make_answers(PETS),
        make_answers(PETS, task="own"),
        make_answers(PETS, task="tuned on", target=True),
    ]
    single, copies = (make_judged(*found, **policy) for found in (items, [copied(i, 4) for i in items]))
    assert {check.demand for check in single.checks} == {
        "max_drop", "max_mean_drop", "min_target_accuracy", "must_forget", "concepts"
    }  # fmt: skip
    for found, expected in zip(copies.checks, single.checks, strict=True):
        assert found.outcome is expected.outcome
        for name in ("value", "low", "high", "p_adjusted"):
            ours, theirs = getattr(found, name), getattr(expected, name)
            assert ours == pytest.approx(theirs, abs=1e-9, nan_ok=True), found.demand
    assert Outcome.UNSURE in {check.outcome for check in single.checks}


def test_a_mean_of_concepts_that_share_clusters_is_as_unsure_as_their_task():
    one, both = [{"match": "shape/dog", "weight": 2.0}], across(50, 6)
    other = make_answers({"cat": (99, 1, 0, 0)}, task="other")
    apart = replace(both, groups=None)
    wide, narrow = (make_judged(item, other, concepts=one).means[0] for item in (both, apart))
    assert wide.drop == narrow.drop
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


def test_a_row_says_what_its_samples_are_worth():
    (task, *_) = compare([copied(make_answers({"cat": (500, 9, 2, 9), "dog": (40, 1, 0, 4)}), 4)], 0.95)
    assert task.warnings == (
        "2,260 samples in 565 clusters count as about 565 independent ones (design effect 4.0)",
    )
    assert all(row.warnings == () for row in compare([copied(make_answers(PETS, identical=True), 4)], 0.95))


@pytest.mark.parametrize(
    ("clusters", "said"), [(9, ("only 9 clusters: no small drop can be shown",)), (10, ())]
)
def test_few_clusters_show_no_small_drop_however_many_samples(clusters, said):
    right = np.ones(100 * clusters, dtype=bool)
    row = compare([grouped(np.repeat(np.arange(clusters), 100), 0 * right, right, right)], 0.95)[0]
    assert row.warnings[1:] == said


def test_two_clusters_show_nothing():
    """Whatever is seen, two clusters could have shown it by luck."""
    right = np.ones(1000, dtype=bool)
    row = compare([grouped(np.repeat([0, 1], 500), 0 * right, right, ~right)], 0.95)[0]
    assert row.high == pytest.approx(1)
    assert row.low < 0
    assert p_values([row], [Limit(0.02, True)])[0] > 0.05


def test_a_base_that_knows_one_cluster_of_many_is_not_better_than_chance():
    """Right for 60 of 100 in one go is one success, not sixty."""
    groups, truth = np.concatenate([np.zeros(60), np.arange(1, 41)]), np.tile([0, 1], 50)
    right = np.arange(100) < 60
    known, fooled = (
        compare([replace(grouped(groups, truth, right, right), groups=g)], 0.95)[0]
        for g in (groups.astype(np.int32), None)
    )
    assert known.chance_p > 0.2 > fooled.chance_p
    ends = known.tuned_interval(0.95), fooled.tuned_interval(0.95)
    assert ends[0][0] < ends[1][0] < 0.6 < ends[1][1] < ends[0][1]


def test_an_interval_of_shares_ends_at_zero_and_one():
    groups = np.repeat(np.arange(30), 3)
    for right, place in ((np.ones(90), 1), (np.zeros(90), 0)):
        ends = compare([grouped(groups, np.zeros(90), right, right)], 0.95)[0].tuned_interval(0.95)
        assert ends[place] == pytest.approx(place, abs=1e-12)
        single = share_interval(30 * place, 30, 0.95)
        assert ends[1 - place] == pytest.approx(float(single[1 - place]))


@pytest.mark.parametrize("correlation", [0.3, 1.0])
def test_intervals_of_clusters_hold_what_they_promise(correlation):
    """50 clusters of 5, 5 points lost: an interval, and a claim at the limit, err as rarely as promised."""
    rng, runs = np.random.default_rng(0), 2000
    shared, own = rng.random((runs, 50, 1)), rng.random((runs, 50, 5))
    chance = np.where(rng.random(own.shape) < correlation**0.5, shared, own)
    moved = (chance < 0.1).astype(int) - (chance > 0.95)
    totals, lost, gained = moved.sum(2), (moved > 0).sum((1, 2)), (moved < 0).sum((1, 2))
    spread = Spread(
        250 + 0 * lost,
        lost - gained,
        lost + gained,
        50 * 25 + 0 * lost,
        5 * (lost - gained),
        (totals**2).sum(1),
    )
    for known, least, most in ((None, 0.0, 0.9), (spread, 0.94, 0.98)):
        low, high = interval(lost, gained, 250, 0.95, known)
        assert least < ((low <= 0.05) & (high >= 0.05)).mean() < most
    effect = design_effect(spread, 0.05)
    assert (p_more_than(lost / effect, gained / effect, 250 / effect, 0.05) < 0.025).mean() < 0.03
