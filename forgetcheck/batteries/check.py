"""lint(): what in a battery would make you ask everything again, found before anything is asked."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from forgetcheck.batteries.battery import Battery, TaskEntry, survey
from forgetcheck.batteries.image_checks import Issue, look_through
from forgetcheck.batteries.names import (
    doubtful_labels,
    doubtful_names,
    mistaken_names,
    mistaken_templates,
    some,
)
from forgetcheck.batteries.overrides import Stated
from forgetcheck.errors import InputError, NoPart
from forgetcheck.progress import Progress, silent
from forgetcheck.retention.compare import FEW
from forgetcheck.retention.planning import Thin, few_images, smallest_drop, thin_questions
from forgetcheck.retention.policy import Policy
from forgetcheck.tasks.base import Split, SplitName, Task
from forgetcheck.tasks.reading.naming import FALLBACK
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach

_PARTS: tuple[SplitName, ...] = ("train", "test")


@dataclass(frozen=True)
class _Found:
    """What linting a battery found."""

    battery: Battery
    remarks: tuple[Issue, ...]  # in the order of the tasks
    images: int  # that were opened

    @property
    def problems(self) -> tuple[Issue, ...]:
        return tuple(remark for remark in self.remarks if remark.grave)


@dataclass(frozen=True)
class _Asked:
    """A task with whatever of it could be had."""

    name: str
    entry: TaskEntry
    task: Task
    class_names: tuple[str, ...] | None  # None: its data is missing
    splits: dict[SplitName, Split]


def lint(
    spec: str,
    policy: Policy | None = None,
    images: bool = True,
    progress: Progress = silent,
    reach: Reach = ANYWHERE,
) -> _Found:
    """Name everything that is wrong with a battery or its data, all at once.

    With a policy, too few images to show its limits are a problem; without one, the default limit
    informs. `images` opens every image: to find unreadable ones, and ones that are both in train and test.
    Raises InputError where there is no battery to read.
    """
    battery, mistakes = survey(spec, reach)
    remarks = [Issue(mistake.task, mistake.text) for mistake in mistakes]
    asked = []
    for name, task in battery.tasks.items():
        found, missing = ask(name, battery.entries[name], task)
        asked.append(found)
        remarks += missing
        remarks += _look_at_words(found)
        remarks += _look_at_numbers(found, policy)
        remarks += _look_at_left(found)
    opened = 0
    if images:
        total = sum(len(split) for each in asked for split in each.splits.values())
        for each in asked:
            remarks += look_through(each.name, each.task, each.splits, progress, opened, total)
            opened += sum(map(len, each.splits.values()))
    order = {name: place for place, name in enumerate(battery.entries)}
    unique = dict.fromkeys(remarks)  # what the file says is also what its task says
    return _Found(battery, tuple(sorted(unique, key=lambda remark: order.get(remark.task, -1))), opened)


def ask(name: str, entry: TaskEntry, task: Task) -> tuple[_Asked, list[Issue]]:
    """Get class names and parts of a task; what is in the way is told once."""
    class_names, splits = None, {}
    missing: list[Issue] = []
    try:
        class_names = task.class_names
    except InputError as problem:
        missing.append(Issue(name, str(problem)))
    for part in _PARTS if task.labelled_by == "class" else _PARTS[1:]:  # nothing learns from captions
        try:
            splits[part] = task.split(part)
        except NoPart as problem:  # without train, only what learns from it can't be asked
            missing.append(Issue(name, str(problem), grave=part != "train"))
        except InputError as problem:
            missing.append(Issue(name, str(problem)))
    return _Asked(name, entry, task, class_names, splits), list(dict.fromkeys(missing))


def _look_at_left(asked: _Asked) -> Iterator[Issue]:
    if asked.class_names is not None and asked.splits:  # else its data is missing, which is told already
        yield from (Issue(asked.name, f"left out: {text}", grave=False) for text in asked.task.left_out)


def _look_at_words(asked: _Asked) -> Iterator[Issue]:
    """Lint class names, their order and the templates."""
    name, entry = asked.name, asked.entry
    if asked.task.labelled_by != "class":
        if entry.templates is not None:
            yield Issue(name, "captions are read as they are: leave out the templates", grave=False)
        return
    if asked.class_names is not None:
        yield from (Issue(name, text) for text in mistaken_names(asked.class_names))
        labels = [split.labels for split in asked.splits.values()]
        odd = (*doubtful_names(asked.class_names), *doubtful_labels(asked.class_names, labels))
        yield from (Issue(name, text, grave=False) for text in odd)
    yield from (Issue(name, text) for text in _misordered(asked))
    try:
        templates = asked.task.templates
    except InputError:
        return  # told already: the data is missing
    yield from (Issue(name, text) for text in mistaken_templates(templates))
    if asked.splits and entry.templates is None and templates == FALLBACK:
        yield Issue(
            name,
            f"no templates of its own: every class is asked for as {FALLBACK[0]!r}; "
            "state templates that say what these pictures are",
            grave=False,
        )


def _misordered(asked: _Asked) -> Iterator[str]:
    """Compare stated class names with those of the source, whose order the labels follow."""
    if not isinstance(asked.entry.class_names, list) or not isinstance(asked.task, Stated):
        return
    try:
        theirs = asked.task.source.class_names
    except InputError:
        return
    ours = tuple(asked.entry.class_names)
    if len(ours) != len(theirs):
        yield (
            f"class_names has {len(ours)} names, the source {len(theirs)} classes: give one for each, "
            "in their order"
        )
        return
    places = {plain(name): place for place, name in enumerate(theirs)}
    moved = [
        f"{name!r} is at place {place} and the source has it at {places[plain(name)]}"
        for place, name in enumerate(ours)
        if places.get(plain(name), place) != place
    ]
    if moved:
        yield (
            f"class_names are in another order than the labels: {some(moved)}; put them in the source's order"
        )


def plain(name: str) -> str:
    """Write a class name without what people change in it: case, spaces, hyphens and underscores."""
    return "".join(mark for mark in name.casefold() if mark.isalnum())


def _look_at_numbers(asked: _Asked, policy: Policy | None) -> Iterator[Issue]:
    """Compare counts with what is expected, and with what the limits need."""
    yield from (Issue(asked.name, text) for text in _unexpected(asked))
    if asked.class_names is None or "test" not in asked.splits:
        return
    test = asked.splits["test"]
    unit = "captions" if test.captions else "test images"
    counts = Counter((test.captions.kinds if test.captions else test.labels).tolist())
    sizes = [counts[label] for label in range(len(asked.class_names))]
    absent = [repr(name) for name, n in zip(asked.class_names, sizes, strict=True) if not n]
    if absent:
        yield Issue(
            asked.name,
            f"no {unit} of {some(absent)}: nothing is measured there; add some, or drop the class",
        )
    yield from _untrained(asked, sizes)
    yield from _thin(asked.name, asked.class_names, sizes, unit, policy)


def _unexpected(asked: _Asked) -> Iterator[str]:
    """Compare classes and images with the numbers that the file expects."""
    expected = asked.entry.expected
    found: dict[str, int] = {part: len(split) for part, split in asked.splits.items()}
    if asked.class_names is not None:
        found["classes"] = len(asked.class_names)
    for what, number in expected.model_dump(exclude_none=True).items():
        here = found.get(what)
        if here is not None and here != number:
            unit = what if what == "classes" else f"{what} images"
            yield f"{here:,} {unit}, expected {number:,}: complete the data, or correct `expected`"


def _untrained(asked: _Asked, sizes: Sequence[int]) -> Iterator[Issue]:
    """Name classes that a linear probe can't know."""
    if "train" not in asked.splits or asked.class_names is None:
        return
    known = set(asked.splits["train"].labels.tolist())
    names = [repr(asked.class_names[label]) for label, n in enumerate(sizes) if n and label not in known]
    if names:
        yield Issue(
            asked.name,
            f"no train images of {some(names)}: the linear probe can't be asked; add some, "
            "or audit with --probe zero-shot",
        )


