"""Boxes of COCO as classes: ids with holes, one category an image, Roboflow's folder and a single file."""

import json

import pytest
from sources import COLOURS, encoded, instances, picture, put

from forgetcheck import catalog
from forgetcheck.errors import InputError

CATEGORIES = [{"id": 90, "name": "ant"}, {"id": 3, "name": "bee"}, {"id": 17, "name": "wasp"}]
IMAGES = [{"id": n, "file_name": f"{n:012d}.jpg"} for n in (42, 7, 100, 5, 9, 11)]
BOXES = [(42, 90), (7, 3), (100, 3), (100, 3), (5, 90), (9, 3), (11, 90)]


def write(root, boxes=BOXES, images=IMAGES, categories=CATEGORIES, **more):
    for place, image in enumerate(IMAGES):
        put(root / image["file_name"], encoded(picture("x", place), "JPEG"))
    annotations = [{"id": n, "image_id": image, "category_id": kind} for n, (image, kind) in enumerate(boxes)]
    found = {"images": images, "annotations": annotations, "categories": categories, **more}
    return f"coco:path={put(root / 'instances_val2017.json', json.dumps(found).encode())}"


def by_name(task):
    """Return what each image is called, over both parts."""
    parts = [task.split(part) for part in ("train", "test")]
    return {
        name: task.class_names[label]
        for part in parts
        for name, label in zip(part.ids, part.labels.tolist(), strict=True)
    }


def refused(spec, *words):
    with pytest.raises(InputError) as caught:
        catalog.build("tasks", spec).split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_categories_are_names_and_no_places(tmp_path):
    task = catalog.build("tasks", write(tmp_path))
    assert task.class_names == ("bee", "ant")  # by id; nothing is a wasp
    names = dict(zip((90, 3), ("ant", "bee"), strict=True))
    assert by_name(task) == {f"{image:012d}.jpg": names[kind] for image, kind in BOXES}
    assert "hash of the content" in task.notes[0]


def test_images_of_several_categories_or_none_are_counted(tmp_path):
    spec = write(tmp_path, [*BOXES[:-1], (42, 3)])
    refused(
        spec,
        "lists 2 of 6 images, which don't have exactly one category (1 have several, 1 none)",
        "such as '0",
    )
    refused(spec, "pass several=leave-out to ask the others")
    task = catalog.build("tasks", f"{spec},several=leave-out")
    assert len(by_name(task)) == 4
    assert task.left_out[0].startswith("2 of 6 images, which don't have exactly one category")
    assert task.left_out[0] in task.notes


def test_parts_may_number_their_categories_differently(tmp_path):
    instances(tmp_path, {"train": 6})
    instances(tmp_path, {"valid": 4}, ids=(3, 7, 90))
    task = catalog.build("tasks", f"coco:path={tmp_path}")
    assert task.class_names == ("blue_jay", "red fox", "Übersee-Käfer")
    for part, count in (("train", 6), ("test", 4)):
        split = task.split(part)
        assert [task.class_names[label] for label in split.labels] == [
            name for name in COLOURS for _ in range(count)
        ]
        assert all(
            task.class_names[label] in name for name, label in zip(split.ids, split.labels, strict=True)
        )


def test_what_does_not_fit_together_is_refused(tmp_path):
    refused(write(tmp_path, [*BOXES, (8, 3)]), "annotation 7 has the image 8, which it doesn't list")
    refused(write(tmp_path, [*BOXES, (7, 4)]), "annotation 7 has the category 4, which it doesn't list")
    twice = [*CATEGORIES, {"id": 4, "name": "ant"}]
    refused(write(tmp_path, categories=twice), "lists the category 90, 'ant', beside 4, 'ant'")
    other = [*IMAGES, {"id": 7, "file_name": "x.jpg"}]
    refused(write(tmp_path, images=other), "gives the id 7 to")
    again = [*IMAGES, {"id": 8, "file_name": "000000000007.jpg"}]
    refused(write(tmp_path, [*BOXES, (8, 3)], again), "image 6 lists '000000000007.jpg' again, as ")
    outside = [*IMAGES[:-1], {"id": 11, "file_name": "../x.jpg"}]
    refused(write(tmp_path, images=outside), "which is not below")


def test_files_that_are_something_else(tmp_path):
    captions = {"images": [], "annotations": [{"image_id": 1, "caption": "x"}]}
    path = put(tmp_path / "captions.json", json.dumps(captions).encode())
    refused(f"coco:path={path}", "has captions and no categories: read it by captions:path=")
    refused(
        f"coco:path={put(tmp_path / 'x.json', b'[]')}",
        "is no COCO: expected images, annotations and categories",
    )
    refused(f"coco:path={tmp_path}", "has no train, valid or test with a _annotations.coco.json")
    refused(f"coco:path={tmp_path / 'gone.json'}", "cannot read", "No such file")
    refused(write(tmp_path).replace("coco:", "captions:"), "has boxes and no captions: read it by coco:path=")


def test_prefixes_are_stripped_and_named(tmp_path):
    images = [{**each, "file_name": f"https://server.example/x/{each['file_name']}"} for each in IMAGES]
    spec = write(tmp_path, images=images)
    refused(
        spec, "none of its images is below", "strip=https://server.example/x/ of the source would find it"
    )
    assert len(by_name(catalog.build("tasks", f"{spec},strip=https://server.example/x/"))) == 6
