"""What a probe does: it asks one model about one task, without chance."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from forgetcheck.clip.encoded_task import EncodedTask
from forgetcheck.errors import CannotAsk
from forgetcheck.retention.answers import Said
from forgetcheck.tasks.base import SplitName


@dataclass(frozen=True)
class Probe(ABC):
    """A way of asking. The dataclass fields of a subclass are its options."""

    parts: ClassVar[tuple[SplitName, ...]] = ("test",)  # which parts of a task it needs embedded

    @abstractmethod
    def answer(self, model: EncodedTask, base: EncodedTask) -> Said:
        """Say what `model` thinks of every test sample. For the base itself, both are the same."""

    def applies(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        """Whether the question makes sense for this pair."""
        return True

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        """Whether all weights that the answer depends on are the same, bit for bit."""
        return tuned.encoder.digests == base.encoder.digests


def said(logits: Tensor, notes: Mapping[str, Any] | None = None) -> Said:
    """Turn logits (n, c), float32 or better, into predictions with their confidence."""
    confidence, label = logits.softmax(dim=1).max(dim=1)
    if not bool(torch.isfinite(confidence).all()):  # or the first class would win, quietly
        raise CannotAsk("the logits became NaN or Inf: the logit_scale or the head of a model is unusable.")
    return Said(
        label=label.numpy().astype(np.int32),
        confidence=confidence.numpy().astype(np.float32),
        notes=dict(notes or {}),
    )
