"""Sharding: the images of one part over the processes of a team, and their embeddings back in order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from forgetcheck.clip.features.cache import Features
from forgetcheck.clip.features.image_pass import Part, Report, Shard, encode
from forgetcheck.clip.features.processes import Team
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import SplitName


@dataclass(frozen=True)
class Job:
    """Show these models their share of one part of one task: numbers count what everybody has."""

    task: int
    name: str
    part: SplitName
    encoders: tuple[int, ...]


@dataclass(frozen=True)
class Failure:
    """Why a process could not do its share."""

    why: str
    refusal: bool  # or a bug


def encode_together(
    part: Part, encoders: Sequence[Encoder], report: Report, engine: Engine
) -> list[Features]:
    """Lead the team over one part of a task; what the team doesn't have is done alone."""
    order = job_for(part, encoders, engine)
    if order is None:
        return encode(part, encoders, report, engine)
    team = engine.team
    team.order(order)
    shares = team.gather(attempt(lambda: encode(part, encoders, report, engine, _shard_of(team))))
    failures = [share for share in shares if isinstance(share, Failure)]
    for failure in sorted(failures, key=lambda each: each.refusal):  # a bug is told before a refusal
        raise InputError(failure.why) if failure.refusal else RuntimeError(failure.why)
    return [_in_order(each) for each in zip(*shares, strict=True)]


def follow(engine: Engine) -> NoReturn:
    """Do what the leader orders until it ends. Raises Dismissed with its exit code."""
    team = engine.team
    while True:
        order: Job = team.ordered()
        team.gather(attempt(lambda: run_job(order, engine)))  # noqa: B023 (called before the next one)


def run_job(order: Job, engine: Engine) -> list[Features]:
    team = engine.team
    task = team.tasks[order.task]
    part = Part(order.name, task, order.part, task.split(order.part))
    encoders = [team.encoders[number] for number in order.encoders]
    return encode(part, encoders, lambda *_: None, engine, _shard_of(team))


def _shard_of(team: Team) -> Shard:
    return Shard(team.rank, team.size)


def job_for(part: Part, encoders: Sequence[Encoder], engine: Engine) -> Job | None:
    """Name a part and models as everybody knows them; None if there is nobody, or nobody knows them."""
    team = engine.team
    known = {id(encoder): number for number, encoder in enumerate(team.encoders)}
    if team.size == 1 or part.task not in team.tasks or any(id(each) not in known for each in encoders):
        return None
    numbers = tuple(known[id(encoder)] for encoder in encoders)
    return Job(list(team.tasks).index(part.task), part.title, part.name, numbers)


def attempt(work: Callable[[], list[Features]]) -> list[Features] | Failure:
    """Do one's share. What goes wrong is told instead of raised, or the others would wait for ever."""
    try:
        return work()
    except InputError as problem:
        return Failure(str(problem), refusal=True)
    except Exception as problem:
        return Failure(f"{type(problem).__name__}: {problem}", refusal=False)


def _in_order(shares: Sequence[Features]) -> Features:
    """Put the shares of one model into the order of the part."""
    shares = [share for share in shares if len(share.kept) or share.unread]
    filled = [share for share in shares if len(share.kept)] or shares[:1]
    kept = np.concatenate([share.kept for share in filled])
    order = np.argsort(kept)
    rows = np.concatenate([share.embeddings for share in filled])
    unread = sorted(entry for share in shares for entry in share.unread)
    return Features(rows[order], kept[order], tuple(unread))
