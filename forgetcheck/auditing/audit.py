"""audit(): task x probe -> answers of base and of every tuned checkpoint, for the same samples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from forgetcheck import catalog, provenance
from forgetcheck.auditing import data_warnings, gallery
from forgetcheck.auditing.candidates import (
    AuditOptions,
    Candidate,
    Outlook,
    doubted,
    find_target,
    is_target,
    load,
    model_facts,
    source_of,
    told_apart,
)
from forgetcheck.batteries.battery import Battery, summary
from forgetcheck.batteries.paths import folders_read
from forgetcheck.clip.features.encoded_task import EncodedTask, encode_task, work
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.features.sharding import follow
from forgetcheck.clip.model.checkpoint import Checkpoint
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.load import choose_device
from forgetcheck.errors import InputError, Terminated
from forgetcheck.probes.base import Probe, Question
from forgetcheck.probes.zero_shot import ZeroShot
from forgetcheck.progress import Progress, silent
from forgetcheck.retention.answers import Audit, PairedPredictions, Role, SkippedQuestion
from forgetcheck.tasks.base import Split, SplitName, Task, lacks

PROBES = (  # each is applied to the tasks of the battery that have the labels it needs
    "zero-shot",
    "zero-shot:text=base",
    "linear",
    "retrieval:to=text",
    "retrieval:to=image",
    "caption-choice",
)
_TARGET_PROBE = "head"  # applied to the task that a checkpoint with a head was tuned on


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
    keep: bool = False,
) -> Audit:
    """Ask base and every tuned checkpoint the same questions; the base is embedded once.

    A question that can't be asked is recorded with the reason. At most `pictures` lost samples per
    checkpoint are kept to look at. `target`, a source or a task of the battery, is what checkpoints were
    tuned on that don't record it. With `keep`, Ctrl-C and SIGTERM end the asking alone: what was
    answered by then is returned, with the questions that are left. Raises InputError when a checkpoint
    cannot be compared with the base (`allow_mismatch`: that is a warning in the report instead), or no
    question could be asked.
    """
    engine = engine or Engine()
    base, tuned = told_apart(base, tuned)
    with engine.team.barrier():
        asked = check(battery, probes, device, engine)
        place = engine.team.device(device)
        wishes = AuditOptions(battery, place, find_target(target, battery), allow_mismatch, progress, engine)
        anchor, candidates = load(base, tuned, wishes)
        _refuse_unfit(plan(candidates, battery, asked))
        jobs = plan(doubted(base, anchor, candidates, wishes), battery, asked)
    engine.team.register([anchor, *(c.encoder for c in candidates)], [job.task for job in jobs])
    if not engine.team.leads:
        follow(engine)
    described = _describe(base, anchor, candidates, battery, probes)
    asked_jobs, stopped = _ask_all(anchor, jobs, progress, engine, keep and engine.team.size == 1)
    every = [_in_role(item, job.role) for job, of in zip(jobs, asked_jobs, strict=True) for item in of.found]
    found = without_repeats(every, asked)
    answers = tuple(item for item in found if isinstance(item, PairedPredictions))
    unasked = tuple(item for item in found if isinstance(item, SkippedQuestion))
    if not answers:
        unfit = {job.name for job in jobs if not job.probes}  # a task that was put a probe says more
        told = sorted(unasked, key=lambda item: item.task in unfit)
        why = told[0].why if told else "none of the probes applies to these checkpoints."
        raise InputError(f"nothing was measured: {why}")
    seen = {item.task for item in answers} if stopped else battery.tasks.keys()  # to read the rest takes long
    described["battery"]["data"] = {
        name: contents_of(task) if name in seen else None for name, task in battery.tasks.items()
    }
    tests = {(job.name, spec): test for job in asked_jobs for spec, test in job.tests.items()}
    lost = gallery.collect(answers, tests, pictures)
    whence = {**described, **engine.manner, "processes": engine.team.size}
    return Audit(answers, whence, unasked, lost, stopped=stopped)


def contents_of(task: Task) -> str | None:
    """Return the digest of every test sample with its id, label and captions; None where it isn't known."""
    try:
        split = task.split("test")
    except InputError:
        return None
    if split.contents is None:
        return None
    said = split.captions
    told = [] if said is None else [said.places.tolist(), said.kinds.tolist(), said.texts, said.swaps]
    return provenance.digest([split.contents(), *told])


