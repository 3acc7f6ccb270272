"""audit(): task x probe -> answers of base and of every tuned checkpoint, for the same samples."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import torch

from forgetcheck import catalog, gallery, provenance
from forgetcheck.clip.checkpoint import Checkpoint
from forgetcheck.clip.deciding import PREPROCESSED, doubt_activation
from forgetcheck.clip.encoded_task import EncodedTask, encode_task
from forgetcheck.clip.encoder import Encoder
from forgetcheck.clip.finding import is_guess
from forgetcheck.clip.heads import Classifier
from forgetcheck.clip.loading import load_encoder, share_towers
from forgetcheck.clip.passport import issue
from forgetcheck.clip.run_folder import read_head
from forgetcheck.clip.settings import differences
from forgetcheck.errors import CannotAsk
from forgetcheck.probes.base import Probe
from forgetcheck.progress import Progress, silent
from forgetcheck.retention.answers import Answers, Audit, Said, Unasked
from forgetcheck.tasks.base import SplitName, Task, size
from forgetcheck.tasks.battery import Battery, summary

PROBES = ("zero-shot", "zero-shot:text=base", "linear")  # put to every task of the battery
MODEL = "--model NAME"
TARGET_PROBE = "head"  # put to the task a run folder was tuned on


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


def audit(
    base: Checkpoint,
    tuned: Sequence[Checkpoint],
    battery: Battery,
    probes: Sequence[str] = PROBES,
    device: str = "auto",
    progress: Progress = silent,
    pictures: int = 0,
    allow_mismatch: bool = False,
    target: str = "",
) -> Audit:
    """Ask base and every tuned checkpoint the same questions; the base is embedded once.

    A question that can't be asked is recorded with the reason. At most `pictures` lost samples per
    checkpoint are kept to look at. `target` is the task whose head lies in a checkpoint that doesn't say
    so itself. Raises CannotAsk when a checkpoint cannot be compared with the base (`allow_mismatch`: that is
    a warning in the report instead), or no question could be asked.
    """
    if not tuned:
        raise CannotAsk("no tuned checkpoint to audit: name at least one after the base.")
    asked: dict[str, Probe] = {spec: catalog.build("probes", spec) for spec in probes}
    entries = [
        Entry(name, each, mismatch(base, name, each, allow_mismatch))
        for name, each in zip(distinct_names(tuned), tuned, strict=True)
    ]
    anchor = load_encoder(base, device)
    asked_of = Asked(tuple(battery.tasks.values()), device, target, allow_mismatch, progress)
    about_base = tuple(unsure("base", base, anchor, asked_of))
    candidates = [enter(anchor, entry, asked_of, about_base) for entry in entries]
    refuse_idle_target(target, candidates)
    jobs = plan(candidates, battery, asked)
    found = list(ask_all(anchor, jobs, progress))
    answers = tuple(item for item in found if isinstance(item, Answers))
    unasked = tuple(item for item in found if isinstance(item, Unasked))
    if not answers:
        why = unasked[0].why if unasked else "none of the probes applies to these checkpoints."
        raise CannotAsk(f"nothing was measured: {why}")
    tasks = {job.name: job.task for job in jobs}
    lost = gallery.collect(answers, tasks, pictures)
    return Audit(answers, describe(base, anchor, candidates, battery, probes), unasked, lost)


@dataclass(frozen=True)
class Job:
    """One task to be embedded once, for these candidates and by these probes."""

    name: str
    task: Task
    candidates: Sequence[Candidate]
    probes: Mapping[str, Probe]

    @property
    def parts(self) -> tuple[SplitName, ...]:
        every: tuple[SplitName, ...] = ("train", "test")
        return tuple(part for part in every if any(part in probe.parts for probe in self.probes.values()))

    @property
    def images(self) -> int:
        return sum(size(self.task, part) for part in self.parts)


def plan(candidates: Sequence[Candidate], battery: Battery, probes: Mapping[str, Probe]) -> list[Job]:
    """Put the battery to everybody, then each target task to those tuned on it, with their own heads."""
    head = {TARGET_PROBE: catalog.build("probes", TARGET_PROBE)}
    targets = {c.source: c.target for c in candidates if c.target is not None}
    return [
        *(Job(name, task, candidates, probes) for name, task in battery.tasks.items()),
        *(
            Job(source, task, [c for c in candidates if c.target == task], head)
            for source, task in targets.items()
        ),
    ]


def ask_all(base: Encoder, jobs: Sequence[Job], progress: Progress) -> Iterator[Answers | Unasked]:
    """Do every job. Progress counts images over all of them, so that the time left is that of the audit."""
    total, done = sum(job.images for job in jobs), 0
    for job in jobs:
        yield from do(base, job, portion(progress, job.name, done, total))
        done += job.images


def do(base: Encoder, job: Job, progress: Progress) -> Iterator[Answers | Unasked]:
    """Embed one task for everybody and put every probe; what can't be asked is told, not fatal."""
    encoders = [base, *(candidate.encoder for candidate in job.candidates)]
    try:
        anchor, *others = encode_task(job.name, job.task, encoders, job.parts, progress)
        refused = ""
    except CannotAsk as problem:
        anchor, *others = (EncodedTask(job.task, encoder, {}) for encoder in encoders)
        refused = str(problem)
    seen = [with_head(c, task) for c, task in zip(job.candidates, others, strict=True)]
    for spec, probe in job.probes.items():
        able = [pair for pair in seen if probe.applies(pair[1], anchor)]
        if refused:
            yield from (Unasked(candidate.name, job.name, spec, refused) for candidate, _ in able)
        elif able:
            yield from ask(job.name, spec, probe, anchor, able)