def _thin(
    task: str, names: Sequence[str], sizes: Sequence[int], unit: str, policy: Policy | None
) -> Iterator[Issue]:
    """Say where the samples are too few for the limits, and which classes are anecdotes."""
    limits = policy or Policy()
    for question in thin_questions(task, names, sizes, limits):
        yield Issue(task, _too_thin(question, unit), grave=policy is not None)
    few = list(few_images(names, sizes, FEW))
    if few:
        name, n = few[0]
        yield Issue(
            task,
            f"{len(few)} classes have fewer than {FEW} {unit}, the fewest {name!r} with {n}, where "
            f"{smallest(smallest_drop(n, 0.0, limits))}: add {unit.split()[-1]} to judge them one by one",
            grave=False,
        )


def _too_thin(question: Thin, unit: str) -> str:
    what = f"{question.n:,} {unit}" + (f" of {question.concept!r}" if question.concept else "")
    way_out = "accept a wider limit" if question.enough is None else f"about {question.enough:,} would do"
    return (
        f"{what} can hardly show a limit of {100 * question.limit:g} points to be kept "
        f"({100 * question.provable:.1f} is what they can; {smallest(question.detectable)}): "
        f"{way_out}"
    )


def smallest(drop: float) -> str:
    """Say which drops are found, in words."""
    return (
        "no drop is found" if np.isnan(drop) else f"the smallest drop mostly found is {100 * drop:.1f} points"
    )
