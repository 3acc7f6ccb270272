"""Data sets that `datasets` wrote, from folders: columns, splits, class names; no network."""

import os
import sys

import numpy as np
import pyarrow
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value
from pyarrow import parquet as pq
from sources import COLOURS, encoded, folder, parquet, picture, put

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.tasks import huggingface
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.huggingface import Columns, Huggingface, Table


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Keep what the library prepares out of the user's cache, and the network out of the tests."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "prepared")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def refused(task, *words):
    with pytest.raises(InputError) as caught:
        task.split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def save(root, features=None, **splits):
    """Write splits given as columns, as parquet files."""
    root.mkdir(parents=True, exist_ok=True)
    for name, columns in splits.items():
        data = Dataset.from_dict(columns, Features(features) if features else None)
        data.to_parquet(root / f"{name}-00000-of-00001.parquet")
    return str(root)


def images(*names):
    return [{"bytes": encoded(picture(name, place)), "path": None} for place, name in enumerate(names)]


NAMED = ClassLabel(names=["red fox", "blue_jay"])
TWO = {"image": images("red fox", "blue_jay"), "label": [0, 1]}
FEATURES = {"image": Image(), "label": NAMED}


def test_rows_are_samples_in_their_order(tmp_path):
    task = catalog.build("tasks", parquet(tmp_path / "x"))
    assert task.class_names == ("red fox", "Übersee-Käfer", "blue jay")
    assert task.split("test").ids[:2] == ("test/0", "test/1")
    assert task.split("test").labels.tolist() == [0, 1, 2] * 4
    for i in range(12):
        expected = picture(tuple(COLOURS)[i % 3], i // 3 + 100)
        assert task.split("test").image(i).tobytes() == expected.tobytes()
    assert task.notes == ()
    assert task.templates == ("a photo of a {}.",)


def test_names_may_stay_as_they_are_or_come_from_a_file(tmp_path):
    path = save(tmp_path / "x", FEATURES, train=TWO, test=TWO)
    assert Huggingface(path, names="as-is").class_names == ("red fox", "blue_jay")
    listed = put(tmp_path / "names.txt", "fox_\nÜ".encode())
    assert Huggingface(path, classes=str(listed)).class_names == ("fox_", "Ü")


def test_what_was_saved_to_the_disk(tmp_path):
    data = Dataset.from_dict(TWO, Features(FEATURES))
    DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "both")
    assert len(Huggingface(str(tmp_path / "both")).split("test")) == 2
    data.save_to_disk(tmp_path / "one")
    assert "hash of the content" in Huggingface(str(tmp_path / "one")).notes[0]


def test_a_folder_of_images(tmp_path):
    folder(tmp_path / "x", {"train": 2, "validation": 1})
    task = Huggingface(str(tmp_path / "x"))
    assert task.class_names == ("blue jay", "red fox", "Übersee-Käfer")
    assert task.split("test").image(1).tobytes() == picture("red fox", 100).tobytes()
    put(tmp_path / "x" / "validation" / "red fox" / "image 0.png", b"text")
    with pytest.raises(Unreadable, match="known format"):
        task.split("test").image(1)


def test_with_nothing_but_train_it_is_split_by_content(tmp_path):
    task = catalog.build("tasks", parquet(tmp_path / "x", {"train": 9}))
    assert np.bincount(task.split("test").labels).tolist() == [3, 3, 3]
    assert "hash of the content" in task.notes[0]


def test_splits_are_found_or_named(tmp_path):
    path = save(tmp_path / "x", FEATURES, train=TWO, validation=TWO, test=TWO)
    assert Huggingface(path).notes == ("not read, beside 'test': 'validation'",)
    assert len(Huggingface(path, test="validation").split("test")) == 2
    refused(Huggingface(path, test="dev"), "no split 'dev': pass test= one of train, validation, test")
    refused(Huggingface(path, train="test", test="test"), "both 'test'")
    odd = save(tmp_path / "z", FEATURES, test=TWO)
    (tmp_path / "z" / "test-00000-of-00001.parquet").rename(tmp_path / "z" / "test.parquet")
    assert Huggingface(odd).split("test").ids == ("test/0", "test/1")
    only = save(tmp_path / "y", FEATURES, test=TWO)
    assert len(Huggingface(only).split("test")) == 2
    with pytest.raises(InputError, match="has no train part"):
        Huggingface(only).split("train")


def test_columns_are_found_or_named(tmp_path):
    features = {"img": Image(), "coarse": NAMED, "fine": NAMED, "id": Value("int64")}
    columns = {"img": TWO["image"], "coarse": [0, 1], "fine": [1, 0], "id": [5, 6]}
    path = save(tmp_path / "x", features, train=columns, test=columns)
    refused(Huggingface(path), "2 columns of labels: pass label= one of 'coarse', 'fine'")
    assert Huggingface(path, label="fine").split("test").labels.tolist() == [1, 0]
    refused(Huggingface(path, label="species"), "no column 'species'")
    refused(Huggingface(path, image="id", label="fine"), "the column 'id' holds no images")
    refused(Huggingface(path, label="id"), "has no class names: pass classes=FILE")


