"""The encoding pass: one decode feeds every model that sees alike, a batch ahead of the models."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from forgetcheck.clip.features.cache import Features
from forgetcheck.clip.features.preprocess import Preparation, preparation
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.settings import preprocessing
from forgetcheck.errors import InputError
from forgetcheck.provenance import digest
from forgetcheck.tasks.base import Split, SplitName, Task, Unreadable
from forgetcheck.tasks.reading.in_flight import one_of_many

_BATCH = 256  # images per forward
BATCH_ON_CPU = 64  # where larger ones take more memory and no less time
_AHEAD = 1  # batches that are decoded while the models run: memory doesn't grow with the number of images
_NAMED = 3  # images that can't be read

Report = Callable[[int, str], None]
_Pixels = Mapping[str, Tensor]  # of one image or of many, by preprocessing


@dataclass(frozen=True)
class Part:
    """One part of a task, under the names that messages use."""

    title: str  # of the task
    task: Task
    name: SplitName
    split: Split

    def refuse_unread(self, unread: Sequence[tuple[int, str]], looked_at: int) -> None:
        """Refuse the task once more images than it tolerates can't be read."""
        tolerated, total = self.task.tolerated, len(self.split)
        if len(unread) > tolerated * total:
            so_far = "" if looked_at == total else f"{looked_at:,} of "
            raise InputError(
                f"task '{self.title}' tolerates {100 * tolerated:g} % unreadable images, but among "
                f"{so_far}{total:,} {self.name} images {self.told(unread)}: repair or remove them."
            )

    def told(self, unread: Sequence[tuple[int, str]]) -> str:
        """Say how many images can't be read, and name the first."""
        named = "; ".join(f"{self.split.ids[place]}: {why}" for place, why in unread[:_NAMED])
        return f"{len(unread):,} can't be read ({named}{'; ...' if len(unread) > _NAMED else ''})"


@dataclass
class _Shelf:
    """What one model saw so far, in the memory that all of it will take."""

    size: int
    rows: "np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None" = None
    filled: int = 0

    def add(self, embeddings: Tensor) -> None:
        if self.rows is None:
            self.rows = np.empty((self.size, embeddings.shape[1]), np.float32)
        self.rows[self.filled : self.filled + len(embeddings)] = embeddings.numpy()
        self.filled += len(embeddings)


