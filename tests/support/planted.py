"""Hand-made answers: what base and tuned said, written down as counts per concept."""

import base64

import numpy as np

from forgetcheck.retention.answers import Audit, LostSample, PairedPredictions, Predictions, SkippedQuestion
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report


def make_answers(counts, checkpoint="tuned", task="shape", probe="zero-shot", **fields):
    """Build one question from concept -> (both right, lost, gained, both wrong).

    A wrong answer names the next concept.
    """
    rows = list(counts.values())
    labels = np.repeat(np.arange(len(rows), dtype=np.int32), [sum(row) for row in rows])
    base = np.concatenate([np.repeat([True, True, False, False], row) for row in rows])
    tuned = np.concatenate([np.repeat([True, False, True, False], row) for row in rows])
    return PairedPredictions(
        checkpoint, task, probe, tuple(counts), labels, said(labels, base), said(labels, tuned), **fields
    )


def said(labels, right):
    wrong = (labels + 1) % (labels.max() + 1)
    return Predictions(
        np.where(right, labels, wrong), np.where(right, 0.9, 0.4).astype(np.float32), {"seed": 0}
    )


def make_judged(*answers, **policy):
    """Judge questions under a policy; the default one if no limit is given."""
    return make_report(Audit(answers, {"made": "by hand"}), Policy(**policy))


# thumbnails of eight pixels as an audit stores them; literal, because encoders differ between machines
RED = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1BAQ/oQeJvAAAAAElFTkSuQmCC"
)
BLUE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFElEQVR4nGNkYPjPgA0wYRUdtBIAy0MBD1YkjLoAAAAASUVORK5CYII="
)

FULL_POLICY = {
    "max_mean_drop": 0.01,
    "min_target_accuracy": 0.9,
    "concepts": [
        {"match": "shape/circle", "max_drop": 0.1, "reason": "the logo is a circle"},
        {"match": "face/*", "must_forget": True, "max_accuracy": 0.6},
        {"match": "animal", "weight": 0.5},
        {"match": "noise", "ignore": True},
    ],
}


def full_audit():
    """Two checkpoints, three probes and every verdict; a question not asked; lost samples to look at."""
    shape = {"circle": (50, 50, 0, 0), "star": (78, 0, 2, 20), "disc": (8, 2, 0, 10)}
    kept = {"circle": (590, 1, 3, 6), "star": (595, 2, 2, 1), "disc": (20, 0, 0, 0)}
    same = {"circle": (90, 0, 0, 10), "star": (90, 0, 0, 10), "disc": (18, 0, 0, 2)}
    answers = (
        make_answers(shape, "naive"),
        make_answers(kept, "naive", probe="linear", warnings=("the tuned probe stopped early",)),
        make_answers({"cat": (45, 5, 0, 0), "dog": (48, 1, 1, 0)}, "naive", "animal"),
        make_answers({"ann": (90, 5, 0, 5), "bob": (10, 80, 0, 10)}, "naive", "face"),
        make_answers({"fog": (40, 40, 40, 40), "hail": (40, 40, 40, 40)}, "naive", "weather"),
        make_answers({"0": (50, 1, 149, 0), "1": (50, 1, 145, 4)}, "naive", "digits", "head", target=True),
        make_answers(same, "ldifs", identical=True),
        make_answers({"0": (50, 1, 140, 9), "1": (50, 1, 140, 9)}, "ldifs", "digits", "head", target=True),
    )
    gallery = (
        LostSample("naive", "shape", "zero-shot", "shape/0007", "circle", "star", RED),
        LostSample("naive", "shape", "zero-shot", "shape/0009", "disc", "circle", BLUE),
    )
    unasked = (SkippedQuestion("naive", "texture", "linear", "class 'lines' has no train images."),)
    provenance = {
        "base": {"name": "forgetcheck:tiny", "digest": {"visual": "ab12", "text": "cd34"}},
        "tuned": {"naive": {"run": {"regularizer": "cross-entropy"}}, "ldifs": {"run": {}}},
        "battery": {"name": "planted"},
        "device": "cpu",
    }
    return Audit(answers, provenance, unasked, gallery)


def full_report():
    return make_report(full_audit(), Policy(**FULL_POLICY))
