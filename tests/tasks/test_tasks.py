"""The contract of every task, found by itself: ordered, repeatable, balanced, no sample in both parts."""

import numpy as np
import pytest
from PIL import Image

from forgetcheck import catalog
from forgetcheck.tasks.base import dealt
from forgetcheck.tasks.battery import names, read_battery

SHIPPED = [
    pytest.param(task, id=f"{battery}/{name}")
    for battery in names()
    for name, task in read_battery(battery).tasks.items()
]
TASKS = [*SHIPPED, *(pytest.param(catalog.build("tasks", name), id=name) for name in catalog.names("tasks"))]


@pytest.mark.parametrize("task", TASKS)
def test_a_task_is_well_formed(task):
    assert len(set(task.class_names)) == len(task.class_names) >= 2
    assert task.templates
    assert all(template.count("{}") == 1 for template in task.templates)
    parts = {name: task.split(name) for name in ("train", "test")}
    assert not set(parts["train"].ids) & set(parts["test"].ids)
    for split in parts.values():
        assert len(split.ids) == len(split.labels) == len(set(split.ids)) > 0
        assert split.labels.dtype == np.int64
        assert set(split.labels.tolist()) == set(range(len(task.class_names)))
        image = split.image(3)
        assert isinstance(image, Image.Image)
        assert image.mode == "RGB"
        assert (
            image.tobytes() == task.split("train" if split is parts["train"] else "test").image(3).tobytes()
        )


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
