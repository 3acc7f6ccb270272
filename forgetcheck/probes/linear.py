"""Linear probe: is the concept still there to be read off the image embeddings?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from forgetcheck.clip.encoded_task import EncodedTask
from forgetcheck.clip.logistic import Fit, accuracy, fit_logistic, fit_path, prepare
from forgetcheck.errors import CannotAsk
from forgetcheck.probes.base import Probe, said
from forgetcheck.retention.answers import Said
from forgetcheck.tasks.base import SplitName, dealt

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # strong to weak
HELD_OUT = 5  # every fifth training sample of a class chooses the strength


@dataclass(frozen=True)
class Linear(Probe):
    """Multinomial logistic regression on L2-normalised embeddings, convex and free of chance.

    The strength is chosen on a held-out part of train (the same samples for every model; the
    stronger wins a tie), then the probe is refit on all of train. Protocol of arXiv:2308.13320.
    Fits that only compare strengths end a little earlier (see `fit_path`) than the refit.
    """

    parts: ClassVar[tuple[SplitName, ...]] = ("train", "test")

    def answer(self, model: EncodedTask, base: EncodedTask) -> Said:
        train, test = model.splits["train"], model.splits["test"]
        classes = len(model.task.class_names)
        absent = set(test.labels.tolist()) - set(train.labels.tolist())
        if absent:
            name = model.task.class_names[min(absent)]
            raise CannotAsk(
                f"class '{name}' has test images but no train images: a linear probe cannot know it."
            )
        held = torch.from_numpy(held_out(train.labels.numpy()))
        lesson = prepare(train.embeddings, train.labels, classes)
        if not held.any():  # one image of each class: C = 1, as scikit-learn has it unasked
            fit = fit_logistic(lesson, 1 / len(train.labels))
            return said(fit.logits(test.embeddings), notes(fit, {}))
        taught, asked = lesson.part(~held), lesson.part(held)
        tables = dict(zip(STRENGTHS, fit_path(taught, STRENGTHS), strict=True))
        scores = {strength: accuracy(asked, table) for strength, table in tables.items()}
        chosen = max(STRENGTHS, key=lambda strength: scores[strength])  # the first, strongest, of equals
        fit = fit_logistic(lesson, chosen, tables[chosen])
        return said(fit.logits(test.embeddings), notes(fit, scores))

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return tuned.encoder.digests["visual"] == base.encoder.digests["visual"]


def held_out(labels: NDArray[np.int64]) -> NDArray[np.bool_]:  # (n,) -> (n,)
    """Mark every fifth sample of each class; of a class that has two to four, the last."""
    held = dealt(labels, HELD_OUT)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if 1 < len(members) < HELD_OUT:
            held[members[-1]] = True
    return held


def notes(fit: Fit, scores: dict[float, float]) -> dict[str, object]:
    return {
        "strength": fit.strength,
        "held_out_accuracy": {f"{strength:g}": score for strength, score in scores.items()},
        "gradient": fit.gradient,
        "iterations": fit.iterations,
        "converged": fit.converged,
    }
