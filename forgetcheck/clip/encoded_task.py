"""EncodedTask: one model on one task. One decode and one pass per model feed every probe."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from forgetcheck.clip.encoder import Encoder
from forgetcheck.clip.heads import Classifier, class_embeddings
from forgetcheck.clip.settings import preprocessing
from forgetcheck.errors import CannotAsk
from forgetcheck.progress import Progress, silent
from forgetcheck.provenance import digest
from forgetcheck.tasks.base import Split, SplitName, Task

BATCH = 256  # images per forward


@dataclass(frozen=True)
class EncodedSplit:
    """One part of a task as one model sees it."""

    embeddings: Tensor  # (n, d) float32, L2-normalised, on the CPU
    labels: Tensor  # (n,) int64


@dataclass(frozen=True)
class EncodedTask:
    """One task as one model sees it; the class prompts are read when first asked for."""

    task: Task
    encoder: Encoder
    splits: Mapping[SplitName, EncodedSplit]
    head: Classifier | None = None  # the fine-tuned one, if this is the task it was tuned on

    @cached_property
    def prompts(self) -> Tensor:
        """Class embeddings (c, d) of this model's own text tower, on the CPU."""
        return class_embeddings(self.encoder, self.task.class_names, self.task.templates).cpu()


def encode_task(
    name: str,
    task: Task,
    encoders: Sequence[Encoder],
    parts: Sequence[SplitName],
    progress: Progress = silent,
) -> list[EncodedTask]:
    """Run every model over the same decoded images, in the same order.

    Raises CannotAsk for an empty part, or embeddings that are not finite.
    """
    splits = {part: task.split(part) for part in parts}
    total = sum(len(split) for split in splits.values())
    seen: dict[SplitName, list[EncodedSplit]] = {}
    done = 0
    for part, split in splits.items():
        if len(split) == 0:
            raise CannotAsk(f"task '{name}' has no {part} images: nothing would be measured.")
        rows: list[list[Tensor]] = [[] for _ in encoders]
        for batch in batches(split, encoders):
            for found, encoder, images in zip(rows, encoders, batch, strict=True):
                found.append(embed(name, encoder, images))
            done += len(batch[0])
            progress(f"embedding {name}", done, total)
        labels = torch.from_numpy(split.labels)
        seen[part] = [EncodedSplit(torch.cat(found), labels) for found in rows]
    return [
        EncodedTask(task, encoder, {part: seen[part][number] for part in parts})
        for number, encoder in enumerate(encoders)
    ]


def batches(split: Split, encoders: Sequence[Encoder]) -> Iterator[list[Tensor]]:
    """Yield one batch per encoder; each image is decoded once, and prepared once per preprocessing."""
    ways = {preprocess_key(encoder): encoder.preprocess for encoder in encoders}
    for start in range(0, len(split), BATCH):
        images = [split.image(i) for i in range(start, min(start + BATCH, len(split)))]
        prepared = {key: prepare(images, preprocess) for key, preprocess in ways.items()}
        yield [prepared[preprocess_key(encoder)] for encoder in encoders]


def preprocess_key(encoder: Encoder) -> str:
    return digest(preprocessing(encoder.config))


def prepare(images: Sequence[Image.Image], preprocess: Any) -> Tensor:
    return torch.stack([preprocess(image) for image in images])


def embed(name: str, encoder: Encoder, images: Tensor) -> Tensor:
    with torch.inference_mode():
        embeddings = encoder.see(images).cpu()
    if not bool(torch.isfinite(embeddings).all()):
        raise CannotAsk(f"'{encoder.name}' gives NaN or Inf on task '{name}': its weights are unusable.")
    if not bool(embeddings.any(dim=1).all()):  # zero has no direction: every class would be as near
        raise CannotAsk(f"'{encoder.name}' gives zeros on task '{name}': its weights are unusable.")
    return embeddings
