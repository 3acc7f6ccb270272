"""`forgetcheck audit`: ask base and tuned checkpoints the same questions and judge the answers."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from forgetcheck.cli import console
from forgetcheck.cli.options import (
    AllowDownload,
    AllowMismatch,
    As,
    Base,
    BatterySpec,
    CacheSize,
    Compile,
    Confine,
    Device,
    Gallery,
    Languages,
    MaxDownload,
    Model,
    NoCache,
    Offline,
    Overwrite,
    PolicyFile,
    PrecisionOf,
    Quiet,
    Target,
    TextsFrom,
    Top,
    WeightsOf,
    Workers,
    reach_of,
)
from forgetcheck.errors import InputError, unknown_name
from forgetcheck.files import refuse_existing

if TYPE_CHECKING:  # what follows takes half a second to import, which the help doesn't wait for
    from forgetcheck.auditing.candidates import Outlook
    from forgetcheck.batteries.battery import Battery
    from forgetcheck.cli.verdict import Judging
    from forgetcheck.clip.features.cache import FeatureCache
    from forgetcheck.retention.answers import Audit
    from forgetcheck.retention.policy import Rule
    from forgetcheck.tasks.base import Task

_HEAD = "head"  # as auditing.TARGET_PROBE, which would import torch
_OF_TARGET = ("min_target_accuracy", "max_target_drop")  # demands on what was tuned on
_NAMED = 8  # tasks of a battery that a refusal names


def audit(
    base: Base,
    tuned: Annotated[
        list[str], typer.Argument(metavar="TUNED", help="Checkpoints after tuning.", show_default=False)
    ],
    battery: BatterySpec = "drawn",
    out: Annotated[Path, typer.Option(help="Folder for the answers.")] = Path("audit"),
    probe: Annotated[
        list[str] | None, typer.Option(help="Ask only this way; repeatable.", show_default="all")
    ] = None,
    model: Model = None,
    weights: WeightsOf = "",
    allow_download: AllowDownload = False,
    offline: Offline = False,
    target: Target = "",
    confine: Confine = None,
    texts_from: TextsFrom = None,
    allow_mismatch: AllowMismatch = False,
    policy: PolicyFile = None,
    exporters: As = None,
    language: Languages = None,
    gallery: Gallery = 24,
    device: Device = "auto",
    workers: Workers = 0,
    precision: PrecisionOf = "fp32",
    compiled: Compile = False,
    no_cache: NoCache = False,
    cache_size: CacheSize = "4 GiB",
    max_download: MaxDownload = "",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    top: Top = 10,
) -> None:
    """Ask base and tuned checkpoints the same questions, keep the answers and judge them."""
    from forgetcheck.batteries.battery import read_battery
    from forgetcheck.cli.cache import open_cache
    from forgetcheck.cli.verdict import conclude, prepare, refuse_inputs
    from forgetcheck.retention.answers import to_go_on, write_audit
    from forgetcheck.tasks.reading.download import limit_downloads

    limit_downloads(max_download)
    judging = prepare(policy, exporters or [], None, language, top, quiet)
    _refuse_homeless(judging)
    refuse_inputs(judging, out)
    tasks = read_battery(battery, reach_of(confine, texts_from))
    overwrite = overwrite or to_go_on(out)
    refuse_existing(out, overwrite)
    cache = open_cache(cache_size)

    from forgetcheck.auditing import audit as auditing
    from forgetcheck.auditing.candidates import distinct_names, foresee
    from forgetcheck.clip.features.processes import joined
    from forgetcheck.clip.features.runtime import Engine
    from forgetcheck.clip.identity.resolve import find_checkpoints

    probes = tuple(probe or auditing.PROBES)
    with joined() as team:
        engine = Engine(None if no_cache else cache, workers, precision, compiled, team)
        with console.progress_shown(quiet) as progress:
            with team.barrier():
                outlook = foresee(tuned, tasks, target)
                auditing.check(tasks, probes, device, engine, outlook)
                refuse_blind_policy(judging, tasks, probes, outlook)
                # from here on images may be shown: to tell which of two activations bare weights have
                words, shown = [base, *tuned], tuple(tasks.tasks.values())
                before, *after = find_checkpoints(words, model, shown, progress, weights, allow_download)
                _refuse_unknown_checkpoint(judging, distinct_names(before, after)[1:])
            asked = (before, after, tasks, probes, device, progress, gallery)
            answers = auditing.audit(*asked, allow_mismatch, target, engine, keep=True)
        answers = replace(answers, digest=write_audit(out, answers, overwrite))
        if answers.stopped:
            leave(answers, out)
        _say_spared(engine.cache)
        console.print_note(f"the answers are in {out}; judge them again with `forgetcheck report {out}`.")
        conclude(answers, judging, tabled=True)


def leave(stopped: "Audit", out: Path) -> NoReturn:
    """Say what is kept of an audit that was stopped, and end as whoever is stopped does."""
    left, kept = sum(item.role == "stopped" for item in stopped.unasked), len(stopped.answers)
    console.print_error(
        f"stopped ({stopped.stopped}): the answers to {kept} of {kept + left} questions are kept in {out}, "
        "which isn't complete; the same command goes on where it was."
    )
    number = signal.SIGTERM if stopped.stopped == "SIGTERM" else signal.SIGINT
    raise SystemExit(128 + number)


def _refuse_homeless(judging: "Judging") -> None:
    if any(document.path is None for document in judging.documents):
        raise InputError("--as needs a file here, because the tables go to stdout: write --as NAME=FILE.")


def _refuse_unknown_checkpoint(judging: "Judging", names: Sequence[str]) -> None:
    """A document about one checkpoint, such as a model card, must name one that is there."""
    for document in judging.documents:
        asked = getattr(document.exporter, "checkpoint", "")
        if asked and asked not in names:
            raise unknown_name("checkpoint", asked, names, "forgetcheck audit --help")


def refuse_blind_policy(
    judging: "Judging", battery: "Battery", probes: Sequence[str], outlook: "Outlook"
) -> None:
    """A limit on nothing, or a target that isn't asked about, fails the gate: refuse it before the work."""
    from forgetcheck.retention.policy import like

    policy, names = judging.policy, list(battery.tasks)
    known = f"the battery has {', '.join(names[:_NAMED])}{' ...' if len(names) > _NAMED else ''}"
    if policy.target is not None and not outlook.told and not any(map(policy.names_target, names)):
        raise InputError(
            f"{judging.source}: target = '{policy.target}' is no task of the battery: correct it; {known}."
        )
    demanded = [name for name in _OF_TARGET if getattr(policy, name) is not None]
    if demanded and policy.target is None and not outlook.told:
        raise InputError(
            f"{judging.source}: {demanded[0]} speaks of the task that was tuned on, which a checkpoint here "
            f"doesn't record: name it with --target TASK, or by target = in the policy; {known}."
        )
    asked = list(_foreseen(battery, probes, outlook))
    blind = [
        f"concepts[{number}] ({rule.match})"
        for number, rule in enumerate(policy.concepts, 1)
        if rule.gates and not any(_may_catch(rule, *each) for each in asked)
        if outlook.sure or not like(rule.probe, _HEAD)
    ]
    if blind:
        raise InputError(
            f"{judging.source}: {', '.join(blind)} matches no question of this audit, which would fail the "
            f"gate: correct its match or probe, or add the task to the battery; {known}."
        )