def check(
    battery: Battery, probes: Sequence[str], device: str, engine: Engine, outlook: Outlook | None = None
) -> dict[str, Probe]:
    """Return the probes, and refuse what names alone show can't be asked: no model is read, no image decoded.

    `outlook` is what the words for the tuned checkpoints tell; without it no model's head is ruled out.
    """
    asked: dict[str, Probe] = {}
    for spec in probes:
        probe: Probe = catalog.build("probes", spec)
        same = next((other for other, each in asked.items() if each == probe), spec)
        if same != spec:
            raise InputError(f"--probe {spec} asks the same as {same}: leave one of them out.")
        asked[spec] = probe
    provenance.timestamp()  # refuses a date of the environment that the answers could not be stored with
    with engine.running(choose_device(engine.team.device(device))):
        pass
    if outlook is not None and not outlook.heads:
        _refuse_unfit([_Job(name, task, (), asked) for name, task in battery.tasks.items()])
    return asked


def without_repeats(
    found: Sequence[PairedPredictions | SkippedQuestion], probes: Mapping[str, Probe]
) -> list[PairedPredictions | SkippedQuestion]:
    """Leave out what was asked with the base's texts where no answer depends on whose texts are read.

    All that a checkpoint was asked so, or nothing: a mean over the tasks alone that happen to differ would
    be a harsher question than the one a policy limits.
    """
    twins = {
        spec: next((other for other, each in probes.items() if each == replace(probe, text="own")), "")
        for spec, probe in probes.items()
        if isinstance(probe, ZeroShot) and probe.text == "base"
    }
    said = {(item.checkpoint, item.task, item.probe): item for item in found}
    moved = {
        (item.checkpoint, item.probe)
        for item in found
        if item.probe in twins
        and not _same_answers(item, said.get((item.checkpoint, item.task, twins[item.probe])))
    }
    return [item for item in found if item.probe not in twins or (item.checkpoint, item.probe) in moved]


def _in_role(item: PairedPredictions | SkippedQuestion, role: Role) -> PairedPredictions | SkippedQuestion:
    """Say of a question that was not asked who wanted it."""
    return replace(item, role=role) if isinstance(item, SkippedQuestion) and item.role != "stopped" else item


def _same_answers(
    here: PairedPredictions | SkippedQuestion, there: PairedPredictions | SkippedQuestion | None
) -> bool:
    """Whether two questions about the same samples were answered alike; confidence is no answer."""
    if isinstance(here, PairedPredictions) and isinstance(there, PairedPredictions):
        pairs = ((here.base.label, there.base.label), (here.tuned.label, there.tuned.label))
        return all(np.array_equal(own, other) for own, other in pairs)
    return isinstance(here, SkippedQuestion) and isinstance(there, SkippedQuestion)


@dataclass(frozen=True)
class _Job:
    """One task to be embedded once, for these candidates and by these probes."""

    name: str
    task: Task
    candidates: Sequence[Candidate]
    every: Mapping[str, Probe]
    role: Role = "asked"

    @property
    def probes(self) -> Mapping[str, Probe]:
        """Those that can be applied to images with such labels, in the parts that there are."""
        fit = self.fit
        here = {spec: probe for spec, probe in fit.items() if not self.without(probe)}
        return here or fit  # if none is left, the reason is what has to be told

    @property
    def fit(self) -> dict[str, Probe]:
        """Those that can be applied to images with such labels, by what kind the labels are alone."""
        return {spec: probe for spec, probe in self.every.items() if probe.asks(self.task)}

    def without(self, probe: Probe) -> list[SplitName]:
        """Name the parts that a probe needs and the task doesn't have."""
        return [part for part in probe.parts if part == "train" and self.untaught]

    @cached_property
    def untaught(self) -> bool:
        """Whether there is no train part; only asked for a probe that needs one, as it may be far away."""
        return lacks(self.task, "train")

    @property
    def left(self) -> list[str]:
        """Say which probes aren't put to it for want of a part; a reader must not miss them."""
        return [
            f"not asked: {spec}, because the task has no {' or '.join(self.without(probe))} images"
            for spec, probe in self.fit.items()
            if spec not in self.probes
        ]

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
        except InputError:
            return 0


