"""audit(): task x probe -> answers of base and of every tuned checkpoint, for the same samples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forgetcheck import catalog, gallery, provenance
from forgetcheck.candidates import Candidate, Wishes, head_of, is_target, load, model_facts
from forgetcheck.clip.checkpoint import Checkpoint
from forgetcheck.clip.encoded_task import EncodedTask, encode_task, work
from forgetcheck.clip.encoder import Encoder
from forgetcheck.clip.engine import Engine
from forgetcheck.clip.sharding import follow
from forgetcheck.errors import CannotAsk
from forgetcheck.probes.base import Probe, Question
from forgetcheck.progress import Progress, silent
from forgetcheck.retention.answers import Answers, Audit, Said, Unasked
from forgetcheck.tasks.base import Split, SplitName, Task
from forgetcheck.tasks.battery import Battery, summary

PROBES = (  # each is put to the tasks of the battery that have the labels it needs
    "zero-shot",
    "zero-shot:text=base",
    "linear",
    "retrieval:to=text",
    "retrieval:to=image",
    "caption-choice",
)
TARGET_PROBE = "head"  # put to the task a run folder was tuned on


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
        place = engine.team.device(device)
        wishes = Wishes(tuple(battery.tasks.values()), place, target, allow_mismatch, progress, engine)
        anchor, candidates = load(base, tuned, wishes)
        jobs = plan(candidates, battery, asked)
    engine.team.enlist([anchor, *(c.encoder for c in candidates)], [job.task for job in jobs])
    if not engine.team.leads:
        follow(engine)
    asked_jobs = list(ask_all(anchor, jobs, progress, engine))
    found = [item for job in asked_jobs for item in job.found]
    answers = tuple(item for item in found if isinstance(item, Answers))
    unasked = tuple(item for item in found if isinstance(item, Unasked))
    if not answers:
        unfit = {job.name for job in jobs if not job.probes}  # a task that was put a probe says more
        told = sorted(unasked, key=lambda item: item.task in unfit)
        why = told[0].why if told else "none of the probes applies to these checkpoints."
        raise CannotAsk(f"nothing was measured: {why}")
    tests = {(job.name, spec): test for job in asked_jobs for spec, test in job.tests.items()}
    lost = gallery.collect(answers, tests, pictures)
    described = describe(base, anchor, candidates, battery, probes)
    return Audit(answers, {**described, **engine.manner, "processes": engine.team.size}, unasked, lost)


@dataclass(frozen=True)
class Job:
    """One task to be embedded once, for these candidates and by these probes."""

    name: str
    task: Task
    candidates: Sequence[Candidate]
    every: Mapping[str, Probe]

    @property
    def probes(self) -> Mapping[str, Probe]:
        """Those that can be put to images with such labels."""
        return {spec: probe for spec, probe in self.every.items() if probe.asks(self.task)}

    @property
    def parts(self) -> tuple[SplitName, ...]:
        every: tuple[SplitName, ...] = ("train", "test")
        return tuple(part for part in every if any(part in probe.parts for probe in self.probes.values()))

    @property
    def prompted(self) -> bool:
        return any(probe.prompted for probe in self.probes.values())

    @property
    def work(self) -> int:
        """In images; none where it can't be asked, which is told when it is."""
        try:
            return work(self.task, self.parts, self.prompted)
        except CannotAsk:
            return 0


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
    tests: Mapping[str, Split]  # the samples that each probe asked about
    found: Sequence[Answers | Unasked]


def ask_all(base: Encoder, jobs: Sequence[Job], progress: Progress, engine: Engine) -> Iterator[Asked]:
    """Do every job. Progress counts over all of them, so that the time left is that of the audit."""
    total, done = sum(job.work for job in jobs), 0
    for job in jobs:
        yield do(base, job, portion(progress, job.name, done, total), engine)
        done += job.work


