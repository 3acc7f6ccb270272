"""Open every image of a task: unreadable ones, the same one in train and test, ones that were replaced."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forgetcheck.batteries.brightness import brightest
from forgetcheck.batteries.names import some
from forgetcheck.batteries.near_duplicates import Look, alike_pairs, look_at
from forgetcheck.batteries.overrides import Stated
from forgetcheck.batteries.repeats import Keyed, in_both_parts, two_labels
from forgetcheck.errors import InputError
from forgetcheck.progress import Progress
from forgetcheck.tasks.base import Split, SplitName, Task, Unreadable

_STEP = 50  # images between two words of progress


@dataclass(frozen=True)
class Issue:
    """One thing to know of a task before it is asked."""

    task: str
    text: str  # what it is and what to do, in a line
    grave: bool = True  # False: it informs


@dataclass(frozen=True)
class _Seen:
    """The images of one part that could be read."""

    ids: tuple[str, ...]
    looks: tuple[Look, ...]
    labels: tuple[int, ...]
    unreadable: tuple[str, ...]  # id and reason of the others


def look_through(
    name: str,
    task: Task,
    splits: Mapping[SplitName, Split],
    progress: Progress,
    before: int,
    total: int,
) -> Iterator[Issue]:
    """Lint the images of one task; `before` of `total` images were opened for others."""
    seen: dict[SplitName, _Seen] = {}
    for part, split in splits.items():
        seen[part] = see(name, split, progress, before, total)
        before += len(split)
        told = brightest(split)
        if told:
            yield Issue(name, f"{part}: {told}", grave=False)
        yield from unreadable(name, part, split, seen[part], task.tolerated)
        yield from _replaced(name, part, task, seen[part])
        if task.labelled_by == "class":
            told = two_labels(part, _keyed(seen[part]), task, "pixels")  # one is wrong, always
            if told:
                yield Issue(name, told)
    if "train" in seen and "test" in seen:
        yield from _overlap(name, seen["train"], seen["test"])


def see(name: str, split: Split, progress: Progress, before: int, total: int) -> _Seen:
    ids, looks, labels, bad = [], [], [], []
    for i, sample in enumerate(split.ids):
        try:
            looks.append(look_at(split.image(i)))
            ids.append(sample)
            labels.append(int(split.labels[i]))
        except Unreadable as problem:
            bad.append(f"'{sample}' ({problem})")
        if (i + 1) % _STEP == 0 or i + 1 == len(split):
            progress("checking", before + i + 1, total, name)
    return _Seen(tuple(ids), tuple(looks), tuple(labels), tuple(bad))


def unreadable(name: str, part: SplitName, split: Split, seen: _Seen, tolerated: float) -> Iterator[Issue]:
    if seen.unreadable:
        share = len(seen.unreadable) / len(split)
        yield Issue(
            name,
            f"{len(seen.unreadable)} of {len(split)} {part} images can't be read: {some(seen.unreadable)}; "
            "restore or remove them",
            grave=share > tolerated,
        )


def _keyed(seen: _Seen) -> Keyed:
    return Keyed(seen.ids, seen.labels, [look.pixels for look in seen.looks])


def _overlap(name: str, train: _Seen, test: _Seen) -> Iterator[Issue]:
    """Name test images that are in train as well: a linear probe has seen their answers."""
    told = in_both_parts(_keyed(test), _keyed(train), "pixel by pixel")
    if told:
        yield Issue(name, told)
    alike = alike_pairs(test.looks, train.looks)
    if alike:
        yield Issue(
            name,
            f"{len(alike)} test images look like a train image: {_pairs(alike, test, train)}; "
            "look at them: the same picture again, scaled or compressed, doesn't belong in both",
            grave=False,
        )


def _pairs(found: Sequence[tuple[int, int]], test: _Seen, train: _Seen) -> str:
    return some([f"'{test.ids[i]}' and '{train.ids[j]}'" for i, j in found])


def _replaced(name: str, part: SplitName, task: Task, seen: _Seen) -> Iterator[Issue]:
    """Compare the images of a picked battery with what they were when they were picked."""
    if not isinstance(task, Stated) or task.samples is None:
        return
    try:
        listed = task.listed(part)
    except InputError:
        return
    if listed is None:
        return
    then = {pick.id: pick.pixels for pick in listed}
    other = [
        f"'{sample}'"
        for sample, look in zip(seen.ids, seen.looks, strict=True)
        if then[sample] != look.pixels
    ]
    if other:
        yield Issue(
            name,
            f"{len(other)} {part} images have other pixels than when they were picked: {some(other)}; "
            "restore the data, or pick the battery again",
        )
