"""Variants of a question: what templates and training images bring to a drop."""

from dataclasses import replace

import numpy as np
import pytest
from planted import make_answers, make_judged

from forgetcheck.retention.answers import Audit, read_audit, variants_of, write_audit
from forgetcheck.retention.compare import UNTAUGHT, compare
from forgetcheck.retention.variants import template_counts, training_variance
from forgetcheck.retention.verdict import Verdict

PETS = {"cat": (300, 20, 10, 70), "dog": (350, 10, 5, 35)}


def asked(base, tuned, of="train", counts=PETS, chosen=None, **fields):
    """Give hand-made answers variants (v, n) of both models."""
    item = make_answers(counts, probe="linear" if of == "train" else "zero-shot", **fields)
    share = 0.2 if of == "train" else 0.0
    both = [
        replace(reply, variants=variants_of(of, right, share, *(chosen or (None, None))))
        for reply, right in ((item.base, base), (item.tuned, tuned))
    ]
    return replace(item, base=both[0], tuned=both[1])


def right(item):
    return item.base.label == item.labels, item.tuned.label == item.labels


def drawn(seed, moved=0.0, single=0.0):
    """Draw 20 variants: of each a common share of the tuned answers is lost, and single answers flip."""
    rng = np.random.default_rng(seed)
    base, tuned = right(make_answers(PETS))
    bases, tuneds = np.tile(base, (20, 1)), np.tile(tuned, (20, 1))
    for row in tuneds:
        row &= rng.random(len(row)) >= abs(rng.normal(0, moved))
        row ^= rng.random(len(row)) < single
    return bases, tuneds


def test_what_never_changes_widens_nothing():
    base, tuned = drawn(0)
    (row, *_) = compare([asked(base, tuned)], 0.95)
    (plain, *_) = compare([make_answers(PETS, probe="linear")], 0.95)
    assert row.widened == 1.0
    assert (row.low, row.high) == pytest.approx((plain.low, plain.high))
    assert training_variance(asked(base, tuned)).tolist() == [[0.0] * 3] * 3


def test_what_training_images_decide_for_many_widens_the_interval():
    base, tuned = drawn(1, moved=0.05)
    (row, *_) = compare([asked(base, tuned)], 0.95)
    (plain, *_) = compare([make_answers(PETS, probe="linear")], 0.95)
    assert row.widened > 1.3
    assert row.low < plain.low < plain.high < row.high
    assert row.drop == plain.drop
    # a standard deviation of the sum over variants, times two for a fifth that is left out
    spread = 2 * tuned.sum(axis=1).std()
    assert np.sqrt(training_variance(asked(base, tuned))[0, 0]) == pytest.approx(spread, rel=0.1)


def test_single_images_that_change_are_counted_once_and_not_twice():
    """Each variant flips 5 % of the answers, each for itself: that is in the spread of the test images."""
    found = [compare([asked(*drawn(seed, single=0.05))], 0.95)[0].widened for seed in range(8)]
    naive = [1 + 4 * drawn(seed, single=0.05)[1].sum(axis=1).var() / 45 for seed in range(8)]
    assert np.mean(found) < 1.15 < np.mean(naive)


def test_the_wider_interval_is_what_is_gated_by():
    lost = {"cat": (340, 50, 5, 5), "dog": (380, 15, 5, 0)}
    base, tuned = right(make_answers(lost))
    rng = np.random.default_rng(2)
    tuneds = np.stack([tuned & (rng.random(len(tuned)) >= share) for share in np.linspace(0, 0.15, 20)])
    item = asked(np.tile(base, (20, 1)), tuneds, counts=lost)
    assert (
        make_judged(make_answers(lost, probe="linear"), gate_concepts=False).findings[0].verdict
        is Verdict.FORGOT
    )
    found = make_judged(item, gate_concepts=False).findings[0]
    assert found.verdict is Verdict.UNSURE
    assert found.p > 0.025
    check = make_judged(item, gate_concepts=False, min_target_accuracy=0.8, target="shape").checks[-1]
    plain = make_judged(
        make_answers(lost, probe="linear"), gate_concepts=False, min_target_accuracy=0.8, target="shape"
    ).checks[-1]
    assert check.low < plain.low  # of the tuned accuracy as well


def test_the_strength_that_other_images_would_choose_counts_unscaled():
    base, tuned = drawn(3)
    other = tuned.copy()
    other[:, ::10] = False
    settings = np.stack([tuned[0], other[0]])
    chosen = np.array([0, 1] * 50, dtype=np.uint8)
    steady = np.zeros(100, dtype=np.uint8)
    item = asked(base, tuned)
    item = replace(
        item,
        base=replace(item.base, variants=variants_of("train", base, 0.2, np.stack([base[0]] * 2), steady)),
        tuned=replace(item.tuned, variants=variants_of("train", tuned, 0.2, settings, chosen)),
    )
    expected = (tuned[0].sum() - other[0].sum()) ** 2 / 4
    assert training_variance(item)[0, 0] == pytest.approx(expected, rel=0.05)


def test_a_trained_probe_without_variants_owns_up():
    rows = compare([make_answers(PETS, probe="linear"), make_answers(PETS, probe="zero-shot")], 0.95)
    assert UNTAUGHT in rows[0].warnings
    assert UNTAUGHT not in rows[-1].warnings
    assert UNTAUGHT not in compare([asked(*drawn(0))], 0.95)[0].warnings
    assert (
        UNTAUGHT
        not in compare([make_answers({"cat": (9, 0, 0, 1)}, probe="linear", identical=True)], 0.95)[
            0
        ].warnings
    )


def test_templates_give_a_spread_of_drops_for_tasks_and_concepts():
    base, tuned = right(make_answers(PETS))
    worse = tuned & (np.arange(len(tuned)) % 20 > 0)
    item = asked(np.stack([base, base]), np.stack([tuned, worse]), of="template")
    counts = template_counts(item)
    assert counts.shape == (3, 2, 2)
    assert counts[0].tolist() == (counts[1] + counts[2]).tolist()
    task, *_ = compare([item], 0.95)
    low, high = task.by_template
    assert low == pytest.approx(task.drop)
    assert high == pytest.approx(base.mean() - worse.mean())
    assert compare([make_answers(PETS)], 0.95)[0].by_template is None


def test_a_verdict_that_hangs_on_the_wording_says_so():
    kept = {"cat": (495, 0, 0, 5), "dog": (498, 1, 1, 0)}
    base, tuned = right(make_answers(kept))
    worse = tuned & (np.arange(len(tuned)) % 15 > 0)
    item = asked(np.stack([base, base]), np.stack([tuned, worse]), of="template", counts=kept)
    finding = make_judged(item).findings[0]
    assert finding.verdict is Verdict.RETAINED
    assert "hangs on the prompt templates" in finding.retention.warnings[-1]
    same = asked(np.stack([base, base]), np.stack([tuned, tuned]), of="template", counts=kept)
    assert not any("hangs" in warning for warning in make_judged(same).findings[0].retention.warnings)


@pytest.mark.parametrize("of", ["train", "template"])
def test_variants_come_back_from_an_audit_folder(tmp_path, of):
    item = asked(*drawn(4, moved=0.05), of=of)
    write_audit(tmp_path / "audit", Audit((item,), {}))
    again = read_audit(tmp_path / "audit").answers
    assert compare(again, 0.95) == compare([item], 0.95)
    assert again[0].base.variants.bits.tolist() == item.base.variants.bits.tolist()
