"""The contract of every task, found by itself: ordered, repeatable, balanced, no sample in both parts."""

import numpy as np
import pytest
from PIL import Image
from sources import EXAMPLES

from forgetcheck import catalog
from forgetcheck.batteries.battery import read_battery
from forgetcheck.errors import InputError
from forgetcheck.tasks.base import dealt

PARTS = ("train", "test")
SHIPPED = [  # with their data: that of other batteries is fetched by whoever wants it
    pytest.param(task, id=f"drawn/{name}") for name, task in read_battery("drawn").tasks.items()
]


def example(name, folder):
    """Build a source by its name alone, or as its example uses it."""
    return catalog.build("tasks", EXAMPLES[name](folder / "data of ours") if name in EXAMPLES else name)


@pytest.mark.parametrize("task", SHIPPED)
def test_a_shipped_task_is_well_formed(task):
    check(task)


@pytest.mark.parametrize("name", catalog.names("tasks"))
def test_a_source_gives_well_formed_tasks(name, tmp_path):
    task = example(name, tmp_path)
    check(task)
    parts = parts_of(task)
    assert [task.split(part).ids for part in parts] == [
        example(name, tmp_path).split(part).ids for part in parts
    ]
    assert 0 <= task.tolerated <= 1
    assert all(note == " ".join(note.split()) for note in task.notes)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_contents_tell_data_apart(name, tmp_path):
    task, again = example(name, tmp_path), example(name, tmp_path)
    parts = parts_of(task)
    contents = [task.split(part).contents() for part in parts]
    assert contents == [again.split(part).contents() for part in parts]
    assert len(set(contents)) == len(parts)
    order = np.arange(len(task.split("test")))
    assert task.split("test").take(order[::-1]).contents() != contents[-1]


def parts_of(task):
    """Nothing learns from captions: they have no train part."""
    return PARTS if task.labelled_by == "class" else ("test",)


def check(task):
    parts = {name: task.split(name) for name in parts_of(task)}
    if task.labelled_by == "class":
        assert len(set(task.class_names)) == len(task.class_names) >= 2
        assert task.templates
        assert all(template.count("{}") == 1 for template in task.templates)
        assert not set(parts["train"].ids) & set(parts["test"].ids)
        assert all(len(set(part.labels.tolist())) == len(task.class_names) for part in parts.values())
    else:
        check_captions(task)
    for name, split in parts.items():
        assert (split.captions is not None) == (task.labelled_by != "class")
        assert len(split.ids) == len(split.labels) == len(set(split.ids)) > 0
        assert split.labels.dtype == np.int64
        assert set(split.labels.tolist()) <= set(range(len(task.class_names)))
        image = split.image(3)
        assert isinstance(image, Image.Image)
        assert image.mode == "RGB"
        assert image.tobytes() == task.split(name).image(3).tobytes()


def check_captions(task):
    assert len(set(task.class_names)) == len(task.class_names) >= 1
    assert not task.templates
    with pytest.raises(InputError, match="has no train part"):
        task.split("train")
    split = task.split("test")
    captions = split.captions
    assert len(captions.texts) == len(captions.swaps) == len(captions.places) == len(captions.kinds)
    assert set(captions.places.tolist()) == set(range(len(split)))
    assert set(captions.kinds.tolist()) == set(range(len(task.class_names)))
    assert all(captions.texts)
    assert all(captions.swaps) if task.labelled_by == "swap" else not any(captions.swaps)
    few = split.take(np.array([2, 0]))
    assert set(few.captions.texts) == {
        text for text, place in zip(captions.texts, captions.places, strict=True) if place in (0, 2)
    }
    for text, place in zip(few.captions.texts, few.captions.places, strict=True):
        assert split.ids[captions.places[captions.texts.index(text)]] == few.ids[place]


@pytest.mark.parametrize("task", SHIPPED)
def test_shipped_tasks_are_large_enough_to_tell(task):
    assert len(task.split("test")) >= 500


@pytest.mark.parametrize("task", SHIPPED)
def test_no_test_image_is_in_train(task):
    train, test = task.split("train"), task.split("test")
    seen = {train.image(i).tobytes() for i in range(len(train))}
    assert not any(test.image(i).tobytes() in seen for i in range(len(test)))


def test_taking_keeps_ids_labels_and_images_together():
    split = catalog.build("tasks", "digits").split("test")
    part = split.take(np.array([7, 2]))
    assert part.ids == (split.ids[7], split.ids[2])
    assert part.labels.tolist() == [split.labels[7], split.labels[2]]
    assert part.image(1).tobytes() == split.image(2).tobytes()


def test_dealing_is_stratified_and_in_order():
    held = dealt(np.array([0, 1, 0, 1, 0, 0, 1]), 2)
    assert held.tolist() == [False, False, True, True, False, True, False]
