"""Candidates: the checkpoints of an audit, loaded, and what a reader must know of each."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from forgetcheck import catalog
from forgetcheck.clip.checkpoint import Checkpoint
from forgetcheck.clip.deciding import PREPROCESSED, doubt_activation
from forgetcheck.clip.encoder import Encoder
from forgetcheck.clip.engine import Engine
from forgetcheck.clip.finding import is_guess
from forgetcheck.clip.heads import Classifier
from forgetcheck.clip.loading import load_encoder, share_towers
from forgetcheck.clip.passport import issue
from forgetcheck.clip.run_folder import read_head
from forgetcheck.clip.settings import differences
from forgetcheck.errors import CannotAsk
from forgetcheck.progress import Progress
from forgetcheck.tasks.base import Task

MODEL = "--model NAME"


@dataclass(frozen=True)
class Entry:
    """A tuned checkpoint under its name in this audit."""

    name: str
    checkpoint: Checkpoint
    mismatch: tuple[str, ...] = ()  # what else than the weights differs from the base, where that is allowed


@dataclass(frozen=True)
class Candidate(Entry):
    """A tuned checkpoint, loaded."""

    encoder: Encoder = field(kw_only=True)
    source: str = ""  # the spec of the task it was tuned on, empty if nobody knows
    target: Task | None = None  # that task
    warnings: tuple[str, ...] = ()  # what a reader must know of every answer


@dataclass(frozen=True)
class Wishes:
    """What a user asked for beside the questions themselves."""

    tasks: tuple[Task, ...]
    device: str
    target: str  # the task whose head lies in a file
    allow_mismatch: bool
    progress: Progress
    engine: Engine


def load(base: Checkpoint, tuned: Sequence[Checkpoint], wishes: Wishes) -> tuple[Encoder, list[Candidate]]:
    """Check that every checkpoint is comparable with the base before any is loaded, then load them."""
    if not tuned:
        raise CannotAsk("no tuned checkpoint to audit: name at least one after the base.")
    entries = [
        Entry(name, each, mismatch(base, name, each, wishes.allow_mismatch))
        for name, each in zip(distinct_names(tuned), tuned, strict=True)
    ]
    anchor = load_encoder(base, wishes.device)
    about_base = tuple(unsure("base", base, anchor, wishes))
    wishes.engine.ready(anchor)
    candidates = [enter(anchor, entry, wishes, about_base) for entry in entries]
    refuse_idle_target(wishes.target, candidates)
    return anchor, candidates


def mismatch(base: Checkpoint, name: str, tuned: Checkpoint, allowed: bool) -> tuple[str, ...]:
    """Two models that differ in more than their weights are not a before and an after."""
    odd = differences(base.config, tuned.config)
    if odd and not allowed:
        raise CannotAsk(
            f"base and '{name}' differ in more than weights ({'; '.join(odd[:3])}): a drop would not be "
            f"forgetting; name the base this checkpoint was tuned from, pass the right {MODEL}, or "
            "--allow-mismatch to have it in the report instead."
        )
    return odd


def enter(base: Encoder, entry: Entry, wishes: Wishes, about_base: tuple[str, ...]) -> Candidate:
    """Load a tuned checkpoint; a tower that is the base's takes no memory of its own."""
    encoder = replace(load_encoder(entry.checkpoint, wishes.device), name=entry.name)
    own = () if encoder.digests == base.digests else unsure(entry.name, entry.checkpoint, encoder, wishes)
    warnings = (*about_base, *own, *warnings_for(entry, encoder, wishes))
    share_towers(encoder, base)
    wishes.engine.ready(encoder)
    source = source_of(entry.checkpoint) or (wishes.target if encoder.origin.head is not None else "")
    return Candidate(
        entry.name,
        entry.checkpoint,
        entry.mismatch,
        encoder=encoder,
        source=source,
        target=target_of(entry.checkpoint, source),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def unsure(name: str, checkpoint: Checkpoint, encoder: Encoder, wishes: Wishes) -> Iterator[str]:
    """Say what about a model had to be assumed; refuse one that clearly works better under another name."""
    leads = wishes.engine.team.leads  # the others hear of a doubt from the leader
    doubt = (
        doubt_activation(checkpoint, encoder, wishes.tasks, wishes.progress, wishes.engine) if leads else ""
    )
    if doubt and not wishes.allow_mismatch:
        raise CannotAsk(f"{doubt} Pass {MODEL}, correct its config, or --allow-mismatch to go on as it is.")
    if doubt:
        yield doubt
    yield from (f"{name}: {assumed}" for assumed in encoder.origin.doubts)
    if is_guess(checkpoint):
        yield f"{name}: its preprocessing is {checkpoint.inferred[PREPROCESSED]}"


def warnings_for(entry: Entry, encoder: Encoder, wishes: Wishes) -> Iterator[str]:
    if entry.mismatch:
        yield f"base and tuned differ in more than weights, which was allowed: {'; '.join(entry.mismatch)}"
    if entry.checkpoint.text_from is not None:
        yield "the file holds an image tower only: the text tower is the base's"
    if encoder.origin.head is not None and not wishes.target:
        yield f"a head of {len(encoder.origin.head)} classes lies in the file: name its task with --target"


def refuse_idle_target(target: str, candidates: Sequence[Candidate]) -> None:
    if target and not any(candidate.encoder.origin.head is not None for candidate in candidates):
        raise CannotAsk(f"--target {target}: no file holds a fine-tuned head; leave --target out.")


def head_of(candidate: Candidate) -> Classifier | None:
    """Return the head of a run folder, or the one that was found in a file beside the towers."""
    if candidate.checkpoint.head is not None:
        return Classifier(read_head(candidate.checkpoint.head))
    origin = candidate.encoder.origin
    return None if origin.head is None else Classifier(origin.head, origin.head_bias)


def source_of(checkpoint: Checkpoint) -> str:
    """Return the spec of the task a run folder was tuned on, empty for other checkpoints."""
    return str(checkpoint.run.get("task", {}).get("source", ""))


def target_of(checkpoint: Checkpoint, source: str) -> Task | None:
    """Return the task a checkpoint was tuned on. A run folder must name the classes that the task has."""
    if not source:
        return None
    task: Task = catalog.build("tasks", source)
    recorded = checkpoint.run.get("task", {}).get("class_names", list(task.class_names))
    if recorded != list(task.class_names):  # the rows of the head would be other classes
        raise CannotAsk(f"'{checkpoint.name}' was tuned on other classes than '{source}' has: tune again.")
    return task


def is_target(candidate: Candidate, task: Task) -> bool:
    """Whether a task has the images and labels that a checkpoint was tuned on, however it is worded."""
    return candidate.target is not None and candidate.target.origin == task.origin


def distinct_names(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Name checkpoints by file or folder; where two share a name, number them past the names that exist."""
    totals = Counter(checkpoint.name for checkpoint in checkpoints)
    names: list[str] = []
    for name in (checkpoint.name for checkpoint in checkpoints):
        numbered = (f"{name}-{number}" for number in count(1))
        free = (candidate for candidate in numbered if candidate not in totals and candidate not in names)
        names.append(name if totals[name] == 1 else next(free))
    return names


def model_facts(checkpoint: Checkpoint, encoder: Encoder) -> dict[str, Any]:
    return {
        "name": checkpoint.name,
        "weights": str(checkpoint.weights or ":".join(checkpoint.tag or ())),
        "digest": encoder.digests,
        "config": {
            key: dict(value) for key, value in checkpoint.config.items() if isinstance(value, Mapping)
        },
        "passport": issue(checkpoint, encoder).as_record(),
        "run": {
            key: checkpoint.run[key]
            for key in ("task", "regularizer", "schedule", "validation_accuracy")
            if key in checkpoint.run
        },
    }
