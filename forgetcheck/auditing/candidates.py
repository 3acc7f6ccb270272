"""Candidates: the checkpoints of an audit, loaded, and what a reader must know of each."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forgetcheck import catalog
from forgetcheck.batteries.battery import Battery
from forgetcheck.batteries.paths import joined, recorded, same_data, typed
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.identity.activation import doubt_activation
from forgetcheck.clip.identity.model_info import issue
from forgetcheck.clip.identity.resolve import HUB, LOCAL, is_guess, read_run
from forgetcheck.clip.model.checkpoint import HEAD, PREPROCESSED, TINY_FOLDER, WEIGHTS, Checkpoint
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.heads import Classifier
from forgetcheck.clip.model.load import load_encoder, share_towers
from forgetcheck.clip.model.read import read_weights
from forgetcheck.clip.model.settings import differences
from forgetcheck.clip.saving.convert import earlier, made_of
from forgetcheck.clip.saving.run_folder import read_head, read_images
from forgetcheck.errors import InputError, unknown_name
from forgetcheck.files import RUN_MANIFEST
from forgetcheck.progress import Progress
from forgetcheck.tasks.base import Task

_MODEL = "--model NAME"
_NAMED = 8  # tasks of a battery that a refusal names
LONGEST, MOST, DEEPEST = 200, 20, 3  # characters, entries and levels of what a file says of its making


@dataclass(frozen=True)
class Target:
    """The task that checkpoints were tuned on, as the user names it."""

    name: str  # a source, or a task of the battery
    task: Task


@dataclass(frozen=True)
class _NamedCheckpoint:
    """A tuned checkpoint under its name in this audit."""

    name: str
    checkpoint: Checkpoint
    mismatch: tuple[str, ...] = ()  # what else than the weights differs from the base, where that is allowed


@dataclass(frozen=True)
class Candidate(_NamedCheckpoint):
    """A tuned checkpoint, loaded."""

    encoder: Encoder = field(kw_only=True)
    source: str = ""  # the task it was tuned on, as it is recorded or named; empty if nobody knows
    target: Task | None = None  # that task
    head: Classifier | None = None  # the fine-tuned one, of a run folder or found in a file beside the towers
    warnings: tuple[str, ...] = ()  # what a reader must know of every answer
    seen: NDArray[np.uint64] | None = None  # (n,) the images of the run; None: nobody knows


@dataclass(frozen=True)
class AuditOptions:
    """What a user asked for beside the questions themselves."""

    battery: Battery
    device: str
    target: Target | None  # what checkpoints were tuned on that don't record it
    allow_mismatch: bool
    progress: Progress
    engine: Engine

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(self.battery.tasks.values())


def load(
    base: Checkpoint, tuned: Sequence[Checkpoint], wishes: AuditOptions
) -> tuple[Encoder, list[Candidate]]:
    """Check that every checkpoint is comparable with the base before any is loaded, then load them.

    No image is shown to a model yet: see `doubted`.
    """
    if not tuned:
        raise InputError("no tuned checkpoint to audit: name at least one after the base.")
    entries = [
        _NamedCheckpoint(each.name, each, mismatch(base, each, wishes.allow_mismatch)) for each in tuned
    ]
    anchor = wishes.engine.ready(load_encoder(base, wishes.device))
    candidates = [_enter(anchor, entry, wishes) for entry in entries]
    heads = any(each.head is not None for each in candidates if not source_of(each.checkpoint))
    _refuse_idle_target(wishes.target, wishes.battery, heads)
    for candidate in candidates:
        _refuse_misfit(candidate, wishes.tasks)
    return anchor, candidates


def doubted(
    base: Checkpoint, anchor: Encoder, candidates: Sequence[Candidate], wishes: AuditOptions
) -> list[Candidate]:
    """Add what had to be assumed of the models, which some images of the battery may tell."""
    about_base = tuple(unsure("base", base, anchor, wishes))
    found = []
    for each in candidates:
        same = each.encoder.digests == anchor.digests
        own = () if same else unsure(each.name, each.checkpoint, each.encoder, wishes)
        warnings = dict.fromkeys((*about_base, *own, *each.warnings))
        found.append(replace(each, warnings=tuple(warnings)))
    return found


def mismatch(base: Checkpoint, tuned: Checkpoint, allowed: bool) -> tuple[str, ...]:
    """Two models that differ in more than their weights are not a before and an after."""
    odd = differences(base.config, tuned.config)
    if odd and not allowed:
        raise InputError(
            f"base and '{tuned.name}' differ in more than weights ({'; '.join(odd[:3])}): a drop would not "
            f"be forgetting; name the base this checkpoint was tuned from, pass the right {_MODEL}, or "
            "--allow-mismatch to have it in the report instead."
        )
    return odd


def _enter(base: Encoder, entry: _NamedCheckpoint, wishes: AuditOptions) -> Candidate:
    """Load a tuned checkpoint; a tower that is the base's takes no memory of its own."""
    checkpoint = entry.checkpoint
    encoder = load_encoder(checkpoint, wishes.device)
    share_towers(encoder, base)
    wishes.engine.ready(encoder)
    source, target = source_of(checkpoint), _target_of(checkpoint, wishes.battery.confine)
    if not source and wishes.target is not None:
        source, target = wishes.target.name, wishes.target.task
    head = _head_of(checkpoint, encoder)
    return Candidate(
        entry.name,
        checkpoint,
        entry.mismatch,
        encoder=encoder,
        source=source,
        target=target,
        head=head,
        warnings=tuple(_warnings_for(entry, head if target is None else None)),
        seen=seen_by(checkpoint),
    )


