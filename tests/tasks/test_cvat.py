"""Tags of CVAT: one an image, subsets as parts, and documents that want to be more than data."""

import pytest
from sources import encoded, picture, put, tagged

from forgetcheck import catalog
from forgetcheck.errors import InputError

TAGS = {"a.png": ["10"], "b.png": ["2"], "c.png": ["10"], "d.png": ["2"], "e.png": ["10"], "f.png": ["2"]}


def document(tags, inside=""):
    images = [
        f'<image id="{n}" name="{path}" width="1" height="1">'
        + "".join(f'<tag label="{label}"></tag>' for label in labels)
        + '<box label="1" xtl="0"><tag label="no tag of an image"/></box></image>'
        for n, (path, labels) in enumerate(tags.items())
    ]
    return f"<annotations><version>1.1</version>{inside}{''.join(images)}</annotations>"


def write(root, tags=TAGS, text=None):
    for place, path in enumerate(TAGS):
        put(root / path, encoded(picture("x", place)))
    return f"cvat:path={put(root / 'annotations.xml', (text or document(tags)).encode())}"


def refused(spec, *words):
    with pytest.raises(InputError) as caught:
        catalog.build("tasks", spec).split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_tag_is_the_class(tmp_path):
    task = catalog.build("tasks", write(tmp_path))
    assert task.class_names == ("2", "10")
    found = {
        name: [task.class_names[label]]
        for part in map(task.split, ("train", "test"))
        for name, label in zip(part.ids, part.labels, strict=True)
    }
    assert found == TAGS


def test_subsets_are_parts_and_others_are_counted(tmp_path):
    spec = tagged(tmp_path / "x")
    path = tmp_path / "x" / "annotations.xml"
    path.write_text(path.read_text().replace('subset="Test"', 'subset="Validation"'))
    assert len(catalog.build("tasks", spec).split("test")) == 12
    path.write_text(path.read_text().replace('subset="Train"', 'subset="default"', 1))
    task = catalog.build("tasks", spec)
    assert len(task.split("train")) == 17
    assert task.left_out == ("1 images that are in no part",)


def test_images_with_several_tags_or_none_are_counted(tmp_path):
    spec = write(tmp_path, {**TAGS, "e.png": [], "f.png": ["2", "10"]})
    refused(spec, "2 of 6 images, which don't have exactly one tag (1 have several, 1 none), such as 'e.png'")
    task = catalog.build("tasks", f"{spec},several=leave-out")
    assert sum(len(task.split(part)) for part in ("train", "test")) == 4
    assert task.left_out[0].startswith("2 of 6 images")
    assert len(catalog.build("tasks", write(tmp_path, {**TAGS, "f.png": ["2", "2"]})).class_names) == 2


@pytest.mark.parametrize(
    "declared",
    [
        '<!DOCTYPE annotations [<!ENTITY a "b">]>',
        '<!DOCTYPE annotations [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE annotations SYSTEM "http://x.example/y.dtd">',
        '<!DOCTYPE annotations [<!ENTITY % a SYSTEM "x"> %a;]>',
    ],
)
def test_what_declares_anything_is_refused(tmp_path, declared):
    refused(write(tmp_path, text=declared + document(TAGS)), "has a DTD, which could name other files")


def test_files_that_are_something_else(tmp_path):
    refused(write(tmp_path, text="<annotation/>"), "is no CVAT: it begins with <annotation>")
    refused(
        write(tmp_path, text=document({}, "<track id='0'/>")),
        "is CVAT for video: export it as CVAT for images",
    )
    refused(write(tmp_path, text=document({})), "lists no images")
    refused(write(tmp_path, text=document(TAGS)[:-5]), "cannot read", "expected CVAT's XML")
    refused(write(tmp_path, text="&a;"), "cannot read")
    refused(write(tmp_path, {**TAGS, "": ["2"]}), "image 6 has no name")
    refused(write(tmp_path, {**TAGS, "f.png": [""]}), "image 5 has a tag without a label")
    refused(f"cvat:path={tmp_path}", "it is a folder, not a file")
    refused(write(tmp_path, {**TAGS, "../g.png": ["2"]}), "which is not below")


def test_prefixes_are_stripped_and_named(tmp_path):
    spec = write(tmp_path, {f"mnt/share/{path}": labels for path, labels in TAGS.items()})
    refused(spec, "none of its images is below", "strip=mnt/share/ of the source would find it")
    assert catalog.build("tasks", f"{spec},strip=mnt/share").class_names == ("2", "10")
