"""Images that are there twice, in every source that has classes: told by `tune`, by their bytes alone."""

import hashlib

import numpy as np
import pytest
import sources

from forgetcheck import catalog
from forgetcheck.batteries.repeats import Keyed, brief, in_both_parts, tuned_on, two_labels
from forgetcheck.errors import InputError
from forgetcheck.tuning.data import Named
from forgetcheck.tuning.data_warnings import repeated_images

PARTED = {
    "folder": sources.folder,
    "csv": sources.table,
    "webdataset": sources.shards,
    "huggingface": sources.parquet,
    "coco": sources.instances,
    "cvat": sources.tagged,
}


@pytest.fixture
def twice(monkeypatch):
    """Draw the first test image of each class as its first train image, and a jay in train as a fox."""
    draw = sources.picture

    def again(name, number=0, side=12):
        if (name, number) == ("blue_jay", 1):
            return draw("red fox", 1, side)
        return draw(name, 0 if number == 100 else number, side)

    monkeypatch.setattr(sources, "picture", again)


@pytest.mark.parametrize("name", PARTED)
def test_what_is_there_twice_is_told_before_tuning(name, tmp_path, twice):
    spec = PARTED[name](tmp_path / "data")
    labels, parts = repeated_images(Named(spec, catalog.build("tasks", spec)))
    assert labels.startswith("1 train images have the bytes of another with another label: '")
    assert "red fox" in labels
    assert parts.startswith("3 test images are in train as well, byte by byte: '")
    assert parts.endswith("; remove one of each")


@pytest.mark.parametrize("name", PARTED)
def test_nothing_is_told_of_images_that_are_there_once(name, tmp_path):
    spec = PARTED[name](tmp_path / "data")
    assert repeated_images(Named(spec, catalog.build("tasks", spec))) == ()


def test_what_is_split_by_content_is_never_in_both_parts(tmp_path, twice):
    sources.folder(tmp_path / "data", {"": 9})
    spec = f"folder:path={tmp_path / 'data'}"
    (labels,) = repeated_images(Named(spec, catalog.build("tasks", spec)))
    assert "with another label" in labels


def test_other_labels_of_the_same_image_are_counted():
    test, train = (
        Keyed(["a", "b", "c"], [0, 1, 1], [b"x", b"y", None]),
        Keyed(["d", "e"], [1, 1], [b"x", None]),
    )
    assert in_both_parts(test, train, "byte by byte") == (
        "1 test images are in train as well, byte by byte: 'a' and 'd' (1 with another label there); "
        "remove one of each"
    )
    assert in_both_parts(train, Keyed([], [], []), "byte by byte") == ""


def test_what_cannot_be_read_equals_nothing(tmp_path):
    assert (
        two_labels(
            "train", Keyed(["a", "b"], [0, 1], [None, None]), catalog.build("tasks", "digits"), "bytes"
        )
        == ""
    )
    spec = sources.folder(tmp_path / "data")
    for name in ("red fox", "blue_jay"):
        (tmp_path / "data/train" / name / "image 0.png").write_bytes(b"")
    assert repeated_images(Named(spec, catalog.build("tasks", spec))) == ()


def test_a_test_part_that_is_not_here_is_not_fetched(tmp_path):
    sources.folder(tmp_path / "data", {"train": 6})
    spec = f"folder:path={tmp_path / 'data'}"
    assert repeated_images(Named(spec, catalog.build("tasks", spec))) == ()
    told = sources.told(tmp_path / "told")
    task = Named(told, catalog.build("tasks", told))
    with pytest.raises(InputError, match="captions and no classes"):
        repeated_images(task)


class Far:
    """A data set behind an address, whose test part nobody needs who tunes."""

    labelled_by, class_names = "class", ("a", "b")

    def split(self, name):
        assert name == "train"
        return catalog.build("tasks", "digits").split(name)


def test_a_test_part_behind_an_address_is_left_alone():
    assert repeated_images(Named("webdataset:path=https://x.example/y", Far())) == ()


@pytest.mark.parametrize("name", sources.EXAMPLES)
def test_marks_tell_the_bytes_of_every_source_apart(name, tmp_path):
    task = catalog.build("tasks", sources.EXAMPLES[name](tmp_path / "data"))
    split = task.split("test")
    pixels = [hashlib.sha256(split.image(i).tobytes()).digest() for i in range(len(split))]
    marks = [split.mark(i) for i in range(len(split))]
    assert [marks.index(mark) for mark in marks] == [pixels.index(each) for each in pixels]
    turned = split.take(np.arange(len(split))[::-1])
    assert [turned.mark(i) for i in range(len(split))] == marks[::-1]


def test_how_far_the_comparing_is_shows(tmp_path):
    told = []
    spec = sources.folder(tmp_path / "x", {"train": 3, "test": 2}, ("fox", "jay"))
    repeated_images(Named(spec, catalog.build("tasks", spec)), lambda *said: told.append(said[:3]))
    assert told == [("comparing", done, 10) for done in range(1, 11)]


def test_images_are_known_again_by_the_first_bytes_of_their_digests():
    one, two, other = (hashlib.sha256(name).digest() for name in (b"1", b"2", b"3"))
    seen = np.unique(brief([one, None, two]))
    assert seen.dtype == np.uint64
    assert seen.nbytes == 16
    told = tuned_on(["a", "b", "c", "d"], [other, two, None, one], seen)
    assert told.startswith(
        "2 of 4 test images (50.0 %) are, byte by byte, among those that it was tuned on: "
    )
    assert "'b', 'd'; " in told
    assert tuned_on(["a", "b"], [other, None], seen) == ""
    assert tuned_on([], [], seen) == ""
    assert tuned_on(["a"], [one], seen[:0]) == ""


def test_after_its_contents_no_file_is_read_once_more_for_its_mark(tmp_path):
    spec = sources.folder(tmp_path / "x", {"test": 2}, ("fox", "jay"))
    split = catalog.build("tasks", spec).split("test")
    before = [split.mark(place) for place in range(len(split))]
    split.contents()
    for path in (tmp_path / "x").rglob("*.png"):
        path.unlink()
    assert [split.mark(place) for place in range(len(split))] == before
    assert None not in before