def do(base: Encoder, job: Job, progress: Progress, engine: Engine) -> Asked:
    """Embed one task for everybody and put every probe; what can't be asked is told, not fatal."""
    if not job.probes:
        why = f"it can't be put to images labelled by {job.task.labelled_by}: ask another --probe as well."
        none = [Unasked(c.name, job.name, spec, why) for c in job.candidates for spec in job.every]
        return Asked(job.name, {}, none)
    encoders = [base, *(candidate.encoder for candidate in job.candidates)]
    try:
        anchor, *others = encode_task(job.name, job.task, encoders, job.parts, progress, engine, job.prompted)
        refused = ""
    except CannotAsk as problem:
        anchor, *others = (EncodedTask(job.task, encoder, {}) for encoder in encoders)
        refused = str(problem)
    seen = [with_head(c, task) for c, task in zip(job.candidates, others, strict=True)]
    found: list[Answers | Unasked] = []
    tests: dict[str, Split] = {}
    for spec, probe in job.probes.items():
        able = [pair for pair in seen if probe.applies(pair[1], anchor)]
        if not able:
            continue
        try:
            if refused:
                raise CannotAsk(refused)
            question = probe.question(anchor)
            answered = probe.answer(anchor, anchor)
        except CannotAsk as problem:
            found += [Unasked(candidate.name, job.name, spec, str(problem)) for candidate, _ in able]
            continue
        tests[spec] = asked_about(anchor, question)
        asked = Answers(
            checkpoint="",
            task=job.name,
            probe=spec,
            class_names=question.class_names,
            labels=question.labels,
            base=answered,
            tuned=answered,
            groups=tied(tests[spec].groups, question.places),
            chance=question.chance,
        )
        found += [ask(asked, probe, anchor, candidate, task) for candidate, task in able]
    return Asked(job.name, tests, found)


def asked_about(seen: EncodedTask, question: Question) -> Split:
    """Return the samples of a question, in its order: test images that could be read."""
    split, kept = replace(seen.task.split("test"), captions=None), seen.splits["test"].kept
    readable = split if kept is None else split.take(kept)
    some = readable.take(question.places)
    return replace(some, ids=question.samples) if question.samples else some


def tied(
    groups: NDArray[np.int64] | None, places: NDArray[np.int64]
) -> NDArray[np.int32] | None:  # (n,), (n,) -> (n,)
    """Number the clusters that samples come in, by their source or as they are about one image."""
    distinct, numbers = np.unique(places if groups is None else groups, return_inverse=True)
    return None if len(distinct) == len(places) else numbers.astype(np.int32)


def portion(progress: Progress, name: str, before: int, total: int) -> Progress:
    """Report the progress of one job as part of the whole audit."""

    def report(stage: str, done: int, total_of_job: int, note: str = "") -> None:
        progress("auditing", before + done, total, f"{name} {note}".rstrip())

    return report


def ask(
    asked: Answers, probe: Probe, base: EncodedTask, candidate: Candidate, seen: EncodedTask
) -> Answers | Unasked:
    """Put to a candidate what the base has answered."""
    try:
        reply = probe.answer(seen, base)
    except CannotAsk as problem:
        return Unasked(candidate.name, asked.task, asked.probe, str(problem))
    return replace(
        asked,
        checkpoint=candidate.name,
        tuned=reply,
        identical=probe.identical(seen, base) and not candidate.mismatch,
        target=is_target(candidate, base.task),
        warnings=(
            *candidate.warnings,
            *left_out(base),
            *cut_short((base, seen)),
            *doubts("base", asked.base),
            *doubts("tuned", reply),
        ),
    )


def left_out(seen: EncodedTask) -> list[str]:
    return [f"left out: {part.unread}" for part in seen.splits.values() if part.unread]


def cut_short(models: Sequence[EncodedTask]) -> list[str]:
    parts = [part for model in models for part in model.splits.values()]
    told = dict.fromkeys(part.captions.cut_short for part in parts if part.captions)
    return [f"not read: {text}" for text in told if text]


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
