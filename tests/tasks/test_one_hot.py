"""Roboflow's tables with a column for each class: one class an image, in folders of parts or alone."""

import pytest
from sources import COLOURS, encoded, picture, put

from forgetcheck import catalog
from forgetcheck.errors import InputError

NAMES = tuple(COLOURS)


def export(root, parts=("train", "valid", "test"), count=3):
    """Write the folder that Roboflow exports, with its spaces after commas."""
    for shift, part in enumerate(parts):
        lines = ["filename, " + ", ".join(NAMES)]
        for place, name in enumerate(NAMES):
            for number in range(count):
                put(root / part / f"{name} {number}.png", encoded(picture(name, number + 100 * shift)))
                marks = ["1" if other == place else "0" for other in range(len(NAMES))]
                lines.append(f"{name} {number}.png, " + ", ".join(marks))
        put(root / part / "_classes.csv", "\n".join(lines).encode())
    return root


def refused(spec, *words):
    with pytest.raises(InputError) as caught:
        catalog.build("tasks", spec).split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_folder_of_an_export_has_its_parts(tmp_path):
    task = catalog.build("tasks", f"csv:path={export(tmp_path)}")
    assert task.class_names == ("blue_jay", "red fox", "Übersee-Käfer")
    assert task.notes == ("not read, beside 'test': 'val'",)
    for part in ("train", "test"):
        split = task.split(part)
        assert len(split) == 9
        assert all(
            f"{part}/{task.class_names[label]} " in name
            for name, label in zip(split.ids, split.labels, strict=True)
        )
    assert task.split("test").image(0).tobytes() == picture(NAMES[0], 200).tobytes()


@pytest.mark.parametrize("path", ["train", "train/_classes.csv"])
def test_one_table_is_split_by_content(tmp_path, path):
    task = catalog.build("tasks", f"csv:path={export(tmp_path) / path}")
    assert len(task.split("train")) + len(task.split("test")) == 9
    assert task.split("test").image(0).size == (12, 12)


def test_images_with_several_classes_are_counted(tmp_path):
    path = export(tmp_path) / "train" / "_classes.csv"
    path.write_text(path.read_text().replace("red fox 0.png, 1, 0, 0", "red fox 0.png, 1, 0, 1"))
    refused(f"csv:path={tmp_path}", "lists 1 of 27 images", "exactly one class (1 have several, 0 none)")
    path.write_text(path.read_text().replace("red fox 1.png, 1, 0, 0", "red fox 1.png, 0, 0, 0"))
    refused(f"csv:path={tmp_path}", "2 of 27 images", "(1 have several, 1 none), such as 'red fox 0.png'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,label\na.png,b", "expected the column 'filename', then one for each class"),
        ("filename,a,b\nx.png,1", "line 2 has 2 fields where the header has 3"),
        ("filename,a,b\nx.png,yes,no", "line 2 has 'yes' for a class: expected 1 or 0"),
        ("filename,a,b\n../x.png,1,0", "which is not below"),
        ("filename,a,b\nx.png,1,0\nx.png,1,0", "line 3 lists 'x.png' again, as "),
        ("filename,a,a\nx.png,1,0", "expected the column"),
        ("", "expected the column"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path, text, words):
    refused(f"csv:path={put(tmp_path / '_classes.csv', text.encode())}", words)


def test_a_folder_without_such_a_table_is_none(tmp_path):
    refused(f"csv:path={tmp_path}", "it is a folder, not a file")
