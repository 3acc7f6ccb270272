"""Labels that don't belong to the images are said before any verdict; those that do never are."""

import json

import numpy as np
import pytest

from forgetcheck.retention.answers import Audit, PairedPredictions, Predictions
from forgetcheck.retention.labels import doubts, fit_of, fits_of, sanity
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import as_record, make_report
from forgetcheck.retention.text.wording import sentence

CLASSES = 12


def question(labels, said, task="photos", probe="zero-shot", classes=CLASSES, **fields):
    sure = np.ones(len(labels), dtype=np.float32)
    answered = Predictions(np.asarray(said, dtype=np.int32), sure)
    names = tuple(f"class {place}" for place in range(classes))
    return PairedPredictions(
        "tuned", task, probe, names, np.asarray(labels, dtype=np.int32), answered, answered, **fields
    )


def drawn(seed, accuracy, n=240, classes=CLASSES):
    """Draw what is in n images, and what a base says of them that is right so often."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    said = np.where(rng.random(n) < accuracy, truth, rng.integers(0, classes, n))
    return truth, said


def remark(answers):
    return "; ".join(doubts(fits_of(Audit((answers,), {}))))


@pytest.mark.parametrize("accuracy", [0.3, 0.6, 0.98])
@pytest.mark.parametrize("step", [1, -1])
def test_labels_that_are_one_off(accuracy, step):
    truth, said = drawn(1, accuracy)
    kept = (truth + step >= 0) & (truth + step < CLASSES)
    found = remark(question(truth[kept] + step, said[kept]))
    assert "photos: the labels look shifted by one" in found
    assert f"if every label is one too {'high' if step > 0 else 'low'}" in found


@pytest.mark.parametrize("accuracy", [0.3, 0.6, 0.98])
def test_names_in_the_order_of_texts(accuracy):
    """Folders 0 ... 11, sorted as text, with names in the order of their values."""
    truth, said = drawn(2, accuracy, n=600)
    order = np.array([int(text) for text in sorted(map(str, range(CLASSES)))])
    found = remark(question(np.argsort(order)[truth], said))
    assert "class names look dealt to the wrong labels ('class" in found
    assert "and 7 more" in found or "and 8 more" in found, found


@pytest.mark.parametrize("seed", range(40))
def test_right_labels_are_never_doubted(seed):
    """Whatever the base knows, also nothing, and whatever it likes to say."""
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 40))
    truth, said = drawn(seed, rng.random(), int(rng.integers(5, 2000)), classes)
    liked = rng.random(len(said)) < rng.random()
    said = np.where(liked & (rng.random() < 0.5), 0, said)  # half of the bases have a class they like
    assert remark(question(truth, said, classes=classes)) == ""


def test_two_classes_that_are_swapped():
    truth, said = drawn(3, 0.9, classes=2)
    found = remark(question(1 - truth, said, classes=2))
    assert "'class 1' is what it calls 'class 0'" in found


def test_what_learns_from_labels_and_what_has_no_answers_is_no_evidence():
    truth, said = drawn(1, 0.9)
    assert fits_of(Audit((question(truth, said, probe="linear"), question(truth, said, classes=1)), {})) == []
    assert sanity([]) == ""
    assert fit_of(question([], [])).given == 0


def test_the_line_of_every_audit_and_the_doubt_before_a_verdict():
    truth, said = drawn(4, 0.9)
    fine, odd = question(truth, said), question((truth + 1) % CLASSES, said, task="shifted")
    audit = Audit((fine, question(truth, said, task="more")), {})
    report = make_report(audit, Policy())
    assert report.sanity.startswith("labels: on all 2 zero-shot tasks the base is right more often")
    assert not any("labels" in remark for remark in report.remarks)
    report = make_report(Audit((fine, odd), {}), Policy())
    assert report.sanity.endswith("not on shifted")
    assert sentence(report).startswith("shifted: the labels look shifted by one")
    assert json.loads(json.dumps(as_record(report)))["sanity"] == report.sanity