def unsure(name: str, checkpoint: Checkpoint, encoder: Encoder, wishes: AuditOptions) -> Iterator[str]:
    """Say what about a model had to be assumed; refuse one that clearly works better under another name."""
    leads = wishes.engine.team.leads  # the others hear of a doubt from the leader
    doubt = (
        doubt_activation(checkpoint, encoder, wishes.tasks, wishes.progress, wishes.engine) if leads else ""
    )
    if doubt and not wishes.allow_mismatch:
        raise InputError(f"{doubt} Pass {_MODEL}, correct its config, or --allow-mismatch to go on as it is.")
    if doubt:
        yield doubt
    yield from (f"{name}: {assumed}" for assumed in encoder.origin.doubts)
    if _speaks_of_others(checkpoint, encoder):
        yield f"{name}: the header of its file records other weights: it is damaged, or was changed since"
    if is_guess(checkpoint):
        yield f"{name}: its preprocessing is {checkpoint.inferred[PREPROCESSED]}"


def _warnings_for(entry: _NamedCheckpoint, idle: Classifier | None) -> Iterator[str]:
    """Say what is odd about a checkpoint; `idle` is a head of which nobody knows the task."""
    if entry.mismatch:
        yield f"base and tuned differ in more than weights, which was allowed: {'; '.join(entry.mismatch)}"
    if entry.checkpoint.text_from is not None:
        yield "the file holds an image tower only: the text tower is the base's"
    if idle is not None:
        yield (
            f"a head of {len(idle.weight)} classes lies in the file and is not asked: name its task with "
            "--target, a source such as digits or a task of the battery"
        )


def _head_of(checkpoint: Checkpoint, encoder: Encoder) -> Classifier | None:
    """Return the head of a run folder, or the one that was found in a file beside the towers."""
    if checkpoint.head is not None:
        return Classifier(read_head(checkpoint.head))
    origin = encoder.origin
    return None if origin.head is None else Classifier(origin.head, origin.head_bias)


def _refuse_misfit(candidate: Candidate, tasks: Sequence[Task]) -> None:
    """The rows of a head must be the classes of its task, wherever that is asked."""
    if candidate.head is None or candidate.target is None:
        return
    found = tuple(candidate.head.weight.shape)
    width = candidate.checkpoint.config["model_cfg"].get("embed_dim", found[1])
    for task in (candidate.target, *(task for task in tasks if is_target(candidate, task))):
        try:
            expected = (len(task.class_names), width)
        except InputError:  # the data isn't there, which is told when it is asked
            continue
        if found != expected:
            raise InputError(
                f"the head of '{candidate.name}' is {found}, not {expected}: it belongs to another task; "
                "tune again, or name its own with --target."
            )


def source_of(checkpoint: Checkpoint) -> str:
    """Return the spec of the task a run folder was tuned on, empty for other checkpoints."""
    return str(checkpoint.run.get("task", {}).get("source", ""))


def seen_by(checkpoint: Checkpoint) -> NDArray[np.uint64] | None:
    """Return the images that a run has seen (n,); None for other checkpoints."""
    weights = checkpoint.weights
    if not checkpoint.run or weights is None:
        return None
    return read_images(weights if weights.is_dir() else weights.parent)


