"""Snapshot: where a tuning stands after a step, so that it can go on as if it had never stopped."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from forgetcheck.clip.model.view import Learner, Weights
from forgetcheck.regularizers.base import Memory


@dataclass(frozen=True)
class Snapshot:
    """What the next step depends on, beside the seed. No generator: batches depend on seed and step alone."""

    step: int  # steps taken
    weights: Weights  # of the tuned model, with what the method added to it
    optimizer: Mapping[str, Any]
    memory: Memory
    history: tuple[Mapping[str, Any], ...]  # a row for each step taken


def taken(
    step: int, tuned: Learner, optimizer: Optimizer, memory: Memory, history: list[dict[str, Any]]
) -> Snapshot:
    """Copy everything, so that the next step changes none of it."""
    weights = {name: weight.detach().clone() for name, weight in tuned.state().items()}
    return Snapshot(step, weights, deepcopy(optimizer.state_dict()), memory, deepcopy(tuple(history)))


def restore(snapshot: Snapshot, tuned: Learner, optimizer: Optimizer) -> None:
    """Put a prepared model and its new optimiser where the snapshot was taken."""
    tuned.load(snapshot.weights)
    optimizer.load_state_dict(deepcopy(dict(snapshot.optimizer)))
