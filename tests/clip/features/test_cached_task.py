"""A task from the cache: only what decides an embedding finds it, and what finds it is never asked again."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from conftest import VIT, random_encoder

from forgetcheck.clip.features import encoded_task
from forgetcheck.clip.features.cache import FeatureCache
from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Split, Task, Unreadable
from forgetcheck.tasks.digits import Digits
from forgetcheck.tasks.drawn import Drawn


@dataclass(frozen=True)
class Few(Task):
    """Twenty drawn shapes, of which some can't be read; counts what is decoded."""

    decoded: list
    broken: tuple = ()
    known: str | None = "these"
    tolerated: float = 0.0

    class_names = Drawn().class_names
    templates = Drawn().templates

    def split(self, name):
        part = Drawn().split(name).take(np.arange(20))
        return replace(part, image=self.image(part), contents=(lambda: self.known) if self.known else None)

    def image(self, part):
        def decode(place):
            self.decoded.append(place)
            if place in self.broken:
                raise Unreadable("truncated")
            return part.image(place)

        return decode


@pytest.fixture
def engine(tmp_path):
    return Engine(FeatureCache(tmp_path / "c", warn=pytest.fail))


def look(task, encoders, engine=None):
    return [seen.splits["test"] for seen in encode_task("few", task, encoders, ("test",), engine=engine)]


def test_the_second_time_nothing_is_decoded_and_nothing_differs(vit, engine):
    task = Few([])
    (first,) = look(task, [vit], engine)
    assert len(task.decoded) == 20
    (second,) = look(task, [vit], engine)
    assert len(task.decoded) == 20
    assert torch.equal(first.embeddings, second.embeddings)
    assert torch.equal(first.labels, second.labels)
    assert torch.equal(look(Few([]), [vit])[0].embeddings, first.embeddings)


def test_a_new_candidate_costs_its_own_pass_only(vit, engine, monkeypatch):
    look(Few([]), [vit], engine)
    other = random_encoder(VIT, seed=1)
    ran = []
    original = encoded_task.encode_together

    def counted(part, encoders, *rest):
        ran.extend(encoders)
        return original(part, encoders, *rest)

    monkeypatch.setattr(encoded_task, "encode_together", counted)
    base, tuned = look(Few([]), [vit, other], engine)
    assert ran == [other]
    assert not torch.equal(base.embeddings, tuned.embeddings)
    assert torch.equal(tuned.embeddings, look(Few([]), [other])[0].embeddings)


def other_weights(vit):
    twin = vit.twin()
    with torch.no_grad():
        twin.weights["visual.proj"][0, 0] += 1
    return replace(twin)


def other_preprocessing(vit):
    config = {**vit.config, "preprocess_cfg": {**vit.config["preprocess_cfg"], "mean": [0.1, 0.5, 0.5]}}
    return replace(vit, config=config)


def other_activation(vit):
    return replace(vit, config={**vit.config, "model_cfg": {**vit.config["model_cfg"], "quick_gelu": True}})


def other_transform(vit):
    return replace(vit, preprocess=lambda image: vit.preprocess(image).flip(2))


@pytest.mark.parametrize("change", [other_weights, other_preprocessing, other_activation, other_transform])
def test_another_model_never_gets_the_entry(vit, engine, change):
    look(Few([]), [vit], engine)
    task = Few([])
    look(task, [change(vit)], engine)
    assert len(task.decoded) == 20


def test_other_data_precision_or_part_never_gets_the_entry(vit, engine):
    look(Few([]), [vit], engine)
    assert len(look(other := Few([], known="others"), [vit], engine)) == 1
    assert len(other.decoded) == 20
    look(half := Few([]), [vit], replace(engine, precision="bf16"))
    assert len(half.decoded) == 20
    encode_task("few", train := Few([]), [vit], ("train",), engine=engine)
    assert len(train.decoded) == 20


def test_data_of_unknown_contents_is_not_stored(vit, engine):
    for _ in range(2):
        look(task := Few([], known=None), [vit], engine)
        assert len(task.decoded) == 20
    assert list(engine.cache.entries()) == []


def test_equal_models_run_once(vit, engine):
    task = Few([])
    one, other = look(task, [vit, vit.twin()], engine)
    assert torch.equal(one.embeddings, other.embeddings)
    assert len(list(engine.cache.entries())) == 1


def test_prompts_are_read_once(vit, engine, monkeypatch):
    (seen,) = encode_task("few", Few([]), [vit], ("test",), engine=engine)
    first = seen.prompts
    monkeypatch.setattr(Encoder, "read", lambda *_: pytest.fail("read again"))
    (again,) = encode_task("few", Few([]), [vit], ("test",), engine=engine)
    assert torch.equal(again.prompts, first)


def test_other_words_are_other_prompts(vit, engine):
    (seen,) = encode_task("few", Few([]), [vit], ("test",), engine=engine)
    (other,) = encode_task("size", Drawn("size"), [vit], ("test",), engine=engine)
    assert seen.prompts.shape != other.prompts.shape


def test_what_cannot_be_read_is_known_from_the_cache_too(vit, engine):
    for _ in range(2):
        (seen,) = look(Few([], broken=(3, 7), tolerated=0.1), [vit], engine)
        assert len(seen.labels) == len(seen.embeddings) == 18
        assert "2 can't be read (shape/test/3: truncated; shape/test/7: truncated)" in seen.unread
    with pytest.raises(InputError, match="tolerates 0 % unreadable"):
        look(Few([], broken=(3, 7)), [vit], engine)


def test_an_image_that_one_model_was_not_shown_is_left_out_for_all(vit, engine):
    look(Few([], broken=(3,), tolerated=0.1), [vit], engine)
    other = random_encoder(VIT, seed=1)
    base, tuned = look(Few([], broken=(5,), tolerated=0.1), [vit, other], engine)
    for seen in (base, tuned):
        assert seen.kept.tolist() == [place for place in range(20) if place not in (3, 5)]
        assert len(seen.embeddings) == len(seen.labels) == 18
    whole = look(Few([]), [other])[0]
    assert torch.allclose(tuned.embeddings, whole.embeddings[tuned.kept], atol=1e-6)


def test_the_contents_of_shipped_tasks_follow_their_options_and_code(monkeypatch):
    from forgetcheck.tasks import digits, drawn

    tasks = [Drawn("shape"), Drawn("size"), Digits()]
    before = [task.split(part).contents() for task in tasks for part in ("train", "test")]
    assert len(set(before)) == 6
    assert before == [task.split(part).contents() for task in tasks for part in ("train", "test")]
    for module in (drawn, digits):
        monkeypatch.setattr(module, "source", lambda file: "another")
    after = [task.split(part).contents() for task in tasks for part in ("train", "test")]
    assert not set(before) & set(after)


def test_an_empty_split_is_still_refused(vit, engine):
    @dataclass(frozen=True)
    class Empty(Few):
        def split(self, name):
            return Split((), np.array([], dtype=np.int64), lambda i: None, contents=lambda: "none")

    with pytest.raises(InputError, match="no test images"):
        look(Empty([]), [vit], engine)