def test_labels_that_are_words_or_numbers(tmp_path):
    words = {"image": TWO["image"], "label": ["jay", "fox"]}
    task = Huggingface(
        save(tmp_path / "x", {"image": Image(), "label": Value("string")}, train=words, test=words)
    )
    assert task.class_names == ("fox", "jay")
    assert task.split("test").labels.tolist() == [1, 0]
    path = save(tmp_path / "y", {"image": Image(), "label": Value("int64")}, train=TWO, test=TWO)
    listed = str(put(tmp_path / "names.txt", b"fox\njay"))
    assert Huggingface(path, classes=listed).split("test").labels.tolist() == [0, 1]


def test_a_split_without_labels_is_refused(tmp_path):
    hidden = {"image": TWO["image"], "label": [-1, -1]}
    path = save(tmp_path / "x", FEATURES, train=TWO, validation=TWO, test=hidden)
    refused(Huggingface(path), "row 0 of test has the label -1", "test=...")
    empty = {"image": TWO["image"], "label": [0, None]}
    refused(
        Huggingface(save(tmp_path / "y", FEATURES, train=TWO, test=empty)), "row 1 of test has the label None"
    )


def test_images_of_plain_parquet_files(tmp_path):
    table = pyarrow.table({"image": [row["bytes"] for row in TWO["image"]], "label": ["fox", "jay"]})
    (tmp_path / "x").mkdir()
    for part in ("train", "test"):
        pq.write_table(table, tmp_path / "x" / f"{part}.parquet")
    task = Huggingface(str(tmp_path / "x"))
    assert task.split("test").image(1).tobytes() == picture("blue_jay", 1).tobytes()


