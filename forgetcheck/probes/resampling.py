"""Other training images than those there are: what they would change in a probe is part of its interval."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forgetcheck.clip.features.encoded_task import EncodedTask

PARTS = 5  # of train; each is left out once in every round
ROUNDS = 4
CHOICES = 100  # times that a setting is chosen anew
_SEED = 0  # the same parts for every model and in every audit: base and tuned are compared on equal terms


@dataclass(frozen=True)
class Choice:
    """What a probe would answer with each of its settings, and which settings other images would choose."""

    right: NDArray[np.bool_]  # (s, n) whether each test image is right with each setting
    chosen: NDArray[np.uint8]  # (b,) the settings that resampled training images choose


def rounds_left_out(model: EncodedTask) -> list[NDArray[np.bool_]] | None:  # (v, n) each
    """Mark the training images that trainings leave out, in ROUNDS of PARTS; None where none can be.

    A fifth of every class, drawn anew in each round; images of one cluster (a patient) go together. What
    would leave a class without any image is never left out.
    """
    labels, groups = model.splits["train"].labels.numpy(), _groups(model)
    rng = np.random.default_rng(_SEED)
    rounds = []
    for _ in range(ROUNDS):
        part = _by_class(labels, rng) if groups is None else _by_group(labels, groups, rng)
        marked = np.array([part == number for number in range(PARTS)])
        rounds.append(marked[marked.any(axis=1)])
    return rounds if all(len(marked) > 1 for marked in rounds) else None


def choices(model: EncodedTask, right: NDArray[np.bool_]) -> NDArray[np.uint8]:  # (s, n) -> (CHOICES,)
    """Return the settings that are right most often on training images drawn anew, with replacement.

    `right` says which training images are right with each setting when left out; clusters are drawn whole.
    """
    groups = _groups(model)
    scores = right.astype(np.float64)
    if groups is not None:
        numbers = np.unique(groups, return_inverse=True)[1]
        scores = np.stack([np.bincount(numbers, row) for row in scores])
    rng, count = np.random.default_rng(_SEED), scores.shape[1]
    times = rng.multinomial(count, np.full(count, 1 / count), size=CHOICES)
    return np.asarray((times @ scores.T).argmax(axis=1).astype(np.uint8))


def _groups(model: EncodedTask) -> NDArray[np.int64] | None:
    """Return the clusters of the training images that could be read; None where each is its own."""
    groups, kept = model.task.split("train").groups, model.splits["train"].kept
    if groups is not None and kept is not None:
        groups = groups[kept]
    return None if groups is None or len(np.unique(groups)) == len(groups) else groups


def _by_class(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:  # (n,)
    """Deal the images of each class to the parts in turn, beginning anywhere; -1 for one that is alone."""
    part = np.full(len(labels), -1)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) > 1:
            part[members] = (np.arange(len(members)) + rng.integers(PARTS)) % PARTS
    return part


def _by_group(
    labels: NDArray[np.int64], groups: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:  # (n,)
    """Deal whole clusters to the parts, the largest first; -1 for one that is all there is of a class."""
    numbers = np.unique(groups, return_inverse=True)[1]
    pairs = np.unique(np.stack([labels, numbers]), axis=1)
    classes, in_groups = np.unique(pairs[0], return_counts=True)
    needed = np.unique(pairs[1][np.isin(pairs[0], classes[in_groups == 1])])
    sizes = np.bincount(numbers)
    order = rng.permutation(len(sizes))
    of = np.full(len(sizes), -1)
    filled = np.zeros(PARTS)
    for group in order[np.argsort(-sizes[order], kind="stable")]:
        if group not in needed:
            of[group] = filled.argmin()
            filled[of[group]] += sizes[group]
    part: NDArray[np.int64] = of[numbers]
    for number, label in _emptied(part, labels):
        part[(labels == label) & (part == number)] = -1
    return part


def _emptied(part: NDArray[np.int64], labels: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield the parts that hold every image of a class."""
    for label in np.unique(labels):
        held = np.unique(part[labels == label])
        if len(held) == 1 and held[0] >= 0:
            yield int(held[0]), int(label)
