"""Sharding: shares put together are what one process sees, bit by bit; nobody waits for what fails."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from conftest import VIT, random_encoder
from PIL import Image

from forgetcheck.clip.features.cache import FeatureCache
from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.features.image_pass import Part, Shard, encode
from forgetcheck.clip.features.processes import Dismissed, Team, joined
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.features.sharding import Failure, Job, attempt, job_for, run_job
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Split, Task, Unreadable


@dataclass(frozen=True)
class Painted(Task):
    """Images that tell their place; some can't be read."""

    count: int = 300
    broken: tuple = (5, 64, 299)

    class_names = ("one", "two")
    templates = ("{}",)
    tolerated = 0.02

    def split(self, name):
        def image(place):
            if place in self.broken:
                raise Unreadable("truncated")
            return Image.new("RGB", (40, 32), (place % 256, place // 256, 7))

        labels = np.arange(self.count) % 2
        return Split(tuple(map(str, range(self.count))), labels, image, contents=lambda: "painted")


@dataclass
class OneByOne(Team):
    """A team whose other processes work when the leader gathers."""

    orders: list = field(default_factory=list)

    def order(self, what):
        self.orders.append(what)

    def gather(self, own):
        shares = [own]
        for rank in range(1, self.size):
            other = Team(rank, self.size)
            other.register(self.encoders, self.tasks)
            shares.append(attempt(lambda other=other: run_job(self.orders[-1], Engine(team=other))))
        return shares


def team_of(size, encoders, tasks):
    team = OneByOne(0, size)
    team.register(encoders, tasks)
    return team


def look(task, encoders, engine):
    return [seen.splits["test"] for seen in encode_task("painted", task, encoders, ("test",), engine=engine)]


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("task", [Painted(), Painted(count=40, broken=())], ids=["many", "one batch"])
def test_shares_put_together_are_what_one_process_sees(vit, size, task):
    encoders = [vit, random_encoder(VIT, seed=1)]
    alone = look(task, encoders, Engine())
    shared = look(task, encoders, Engine(team=team_of(size, encoders, [task])))
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one.embeddings, other.embeddings)
        assert torch.equal(one.labels, other.labels)
        assert np.array_equal(one.kept, other.kept) if task.broken else other.kept is None
        assert one.unread == other.unread


def test_the_team_is_asked_for_what_the_cache_misses(vit, tmp_path):
    encoders = [vit, random_encoder(VIT, seed=1)]
    cache = FeatureCache(tmp_path, warn=pytest.fail)
    look(Painted(), [vit], Engine(cache))
    team = team_of(2, encoders, [Painted()])
    for _ in range(2):
        look(Painted(), encoders, Engine(cache, team=team))
    assert team.orders == [Job(0, "painted", "test", (1,))]


def test_what_the_team_does_not_have_is_done_alone(vit):
    stranger, task = random_encoder(VIT, seed=1), Painted()
    engine = Engine(team=team_of(2, [vit], [task]))
    split = task.split("test")
    assert job_for(Part("t", task, "test", split), [stranger], engine) is None
    assert job_for(Part("t", Painted(count=9), "test", split), [vit], engine) is None
    assert job_for(Part("t", task, "test", split), [vit], Engine()) is None
    assert job_for(Part("t", task, "test", split), [vit], engine) == Job(0, "t", "test", (0,))


def test_too_many_unreadable_images_over_all_shares_refuse_the_task(vit):
    task = Painted(broken=(1, 2, 3, 65, 66, 67, 68))  # 7 of 300; 6 are tolerated, and no share has more
    with pytest.raises(InputError, match="among 300 test images 7 can't be read"):
        look(task, [vit], Engine(team=team_of(2, [vit], [task])))


@pytest.mark.parametrize(
    ("problem", "raised"),
    [(InputError("no such file"), InputError), (ZeroDivisionError("oops"), RuntimeError)],
)
def test_what_another_process_cannot_do_is_raised_by_the_leader(vit, monkeypatch, problem, raised):
    task = Painted()
    team = team_of(2, [vit], [task])
    monkeypatch.setattr(team, "gather", lambda own: [own, attempt(lambda: (_ for _ in ()).throw(problem))])
    with pytest.raises(raised, match=str(problem)):
        look(task, [vit], Engine(team=team))


def test_a_bug_is_told_before_a_refusal(vit, monkeypatch):
    team = team_of(3, [vit], [Painted()])
    failures = [Failure("refused", refusal=True), Failure("bug", refusal=False)]
    monkeypatch.setattr(team, "gather", lambda own: [own, *failures])
    with pytest.raises(RuntimeError, match="bug"):
        look(Painted(), [vit], Engine(team=team))


def test_a_share_is_every_other_batch(vit):
    task = Painted(broken=())
    part = Part("t", task, "test", task.split("test"))
    (second,) = encode(part, [vit], lambda *_: None, Engine(), Shard(1, 2))
    assert second.kept.tolist() == [*range(64, 128), *range(192, 256)]


def test_without_torchrun_there_is_one_process():
    with joined() as team:
        assert (team.rank, team.size, team.leads) == (0, 1, True)
        assert team.device("auto") == "auto"
        with pytest.raises(InputError, match="as it was"), team.barrier():
            raise InputError("as it was")


def test_every_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [Team(3, 4).device(asked) for asked in ("auto", "cuda", "cpu")] == ["cuda:1", "cuda:1", "cpu"]
    assert replace(Team(0, 1)).device("cuda") == "cuda"


def test_who_is_dismissed_leaves_with_the_leaders_code():
    assert Dismissed(1).exit_code == 1
    assert "process 0 of this audit ended with exit code 1" in str(Dismissed(1))