def plan(candidates: Sequence[Candidate], battery: Battery, probes: Mapping[str, Probe]) -> list[_Job]:
    """Put the battery to everybody, then each target task to those tuned on it, with their own heads."""
    head = {_TARGET_PROBE: catalog.build("probes", _TARGET_PROBE)}
    asked = battery.tasks.values() if _TARGET_PROBE in probes else ()
    left = [
        each
        for each in candidates
        if each.head is not None and not any(is_target(each, task) for task in asked)
    ]
    jobs = [
        _Job(name, task, candidates, probes, "optional" if battery.is_optional(name) else "asked")
        for name, task in battery.tasks.items()
    ]
    while left:
        task = left[0].target
        same = [each for each in left if each.target == task]
        if task is not None:
            role: Role = "recorded" if source_of(same[0].checkpoint) else "asked"
            jobs.append(_Job(same[0].source, task, same, head, role))
        left = [each for each in left if each.target != task]
    return jobs


def _refuse_unfit(jobs: Sequence[_Job]) -> None:
    """Refuse probes that can be applied to no images of the labels at hand, before any image is shown."""
    if jobs and not any(job.fit for job in jobs):
        raise InputError(f"nothing was measured: {unfit(jobs[0])}")


def unfit(job: _Job) -> str:
    return f"it can't be put to images labelled by {job.task.labelled_by}: ask another --probe as well."


@dataclass(frozen=True)
class _Asked:
    """What came of one job."""

    name: str
    tests: dict[str, Split] = field(default_factory=dict)  # the samples that each probe asked about
    found: list[PairedPredictions | SkippedQuestion] = field(default_factory=list)


def _ask_all(
    base: Encoder, jobs: Sequence[_Job], progress: Progress, engine: Engine, keep: bool
) -> tuple[list[_Asked], str]:
    """Do every job, and say what stopped it. Progress counts over all, so that the time left is the audit's.

    Who stops it loses nothing that was answered, if `keep` is set.
    """
    total, done = sum(job.work for job in jobs), 0
    every = [_Asked(job.name) for job in jobs]
    try:
        for job, asked in zip(jobs, every, strict=True):
            do(base, job, _portion(progress, job.name, done, total), engine, asked)
            done += job.work
    except (KeyboardInterrupt, Terminated) as leaving:
        answered = any(isinstance(item, PairedPredictions) for asked in every for item in asked.found)
        left = [_left_unasked(base, job, asked, leaving) for job, asked in zip(jobs, every, strict=True)]
        if not keep or not answered or not any(left) or _stopped_twice(leaving):
            raise
        for asked, items in zip(every, left, strict=True):
            asked.found.extend(items)
        return every, _stopped_by(leaving)
    return every, ""


def _left_unasked(base: Encoder, job: _Job, asked: _Asked, leaving: BaseException) -> list[SkippedQuestion]:
    """Return the questions of a job that nobody was asked before it was stopped."""
    why = f"the audit was stopped before it was asked ({_stopped_by(leaving)})"
    told = {(item.checkpoint, item.probe) for item in asked.found}
    anchor = EncodedTask(job.task, base, {})
    return [
        SkippedQuestion(candidate.name, job.name, spec, why, "stopped")
        for spec, probe in job.probes.items()
        for candidate, seen in (_with_head(c, EncodedTask(job.task, c.encoder, {})) for c in job.candidates)
        if (candidate.name, spec) not in told
        if isinstance(probe, ZeroShot) or probe.applies(seen, anchor)  # of zero-shot, it takes reading texts
    ]


def _stopped_by(leaving: BaseException) -> str:
    return "SIGTERM" if isinstance(leaving, Terminated) else "Ctrl-C"


def _stopped_twice(leaving: BaseException) -> bool:
    """Whether somebody stopped it again while it was cleaning up: now it must end at once."""
    before = leaving.__context__
    while before is not None and not isinstance(before, (KeyboardInterrupt, Terminated)):
        before = before.__context__
    return before is not None


