"""Zero-shot: the class whose prompts lie nearest to the image (arXiv:2103.00020)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from forgetcheck.catalog import Rank
from forgetcheck.clip.features.encoded_task import EncodedSplit, EncodedTask
from forgetcheck.clip.features.text_pass import ROUNDING
from forgetcheck.errors import InputError
from forgetcheck.probes.base import Probe, Question, said
from forgetcheck.retention.answers import Predictions, Variants, variants_of

_ROWS = 4096  # test images that one template answers at once: bounds the memory


@dataclass(frozen=True)
class ZeroShot(Probe):
    """Uses the checkpoint's own text tower, or (`text=base`) the base's, where the two differ.

    With top=5 an answer is right if the truth is among the five nearest classes, as in acc@5. Where a task
    has several prompt templates, each is also asked alone: a report says how far they are apart.
    """

    text: Literal["own", "base"] = "own"
    top: Rank = 1
    prompted: ClassVar[bool] = True

    def question(self, base: EncodedTask) -> Question:
        classes = len(base.task.class_names)
        if 1 < self.top >= classes:
            raise InputError(f"the first {self.top} of {classes} classes are all of them: ask a smaller top.")
        return super().question(base)

    def answer(self, model: EncodedTask, base: EncodedTask) -> Predictions:
        reader, test = self.reader(model, base), model.splits["test"]
        logits = reader.encoder.scale * test.embeddings @ reader.prompts.T  # (n, c)
        answer = said(logits)
        if self.top > 1:
            answer = _among(logits, test.labels, self.top, answer)
        return replace(answer, variants=by_template(reader.each_prompt, test, self.top))

    def reader(self, model: EncodedTask, base: EncodedTask) -> EncodedTask:
        return model if self.text == "own" else base

    def applies(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        return self.text == "own" or _reads_otherwise(tuned, base)

    def identical(self, tuned: EncodedTask, base: EncodedTask) -> bool:
        if self.text == "own":
            return super().identical(tuned, base)
        return tuned.encoder.digests["visual"] == base.encoder.digests["visual"]


def _reads_otherwise(tuned: EncodedTask, base: EncodedTask) -> bool:
    """Whether the base's texts make another question: class prompts that differ by more than rounding.

    Weights don't say so. An interpolated checkpoint, (1 - a) * base + a * tuned, has other bits in a text
    tower that nobody trained; the logit scale, stored with the text tower, puts no class first; and after an
    allowed mismatch, such as another activation, equal weights read otherwise.
    """
    here, there = tuned.encoder, base.encoder
    if here.digests["text"] == there.digests["text"] and here.config == there.config:
        return False
    try:
        own, lent = tuned.prompts, base.prompts
    except InputError:  # the words of the task aren't there, which is told when it is asked
        return True
    if own.shape != lent.shape:  # an allowed mismatch: the images can't be compared with those texts
        return False
    return not float((own - lent).abs().max()) <= ROUNDING  # also where it is NaN


def _among(logits: Tensor, labels: Tensor, top: int, answer: Predictions) -> Predictions:
    """Say the truth where it is among the first `top`, else what was said; sure of them all together."""
    first = logits.softmax(dim=1).topk(top, dim=1)
    right = (first.indices == labels[:, None]).any(dim=1)
    return Predictions(
        label=torch.where(right, labels, torch.from_numpy(answer.label).long()).numpy().astype(np.int32),
        confidence=first.values.sum(dim=1).clamp(max=1).numpy().astype(np.float32),
        notes={**answer.notes, "top": top},
        named=first.indices.numpy().astype(np.int32),
    )


def by_template(prompts: Tensor, test: EncodedSplit, top: int) -> Variants | None:  # (c, t, d)
    """Say which test images are right by each template alone; None where there is just one."""
    if prompts.shape[1] < 2:
        return None
    right = [
        torch.cat([_in_first(rows @ each.T, labels, top) for rows, labels in _blocks(test)])
        for each in F.normalize(prompts, dim=-1).unbind(dim=1)
    ]
    return variants_of("template", np.stack([each.numpy() for each in right]))


def _blocks(test: EncodedSplit) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(test.embeddings.split(_ROWS), test.labels.split(_ROWS), strict=True)


def _in_first(cosines: Tensor, labels: Tensor, top: int) -> Tensor:  # (n, c), (n,) -> (n,)
    if top == 1:
        return cosines.argmax(dim=1) == labels
    return (cosines.topk(top, dim=1).indices == labels[:, None]).any(dim=1)