def _foreseen(
    battery: "Battery", probes: Sequence[str], outlook: "Outlook"
) -> Iterator[tuple[str, "Task", Sequence[str]]]:
    """Yield the tasks that will be asked about, each with the probes that may be put to it."""
    for name, task in battery.tasks.items():
        yield name, task, probes
    for target in outlook.targets:
        yield target.name, target.task, [_HEAD]


def _may_catch(rule: "Rule", name: str, task: "Task", probes: Sequence[str]) -> bool:
    """Whether a rule can catch a question about a task or a class of it; if in doubt, it can."""
    from forgetcheck.retention.planning import question
    from forgetcheck.retention.policy import like

    probe = next((spec for spec in probes if like(rule.probe, spec)), None)
    if probe is None:
        return False
    if rule.catches(question(name, None, 1, probe)):
        return True
    if not any(like(rule.match[:place], name) for place, mark in enumerate(rule.match) if mark == "/"):
        return False
    try:
        return any(rule.catches(question(name, concept, 1, probe)) for concept in task.class_names)
    except InputError:  # its data isn't there, which is told when it is asked
        return True


def _say_spared(cache: "FeatureCache | None") -> None:
    if cache is not None and cache.reused:
        made = len(cache.reused) + len(cache.made)
        console.print_note(f"the cache spared {len(cache.reused)} of {made} passes of a model.")
