"""Parts that were class-encoded apart: by their own files, on this machine and of the hub; no network."""

from pathlib import Path

import datasets
import huggingface_hub.constants
import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from pyarrow import parquet
from sources import encoded, lines, picture, put

from forgetcheck.batteries.battery import read_battery
from forgetcheck.errors import InputError
from forgetcheck.tasks.huggingface import Huggingface
from forgetcheck.tasks.reading.recorded_names import class_names_in

BIRDS = ("red fox", "blue_jay", "ant")
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "prepared")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    datasets.disable_progress_bars()


def write(path, names, said=BIRDS):
    """Write a part whose images are called `said`, with class names in an order of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": encoded(picture(name, len(path.parts))), "path": None} for name in said]
    features = Features(
        {"image": Image(), "label": ClassLabel(names=list(names)) if names else Value("string")}
    )
    Dataset.from_dict({"image": images, "label": list(said)}, features).to_parquet(path)
    return path


def card(root, more="", **files):
    parts = "".join(f"  - split: {part}\n    path: {path}\n" for part, path in files.items())
    text = f"---\nconfigs:\n- config_name: default\n  data_files:\n{parts}{more}---\n"
    put(root / "README.md", text.encode())
    return str(root)


def said_by_card(names):
    listed = "".join(f"          '{place}': {name}\n" for place, name in enumerate(names))
    return (
        "dataset_info:\n- config_name: default\n  features:\n  - name: image\n    dtype: image\n"
        f"  - name: label\n    dtype:\n      class_label:\n        names:\n{listed}"
    )


def alone(path):
    """Return what the library itself says of one part that is loaded apart."""
    rows = datasets.load_dataset("parquet", data_files={"test": str(path)}, split="test")
    names = rows.features["label"].names
    return [names[label] for label in rows["label"]]


def by_name(task, part):
    split = task.split(part)
    return [task.class_names[label] for label in split.labels]


def refused(task, *words):
    with pytest.raises(InputError) as caught:
        task.split("test")
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_parts_that_lie_in_any_folders_are_compared(tmp_path):
    root = tmp_path / "x"
    write(root / "a" / "0.parquet", BIRDS)
    other = write(root / "b" / "0.parquet", BIRDS[::-1])
    path = card(root, train="a/*.parquet", test="b/*.parquet")
    library = datasets.load_dataset(path)
    names = library["test"].features["label"].names
    assert alone(other) == list(BIRDS)
    assert [names[label] for label in library["test"]["label"]] != list(BIRDS)  # which is why
    refused(Huggingface(path), "'a/0.parquet' and 'b/0.parquet' number the classes of 'label' differently")


def test_parts_that_agree_are_read_as_the_library_reads_each_apart(tmp_path):
    root = tmp_path / "x"
    files = {
        part: write(root / part / "0.parquet", BIRDS, BIRDS[::step]) for part, step in (("a", 1), ("b", -1))
    }
    task = Huggingface(card(root, train="a/*.parquet", test="b/*.parquet"), names="as-is")
    assert by_name(task, "train") == alone(files["a"]) == list(BIRDS)
    assert by_name(task, "test") == alone(files["b"]) == list(BIRDS[::-1])


def test_a_part_that_nobody_asks_about_may_have_its_own(tmp_path):
    root = tmp_path / "x"
    for part, names in (("a", BIRDS), ("b", BIRDS), ("c", BIRDS[::-1])):
        write(root / part / "0.parquet", names)
    path = card(root, train="a/*.parquet", test="b/*.parquet", other="c/*.parquet")
    assert by_name(Huggingface(path, names="as-is"), "test") == list(BIRDS)
    root = root.rename(tmp_path / "y")
    path = card(root, one="c/*.parquet", two="a/*.parquet", three="b/*.parquet")
    refused(
        Huggingface(path, train="two", test="three"),
        "'c/0.parquet' and 'a/0.parquet' number the classes of 'label' differently",
    )


def test_a_card_may_word_classes_anew_but_not_in_another_order(tmp_path):
    root = tmp_path / "x"
    for part in ("a", "b"):
        write(root / part / "0.parquet", BIRDS)
    files = {"train": "a/*.parquet", "test": "b/*.parquet"}
    worded = Huggingface(card(root, said_by_card(("fox", "jay", "emmet")), **files))
    assert by_name(worded, "test") == ["fox", "jay", "emmet"]
    path = card(root, said_by_card(BIRDS[::-1]), **files)
    refused(Huggingface(path), "its card and 'a/0.parquet' have the classes of 'label' in different orders")
    listed = lines(tmp_path / "names.txt", "fox", "jay", "emmet")
    assert by_name(Huggingface(path, classes=str(listed)), "test") == ["fox", "jay", "emmet"]


def on_hub(tmp_path, monkeypatch, **parts):
    """Lay files out as a download leaves them; the library, which would ask the network, is shown those."""
    root = tmp_path / "hub" / "datasets--somebody--birds" / "snapshots" / REVISION
    for part, names in parts.items():
        write(root / "data" / f"{part}-00000-of-00001.parquet", names)
    real = datasets.load_dataset_builder

    def builder(path, *options, **more):
        assert path == "somebody/birds"
        found = real(str(root))
        files = found.config.data_files
        names = {
            p: [f"hf://datasets/somebody/birds@{REVISION}/data/{Path(f).name}" for f in files[p]]
            for p in files
        }
        found.download_and_prepare()
        found.download_and_prepare = lambda: None
        found.config.data_files = names
        return found

    monkeypatch.setattr(datasets, "load_dataset_builder", builder)


def test_of_the_hub_the_downloaded_files_are_compared(tmp_path, monkeypatch):
    on_hub(tmp_path, monkeypatch, train=BIRDS, test=BIRDS[::-1])
    refused(Huggingface("somebody/birds"), "number the classes of 'label' differently", "save_to_disk")


def test_of_the_hub_parts_that_agree_are_read(tmp_path, monkeypatch):
    on_hub(tmp_path, monkeypatch, train=BIRDS, test=BIRDS)
    assert by_name(Huggingface("somebody/birds", names="as-is"), "test") == list(BIRDS)


def test_names_of_files(tmp_path):
    path = write(tmp_path / "x.parquet", BIRDS)
    assert class_names_in(str(path)) == {"label": list(BIRDS)}
    rows = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "c"))
    rows.save_to_disk(tmp_path / "saved")
    (arrow,) = (tmp_path / "saved").glob("*.arrow")
    assert class_names_in(str(arrow)) == {"label": list(BIRDS)}
    assert class_names_in(str(write(tmp_path / "y.parquet", ()))) == {}
    assert class_names_in(str(put(tmp_path / "z.parquet", b"damaged"))) == {}
    assert class_names_in(str(put(tmp_path / "z.arrow", b"damaged"))) == {}
    assert class_names_in(f"hf://datasets/no/body@{REVISION}/x.parquet") == {}
    assert class_names_in("https://x.example/x.parquet") == {}
    parquet.write_table(parquet.read_table(path).replace_schema_metadata({b"huggingface": b"[]"}), path)
    assert class_names_in(str(path)) == {}


WORDS = {"10": "ten", "2": "two", "1": "one"}


@pytest.mark.parametrize("ids", [("1", "2", "10"), ("10", "2", "1")])
def test_names_never_attach_to_another_number(tmp_path, ids):
    """By value is the order of a list; lines of a file are refused where they could be meant by id."""
    root = tmp_path / "x"
    said = ("2", "10", "1", "10")
    for part in ("train", "test"):
        write(root / part / "0.parquet", ids, said)
    path = str(root)
    expected = [WORDS[each] for each in said]
    for named in ("['one', 'two', 'ten']", '{10 = "ten", 1 = "one", 2 = "two"}'):
        text = f"[[task]]\nname = 'x'\nsource = 'huggingface:path={path}'\nclass_names = {named}\n"
        (tmp_path / "b.toml").write_text(text)
        assert by_name(read_battery(str(tmp_path / "b.toml")).tasks["x"], "test") == expected
    classes = str(lines(tmp_path / "names.txt", "one", "two", "ten"))
    if ids == ("1", "2", "10"):
        assert by_name(Huggingface(path, classes=classes), "test") == expected
        assert Huggingface(path).notes == ()
    else:
        refused(Huggingface(path, classes=classes), "another order than that of their values", "class_names")
        assert "order: here they are in that of their values" in Huggingface(path).notes[0]
    same = str(lines(tmp_path / "same.txt", "2", "10", "1"))
    assert by_name(Huggingface(path, classes=same), "test") == list(said)
    assert by_name(Huggingface(path), "test") == list(said)


def test_a_table_has_the_same_order_for_a_file_and_a_list(tmp_path):
    rows = [f"{n}.png,{n % 12}" for n in range(72)]
    for n in range(72):
        put(tmp_path / f"{n}.png", encoded(picture("x", n)))
    put(tmp_path / "list.csv", "\n".join(["path,label", *rows]).encode())
    words = [f"word {n}" for n in range(12)]
    lines(tmp_path / "names.txt", *words)
    for more in (",classes=names.txt'", f"'\nclass_names = {words}"):
        (tmp_path / "b.toml").write_text(f"[[task]]\nname = 'x'\nsource = 'csv:path=list.csv{more}\n")
        task = read_battery(str(tmp_path / "b.toml")).tasks["x"]
        split = task.split("test")
        truth = [words[int(name.split(".")[0]) % 12] for name in split.ids]
        assert (
            np.mean(
                [task.class_names[label] == true for label, true in zip(split.labels, truth, strict=True)]
            )
            == 1
        )
