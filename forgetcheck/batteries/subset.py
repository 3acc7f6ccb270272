"""pick(): a few images of each class that stand for all of them, and the audit error that costs."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forgetcheck import catalog
from forgetcheck.batteries import sample_table as picks
from forgetcheck.batteries.battery import Battery, Expected, TaskEntry
from forgetcheck.batteries.near_duplicates import digest_of
from forgetcheck.batteries.overrides import Stated
from forgetcheck.batteries.paths import is_relative
from forgetcheck.batteries.sample_table import Pick
from forgetcheck.batteries.toml import battery_text, moved
from forgetcheck.clip.features.encoded_task import EncodedSplit, EncodedTask, encode_task
from forgetcheck.clip.model.checkpoint import Checkpoint
from forgetcheck.clip.model.load import load_encoder, share_towers
from forgetcheck.errors import DataError, InputError
from forgetcheck.probes.base import Probe
from forgetcheck.progress import Progress, silent
from forgetcheck.tasks.base import Split, SplitName, Task, Unreadable, size
from forgetcheck.tasks.indexed import Indexed
from forgetcheck.tasks.reading.naming import LARGEST
from forgetcheck.tasks.reading.reach import reach_of
from forgetcheck.text import percent, points

_TEXTS = ("classes", "prompts")  # options of sources that name a text file
_PROBES = ("zero-shot", "linear")  # whose error is measured
_PARTS: tuple[SplitName, ...] = ("train", "test")
_Chosen = Mapping[SplitName, NDArray[np.int64]]  # places of the picked samples in each part, ascending


@dataclass(frozen=True)
class Selection:
    """How to pick: a method, and how many samples of each class; a part that isn't named stays whole."""

    method: Literal["herding", "k-center"]
    per_class: Mapping[SplitName, int]

    def __str__(self) -> str:
        numbers = " and ".join(f"{number} {part}" for part, number in self.per_class.items())
        return f"{numbers} images of each class by {self.method}"