def _target_of(checkpoint: Checkpoint, confine: str) -> Task | None:
    """Return the task a run folder was tuned on, which must have the classes that the folder names."""
    source = source_of(checkpoint)
    if not source:
        return None
    task = _recorded_task(source, str(checkpoint.run.get("task", {}).get("folder", "")), confine)
    try:
        names = list(task.class_names)
    except InputError:  # its data isn't here, which is told when its head is asked
        return task
    if checkpoint.run.get("task", {}).get("class_names", names) != names:  # the head has rows for others
        raise InputError(f"'{checkpoint.name}' was tuned on other classes than '{source}' has: tune again.")
    return task


def _recorded_task(source: str, folder: str, confine: str) -> Task:
    """Return the task of a run, whose paths begin where it was tuned unless the data lies here as well."""
    here: Task = catalog.build("tasks", source)
    there: Task = catalog.build("tasks", source, partial(joined, source=source, folder=Path(folder)))
    if not folder or here == there:
        return recorded(here, confine)
    here, there = recorded(here, confine), recorded(there, confine)
    try:
        return here if here.class_names else there
    except InputError:
        return there


def is_target(candidate: Candidate, task: Task) -> bool:
    """Whether a task has the images and labels that a checkpoint was tuned on, however it is worded."""
    return candidate.target is not None and same_data(candidate.target, task)


def find_target(text: str, battery: Battery) -> Target | None:
    """Look up what --target names, by name alone: a task of the battery, or a source."""
    if not text:
        return None
    if text in battery.tasks:
        return Target(text, battery.tasks[text])
    if not catalog.is_extension("tasks", text.partition(":")[0]):
        known = [*battery.tasks, *catalog.names("tasks")]
        raise unknown_name("task for --target", text, known, "forgetcheck list tasks")
    return Target(text, typed(text, battery.confine))


def _refuse_idle_target(target: Target | None, battery: Battery, heads: bool) -> None:
    """A task that nothing is asked about marks nothing; with `heads`, one of them may be asked about it."""
    if target is None or heads or any(same_data(task, target.task) for task in battery.tasks.values()):
        return
    names = list(battery.tasks)
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    raise InputError(
        f"--target {target.name}: no task of the battery has its images, and no tuned file holds a head for "
        f"them; add it to the battery, or name one of its tasks ({', '.join(names[:_NAMED])}{more}), here or "
        'in a policy (target = "..." under [policy]).'
    )


@dataclass(frozen=True)
class Outlook:
    """What words alone tell of tuned checkpoints, before one is read: the tasks they were tuned on."""

    targets: tuple[Target, ...]  # that a head may be asked about
    told: bool  # of every checkpoint it is known what it was tuned on, or will be
    sure: bool  # there are no other targets

    @property
    def heads(self) -> bool:
        """Whether a head may be asked."""
        return bool(self.targets) or not self.sure


def foresee(words: Sequence[str], battery: Battery, target: str) -> Outlook:
    """Find out what tuned checkpoints were tuned on, as far as their words tell. Refuses an idle --target."""
    named = find_target(target, battery)
    _refuse_idle_target(named, battery, named is not None and any(map(_may_hold_head, words)))
    recorded = {word: _recorded_source(word) for word in words}
    known = dict.fromkeys(each for each in recorded.values() if each is not None and each[0])
    return Outlook(
        targets=(
            *(Target(source, _recorded_task(source, folder, battery.confine)) for source, folder in known),
            *([named] if named else []),
        ),
        told=named is not None or all(each is None or each[0] for each in recorded.values()),
        sure=None not in recorded.values(),
    )


def _recorded_source(word: str) -> tuple[str, str] | None:
    """Return the task that a run folder records and where its paths begin; None for what must be fetched.

    Both are empty for what is no run folder.
    """
    if word.startswith(HUB):
        return None
    manifest = Path(word.removeprefix(LOCAL)) / RUN_MANIFEST
    task = read_run(manifest)["task"] if _exists(manifest) else {}
    return str(task.get("source", "")), str(task.get("folder", ""))


def _may_hold_head(word: str) -> bool:
    """Whether --target may say whose classes the head of a checkpoint has; if in doubt, it may."""
    recorded, path = _recorded_source(word), Path(word.removeprefix(LOCAL))
    if recorded is None or recorded[0]:
        return recorded is None
    if not _exists(path):
        return False
    try:
        return _exists(path / HEAD) or read_weights(path, finite=False).head is not None
    except InputError:  # which is told when it is loaded
        return True


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name that is too long, which is told when it is followed
        return False


