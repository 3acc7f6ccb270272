"""audit(): task x probe -> answers of base and of every tuned checkpoint, for the same samples."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import torch

from forgetcheck import catalog, gallery, provenance
from forgetcheck.clip.checkpoint import Checkpoint
from forgetcheck.clip.deciding import doubt_activation
from forgetcheck.clip.encoded_task import EncodedTask, encode_task
from forgetcheck.clip.encoder import Encoder
from forgetcheck.clip.engine import Engine
from forgetcheck.clip.heads import Classifier
from forgetcheck.clip.loading import load_encoder, share_towers
from forgetcheck.clip.passport import issue
from forgetcheck.clip.run_folder import read_head
from forgetcheck.clip.settings import differences
from forgetcheck.clip.sharding import follow
from forgetcheck.errors import CannotAsk
from forgetcheck.probes.base import Probe
from forgetcheck.progress import Progress, silent
from forgetcheck.retention.answers import Answers, Audit, Said, Unasked
from forgetcheck.tasks.base import Split, SplitName, Task
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
    engine: Engine | None = None,
) -> Audit:
    """Ask base and every tuned checkpoint the same questions; the base is embedded once.

    A question that can't be asked is recorded with the reason. At most `pictures` lost samples per
    checkpoint are kept to look at. `target` is the task whose head lies in a checkpoint that doesn't say
    so itself. Raises CannotAsk when a checkpoint cannot be compared with the base (`allow_mismatch`: that is
    a warning in the report instead), or no question could be asked.
    """
    engine = engine or Engine()
    with engine.team.agreed():
        asked: dict[str, Probe] = {spec: catalog.build("probes", spec) for spec in probes}
        anchor, candidates = load(base, tuned, battery, device, allow_mismatch, target, engine)
        jobs = plan(candidates, battery, asked)
    engine.team.enlist([anchor, *(c.encoder for c in candidates)], [job.task for job in jobs])
    if not engine.team.leads:
        follow(engine)
    asked_jobs = list(ask_all(anchor, jobs, progress, engine))
    found = [item for job in asked_jobs for item in job.found]
    answers = tuple(item for item in found if isinstance(item, Answers))
    unasked = tuple(item for item in found if isinstance(item, Unasked))
    if not answers:
        why = unasked[0].why if unasked else "none of the probes applies to these checkpoints."
        raise CannotAsk(f"nothing was measured: {why}")
    lost = gallery.collect(answers, {job.name: job.test for job in asked_jobs if job.test}, pictures)
    described = describe(base, anchor, candidates, battery, probes)
    return Audit(answers, {**described, **engine.manner, "processes": engine.team.size}, unasked, lost)


def load(
    base: Checkpoint,
    tuned: Sequence[Checkpoint],
    battery: Battery,
    device: str,
    allow_mismatch: bool,
    target: str,
    engine: Engine,
) -> tuple[Encoder, list[Candidate]]:
    """Check that every checkpoint is comparable with the base before any is loaded, then load them."""
    if not tuned:
        raise CannotAsk("no tuned checkpoint to audit: name at least one after the base.")
    device = engine.team.device(device)
    leads = engine.team.leads  # the others hear of a doubt from the leader
    doubt = doubt_activation(base, tuple(battery.tasks.values()), device, engine) if leads else ""
    if doubt and not allow_mismatch:
        raise CannotAsk(f"{doubt} Pass {MODEL}, or --allow-mismatch to go on as it is.")
    entries = [
        Entry(name, each, mismatch(base, name, each, allow_mismatch))
        for name, each in zip(distinct_names(tuned), tuned, strict=True)
    ]
    anchor = engine.ready(load_encoder(base, device))
    return anchor, [enter(anchor, entry, device, target, doubt, engine) for entry in entries]


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
        return sum(len(self.task.split(part)) for part in self.parts)


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


@dataclass(frozen=True)
class Asked:
    """What came of one job."""

    name: str
    test: Split | None  # the test samples that could be read; None: nothing could be asked
    found: Sequence[Answers | Unasked]


def ask_all(base: Encoder, jobs: Sequence[Job], progress: Progress, engine: Engine) -> Iterator[Asked]:
    """Do every job. Progress counts images over all of them, so that the time left is that of the audit."""
    total, done = sum(job.images for job in jobs), 0
    for job in jobs:
        yield do(base, job, portion(progress, job.name, done, total), engine)
        done += job.images


def do(base: Encoder, job: Job, progress: Progress, engine: Engine) -> Asked:
    """Embed one task for everybody and put every probe; what can't be asked is told, not fatal."""
    encoders = [base, *(candidate.encoder for candidate in job.candidates)]
    try:
        anchor, *others = encode_task(job.name, job.task, encoders, job.parts, progress, engine)
        refused = ""
    except CannotAsk as problem:
        anchor, *others = (EncodedTask(job.task, encoder, {}) for encoder in encoders)
        refused = str(problem)
    seen = [with_head(c, task) for c, task in zip(job.candidates, others, strict=True)]
    found: list[Answers | Unasked] = []
    for spec, probe in job.probes.items():
        able = [pair for pair in seen if probe.applies(pair[1], anchor)]
        if refused:
            found += [Unasked(candidate.name, job.name, spec, refused) for candidate, _ in able]
        elif able:
            found += ask(job.name, spec, probe, anchor, able)
    return Asked(job.name, None if refused else readable(anchor), found)