def portion(progress: Progress, name: str, before: int, total: int) -> Progress:
    """Report the progress of one job as part of the whole audit."""

    def report(stage: str, done: int, total_of_job: int, note: str = "") -> None:
        progress("auditing", before + done, total, name)

    return report


def ask(
    task: str,
    spec: str,
    probe: Probe,
    base: EncodedTask,
    tuned: Sequence[tuple[Candidate, EncodedTask]],
) -> Iterator[Answers | Unasked]:
    """Put one question to the base once, and to every candidate."""
    try:
        answered = probe.answer(base, base)
    except CannotAsk as problem:
        yield from (Unasked(candidate.name, task, spec, str(problem)) for candidate, _ in tuned)
        return
    for candidate, seen in tuned:
        try:
            reply = probe.answer(seen, base)
        except CannotAsk as problem:
            yield Unasked(candidate.name, task, spec, str(problem))
            continue
        yield Answers(
            checkpoint=candidate.name,
            task=task,
            probe=spec,
            class_names=base.task.class_names,
            labels=base.splits["test"].labels.numpy().astype("int32"),
            base=answered,
            tuned=reply,
            identical=probe.identical(seen, base) and not candidate.mismatch,
            target=is_target(candidate, base.task),
            warnings=(*candidate.warnings, *doubts("base", answered), *doubts("tuned", reply)),
        )


def doubts(who: str, reply: Said) -> list[str]:
    if reply.notes.get("converged", True):
        return []
    return [f"the {who} probe stopped at gradient {reply.notes['gradient']:.1e}, short of its tolerance"]


def with_head(candidate: Candidate, seen: EncodedTask) -> tuple[Candidate, EncodedTask]:
    """Add the fine-tuned head where this is the task it was tuned on."""
    head = head_of(candidate)
    if head is None or not is_target(candidate, seen.task):
        return candidate, seen
    if "test" in seen.splits:
        expected = (len(seen.task.class_names), seen.splits["test"].embeddings.shape[1])
        if head.weight.shape != expected:
            raise CannotAsk(
                f"the head of '{candidate.name}' is {tuple(head.weight.shape)}, not {expected}: "
                "it belongs to another task; tune again, or name its own with --target."
            )
    return candidate, replace(seen, head=head)


