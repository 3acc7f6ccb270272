"""Zero-shot: the class whose prompts lie nearest to the image (arXiv:2103.00020)."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from forgetcheck.catalog import Rank
from forgetcheck.clip.encoded_task import EncodedTask
from forgetcheck.errors import CannotAsk
from forgetcheck.probes.base import Probe, Question, said
from forgetcheck.retention.answers import Said


@dataclass(frozen=True)
class ZeroShot(Probe):
    """Uses the checkpoint's own text tower, or (`text=base`) the base's, where the two differ.

    With top=5 an answer is right if the truth is among the five nearest classes, as in acc@5.
    """

    text: Literal["own", "base"] = "own"
    top: Rank = 1
    prompted: ClassVar[bool] = True

    def question(self, base: EncodedTask) -> Question:
        question, classes = super().question(base), len(base.task.class_names)
        if self.top == 1:
            return question
        if self.top >= classes:
            raise CannotAsk(f"the first {self.top} of {classes} classes are all of them: ask a smaller top.")
        first = self.logits(base, base).topk(self.top, dim=1).indices
        named = np.bincount(first.flatten().numpy(), minlength=classes) / len(first)
        share = np.bincount(question.labels, minlength=classes) / len(first)
        return replace(question, chance=np.maximum([share @ named, *named], self.top / classes).clip(max=1))

    def answer(self, model: EncodedTask, base: EncodedTask) -> Said:
        logits = self.logits(model, base)
        answer = said(logits)
        return answer if self.top == 1 else among(logits, model.splits["test"].labels, self.top, answer)

    def logits(self, model: EncodedTask, base: EncodedTask) -> Tensor:  # (n, c)
        reader = model if self.text == "own" else base
        return reader.encoder.scale * model.splits["test"].embeddings @ reader.prompts.T

    def applies(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return self.text == "own" or tuned.encoder.digests["text"] != base.encoder.digests["text"]

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        if self.text == "own":
            return super().identical(tuned, base)
        return tuned.encoder.digests["visual"] == base.encoder.digests["visual"]


def among(logits: Tensor, labels: Tensor, top: int, answer: Said) -> Said:
    """Say the truth where it is among the first `top`, else what was said; sure of them all together."""
    first = logits.softmax(dim=1).topk(top, dim=1)
    right = (first.indices == labels[:, None]).any(dim=1)
    return Said(
        label=torch.where(right, labels, torch.from_numpy(answer.label).long()).numpy().astype(np.int32),
        confidence=first.values.sum(dim=1).clamp(max=1).numpy().astype(np.float32),
        notes={**answer.notes, "top": top},
    )