def test_no_row_reads_a_file_outside(tmp_path):
    mine = put(tmp_path / "mine.png", encoded(picture("mine")))
    rows = [
        {"bytes": None, "path": str(mine)},
        {"bytes": None, "path": "https://x.example/y.png"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": str(mine)},
    ]
    (tmp_path / "x").mkdir()
    pq.write_table(pyarrow.table({"image": rows, "label": list("ababa")}), tmp_path / "x" / "test.parquet")
    split = Huggingface(str(tmp_path / "x")).split("test")
    for i in range(4):
        with pytest.raises(Unreadable, match="neither holds nor comes with"):
            split.image(i)
    with pytest.raises(Unreadable, match="empty"):
        split.image(4)
    assert split.contents()


def test_of_the_hub_rows_may_name_what_was_downloaded_with_them(tmp_path):
    task = Huggingface("somebody/something")
    assert os.path.realpath(tmp_path / "prepared") in task.trusted
    table = Table(
        "x", "test", Dataset.from_dict(rows_of(tmp_path)), Columns("image", "label", None), task.trusted
    )
    samples = table.samples(["fox", "jay"])
    assert samples.image(0).size == (12, 12)
    with pytest.raises(Unreadable, match="neither holds nor comes with"):
        samples.image(1)


def rows_of(folder):
    """Name one file that was downloaded with the data, and one that wasn't."""
    paths = [put(folder / place / "x.png", encoded(picture("x"))) for place in ("prepared", "elsewhere")]
    return {"image": [{"bytes": None, "path": str(path)} for path in paths], "label": ["fox", "jay"]}


def test_other_columns_are_not_decoded(tmp_path):
    features = {**FEATURES, "mask": Image()}
    columns = {**TWO, "mask": [{"bytes": b"no image", "path": None}] * 2}
    task = Huggingface(save(tmp_path / "x", features, train=columns, test=columns), image="image")
    assert task.split("test").image(0).size == (12, 12)
    refused(Huggingface(str(tmp_path / "x")), "2 columns of images")


def test_what_cannot_be_loaded_is_told_in_one_line(tmp_path):
    refused(Huggingface("nobody/nothing"), "cannot load 'nobody/nothing'", "data set of the hub", "network")
    (tmp_path / "empty").mkdir()
    refused(Huggingface(str(tmp_path / "empty")), "cannot load", "doesn't contain any data files")
    put(tmp_path / "broken" / "train.parquet", b"no parquet")
    refused(Huggingface(str(tmp_path / "broken")), "cannot load")
    put(tmp_path / "code" / "code.py", b"raise SystemExit('executed')")
    refused(Huggingface(str(tmp_path / "code")), "cannot load")


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    refused(Huggingface("x"), "needs the library `datasets`", "pip install 'forgetcheck[huggingface]'")


def test_a_library_that_executes_code_is_refused(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    refused(Huggingface("x"), "`datasets` 3.6.0 executes code")
    assert huggingface.OLDEST == 4


def test_progress_bars_are_as_they_were(tmp_path):
    import datasets

    path = save(tmp_path / "x", FEATURES, train=TWO, test=TWO)
    datasets.enable_progress_bars()
    Huggingface(path).split("test")
    assert not datasets.utils.are_progress_bars_disabled()
    datasets.disable_progress_bars()


def test_a_class_with_one_image(tmp_path):
    columns = {"image": images(*["red fox"] * 6, "blue_jay"), "label": [0] * 6 + [1]}
    task = Huggingface(save(tmp_path / "x", FEATURES, train=columns))
    assert task.split("train").labels.tolist().count(1) == 1


def by_name(task, part):
    split = task.split(part)
    return [task.class_names[label] for label in split.labels]


def test_every_part_is_read_by_its_own_class_names(tmp_path):
    """A test part that lacks a class numbers those after it otherwise."""
    train = ClassLabel(names=["ant", "bee", "red fox", "blue_jay"])
    test = ClassLabel(names=["red fox", "blue_jay"])
    parts = {
        "train": Dataset.from_dict(
            {"image": images("ant", "bee", "red fox", "blue_jay"), "label": [0, 1, 2, 3]},
            Features({"image": Image(), "label": train}),
        ),
        "test": Dataset.from_dict(TWO, Features({"image": Image(), "label": test})),
    }
    DatasetDict(parts).save_to_disk(tmp_path / "saved")
    task = Huggingface(str(tmp_path / "saved"))
    assert task.class_names == ("ant", "bee", "red fox", "blue jay")
    assert by_name(task, "test") == ["red fox", "blue jay"]
    assert by_name(task, "train") == ["ant", "bee", "red fox", "blue jay"]
    classes = put(tmp_path / "classes.txt", b"a\nb\nc\nd")
    refused(Huggingface(str(tmp_path / "saved"), classes=str(classes)), "number their classes differently")


def test_parquet_files_that_number_their_classes_differently_are_refused(tmp_path):
    other = ClassLabel(names=["blue_jay", "red fox"])
    path = save(tmp_path / "x", FEATURES, train=TWO)
    save(tmp_path / "x", {"image": Image(), "label": other}, test=TWO)
    refused(Huggingface(path), "number the classes of 'label' differently", "save_to_disk")


NUMBERS = [str(number) for number in range(12)]


@pytest.mark.parametrize("kind", [Value("string"), ClassLabel(names=sorted(NUMBERS))], ids=["text", "class"])
def test_classes_that_are_numbers_are_in_the_order_of_their_values(tmp_path, kind):
    rows = {"image": images(*NUMBERS), "label": NUMBERS}
    path = save(tmp_path / "x", {"image": Image(), "label": kind}, train=rows, test=rows)
    task = Huggingface(path, label="label")
    assert task.class_names == tuple(NUMBERS)
    assert task.split("test").labels.tolist() == list(range(12))


@pytest.mark.parametrize("label", [["ant"], {"name": "ant"}, None, 1.5, float("nan")])
def test_a_label_that_is_none_is_told_and_loses_no_other_task(tmp_path, label):
    rows = {"image": images("red fox", "blue_jay"), "label": [label, label]}
    path = save(tmp_path / "x", train=rows, test=rows)
    refused(Huggingface(path, image="image", label="label"), "row 0 of", "no name or whole number")


def test_whole_numbers_stay_whole_where_one_was_missing(tmp_path):
    rows = {"image": images("red fox", "blue_jay"), "label": [0.0, 1.0]}
    classes = put(tmp_path / "classes.txt", b"red fox\nblue jay")
    path = save(tmp_path / "x", {"image": Image(), "label": Value("float64")}, train=rows, test=rows)
    assert by_name(Huggingface(path, classes=str(classes), label="label"), "test") == ["red fox", "blue jay"]


def test_data_sets_side_by_side_number_their_own_classes(tmp_path):
    save(tmp_path / "x" / "path", FEATURES, train=TWO, test=TWO)
    other = {"image": Image(), "label": ClassLabel(names=["nevus", "melanoma"])}
    save(tmp_path / "x" / "derma", other, train=TWO, test=TWO)
    lines = [f"- config_name: {name}\n  data_files:\n" + "".join(
        f"  - split: {part}\n    path: {name}/{part}-*.parquet\n" for part in ("train", "test")
    ) for name in ("path", "derma")]  # fmt: skip
    put(tmp_path / "x" / "README.md", f"---\nconfigs:\n{''.join(lines)}---\n".encode())
    assert by_name(Huggingface(str(tmp_path / "x"), config="derma"), "test") == ["nevus", "melanoma"]
    assert by_name(Huggingface(str(tmp_path / "x"), config="path"), "test") == ["red fox", "blue jay"]
