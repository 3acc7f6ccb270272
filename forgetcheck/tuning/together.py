"""Together: several regularizers as one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from forgetcheck import catalog
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.view import Batch, Learner, Pair, View, Weights
from forgetcheck.errors import InputError
from forgetcheck.regularizers.base import Memory, Regularizer
from forgetcheck.tasks.base import Task
from forgetcheck.tuning.data import Named


@dataclass(frozen=True)
class Together(Regularizer):
    """Penalties add; what is prepared, remembered and finished goes from one to the next, in their order."""

    regularizers: tuple[Regularizer, ...]

    def __post_init__(self) -> None:
        losses = [each for each in self.regularizers if _has_task_loss(each)]
        if len(losses) > 1:
            raise InputError(
                f"'{losses[0].spec}' and '{losses[1].spec}' each bring a loss of their own for the task: "
                "use one of them."
            )
        self.streams()

    @property
    def spec(self) -> str:
        return " + ".join(each.spec for each in self.regularizers)

    def streams(self) -> Mapping[str, str]:
        wanted: dict[str, tuple[str, Regularizer]] = {}
        for each in self.regularizers:
            for name, source in each.streams().items():
                known, first = wanted.setdefault(name, (source, each))
                if known != source:
                    raise InputError(
                        f"'{first.spec}' wants '{known}' as {name} data and '{each.spec}' wants '{source}': "
                        "give both the same."
                    )
        return {name: source for name, (source, _) in wanted.items()}

    def depths(self, encoder: Encoder) -> tuple[int, ...]:
        return tuple(sorted({depth for each in self.regularizers for depth in each.depths(encoder)}))

    def prepare(self, learner: Learner, task: Task) -> Learner:
        for each in self.regularizers:
            learner = each.prepare(learner, task)
        return learner

    def trains(self, name: str) -> bool | None:
        return self._agreed(lambda each: each.trains(name), f"whether '{name}' is trained")

    def decays(self, name: str) -> bool | None:
        return self._agreed(lambda each: each.decays(name), f"whether '{name}' is decayed")

    def _agreed(self, opinion: Callable[[Regularizer], bool | None], what: str) -> bool | None:
        """Return the one opinion that those have who have any."""
        held = {answer: each for each in self.regularizers if (answer := opinion(each)) is not None}
        if len(held) > 1:
            raise InputError(
                f"'{held[True].spec}' and '{held[False].spec}' disagree on {what}: use one of them."
            )
        return next(iter(held), None)

    def remember(self, base: Learner, data: Mapping[str, Iterable[Batch]], before: Memory) -> Memory:
        for each in self.regularizers:
            before = each.remember(base, data, before)
        return before

    def task_loss(self, tuned: View) -> Tensor | None:
        return next((each.task_loss(tuned) for each in self.regularizers if _has_task_loss(each)), None)

    def penalty(self, on: Mapping[str, Pair], memory: Memory) -> Tensor:
        return torch.stack([each.penalty(on, memory) for each in self.regularizers]).sum()

    def finish(self, base: Weights, tuned: Weights) -> Weights:
        for each in self.regularizers:
            tuned = each.finish(base, tuned)
        return tuned


def named_together(specs: Sequence[str]) -> Named:
    """Build what one or several specs name; one stays what it is."""
    built = tuple(catalog.build("regularizers", spec) for spec in specs)
    return Named(" + ".join(specs), built[0] if len(built) == 1 else Together(built))


def _has_task_loss(method: Regularizer) -> bool:
    return type(method).task_loss is not Regularizer.task_loss