@dataclass
class _Runner:
    """One model, batch after batch. What doesn't fit the memory is halved, and so is what follows."""

    encoder: Encoder
    engine: Engine
    task: str
    size: int = _BATCH

    def see(self, images: Tensor) -> Tensor:  # (n, 3, h, w) -> (n, d), on the CPU
        while True:
            try:
                with self.engine.running(self.encoder.device):
                    found = torch.cat([self.encoder.see(part).cpu() for part in images.split(self.size)])
                return self.checked(found)
            except (RuntimeError, MemoryError) as problem:
                if not out_of_memory(problem):
                    raise
            self.halve(len(images))  # out of the handler, which would keep the failed tensors alive

    def halve(self, found: int) -> None:
        if self.size == 1:
            raise InputError(
                f"'{self.encoder.name}' doesn't fit the memory of '{self.encoder.device}', even with one "
                "image at a time: use another --device, or --precision bf16."
            )
        self.size = max(1, min(self.size, found) // 2)
        if self.encoder.device.type == "cuda":
            torch.cuda.empty_cache()

    def checked(self, embeddings: Tensor) -> Tensor:
        name, task = self.encoder.name, self.task
        if not bool(torch.isfinite(embeddings).all()):
            raise InputError(f"'{name}' gives NaN or Inf on task '{task}': its weights are unusable.")
        if not bool(embeddings.any(dim=1).all()):  # zero has no direction: every class would be as near
            raise InputError(f"'{name}' gives zeros on task '{task}': its weights are unusable.")
        return embeddings


@dataclass(frozen=True)
class Shard:
    """Every `size`-th batch from batch `rank` on: batches are those of one process, so that answers are."""

    rank: int
    size: int


_ALL = Shard(0, 1)


def encode(
    part: Part, encoders: Sequence[Encoder], report: Report, engine: Engine, share: Shard = _ALL
) -> list[Features]:
    """Run every model over the same decoded images, in the same order."""
    runners = [_Runner(encoder, engine, part.title) for encoder in encoders]
    shelves = [_Shelf(len(part.split)) for _ in encoders]
    keys = [_preprocess_key(encoder) for encoder in encoders]
    ways = {key: preparation(encoder.preprocess) for key, encoder in zip(keys, encoders, strict=True)}
    kept: list[int] = []
    unread: list[tuple[int, str]] = []
    done = 0
    for batch in batches(part.split, ways, engine.threads, _batch_size(encoders), share):
        kept += batch.kept
        unread += batch.unread
        done += len(batch.kept) + len(batch.unread)
        part.refuse_unread(unread, done)
        if batch.kept:
            for key, runner, shelf in zip(keys, runners, shelves, strict=True):
                images = ways[key].finish(batch.pixels[key], runner.encoder.device)
                shelf.add(runner.see(images))
        report(min(share.size * done, len(part.split)), "")
    return [features(shelf, kept, unread) for shelf in shelves]


def features(shelf: _Shelf, kept: Sequence[int], unread: Sequence[tuple[int, str]]) -> Features:
    rows = np.empty((0, 0), np.float32) if shelf.rows is None else shelf.rows
    return Features(rows[: shelf.filled], np.array(kept, dtype=np.int64), tuple(unread))


@dataclass(frozen=True)
class _Batch:
    """Some images, decoded, and those of them that could not be."""

    kept: list[int]  # their places in the part
    pixels: _Pixels
    unread: list[tuple[int, str]]


def batches(
    split: Split, ways: Mapping[str, Preparation], threads: int, size: int, share: Shard = _ALL
) -> Iterator[_Batch]:
    """Decode each image once, and prepare it once per preprocessing; order is kept whoever is faster."""
    pool = ThreadPoolExecutor(threads, "decoding")
    waiting: deque[tuple[range, list[Future[_Pixels | str]]]] = deque()
    try:
        for start in range(share.rank * size, len(split), share.size * size):
            places = range(start, min(start + size, len(split)))
            waiting.append((places, [pool.submit(decode, split, place, ways) for place in places]))
            if len(waiting) > _AHEAD:
                yield _gathered(*waiting.popleft())
        while waiting:
            yield _gathered(*waiting.popleft())
    finally:  # also on Ctrl-C: nothing that isn't begun is begun
        pool.shutdown(wait=True, cancel_futures=True)


def decode(split: Split, place: int, ways: Mapping[str, Preparation]) -> _Pixels | str:
    """Return the pixels of one image, or why it can't be read."""
    with one_of_many():  # the image itself is gone before others get its room
        return _pixels_of(split, place, ways)


def _pixels_of(split: Split, place: int, ways: Mapping[str, Preparation]) -> _Pixels | str:
    try:
        image = split.image(place)
    except Unreadable as problem:
        return str(problem)
    return {key: way.pixels(image) for key, way in ways.items()}


def _gathered(places: range, futures: Sequence["Future[_Pixels | str]"]) -> _Batch:
    found = [(place, future.result()) for place, future in zip(places, futures, strict=True)]
    read = [(place, pixels) for place, pixels in found if not isinstance(pixels, str)]
    keys = read[0][1] if read else ()
    return _Batch(
        [place for place, _ in read],
        {key: torch.stack([pixels[key] for _, pixels in read]) for key in keys},
        [(place, why) for place, why in found if isinstance(why, str)],
    )


def _batch_size(encoders: Sequence[Encoder]) -> int:
    return BATCH_ON_CPU if all(encoder.device.type == "cpu" for encoder in encoders) else _BATCH


def _preprocess_key(encoder: Encoder) -> str:
    return digest(preprocessing(encoder.config))


def out_of_memory(problem: BaseException) -> bool:
    """Whether it is for want of memory; only CUDA has a type for that."""
    if isinstance(problem, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return any(word in str(problem) for word in words)
