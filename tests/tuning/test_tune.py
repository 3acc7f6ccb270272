"""tune(): learns, repeats itself bit for bit, moves only what may move, stops at a NaN."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from captioned import Told
from few_digits import SHORT, TINY, FewDigits, run

from forgetcheck import catalog
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import Task, Unreadable
from forgetcheck.tasks.digits import Digits
from forgetcheck.tasks.drawn import Drawn
from forgetcheck.tuning.data import Named, Pictures, order
from forgetcheck.tuning.data_warnings import thin_classes
from forgetcheck.tuning.schedule import Schedule, learning_rate, schedule_for

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class UnevenDigits(Task):
    """The first scans of each digit in train: of some enough to hold one out, of some few, of some none."""

    counts: tuple[int, ...] = (20, 10, 9, 1, 0, 0, 30, 30, 30, 30)

    class_names = Digits().class_names
    templates = Digits().templates

    def split(self, name):
        split = Digits().split(name)
        places = [np.flatnonzero(split.labels == digit)[:count] for digit, count in enumerate(self.counts)]
        return split.take(np.sort(np.concatenate(places)))


def test_it_learns_and_keeps_a_history():
    said = []
    found = run(schedule=replace(SHORT, epochs=4), progress=lambda *args: said.append(args))
    losses = [row["loss"] for row in found.history]
    assert losses[-1] < losses[0] / 2
    assert found.history[-1]["validation_accuracy"] == found.facts["validation_accuracy"]
    assert [args[:3] for args in said] == [("tuning", i + 1, len(losses)) for i in range(len(losses))]
    assert all(word in said[-1][3] for word in ("loss", "penalty", "img/s"))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    first, again, other = run(), run(), run(schedule=replace(SHORT, seed=1))
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert torch.equal(first.head, again.head)
    assert not torch.equal(first.head, other.head)


@pytest.mark.parametrize("spec", catalog.names("regularizers"))
def test_only_the_image_tower_moves(spec):
    base = load_encoder(TINY, "cpu").weights
    tuned = run(spec).weights
    assert tuned.keys() == base.keys()
    moved = {name for name in base if not torch.equal(base[name], tuned[name])}
    assert moved
    assert all(name.startswith("visual.") for name in moved)


def test_held_out_scans_are_never_trained_on(monkeypatch):
    import forgetcheck.tuning.tune as module

    parts = []
    original = module.split_off
    monkeypatch.setattr(module, "split_off", lambda *args: parts.append(original(*args)) or parts[-1])
    run()
    training, validation = parts[0]
    assert not set(training.split.ids) & set(validation.split.ids)
    assert set(training.split.ids) | set(validation.split.ids) == set(FewDigits().split("train").ids)
    assert set(validation.labels.tolist()) == set(range(10))


def test_a_loss_that_is_not_finite_stops_it():
    with pytest.raises(InputError, match=r"loss became .* at step .* nothing was written; use a smaller"):
        run(schedule=replace(SHORT, learning_rate=1e6, gradient_clip=1e9))


def test_a_loss_that_is_not_finite_names_the_images_of_its_batch(monkeypatch):
    batches = []
    original = Pictures.batch
    monkeypatch.setattr(
        Pictures,
        "batch",
        lambda self, chosen, *step: batches.append((self, chosen)) or original(self, chosen, *step),
    )
    with pytest.raises(InputError, match="Its batch is ") as caught:
        run(schedule=replace(SHORT, learning_rate=1e6, gradient_clip=1e9))
    training, chosen = batches[-1]
    names = [training.split.ids[place] for place in chosen.tolist()]
    told = ", ".join(f"'{name}'" for name in names[:5])
    assert f"Its batch is {told} and {len(names) - 5} more: look at them" in str(caught.value)


def test_too_few_images_are_refused():
    with pytest.raises(InputError, match="too few to hold out"):
        run(task=FewDigits(count=5))


def test_captions_are_no_classes_to_learn():
    with pytest.raises(InputError, match="has captions and no classes, which a head learns"):
        run(task=Told())
    with pytest.raises(InputError, match="has captions and no classes, which a head learns"):
        thin_classes(Named("told", Told()))


def test_classes_that_are_too_small_are_named():
    names = UnevenDigits().class_names
    nothing, few = thin_classes(Named("digits", UnevenDigits()))
    assert nothing == f"2 of 10 classes have no train images to learn from: '{names[4]}', '{names[5]}'"
    assert few.startswith("2 of 10 classes have fewer than 10 train images, too few to hold one out")
    assert few.endswith(f": '{names[2]}', '{names[3]}'")
    assert thin_classes(Named("digits", Digits())) == ()


def test_five_classes_are_named_and_the_rest_are_counted():
    (few,) = thin_classes(Named("digits", UnevenDigits((10, *9 * [1]))))
    assert few.startswith("9 of 10 classes have fewer")
    assert few.count("'") == 2 * 5
    assert few.endswith(" and 4 more")


def test_a_run_records_the_classes_that_are_too_small():
    names = UnevenDigits().class_names
    assert run(schedule=replace(SHORT, epochs=1), task=UnevenDigits()).facts["samples"] == {
        "train": 145,
        "validation": 15,
        "no_train_images": [names[4], names[5]],
        "too_few_to_hold_out": [names[2], names[3]],
    }


@pytest.mark.parametrize("name", ["epochs", "batch_size", "learning_rate"])
def test_impossible_schedules_are_refused(name):
    with pytest.raises(InputError, match=name.replace("_", "-")):
        Schedule(**{name: 0})


@pytest.mark.parametrize(
    "odd",
    [
        {"seed": -1},
        {"seed": 2**70},
        {"weight_decay": -0.1},
        {"warmup_steps": -5},
        {"learning_rate": float("inf")},
    ],
)
def test_odd_schedules_are_refused(odd):
    with pytest.raises(InputError, match=next(iter(odd)).replace("_", "-")):
        Schedule(**odd)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    schedule = Schedule(learning_rate=1.0, warmup_steps=500)
    rates = [learning_rate(step, 1000, schedule) for step in range(1000)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == rates[100] == rates[99] == 1.0  # the warm-up is at most a tenth of all steps
    assert all(now >= later for now, later in itertools.pairwise(rates[100:]))
    assert rates[-1] < 1e-5


def test_every_epoch_sees_every_image_once():
    batches = list(itertools.islice(order(10, 4, seed=0), 6))
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    assert sorted(torch.cat(batches[:3]).tolist()) == list(range(10))
    assert batches[0].tolist() != batches[3].tolist()


@pytest.mark.parametrize("since", [0, 1, 3, 4, 7])
def test_the_order_from_a_step_on_is_the_rest_of_the_order(since):
    whole = list(itertools.islice(order(10, 4, seed=5), 9))
    rest = list(itertools.islice(order(10, 4, 5, since), 9 - since))
    assert [batch.tolist() for batch in rest] == [batch.tolist() for batch in whole[since:]]


def test_a_checkpoint_can_recommend_a_schedule():
    assert schedule_for(TINY).learning_rate == TINY.config["schedule"]["learning_rate"]
    assert schedule_for(TINY, learning_rate=1.0).learning_rate == 1.0
    assert schedule_for(replace(TINY, config={})) == Schedule()


@pytest.mark.parametrize(
    "odd",
    [
        [1],
        None,
        "x",
        {"foo": 1},
        {"learning_rate": "x"},
        {"batch_size": 1.5},
        {"epochs": True},
        {"seed": None},
    ],
)
def test_a_schedule_in_a_config_can_be_damaged(odd):
    with pytest.raises(InputError, match="is damaged"):
        schedule_for(replace(TINY, config={**TINY.config, "schedule": odd}))


def test_a_batch_may_be_larger_than_all_there_is():
    assert [len(chosen) for chosen in itertools.islice(order(5, 2**62, seed=0), 2)] == [5, 5]


def test_an_image_that_cannot_be_read_is_refused_by_name(vit):
    def image(_place):
        raise Unreadable("truncated")

    task = Drawn("shape")
    split = replace(task.split("train"), image=image)
    with pytest.raises(InputError, match=r"image 'shape/train/1' can't be read \(truncated\)"):
        Pictures(split, task, vit.preprocess).batch(torch.tensor([1]))
