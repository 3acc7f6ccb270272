"""Two-way caption choice: the right caption against its swap, as SugarCrepe asks (arXiv:2306.14610)."""

from dataclasses import dataclass

import numpy as np
import torch

from forgetcheck.clip.features.encoded_task import EncodedTask
from forgetcheck.probes.base import Probe, Question, captions_of, quoted, refuse_unusable
from forgetcheck.retention.answers import Predictions
from forgetcheck.tasks.base import Task

_SWAP = "(the swap)"  # what is said where the wrong caption lies as near, or nearer


@dataclass(frozen=True)
class CaptionChoice(Probe):
    """Each caption and its swap is a sample, its kind the concept; half is chance."""

    def asks(self, task: Task) -> bool:
        return task.labelled_by == "swap"

    def question(self, base: EncodedTask) -> Question:
        captions, names = captions_of(base).said, (*base.task.class_names, _SWAP)
        pairs = zip(captions.texts, captions.swaps, strict=True)
        samples = tuple(f"{quoted(text)}, not {quoted(swap)}" for text, swap in pairs)
        half = np.full(1 + len(names), 0.5)
        return Question(names, captions.kinds.astype(np.int32), captions.places, samples, half)

    def answer(self, model: EncodedTask, base: EncodedTask) -> Predictions:
        captions = captions_of(model)
        images = model.splits["test"].embeddings[torch.from_numpy(captions.said.places)]
        right, wrong = (
            (images * captions.of(texts)).sum(dim=1) for texts in (captions.said.texts, captions.said.swaps)
        )
        gap = (model.encoder.scale * (right - wrong)).double()
        refuse_unusable(gap)
        kinds = torch.from_numpy(captions.said.kinds)
        return Predictions(
            label=torch.where(gap > 0, kinds, len(model.task.class_names)).numpy().astype(np.int32),
            confidence=gap.abs().sigmoid().numpy().astype(np.float32),
        )
