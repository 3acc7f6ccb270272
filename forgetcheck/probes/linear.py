"""Linear probe: is the concept still there to be read off the image embeddings?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.errors import InputError
from forgetcheck.probes.base import Probe, said
from forgetcheck.probes.logistic import (
    Fit,
    TrainingData,
    fit_logistic,
    fit_nearly,
    fit_path,
    prepare,
    probabilities,
    zeros,
)
from forgetcheck.probes.resampling import Choice, choices, rounds_left_out
from forgetcheck.retention.answers import Predictions, Variants, variants_of
from forgetcheck.tasks.base import SplitName

STRENGTHS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # strong to weak
PATIENCE = 2  # weaker strengths in a row that are no better, after which weaker ones aren't tried
_ROWS = 4096  # test images that are answered at once: bounds the memory


@dataclass(frozen=True)
class Linear(Probe):
    """Multinomial logistic regression on L2-normalised embeddings, convex and deterministic.

    The strength is chosen by five-fold cross-validation within train (the same folds for every model; the
    stronger wins a tie), then the probe is refit on all of train. arXiv:2308.13320 chooses it on one
    held-out part: of a few hundred images that choice alone moves the accuracy by points. Fits that only
    compare strengths end a little earlier (see `fit_nearly`) than the refit. What other training images would
    have changed, in the fit and in the choice, is part of the interval (see `resampling`).
    """

    parts: ClassVar[tuple[SplitName, ...]] = ("train", "test")

    def answer(self, model: EncodedTask, base: EncodedTask) -> Predictions:
        train, test = model.splits["train"], model.splits["test"]
        classes = len(model.task.class_names)
        absent = set(test.labels.tolist()) - set(train.labels.tolist())
        if absent:
            name = model.task.class_names[min(absent)]
            raise InputError(
                f"class '{name}' has test images but no train images: a linear probe cannot know it."
            )
        data = prepare(train.embeddings, train.labels, classes)
        rounds = rounds_left_out(model)
        if rounds is None:  # one image of each class: C = 1, as scikit-learn has it unasked
            fit = fit_logistic(data, 1 / len(train.labels))
            return said(fit.logits(test.embeddings), notes(fit, {}))
        trial = _cross_validate(data, rounds[0])
        chosen = trial.best
        every = fit_path(data, trial.strengths)
        fit = fit_logistic(data, trial.strengths[chosen], every[chosen])
        answer = said(fit.logits(test.embeddings), notes(fit, trial.scores))
        right = [_hits(test.embeddings, table, test.labels) for table in every]
        choice = Choice(np.stack(right), choices(model, trial.right))
        variants = trained_on_parts(model, data, fit, rounds, [each[chosen] for each in trial.tables], choice)
        return replace(answer, variants=variants)

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return tuned.encoder.digests["visual"] == base.encoder.digests["visual"]


@dataclass(frozen=True)
class _Trial:
    """How each strength does on training images that were left out."""

    strengths: tuple[float, ...]  # (s,) those that were tried
    tables: Sequence[Sequence[Tensor]]  # by fold, then by strength: (c, d + 1)
    right: NDArray[np.bool_]  # (s, n) whether each training image is right by the fit without its fold
    asked: int  # training images that were left out once

    @property
    def best(self) -> int:
        """Return which strength is right most often; the first, strongest, of equals."""
        return int(self.right.sum(axis=1).argmax())

    @property
    def scores(self) -> dict[float, float]:
        shares = self.right.sum(axis=1) / self.asked
        return dict(zip(self.strengths, shares.tolist(), strict=True))


def _cross_validate(data: TrainingData, folds: NDArray[np.bool_]) -> _Trial:  # (v, n)
    """Try strengths from strong to weak on every fold, until weaker ones are no better."""
    kept = [(data.part(~held), data.part(held)) for held in map(torch.from_numpy, folds)]
    tables: list[list[Tensor]] = [[] for _ in folds]
    right: list[NDArray[np.bool_]] = []
    for strength in STRENGTHS:
        found = np.zeros(folds.shape[1], dtype=np.bool_)
        for (taught, asked), own, held in zip(kept, tables, folds, strict=True):
            own.append(fit_nearly(taught, strength, own[-1] if own else zeros(data)))
            found[held] = (probabilities(asked.rows, own[-1]).argmax(dim=0) == asked.labels).numpy()
        right.append(found)
        sums = [each.sum() for each in right]
        if len(sums) - 1 - int(np.argmax(sums)) >= PATIENCE:
            break
    return _Trial(STRENGTHS[: len(right)], tables, np.stack(right), int(folds.any(axis=0).sum()))


def trained_on_parts(
    model: EncodedTask,
    data: TrainingData,
    fit: Fit,
    rounds: Sequence[NDArray[np.bool_]],
    first: Sequence[Tensor],
    choice: Choice,
) -> Variants:
    """Say which test images are right by probes of this strength that leave out a part of train each.

    Those of the first round (`first`, by fold) were fit to choose the strength.
    """
    test, parts = model.splits["test"], np.concatenate(rounds)
    others = (
        fit_nearly(data.part(torch.from_numpy(~part)), fit.strength, fit.table)
        for part in parts[len(first) :]
    )
    right = [_hits(test.embeddings, table, test.labels) for table in (*first, *others)]
    return variants_of("train", np.stack(right), float(parts.mean()), choice.right, choice.chosen)


def _hits(embeddings: Tensor, table: Tensor, labels: Tensor) -> NDArray[np.bool_]:  # (n, d), (c, d + 1), (n,)
    """Say which labels a table makes the most probable."""
    rows = zip(embeddings.split(_ROWS), labels.split(_ROWS), strict=True)
    found = [(each @ table[:, :-1].T + table[:, -1]).argmax(dim=1) == known for each, known in rows]
    return np.asarray(torch.cat(found).numpy())


def notes(fit: Fit, scores: dict[float, float]) -> dict[str, object]:
    return {
        "strength": fit.strength,
        "held_out_accuracy": {f"{strength:g}": score for strength, score in scores.items()},
        "gradient": fit.gradient,
        "iterations": fit.iterations,
        "converged": fit.converged,
    }
