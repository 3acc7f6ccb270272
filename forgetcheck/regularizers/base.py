"""The questions a regularizer answers; every one has a default, so a method states only what it changes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.forward_pass import ForwardPass
from forgetcheck.clip.model.heads import Head, prompt_head
from forgetcheck.clip.model.towers import VISUAL
from forgetcheck.tasks.base import Task


@dataclass(frozen=True)
class Regularizer:
    """A way of staying near the base. Returns tensors and changes nothing.

    The dataclass fields of a subclass are its options: `name:field=value`.
    """

    def depths(self, encoder: Encoder) -> tuple[int, ...]:
        """Which depths of the image tower it looks at, in blocks; none costs no intermediates."""
        return ()

    def may_move(self, name: str) -> bool:
        """Whether the weight of this open_clip name is trained. The head always is."""
        return name.startswith(VISUAL)

    def weight_decay(self, asked: float) -> float:
        """How strongly AdamW may pull the tower's weights towards zero."""
        return asked

    def start_head(self, encoder: Encoder, task: Task) -> Head:
        """Return the head that training starts from: the class prompts (ZS-init)."""
        return prompt_head(encoder, task.class_names, task.templates)

    def task_loss(self, tuned: ForwardPass, labels: Tensor) -> Tensor:
        """Return the loss on the new task, (). `labels` (n,)."""
        return F.cross_entropy(tuned.logits, labels)

    def penalty(self, tuned: ForwardPass, base: ForwardPass) -> Tensor:
        """Return what leaving the base costs on this batch, (); zero at the base's own weights."""
        return torch.zeros((), device=tuned.encoder.device)

    def finish(self, base: Mapping[str, Tensor], tuned: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights to keep, given both state dicts after training."""
        return tuned
