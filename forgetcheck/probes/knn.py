"""Nearest neighbours: which training images an image lies among. A probe without any training."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetcheck.catalog import NeighbourCount
from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.errors import InputError
from forgetcheck.probes.base import Probe, said
from forgetcheck.probes.resampling import rounds_left_out
from forgetcheck.retention.answers import Predictions, Variants, variants_of
from forgetcheck.tasks.base import SplitName

TEMPERATURE = 0.07  # of the votes, as in arXiv:2104.14294 (DINO), section 4.1
_SPARE = 3  # times as many neighbours as vote are looked up, for those that will be left out
_FARTHEST = -2.0  # below any cosine
_ROWS = 1024  # test images compared with all of train at a time: bounds the memory


@dataclass(frozen=True)
class Knn(Probe):
    """The k nearest train embeddings by cosine vote, each weighted by exp(cosine / 0.07).

    No fit and no chance: what it loses is lost from the neighbourhoods themselves. Of equal votes the first
    class wins, for every model alike. It is also asked with parts of train only (see `resampling`): what that
    changes is part of the interval.
    """

    k: NeighbourCount = 20
    parts: ClassVar[tuple[SplitName, ...]] = ("train", "test")

    def answer(self, model: EncodedTask, base: EncodedTask) -> Predictions:
        train, test = model.splits["train"], model.splits["test"]
        if len(train.labels) < self.k:
            raise InputError(
                f"{len(train.labels)} train images are fewer than k={self.k}: ask knn:k=... less."
            )
        classes = len(model.task.class_names)
        votes = [
            vote(rows @ train.embeddings.T, train.labels, classes, self.k)
            for rows in test.embeddings.split(_ROWS)
        ]
        answer = said(torch.cat(votes).log(), {"k": self.k})
        return replace(answer, variants=self.among_parts(model))

    def among_parts(self, model: EncodedTask) -> Variants | None:
        """Say which test images are right if a part of train is left out each time."""
        rounds, train, test = rounds_left_out(model), model.splits["train"], model.splits["test"]
        parts = np.concatenate(rounds or [np.ones((1, len(train.labels)), dtype=np.bool_)])
        if (~parts).sum(axis=1).min() < self.k:
            return None
        classes, gone = len(model.task.class_names), torch.from_numpy(parts)
        found: list[NDArray[np.bool_]] = []
        for rows, labels in zip(test.embeddings.split(_ROWS), test.labels.split(_ROWS), strict=True):
            cosines = rows @ train.embeddings.T
            near, who = cosines.topk(min(_SPARE * self.k + _SPARE, len(train.labels)), dim=1)
            right = []
            for part in gone:
                left = near.masked_fill(part[who], _FARTHEST)
                if bool((left.topk(self.k, dim=1).values == _FARTHEST).any()):  # more of them are gone
                    votes = vote(cosines.masked_fill(part, _FARTHEST), train.labels, classes, self.k)
                else:
                    votes = vote(left, train.labels[who], classes, self.k)
                right.append((votes.argmax(dim=1) == labels).numpy())
            found.append(np.stack(right))
        return variants_of("train", np.concatenate(found, axis=1), float(parts.mean()))

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return tuned.encoder.digests["visual"] == base.encoder.digests["visual"]


def vote(cosines: Tensor, labels: Tensor, classes: int, k: int) -> Tensor:
    """Sum the weights of the k nearest by class, in (0, 1).

    cosines (n, t), labels (t,) or (n, t) -> (n, c)
    """
    near, who = cosines.double().topk(k, dim=1)
    weights = ((near - near[:, :1]) / TEMPERATURE).exp()  # relative to the nearest, so that none underflows
    votes = torch.zeros(len(cosines), classes, dtype=torch.float64)
    votes.scatter_add_(1, labels.expand(len(cosines), -1).gather(1, who), weights)
    return (votes / votes.sum(dim=1, keepdim=True)).clamp(min=torch.finfo(torch.float64).tiny)
