"""Image-text retrieval: recall@k of an image's captions among all captions, or of a caption's image."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaln
from torch import Tensor

from forgetcheck.catalog import Rank
from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.errors import InputError
from forgetcheck.probes.base import Probe, Question, captions_of, quoted, refuse_unusable
from forgetcheck.retention.answers import Predictions
from forgetcheck.tasks.base import Task

_ROWS = 512  # queries compared with all candidates at a time: bounds the memory
_MISSED = "(not found)"  # what is said where the right one isn't among the first k


@dataclass(frozen=True)
class Retrieval(Probe):
    """to=text: is a caption of the image among the k nearest captions? to=image: the other way round.

    Of equally near candidates the first counts as nearer, for every model alike. The samples are images or
    captions; captions of one image are one cluster.
    """

    to: Literal["text", "image"] = "text"
    k: Rank = 1

    def asks(self, task: Task) -> bool:
        return task.labelled_by == "caption"

    def question(self, base: EncodedTask) -> Question:
        captions, kinds = captions_of(base).said, base.splits["test"].labels.numpy()
        candidates = len(captions) if self.to == "text" else len(kinds)
        if candidates <= self.k:
            raise InputError(
                f"the first {self.k} of {candidates} candidates are all of them: ask a smaller k."
            )
        names = (*base.task.class_names, _MISSED)
        if self.to == "text":
            own = np.bincount(captions.places, minlength=len(kinds))
            chance = _rates(kinds, by_chance(own, candidates, self.k), names)
            first = dict(zip(captions.places[::-1].tolist(), captions.texts[::-1], strict=True))
            samples = tuple(quoted(first[place]) for place in range(len(kinds)))
            return Question(names, kinds.astype(np.int32), np.arange(len(kinds)), samples, chance)
        chance = _rates(captions.kinds, np.full(len(captions), self.k / candidates), names)
        samples = tuple(map(quoted, captions.texts))
        return Question(names, captions.kinds.astype(np.int32), captions.places, samples, chance)

    def answer(self, model: EncodedTask, base: EncodedTask) -> Predictions:
        test, captions = model.splits["test"], captions_of(model)
        images = Side(test.embeddings, torch.arange(len(test.labels)))
        texts = Side(captions.of(captions.said.texts), torch.from_numpy(captions.said.places))
        kinds = test.labels if self.to == "text" else torch.from_numpy(captions.said.kinds)
        sides = (images, texts) if self.to == "text" else (texts, images)
        right, sure = find(*sides, model.encoder.scale, self.k)
        return Predictions(
            label=torch.where(right, kinds, len(model.task.class_names)).numpy().astype(np.int32),
            confidence=sure.numpy().astype(np.float32),
            notes={"k": self.k},
        )


@dataclass(frozen=True)
class Side:
    """All images or all captions. Those of one owner belong together."""

    embeddings: Tensor  # (n, d)
    owners: Tensor  # (n,)


def find(queries: Side, candidates: Side, scale: float, k: int) -> tuple[Tensor, Tensor]:  # (q,), (q,)
    """Say for each query whether one of its own is among the first k, and how sure the model was of those.

    Sure is the softmax probability of the first k together.
    """
    order = torch.arange(len(candidates.owners))
    # one product for what occurs twice: two could differ in the last bit, by where they stand in the matrix
    distinct, places = candidates.embeddings.unique(dim=0, return_inverse=True)
    right, sure = [], []
    for rows, owners in zip(queries.embeddings.split(_ROWS), queries.owners.split(_ROWS), strict=True):
        cosines = (rows @ distinct.T)[:, places]
        refuse_unusable(scale * cosines)
        own = owners[:, None] == candidates.owners
        best, which = torch.where(own, cosines, -torch.inf).max(dim=1, keepdim=True)
        nearer = (cosines > best) | ((cosines == best) & (order < which))
        right.append(nearer.sum(dim=1) < k)
        sure.append((scale * cosines).double().softmax(dim=1).topk(k, dim=1).values.sum(dim=1).clamp(max=1))
    return torch.cat(right), torch.cat(sure)


def by_chance(own: NDArray[np.int64], candidates: int, k: int) -> NDArray[np.float64]:
    """Return how often one of `own` (n,) lies among k of m drawn candidates: 1 - C(m - own, k) / C(m, k)."""
    rest = candidates - own
    ways = gammaln(rest + 1) - gammaln(np.maximum(rest - k, 0) + 1) - gammaln(candidates + 1)
    none = np.exp(ways + gammaln(candidates - k + 1))
    return np.where(rest < k, 1.0, 1.0 - none)


def _rates(
    labels: NDArray[np.int64], guessed: NDArray[np.float64], names: tuple[str, ...]
) -> NDArray[np.float64]:  # (n,), (n,) -> (1 + c,)
    """Return the mean of what is guessed over all samples and those of each class; 0 where there is none."""
    counts = np.bincount(labels, minlength=len(names))
    sums = np.bincount(labels, weights=guessed, minlength=len(names))
    return np.concatenate([[guessed.mean()], sums / np.maximum(counts, 1)]).clip(0, 1)
