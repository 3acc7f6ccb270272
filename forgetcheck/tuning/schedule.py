"""How to train: what is asked for, what a checkpoint recommends, and the learning rate of each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from forgetcheck.clip.model.checkpoint import Checkpoint
from forgetcheck.errors import InputError


@dataclass(frozen=True)
class Schedule:
    """How to train with AdamW.

    Rate, weight decay, batch size and gradient clip are by default those of arXiv:2308.13320 for CLIP
    ViT-B/32. docs/methods.md lists where the rest differs from that protocol.
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-5
    weight_decay: float = 0.1
    warmup_steps: int = 500  # at most a tenth of all steps
    gradient_clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "gradient_clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name.replace('_', '-')} is {getattr(self, name)}: it must be above 0.")
        for name in ("weight_decay", "warmup_steps", "seed"):
            if not 0 <= getattr(self, name) < 2**63:
                raise InputError(
                    f"{name.replace('_', '-')} is {getattr(self, name)}: it must be from 0 to 2**63 - 1."
                )


def schedule_for(checkpoint: Checkpoint, **asked: Any) -> Schedule:
    """Return the schedule asked for; what was left open comes from the checkpoint, then the defaults.

    A checkpoint far from the usual size can recommend a schedule in its config, as forgetcheck:tiny does.
    """
    recorded = checkpoint.config.get("schedule", {})
    kinds = {each.name: type(each.default) for each in fields(Schedule)}
    if not isinstance(recorded, Mapping) or any(
        type(value) not in {kinds.get(name), int} or name not in kinds for name, value in recorded.items()
    ):
        raise InputError(
            f"the schedule in the config of '{checkpoint.name}' is damaged ({recorded!r:.80}): correct it."
        )
    return Schedule(**{**recorded, **asked})


def learning_rate(number: int, total: int, schedule: Schedule) -> float:
    """Linear warm-up, then cosine to zero. `number` counts from 0."""
    warmup = min(schedule.warmup_steps, total // 10)
    if number < warmup:
        return schedule.learning_rate * (number + 1) / warmup
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * (number - warmup) / (total - warmup)))
