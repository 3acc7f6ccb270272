"""EncodedTask: one model on one task. One decode and one pass per model feed every probe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetcheck.clip.features.cache import Features, known_or_made
from forgetcheck.clip.features.cache_keys import image_facts
from forgetcheck.clip.features.image_pass import Part, Report
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.features.sharding import encode_together
from forgetcheck.clip.features.text_pass import EncodedCaptions, as_images, read_captions, read_prompts
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.heads import Classifier, equal_rows, mean_by_class
from forgetcheck.errors import InputError
from forgetcheck.progress import Progress, Steps, silent
from forgetcheck.tasks.base import SplitName, Task, texts


@dataclass(frozen=True)
class EncodedSplit:
    """One part of a task as one model sees it."""

    embeddings: Tensor  # (n, d) float32, L2-normalised, on the CPU
    labels: Tensor  # (n,) int64
    kept: NDArray[np.int64] | None = None  # (n,) which samples of the part these are; None: all
    unread: str = ""  # what was left out, in half a line
    captions: EncodedCaptions | None = None  # where they are the labels


@dataclass(frozen=True)
class EncodedTask:
    """One task as one model sees it; the class prompts are read with the images, or when first needed."""

    task: Task
    encoder: Encoder
    splits: Mapping[SplitName, EncodedSplit]
    head: Classifier | None = None  # the fine-tuned one, if this is the task it was tuned on
    engine: Engine = field(default_factory=Engine)
    read: Tensor | None = None  # (c, t, d)

    @cached_property
    def each_prompt(self) -> Tensor:
        """What this model's own text tower reads in every prompt (c, t, d), on the CPU."""
        if self.read is not None:
            return self.read
        (found,) = read_prompts(self.task, [self.encoder], lambda *_: None, self.engine)
        return found

    @cached_property
    def prompts(self) -> Tensor:
        """Class embeddings (c, d): of each class the normalised mean of its prompts."""
        if not bool(self.each_prompt.any(dim=-1).all()):  # zero has no direction: every class is as near
            raise InputError(
                f"'{self.encoder.name}' reads prompts as zeros: the weights of its text tower are unusable."
            )
        return mean_by_class(self.each_prompt, len(self.task.class_names))

    @cached_property
    def equal_prompts(self) -> list[tuple[int, int]]:
        """Classes whose prompts are read as those of another, each with the first that it equals."""
        return equal_rows(self.prompts.numpy())


def encode_task(
    name: str,
    task: Task,
    encoders: Sequence[Encoder],
    parts: Sequence[SplitName],
    progress: Progress = silent,
    engine: Engine | None = None,
    prompted: bool = False,
) -> list[EncodedTask]:
    """Run every model over the same decoded images, in the same order; what the cache has isn't run.

    With `prompted` the class prompts are read as well, as part of the same progress. An image that can't be
    read is left out for all models. Raises InputError for an empty part, more such images than the task
    tolerates, or embeddings that are not finite.
    """
    engine = engine or Engine()
    steps = Steps(progress, f"embedding {name}", work(task, parts, prompted))
    seen = {
        part: _encode_part(Part(name, task, part, task.split(part)), encoders, steps, engine)
        for part in parts
    }
    read: Sequence[Tensor | None] = [None] * len(encoders)
    if prompted:
        count = len(task.class_names) * len(task.templates)
        read = read_prompts(task, encoders, steps.step(as_images(count), count), engine)
    return [
        EncodedTask(task, encoder, {part: seen[part][number] for part in parts}, None, engine, read[number])
        for number, encoder in enumerate(encoders)
    ]


def work(task: Task, parts: Sequence[SplitName], prompted: bool = False) -> int:
    """Return how much there is to do, in images."""
    images = sum(len(task.split(part)) + as_images(len(texts(task.split(part)))) for part in parts)
    return images + (as_images(len(task.class_names) * len(task.templates)) if prompted else 0)


def _encode_part(part: Part, encoders: Sequence[Encoder], steps: Steps, engine: Engine) -> list[EncodedSplit]:
    """Let every model see one part, and read what is said of it."""
    count, captions = len(part.split), part.split.captions
    if count == 0:
        raise InputError(f"task '{part.title}' has no {part.name} images: nothing would be measured.")
    seen = together(part, _features_of(part, encoders, steps.step(count, count), engine))
    if captions is None:
        return seen
    distinct = len(captions.distinct)
    read = read_captions(captions, seen[0].kept, encoders, steps.step(as_images(distinct), distinct), engine)
    return [replace(saw, captions=said) for saw, said in zip(seen, read, strict=True)]


def _features_of(part: Part, encoders: Sequence[Encoder], report: Report, engine: Engine) -> list[Features]:
    """Take what every model sees from the cache, and run those that aren't in it; equal ones run once."""
    contents = part.split.contents
    if engine.cache is None or contents is None:  # data of unknown contents could be other data the next time
        return encode_together(part, encoders, report, engine)
    known = contents()
    facts = [image_facts(encoder, engine.manner, part.name, known) for encoder in encoders]

    def run(missing: Sequence[int]) -> list[Features]:
        return encode_together(part, [encoders[number] for number in missing], report, engine)

    return known_or_made(engine.cache, facts, run, lambda: report(len(part.split), "from the cache"))


def together(part: Part, found: Sequence[Features]) -> list[EncodedSplit]:
    """Keep the samples that every model saw: what one couldn't be shown is left out for all."""
    kept = reduce(np.intersect1d, [features.kept for features in found])
    unread = sorted({place: why for features in found for place, why in features.unread}.items())
    part.refuse_unread(unread, len(part.split))
    if len(kept) == 0:
        raise InputError(f"task '{part.title}': {part.told(unread)}; nothing would be measured.")
    whole = len(kept) == len(part.split)
    labels = torch.from_numpy(part.split.labels[kept])
    said = f"of {len(part.split):,} {part.name} images {part.told(unread)}" if unread else ""
    rows = [each.embeddings if whole else each.embeddings[np.isin(each.kept, kept)] for each in found]
    return [EncodedSplit(torch.from_numpy(row), labels, None if whole else kept, said) for row in rows]
