"""Nearest neighbours: which training images an image lies among. A probe without any training."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from forgetcheck.catalog import NeighbourCount
from forgetcheck.clip.encoded_task import EncodedTask
from forgetcheck.errors import CannotAsk
from forgetcheck.probes.base import Probe, said
from forgetcheck.retention.answers import Said
from forgetcheck.tasks.base import SplitName

TEMPERATURE = 0.07  # of the votes, as in arXiv:2104.14294 (DINO), section 4.1
ROWS = 1024  # test images compared with all of train at a time: bounds the memory


@dataclass(frozen=True)
class Knn(Probe):
    """The k nearest train embeddings by cosine vote, each weighted by exp(cosine / 0.07).

    No fit and no chance: what it loses is lost from the neighbourhoods themselves. Of equal votes the first
    class wins, for every model alike.
    """

    k: NeighbourCount = 20
    parts: ClassVar[tuple[SplitName, ...]] = ("train", "test")

    def answer(self, model: EncodedTask, base: EncodedTask) -> Said:
        train, test = model.splits["train"], model.splits["test"]
        if len(train.labels) < self.k:
            raise CannotAsk(
                f"{len(train.labels)} train images are fewer than k={self.k}: ask knn:k=... less."
            )
        classes = len(model.task.class_names)
        votes = [
            vote(rows @ train.embeddings.T, train.labels, classes, self.k)
            for rows in test.embeddings.split(ROWS)
        ]
        return said(torch.cat(votes).log(), {"k": self.k})

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return tuned.encoder.digests["visual"] == base.encoder.digests["visual"]


def vote(cosines: Tensor, labels: Tensor, classes: int, k: int) -> Tensor:
    """Sum the weights of the k nearest by class: cosines (n, t), labels (t,) -> (n, c), in (0, 1)."""
    near, who = cosines.double().topk(k, dim=1)
    weights = ((near - near[:, :1]) / TEMPERATURE).exp()  # relative to the nearest, so that none underflows
    votes = torch.zeros(len(cosines), classes, dtype=torch.float64)
    votes.scatter_add_(1, labels[who], weights)
    return (votes / votes.sum(dim=1, keepdim=True)).clamp(min=torch.finfo(torch.float64).tiny)