def do(base: Encoder, job: _Job, progress: Progress, engine: Engine, into: _Asked) -> None:
    """Embed one task for everybody and put every probe; what can't be asked is told, not fatal."""
    if not job.probes:
        into.found.extend(
            SkippedQuestion(c.name, job.name, s, unfit(job)) for c in job.candidates for s in job.every
        )
        return
    encoders = [base, *(candidate.encoder for candidate in job.candidates)]
    try:
        anchor, *others = encode_task(job.name, job.task, encoders, job.parts, progress, engine, job.prompted)
        refused = ""
    except InputError as problem:
        anchor, *others = (EncodedTask(job.task, encoder, {}, engine=engine) for encoder in encoders)
        refused = str(problem)
    odd = () if refused else data_warnings.of_data(anchor)
    seen = [_with_head(warned(c, anchor), task) for c, task in zip(job.candidates, others, strict=True)]
    for spec, probe in job.probes.items():
        able = [pair for pair in seen if probe.applies(pair[1], anchor)]
        if not able:
            continue
        try:
            if refused:
                raise InputError(refused)
            question = probe.question(anchor)
            answered = probe.answer(anchor, anchor)
        except InputError as problem:
            into.found.extend(
                SkippedQuestion(candidate.name, job.name, spec, str(problem)) for candidate, _ in able
            )
            continue
        into.tests[spec] = _asked_about(anchor, question)
        asked = PairedPredictions(
            checkpoint="",
            task=job.name,
            probe=spec,
            class_names=question.class_names,
            labels=question.labels,
            base=answered,
            tuned=answered,
            groups=_tied(into.tests[spec].groups, question.places),
            chance=question.chance,
            warnings=(*job.left, *odd, *(data_warnings.of_prompts(anchor) if probe.prompted else ())),
        )
        for candidate, task in able:
            into.found.append(ask(asked, probe, anchor, candidate, task))


def _asked_about(seen: EncodedTask, question: Question) -> Split:
    """Return the samples of a question, in its order: test images that could be read."""
    split, kept = replace(seen.task.split("test"), captions=None), seen.splits["test"].kept
    readable = split if kept is None else split.take(kept)
    some = readable.take(question.places)
    return replace(some, ids=question.samples) if question.samples else some


def _tied(
    groups: NDArray[np.int64] | None, places: NDArray[np.int64]
) -> NDArray[np.int32] | None:  # (n,), (n,) -> (n,)
    """Number the clusters that samples come in, by their source or as they are about one image."""
    distinct, numbers = np.unique(places if groups is None else groups, return_inverse=True)
    return None if len(distinct) == len(places) else numbers.astype(np.int32)


def _portion(progress: Progress, name: str, before: int, total: int) -> Progress:
    """Report the progress of one job as part of the whole audit."""

    def report(stage: str, done: int, total_of_job: int, note: str = "") -> None:
        progress("auditing", before + done, total, f"{name} {note}".rstrip())

    return report


def ask(
    asked: PairedPredictions, probe: Probe, base: EncodedTask, candidate: Candidate, seen: EncodedTask
) -> PairedPredictions | SkippedQuestion:
    """Put to a candidate what the base has answered."""
    try:
        reply = probe.answer(seen, base)
    except InputError as problem:
        return SkippedQuestion(candidate.name, asked.task, asked.probe, str(problem))
    return replace(
        asked,
        checkpoint=candidate.name,
        tuned=reply,
        identical=probe.identical(seen, base) and not candidate.mismatch,
        target=is_target(candidate, base.task),
        warnings=(
            *asked.warnings,
            *candidate.warnings,
            *data_warnings.of_reading(base, seen),
            *(data_warnings.of_tuned_prompts(probe.reader(seen, base), base) if probe.prompted else ()),
            *data_warnings.of_training("base", asked.base),
            *data_warnings.of_training("tuned", reply),
        ),
    )


def warned(candidate: Candidate, anchor: EncodedTask) -> Candidate:
    """Add what only this task shows of a candidate."""
    return replace(
        candidate, warnings=(*candidate.warnings, *data_warnings.of_tuning(anchor, candidate.seen))
    )


def _with_head(candidate: Candidate, seen: EncodedTask) -> tuple[Candidate, EncodedTask]:
    """Add the fine-tuned head where this is the task it was tuned on."""
    if candidate.head is None or not is_target(candidate, seen.task):
        return candidate, seen
    return candidate, replace(seen, head=candidate.head)


def _describe(
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
        "battery": {
            **summary(battery),
            "digest": provenance.digest(summary(battery)),
            "folders": sorted({*battery.folders, *_targets_read(candidates)}),
        },
        "probes": list(probes),
        "device": str(encoder.device),
        "threads": torch.get_num_threads(),
        "environment": provenance.environment(),
    }


def _targets_read(candidates: Sequence[Candidate]) -> Iterator[str]:
    """Yield the folders of what checkpoints with a head were tuned on."""
    for each in candidates:
        if each.target is not None and each.head is not None:
            yield from folders_read(each.target.origin)