def readable(seen: EncodedTask) -> Split:
    """Return the test samples that were asked about."""
    split, kept = seen.task.split("test"), seen.splits["test"].kept
    return split if kept is None else split.take(kept)


def portion(progress: Progress, name: str, before: int, total: int) -> Progress:
    """Report the progress of one job as part of the whole audit."""

    def report(stage: str, done: int, total_of_job: int, note: str = "") -> None:
        progress("auditing", before + done, total, f"{name} {note}".rstrip())

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
            target=candidate.target == base.task,
            warnings=(
                *candidate.warnings,
                *left_out(base),
                *doubts("base", answered),
                *doubts("tuned", reply),
            ),
        )


def left_out(seen: EncodedTask) -> list[str]:
    return [f"left out: {part.unread}" for part in seen.splits.values() if part.unread]


def doubts(who: str, reply: Said) -> list[str]:
    if reply.notes.get("converged", True):
        return []
    return [f"the {who} probe stopped at gradient {reply.notes['gradient']:.1e}, short of its tolerance"]


def with_head(candidate: Candidate, seen: EncodedTask) -> tuple[Candidate, EncodedTask]:
    """Add the fine-tuned head where this is the task it was tuned on."""
    head = head_of(candidate)
    if head is None or candidate.target != seen.task:
        return candidate, seen
    if "test" in seen.splits:
        expected = (len(seen.task.class_names), seen.splits["test"].embeddings.shape[1])
        if head.weight.shape != expected:
            raise CannotAsk(
                f"the head of '{candidate.name}' is {tuple(head.weight.shape)}, not {expected}: "
                "it belongs to another task; tune again, or name its own with --target."
            )
    return candidate, replace(seen, head=head)


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


def enter(base: Encoder, entry: Entry, device: str, told: str, doubt: str, engine: Engine) -> Candidate:
    """Load a tuned checkpoint; a tower that is the base's takes no memory of its own."""
    encoder = replace(load_encoder(entry.checkpoint, device), name=entry.name)
    share_towers(encoder, base)
    engine.ready(encoder)
    source = source_of(entry.checkpoint) or (told if encoder.origin.head is not None else "")
    return Candidate(
        entry.name,
        entry.checkpoint,
        entry.mismatch,
        encoder=encoder,
        source=source,
        target=target_of(entry.checkpoint, source),
        warnings=tuple(warnings_for(entry, doubt)),
    )


def warnings_for(entry: Entry, doubt: str) -> Iterator[str]:
    if doubt:
        yield doubt
    if entry.mismatch:
        yield f"base and tuned differ in more than weights, which was allowed: {'; '.join(entry.mismatch)}"
    if entry.checkpoint.text_from is not None:
        yield "the file holds an image tower only: the text tower is the base's"


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
