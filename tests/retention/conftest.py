"""Hand-made answers: what base and tuned said, written down as counts per concept."""

import numpy as np
import pytest
from hypothesis import settings

from forgetcheck.retention.answers import Answers, Audit, Said
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report

# the same draws in every run, and no failure because the machine is busy
settings.register_profile("calm", deadline=None, derandomize=True)
settings.load_profile("calm")


def make_answers(counts, checkpoint="tuned", task="shape", probe="zero-shot", **fields):
    """Build one question from concept -> (both right, lost, gained, both wrong).

    A wrong answer names the next concept.
    """
    rows = list(counts.values())
    labels = np.repeat(np.arange(len(rows), dtype=np.int32), [sum(row) for row in rows])
    base = np.concatenate([np.repeat([True, True, False, False], row) for row in rows])
    tuned = np.concatenate([np.repeat([True, False, True, False], row) for row in rows])
    return Answers(
        checkpoint, task, probe, tuple(counts), labels, said(labels, base), said(labels, tuned), **fields
    )


def said(labels, right):
    wrong = (labels + 1) % (labels.max() + 1)
    return Said(np.where(right, labels, wrong), np.where(right, 0.9, 0.4).astype(np.float32), {"seed": 0})


def make_judged(*answers, **policy):
    """Judge questions under a policy; the default one if no limit is given."""
    return make_report(Audit(answers, {"made": "by hand"}), Policy(**policy))


@pytest.fixture
def answers():
    return make_answers


@pytest.fixture
def judged():
    return make_judged
