"""What a probe does: it asks one model about one task, deterministically."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.clip.features.text_pass import EncodedCaptions
from forgetcheck.errors import InputError
from forgetcheck.retention.answers import Predictions
from forgetcheck.tasks.base import SplitName, Task

_LONGEST = 300  # characters of a caption that are shown


@dataclass(frozen=True)
class Question:
    """What is asked of every model alike, and what would be right."""

    class_names: tuple[str, ...]
    labels: NDArray[np.int32]  # (n,) indices into class_names
    places: NDArray[np.int64]  # (n,) which of the task's test images each sample is about
    samples: tuple[str, ...] = ()  # (n,) what to call each, if not by its image
    chance: NDArray[np.float64] | None = None  # (1 + c,) if it isn't what the base's answers say of it


@dataclass(frozen=True)
class Probe(ABC):
    """A way of asking. The dataclass fields of a subclass are its options."""

    parts: ClassVar[tuple[SplitName, ...]] = ("test",)  # which parts of a task it needs embedded
    prompted: ClassVar[bool] = False  # whether it needs the class prompts

    @abstractmethod
    def answer(self, model: EncodedTask, base: EncodedTask) -> Predictions:
        """Say what `model` thinks of every test sample. For the base itself, both are the same."""

    def asks(self, task: Task) -> bool:
        """Whether it can be applied to tasks of this kind at all."""
        return task.labelled_by == "class"

    def question(self, base: EncodedTask) -> Question:
        """Say what is asked: the class of every test image, unless the probe asks something else."""
        labels = base.splits["test"].labels.numpy().astype(np.int32)
        return Question(base.task.class_names, labels, np.arange(len(labels)))

    def reader(self, model: EncodedTask, base: EncodedTask) -> EncodedTask:
        """Return who reads the class prompts, where the probe needs them."""
        return model

    def applies(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        """Whether the question makes sense for this pair."""
        return True

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        """Whether all weights that the answer depends on are the same, bit for bit."""
        return tuned.encoder.digests == base.encoder.digests


def captions_of(model: EncodedTask) -> EncodedCaptions:
    """Return the captions of the test images, as the model reads them."""
    found = model.splits["test"].captions
    if found is None:
        raise InputError("its images have no captions: ask zero-shot, or linear.")
    return found


def quoted(text: str) -> str:
    """Write a caption as the name of a sample: its beginning, where it is longer than a reader looks at."""
    return repr(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ...")


def refuse_unusable(values: Tensor) -> None:
    """Refuse what isn't finite, or the first class would win, quietly."""
    if not bool(torch.isfinite(values).all()):
        raise InputError("the logits became NaN or Inf: the logit_scale or the head of a model is unusable.")


def said(logits: Tensor, notes: Mapping[str, Any] | None = None) -> Predictions:
    """Turn logits (n, c), float32 or better, into predictions with their confidence."""
    confidence, label = logits.softmax(dim=1).max(dim=1)
    refuse_unusable(confidence)
    return Predictions(
        label=label.numpy().astype(np.int32),
        confidence=confidence.numpy().astype(np.float32),
        notes=dict(notes or {}),
    )
