"""What tuning reads: the task's images, those held out, further streams, and the order of batches."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from forgetcheck import catalog
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.view import Batch
from forgetcheck.errors import InputError
from forgetcheck.regularizers.base import NEW
from forgetcheck.tasks.base import Split, Task, Unreadable, dealt
from forgetcheck.tuning.schedule import Schedule

HELD_OUT = 10  # every tenth training sample of a class is for validation, never for training
_MEMORY = 2**30  # bytes of prepared images to keep between epochs


@dataclass(frozen=True)
class Named:
    """A thing built from a spec, and the spec for the record."""

    spec: str
    thing: Any


class Pictures:
    """Prepared images of a split by index, with a prompt for each; images are kept while they fit."""

    def __init__(self, split: Split, task: Task, preprocess: Callable[[Any], Tensor]) -> None:
        self.split = split
        self.task = task
        self.preprocess = preprocess
        self.labels = torch.from_numpy(split.labels)
        self.kept: dict[int, Tensor] = {}

    def batch(self, chosen: Tensor, step: int = 0) -> Batch:
        """Return the samples at `chosen` (n,). At another step, other templates tell of them."""
        places = chosen.tolist()
        return Batch(
            torch.stack([self.image(place) for place in places]),
            self.labels[chosen],
            tuple(self.text(place, step) for place in places),
            tuple(self.split.ids[place] for place in places),
        )

    def text(self, place: int, step: int) -> str:
        templates = self.task.templates
        name = self.task.class_names[int(self.labels[place])]
        return templates[(place + step) % len(templates)].replace("{}", name)

    def image(self, index: int) -> Tensor:
        if index in self.kept:
            return self.kept[index]
        image = self.preprocess(self.decoded(index))
        if (len(self.kept) + 1) * image.numel() * image.element_size() <= _MEMORY:
            self.kept[index] = image
        return image

    def decoded(self, index: int) -> Image.Image:
        """Decode one image. Training on what is left would be another task: what can't be read is refused."""
        try:
            return self.split.image(index)
        except Unreadable as problem:
            raise InputError(
                f"image '{self.split.ids[index]}' can't be read ({problem}): restore it, or remove it."
            ) from None


@dataclass(frozen=True)
class Stream:
    """The batches of one task. Which samples a step sees depends on the seed and the step alone."""

    pictures: Pictures
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.pictures.labels) / self.batch_size)

    def since(self, step: int) -> Iterator[Batch]:
        """Yield the batch of every step from this one on, without end."""
        count = len(self.pictures.labels)
        for number, chosen in enumerate(order(count, self.batch_size, self.seed, step), start=step):
            yield self.pictures.batch(chosen, number)

    def __iter__(self) -> Iterator[Batch]:
        """Yield every sample once, in the order of the task."""
        for chosen in torch.arange(len(self.pictures.labels)).split(self.batch_size):
            yield self.pictures.batch(chosen)


def order(count: int, batch_size: int, seed: int, since: int = 0) -> Iterator[Tensor]:
    """Yield the indices of every batch from a step on: each epoch is another permutation, and none ends it.

    The permutations before are drawn again, so that no generator's state has to be kept.
    """
    return islice(_all_batches(count, batch_size, seed), since, None)


def _all_batches(count: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator).split(min(batch_size, count))


def streams_of(
    further: Mapping[str, str], training: Pictures, encoder: Encoder, schedule: Schedule
) -> dict[str, Stream]:
    """Return the task's own stream, and further ones by the spec of their task, of which train is seen."""
    streams = {NEW: Stream(training, schedule.batch_size, schedule.seed)}
    for name, spec in further.items():
        task = Named(spec, catalog.build("tasks", spec))
        refuse_captions(task)
        pictures = Pictures(task.thing.split("train"), task.thing, encoder.preprocess)
        if not len(pictures.labels):
            raise InputError(f"'{spec}' has no train images for the stream '{name}': name another task.")
        streams[name] = Stream(pictures, schedule.batch_size, _seed_of(name, schedule.seed))
    return streams


def _seed_of(stream: str, seed: int) -> int:
    """Return a seed for each further stream, so that two of equal length are not dealt alike."""
    return int.from_bytes(hashlib.sha256(f"{seed} {stream}".encode()).digest()[:7])


def split_off(task: Named, encoder: Encoder) -> tuple[Pictures, Pictures]:
    """Return what is trained on and what is held out, as the encoder takes it."""
    kept, held = (Pictures(part, task.thing, encoder.preprocess) for part in hold_out(task))
    return kept, held


def hold_out(task: Named) -> tuple[Split, Split]:
    """Hold out a stratified tenth of train; the test part is not touched."""
    split = task.thing.split("train")
    held = dealt(split.labels, HELD_OUT)
    if held.all() or not held.any():
        raise InputError(
            f"task '{task.spec}' has {len(split)} train images: too few to hold out a tenth of a class "
            "for validation; bring at least 10 images of a class."
        )
    kept, out = (split.take(mask.nonzero()[0]) for mask in (~held, held))
    return kept, out


def refuse_captions(task: Named) -> None:
    if task.thing.labelled_by != "class":
        raise InputError(f"'{task.spec}' has captions and no classes, which a head learns: tune on another.")
