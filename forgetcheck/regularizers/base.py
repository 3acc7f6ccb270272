"""The questions a regularizer answers; every one has a default, so a method states only what it changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from forgetcheck.catalog import escaped
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.view import Batch, Learner, Pair, View, Weights
from forgetcheck.tasks.base import Task

Memory = Mapping[str, Tensor]  # what is remembered of the base; keys begin with the method's name
NEW = "new"  # the stream of the task that is tuned on


@dataclass(frozen=True)
class Regularizer:
    """A way of staying near the base. Returns values and changes no weights.

    The dataclass fields of a subclass are its options: `name:field=value`.
    """

    @property
    def spec(self) -> str:
        """How it is written on the command line: the name of its file, and the options that were set."""
        name = type(self).__module__.rpartition(".")[2].replace("_", "-")
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        options = ",".join(
            f"{each.name.replace('_', '-')}={escaped(str(values[each.name]))}"
            for each in fields(self)
            if values[each.name] != each.default
        )
        return f"{name}:{options}" if options else name

    def streams(self) -> Mapping[str, str]:
        """Name further data, tasks by their spec, of which there is a batch at every step."""
        return {}

    def depths(self, encoder: Encoder) -> Sequence[int]:
        """Which depths of the image tower it looks at, in blocks; none costs no intermediates."""
        return ()

    def prepare(self, learner: Learner, task: Task) -> Learner:
        """Return what is trained, given a copy of the base and its zero-shot head (ZS-init).

        The place to add modules to the copy, or to put another head on it. Draws take a seeded generator.
        """
        return learner

    def trains(self, name: str) -> bool | None:
        """Whether the weight of this name moves. None, no opinion: the image tower and the head do."""
        return None

    def decays(self, name: str) -> bool | None:
        """Whether AdamW may pull the weight of this name towards zero. None, no opinion: only matrices."""
        return None

    def remember(self, base: Learner, data: Mapping[str, Iterable[Batch]], before: Memory) -> Memory:
        """Return what to keep in mind of the base, before step 1.

        `data` gives every sample of each stream once, in order, as often as it is iterated over; the task's
        own is NEW. `before` is what was remembered already.
        """
        return before

    def task_loss(self, tuned: View) -> Tensor | None:
        """Return another loss on the new task, (). None: cross-entropy of the head."""
        return None

    def penalty(self, on: Mapping[str, Pair], memory: Memory) -> Tensor:
        """Return what leaving the base costs on a batch of each stream, (); zero at its own weights."""
        return torch.zeros((), device=on[NEW].tuned.learner.encoder.device)

    def finish(self, base: Weights, tuned: Weights) -> Weights:
        """Return the weights to keep under the base's names; of both, the head is one."""
        return tuned