def is_target(candidate: Candidate, task: Task) -> bool:
    """Whether a task has the images and labels that a checkpoint was tuned on, however it is worded."""
    return candidate.target is not None and candidate.target.origin == task.origin


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


def distinct_names(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Name checkpoints by file or folder; where two share a name, number them past the names that exist."""
    totals = Counter(checkpoint.name for checkpoint in checkpoints)
    names: list[str] = []
    for name in (checkpoint.name for checkpoint in checkpoints):
        numbered = (f"{name}-{number}" for number in count(1))
        free = (candidate for candidate in numbered if candidate not in totals and candidate not in names)
        names.append(name if totals[name] == 1 else next(free))
    return names


@dataclass(frozen=True)
class Asked:
    """What a user asked for beside the questions themselves."""

    tasks: tuple[Task, ...]
    device: str
    target: str  # the task whose head lies in a file
    allow_mismatch: bool
    progress: Progress


def enter(base: Encoder, entry: Entry, asked: Asked, about_base: tuple[str, ...]) -> Candidate:
    """Load a tuned checkpoint; a tower that is the base's takes no memory of its own."""
    encoder = replace(load_encoder(entry.checkpoint, asked.device), name=entry.name)
    own = () if encoder.digests == base.digests else unsure(entry.name, entry.checkpoint, encoder, asked)
    warnings = (*about_base, *own, *warnings_for(entry, encoder, asked))
    share_towers(encoder, base)
    source = source_of(entry.checkpoint) or (asked.target if encoder.origin.head is not None else "")
    return Candidate(
        entry.name,
        entry.checkpoint,
        entry.mismatch,
        encoder=encoder,
        source=source,
        target=target_of(entry.checkpoint, source),
        warnings=tuple(dict.fromkeys(warnings)),
    )


def unsure(name: str, checkpoint: Checkpoint, encoder: Encoder, asked: Asked) -> Iterator[str]:
    """Say what about a model had to be assumed; refuse one that clearly works better under another name."""
    doubt = doubt_activation(checkpoint, encoder, asked.tasks, asked.progress)
    if doubt and not asked.allow_mismatch:
        raise CannotAsk(f"{doubt} Pass {MODEL}, correct its config, or --allow-mismatch to go on as it is.")
    if doubt:
        yield doubt
    yield from (f"{name}: {assumed}" for assumed in encoder.origin.doubts)
    if is_guess(checkpoint):
        yield f"{name}: its preprocessing is {checkpoint.inferred[PREPROCESSED]}"


def warnings_for(entry: Entry, encoder: Encoder, asked: Asked) -> Iterator[str]:
    if entry.mismatch:
        yield f"base and tuned differ in more than weights, which was allowed: {'; '.join(entry.mismatch)}"
    if entry.checkpoint.text_from is not None:
        yield "the file holds an image tower only: the text tower is the base's"
    if encoder.origin.head is not None and not asked.target:
        yield f"a head of {len(encoder.origin.head)} classes lies in the file: name its task with --target"


def refuse_idle_target(target: str, candidates: Sequence[Candidate]) -> None:
    if target and not any(candidate.encoder.origin.head is not None for candidate in candidates):
        raise CannotAsk(f"--target {target}: no file holds a fine-tuned head; leave --target out.")


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


def describe(
    base: Checkpoint,
    encoder: Encoder,
    candidates: Sequence[Candidate],
    battery: Battery,
    probes: Sequence[str],
) -> dict[str, Any]:
    """Say where the numbers come from: weights, battery, probes, versions."""
    return {
        "base": model_facts(base, encoder),
        "tuned": {
            c.name: {**model_facts(c.checkpoint, c.encoder), "mismatch": list(c.mismatch)} for c in candidates
        },
        "battery": {**summary(battery), "digest": provenance.digest(summary(battery))},
        "probes": list(probes),
        "device": str(encoder.device),
        "threads": torch.get_num_threads(),
        "environment": provenance.environment(),
    }


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