@dataclass(frozen=True)
class _Cost:
    """What one probe says of one task: asked whole, and asked of the picked samples only."""

    task: str
    probe: str
    samples: tuple[int, int]  # test images: whole, picked
    base: tuple[float, float]  # accuracy
    tuned: tuple[float, float] | None = None

    @property
    def drops(self) -> tuple[float, float] | None:
        if self.tuned is None:
            return None
        return self.base[0] - self.tuned[0], self.base[1] - self.tuned[1]

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table: numbers of images, accuracies, drops."""
        drops = ("", "") if self.drops is None else tuple(points(drop) for drop in self.drops)
        sizes = (f"{n:,}" for n in self.samples)
        return (self.task, self.probe, *sizes, *(percent(share) for share in self.base), *drops)


@dataclass(frozen=True)
class Picked:
    """A small battery, not yet written."""

    battery: Battery  # the one it was picked from
    rule: Selection
    base: str  # whose embeddings were used
    tuned: str
    picks: tuple[Pick, ...]
    costs: tuple[_Cost, ...]
    left: tuple[str, ...]  # what could not be measured, or picked, and why

    @property
    def table(self) -> str:
        return picks.written(self.picks)

    @property
    def said(self) -> tuple[str, ...]:
        """The error in a line for each probe, and what is missing."""
        return (*(line for probe in _PROBES for line in errors(self.costs, probe)), *self.left)

    def text(self, file: Path) -> str:
        """Return the battery as TOML, for a file of that name with the table beside it."""
        tuned = f" Drops are those of {self.tuned}." if self.tuned else ""
        heading = [
            f"Picked from the battery {self.battery.name}: {self.rule}, on the embeddings of {self.base}.",
            f"What it costs, measured on both.{tuned}",
            *(f"  {line}" for line in self.said),
            "Every sample that is asked stands in the table beside this file.",
        ]
        entries = [self.entry(name, file) for name in self.names]
        remarks = {name: {"": "; ".join(self.remarks(name))} for name in self.names}
        return battery_text(heading, entries, remarks)

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys(pick.task for pick in self.picks))

    def entry(self, name: str, file: Path) -> TaskEntry:
        assert self.battery.path is not None
        old = self.battery.entries[name]
        task = self.battery.tasks[name]
        picked = Counter(pick.split for pick in self.picks if pick.task == name)
        train, test = (picked[part] or size(task, part) for part in _PARTS)
        named = old.class_names
        if isinstance(named, str) and isinstance(task, Stated) and task.names_by_label is not None:
            named = dict(task.names_by_label)  # a file of another folder isn't read
        return old.model_copy(
            update={
                "class_names": named,
                "source": moved(old.source, self.battery.path.parent, file.parent, _copies(name, old, file)),
                "samples": file.with_suffix(picks.TABLE).name,
                "expected": Expected(classes=len(task.class_names), train=train or None, test=test),
            }
        )

    def texts(self, file: Path) -> dict[Path, str]:
        """Return copies of class names and prompts of sources, for beside that file: it reads no others."""
        found = {}
        for name in self.names:
            task, entry = self.battery.tasks[name], self.battery.entries[name]
            for option, copy in _copies(name, entry, file).items():
                found[file.parent / copy] = _text_of(task.origin, option)
        return found

    def remarks(self, name: str) -> Iterator[str]:
        for cost in self.costs:
            if cost.task == name:
                drops = "" if cost.drops is None else f", drop {' -> '.join(map(points, cost.drops))}"
                yield f"{cost.probe}: accuracy {' -> '.join(map(percent, cost.base))}{drops}"


def _copies(name: str, entry: TaskEntry, file: Path) -> dict[str, str]:
    """Return what the text files of a source are called beside a picked battery, by their options."""
    source, _, rest = entry.source.partition(":")
    found = dict(catalog.parse_options(entry.source, rest))
    slug = re.sub(r"\W+", "-", name).strip("-")
    return {
        option: f"{file.stem}.{slug}.{option}.txt"
        for option in _TEXTS
        if is_relative(option, found.get(option, ""), source, file.parent)
    }


def _text_of(source: Task, option: str) -> str:
    """Return a text file of a source, as it reads it."""
    path = Path(getattr(source, option))
    around: Sequence[Path] = source.around(path) if isinstance(source, Indexed) else ()
    return reach_of(source).read_text(path, LARGEST, "utf-8-sig", around)


def pick(
    battery: Battery,
    base: Checkpoint,
    rule: Selection,
    tuned: Checkpoint | None = None,
    device: str = "auto",
    progress: Progress = silent,
) -> Picked:
    """Pick samples of every class of every task on the base's embeddings, and measure what is lost by it.

    The same embeddings give the same samples: nothing is left to chance. A task that can't be asked is
    left out, and told. Raises InputError when none is left.
    """
    encoders = [load_encoder(base, device)]
    if tuned is not None:
        encoders.append(load_encoder(tuned, device))
        share_towers(encoders[1], encoders[0])
    found: list[Pick] = []
    costs: list[_Cost] = []
    left: list[str] = []
    for name, task in battery.tasks.items():
        try:
            if task.labelled_by != "class":
                raise DataError("samples are picked class by class, and it has captions.")
            seen = encode_task(name, task, encoders, _parts_of(task), progress)
        except (InputError, Unreadable) as problem:
            left.append(f"{name} is left out: {problem}")
            continue
        splits = seen[0].splits
        chosen = {part: _choose(splits[part], rule, part) for part in rule.per_class if part in splits}
        found += rows(name, task, chosen)
        for probe in _PROBES:
            try:
                costs.append(cost(name, probe, seen, chosen))
            except InputError as problem:
                left.append(f"{name} ({probe}): {problem}")
    if not found:
        raise DataError(f"battery '{battery.name}': nothing to pick from: {left[0]}")
    named = "" if tuned is None else tuned.name
    return Picked(battery, rule, base.name, named, tuple(found), tuple(costs), tuple(left))


def _parts_of(task: Task) -> tuple[SplitName, ...]:
    """Return test, and train where there is any."""
    return _PARTS if size(task, "train") else ("test",)


def _choose(split: EncodedSplit, rule: Selection, part: SplitName) -> NDArray[np.int64]:
    """Pick from each class by itself, so that even the rarest is asked. (m,)"""
    features, labels = split.embeddings.double().numpy(), split.labels.numpy()
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        chosen.append(members[_METHODS[rule.method](features[members], rule.per_class[part])])
    return np.sort(np.concatenate(chosen))


_Floats = NDArray[np.float64]


def herding(features: _Floats, count: int) -> NDArray[np.int64]:  # (n, d) -> (m,)
    """Pick one by one what keeps the mean of the picked nearest to the mean of all (Welling 2009)."""
    mean, total = features.mean(axis=0), np.zeros(features.shape[1])
    free = np.ones(len(features), dtype=np.bool_)
    chosen: list[int] = []
    for number in range(1, min(count, len(features)) + 1):
        apart = np.square((total + features) / number - mean).sum(axis=1)
        chosen.append(int(np.argmin(np.where(free, apart, np.inf))))  # the first of equals
        free[chosen[-1]] = False
        total += features[chosen[-1]]
    return np.array(chosen, dtype=np.int64)


def k_center(features: _Floats, count: int) -> NDArray[np.int64]:  # (n, d) -> (m,)
    """Pick what lies nearest to the mean, then always what is farthest from all picked (Gonzalez 1985)."""
    nearest = np.full(len(features), np.inf)
    chosen = [int(np.square(features - features.mean(axis=0)).sum(axis=1).argmin())]
    while len(chosen) < min(count, len(features)):
        nearest = np.minimum(nearest, np.square(features - features[chosen[-1]]).sum(axis=1))
        nearest[chosen] = -1  # equal images would be picked again
        chosen.append(int(nearest.argmax()))
    return np.array(chosen, dtype=np.int64)


_METHODS: Mapping[str, Callable[[_Floats, int], NDArray[np.int64]]] = {
    "herding": herding,
    "k-center": k_center,
}


def rows(name: str, task: Task, chosen: _Chosen) -> Iterator[Pick]:
    for part, places in chosen.items():
        split = task.split(part)
        for place in places.tolist():
            label = int(split.labels[place])
            yield Pick(
                name, part, split.ids[place], str(label), task.class_names[label], _pixels(split, place)
            )


def _pixels(split: Split, place: int) -> str:
    try:
        return digest_of(split.image(place))
    except Unreadable:
        return ""


def cost(name: str, probe: str, seen: Sequence[EncodedTask], chosen: _Chosen) -> _Cost:
    """Put a probe to the whole task and to its picked samples, which also train it."""
    asked: Probe = catalog.build("probes", probe)
    if not set(asked.parts) <= set(seen[0].splits):
        raise DataError("no train images: it can't be asked.")
    parts = [_narrowed(each, chosen) for each in seen]
    base = accuracy(asked, seen[0], seen[0]), accuracy(asked, parts[0], parts[0])
    tuned = None
    if len(seen) > 1:
        tuned = accuracy(asked, seen[1], seen[0]), accuracy(asked, parts[1], parts[0])
    sizes = (len(seen[0].splits["test"].labels), len(chosen["test"]))
    return _Cost(name, probe, sizes, base, tuned)


def _narrowed(seen: EncodedTask, chosen: _Chosen) -> EncodedTask:
    """Keep the picked samples of what a model has seen."""
    few = {part: _taken(seen.splits[part], torch.from_numpy(places)) for part, places in chosen.items()}
    return replace(seen, splits={**seen.splits, **few})


def _taken(split: EncodedSplit, places: Tensor) -> EncodedSplit:
    return EncodedSplit(split.embeddings[places], split.labels[places])


def accuracy(probe: Probe, model: EncodedTask, base: EncodedTask) -> float:
    said = probe.answer(model, base)
    return float(np.mean(said.label == model.splits["test"].labels.numpy()))


def errors(costs: Sequence[_Cost], probe: str) -> Iterator[str]:
    """Say how far the picked samples' numbers are from those of all, for one probe."""
    rows = [cost for cost in costs if cost.probe == probe]
    if not rows:
        return
    whole, part = (sum(row.samples[side] for row in rows) for side in (0, 1))
    off = {"accuracy": [row.base[1] - row.base[0] for row in rows]}
    drops = [row.drops for row in rows if row.drops is not None]
    if drops:
        off["drop"] = [small - full for full, small in drops]
    said = "; ".join(
        f"{what} off by {100 * np.mean(np.abs(values)):.1f} points on average, at most "
        f"{100 * np.max(np.abs(values)):.1f}; mean {points(float(np.mean(values)))}"
        for what, values in off.items()
    )
    yield f"{probe}: {part:,} of {whole:,} test images; {said}"