def told_apart(base: Checkpoint, tuned: Sequence[Checkpoint]) -> tuple[Checkpoint, list[Checkpoint]]:
    """Give every checkpoint of an audit a name that hides no other."""
    first, *names = distinct_names(base, tuned)
    named = replace(base, name=first)
    return named, [
        replace(
            each,
            name=name,
            text_from=named if each.text_from is base else each.text_from,
            adapts=named if each.adapts is base else each.adapts,
        )
        for each, name in zip(tuned, names, strict=True)
    ]


def distinct_names(base: Checkpoint, tuned: Sequence[Checkpoint]) -> list[str]:
    """Name checkpoints, the base first, by file or folder; where two share that, by the end of their path.

    Tuned ones that still share one, because they are the same, are numbered past the names that exist.
    """
    ways = [_way(each) for each in (base, *tuned)]
    first, *others = [_shortest(way, ways) for way in ways]
    totals = Counter(others)
    names = [first]
    for name in others:
        numbered = (f"{name}-{number}" for number in count(1))
        free = (each for each in numbered if each not in totals and each not in names)
        names.append(name if totals[name] == 1 else next(free))
    return names


_Way = tuple[
    tuple[str, ...], str
]  # the folders on the way to a checkpoint and its name; the ending of a file


def _way(checkpoint: Checkpoint) -> _Way:
    """Return where a checkpoint lies, as its name says it; what has no path has but its name."""
    path, name = checkpoint.weights, checkpoint.name
    if path is None or path.parent == TINY_FOLDER:
        return (name,), ""
    if path.stem == name:
        return (*Path(os.path.abspath(path)).parts[1:-1], name), path.suffix
    inside = path.name == WEIGHTS or (checkpoint.adapts is not None and path.is_file())
    folder = path.parent if inside else path  # which is named as its links lead
    return (*Path(os.path.realpath(folder)).parts[1:-1], name), ""


def _shortest(way: _Way, ways: Sequence[_Way]) -> str:
    """Return the shortest end of a path that no other has; its ending only where nothing else differs."""
    parts, ending = way
    others = {each for each, _ in ways if each != parts}
    lengths = range(1, len(parts) + 1)
    length = next((n for n in lengths if all(each[-n:] != parts[-n:] for each in others)), len(parts))
    alike = any(each == parts and other != ending for each, other in ways)
    return "/".join(parts[-length:]) + (ending if alike else "")


def model_facts(checkpoint: Checkpoint, encoder: Encoder) -> dict[str, Any]:
    """Say what a model is and, as far as its files record it, what it was made from."""
    run = checkpoint.run
    kept = ("task", "regularizer", "schedule", "validation_accuracy")
    return {
        "name": checkpoint.name,
        "weights": str(checkpoint.weights or ":".join(checkpoint.tag or ())),
        "digest": encoder.digests,
        "config": {
            key: dict(value) for key, value in checkpoint.config.items() if isinstance(value, Mapping)
        },
        "passport": issue(checkpoint, encoder).as_record(),
        "run": {
            **{key: run[key] for key in kept if key in run},
            **({"base": _small(run["base"])} if "base" in run else {}),
        },
        "lineage": lineage_of(checkpoint, encoder),
        **encoder.origin.counters,
    }


def _speaks_of_others(checkpoint: Checkpoint, encoder: Encoder) -> bool:
    """Whether a file of ours says that it holds other weights than are found in it."""
    if encoder.origin.adapter:
        return False
    try:
        return bool(earlier(checkpoint.weights, encoder.digests)[1])
    except InputError:  # the file is gone, or was written over: its weights are loaded
        return False


def lineage_of(checkpoint: Checkpoint, encoder: Encoder) -> dict[str, Any]:
    """Return what a file of ours says its weights were made from; nothing where it speaks of others."""
    if encoder.origin.adapter:
        merged: dict[str, Any] = _small(made_of(encoder.origin.adapter))
        return merged
    try:
        made, _ = earlier(checkpoint.weights, encoder.digests)
    except InputError:  # the file is gone, or was written over: its weights are loaded
        return {}
    found: dict[str, Any] = _small(dict(made))
    return found


def _small(value: Any, depth: int = DEEPEST) -> Any:
    """Cut a stranger's record to what is worth keeping."""
    if isinstance(value, Mapping):
        inner = islice(value.items(), MOST) if depth else ()
        return {str(key)[:LONGEST]: _small(item, depth - 1) for key, item in inner}
    if isinstance(value, (list, tuple)):
        return [_small(item, depth - 1) for item in islice(value, MOST if depth else 0)]
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return str(value)[:LONGEST]
