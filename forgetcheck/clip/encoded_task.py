"""EncodedTask: one model on one task. One decode and one pass per model feed every probe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetcheck.clip.captions import EncodedCaptions, read_captions
from forgetcheck.clip.encoder import Encoder
from forgetcheck.clip.encoding import Part, Report
from forgetcheck.clip.engine import Engine
from forgetcheck.clip.feature_cache import Features, known_or_made
from forgetcheck.clip.feature_keys import image_facts, prompt_facts
from forgetcheck.clip.heads import Classifier, class_embeddings
from forgetcheck.clip.sharding import encode_together
from forgetcheck.errors import CannotAsk
from forgetcheck.progress import Progress, silent
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
    """One task as one model sees it; the class prompts are read when first asked for."""

    task: Task
    encoder: Encoder
    splits: Mapping[SplitName, EncodedSplit]
    head: Classifier | None = None  # the fine-tuned one, if this is the task it was tuned on
    engine: Engine = field(default_factory=Engine)

    @cached_property
    def prompts(self) -> Tensor:
        """Class embeddings (c, d) of this model's own text tower, on the CPU."""
        cache = self.engine.cache
        if cache is None:
            return self.read()
        names, templates = self.task.class_names, self.task.templates
        facts = prompt_facts(self.encoder, self.engine.manner, names, templates)
        found = cache.get(facts)
        if found is None:
            found = Features(self.read().numpy(), np.arange(len(names)))
            cache.put(facts, found)
        return torch.from_numpy(found.embeddings)

    def read(self) -> Tensor:
        with self.engine.running(self.encoder.device):
            return class_embeddings(self.encoder, self.task.class_names, self.task.templates).cpu()


def encode_task(
    name: str,
    task: Task,
    encoders: Sequence[Encoder],
    parts: Sequence[SplitName],
    progress: Progress = silent,
    engine: Engine | None = None,
) -> list[EncodedTask]:
    """Run every model over the same decoded images, in the same order; what the cache has isn't run.

    An image that can't be read is left out for all models. Raises CannotAsk for an empty part, more such
    images than the task tolerates, or embeddings that are not finite.
    """
    engine = engine or Engine()
    splits = {part: task.split(part) for part in parts}
    total = sum(len(split) + len(texts(split)) for split in splits.values())
    seen: dict[SplitName, list[EncodedSplit]] = {}
    before = 0
    for part, split in splits.items():
        if len(split) == 0:
            raise CannotAsk(f"task '{name}' has no {part} images: nothing would be measured.")
        asked = Part(name, task, part, split)

        def report(done: int, note: str = "") -> None:
            progress(f"embedding {name}", before + done, total, note)  # noqa: B023 (called before the next)

        seen[part] = together(asked, features_of(asked, encoders, report, engine))
        before += len(split)
        if split.captions:
            read = read_captions(split.captions, seen[part][0].kept, encoders, report, engine)
            seen[part] = [replace(saw, captions=said) for saw, said in zip(seen[part], read, strict=True)]
            before += len(split.captions.distinct)
    return [
        EncodedTask(task, encoder, {part: seen[part][number] for part in parts}, engine=engine)
        for number, encoder in enumerate(encoders)
    ]


def features_of(part: Part, encoders: Sequence[Encoder], report: Report, engine: Engine) -> list[Features]:
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
        raise CannotAsk(f"task '{part.title}': {part.told(unread)}; nothing would be measured.")
    whole = len(kept) == len(part.split)
    labels = torch.from_numpy(part.split.labels[kept])
    said = f"of {len(part.split):,} {part.name} images {part.told(unread)}" if unread else ""
    rows = [each.embeddings if whole else each.embeddings[np.isin(each.kept, kept)] for each in found]
    return [EncodedSplit(torch.from_numpy(row), labels, None if whole else kept, said) for row in rows]
