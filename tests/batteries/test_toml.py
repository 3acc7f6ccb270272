"""A battery as TOML: whatever is written reads back, and paths stay true from another folder."""

import tomllib

import pytest

from forgetcheck import catalog
from forgetcheck.batteries.battery import Expected, TaskEntry, read_battery
from forgetcheck.batteries.toml import battery_text, moved, source_text
from forgetcheck.documents import toml_string

ODD = 'é "quoted" \\ back\tslash\n\x7f # [x]'


def test_what_is_written_reads_back(tmp_path):
    entries = [
        TaskEntry(name="plain", source="digits"),
        TaskEntry(
            name=ODD,
            source="drawn:family=size",
            class_names=["a", "b" * 120, ODD, "d"],
            templates=["{} " + ODD, "{}"],
            samples="few.csv",
            expected=Expected(classes=4, test=600),
            licence=ODD,
            note="n",
            get="g",
        ),
    ]
    path = tmp_path / "b.toml"
    path.write_text(battery_text(["top"], entries, {ODD: {"": "above", "expected": "of the data"}}))
    assert list(read_battery(str(path)).entries.values()) == entries
    text = path.read_text()
    assert text.startswith("# top\n\n[[task]]")
    assert "# above\n[[task]]" in text
    assert "# of the data\nexpected = {classes = 4, test = 600}" in text


def test_what_is_no_unicode_is_replaced():
    assert toml_string("a\udcffb") == '"a?b"'


def test_a_source_is_written_as_seen_from_the_file(tmp_path):
    (tmp_path / "a, b" / "data").mkdir(parents=True)
    data = tmp_path / "a, b" / "data"
    assert source_text("folder", "path", data, tmp_path / "a, b") == "folder:path=data"
    assert source_text("folder", "path", data, tmp_path / "a, b" / "c") == "folder:path=../data"
    assert source_text("folder", "path", data, tmp_path) == r"folder:path=a\, b/data"
    assert catalog.build("tasks", source_text("folder", "path", data, tmp_path)).path == "a, b/data"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("digits", "digits"),
        ("drawn:family=size", "drawn:family=size"),
        ("folder:path=data,layout=parts", "folder:path=../old/data,layout=parts"),
        ("folder:path=/data", "folder:path=/data"),
        (r"csv:path=a\, b.csv,label=c\,d", r"csv:path=../old/a\, b.csv,label=c\,d"),
        ("huggingface:path=ann/pets,prompts=p.txt", "huggingface:path=ann/pets,prompts=../old/p.txt"),
        ("folder:path=~/data", "folder:path=~/data"),
        ("folder:path=${X}/data", "folder:path=${X}/data"),
        ("webdataset:path=https://example.org/x", "webdataset:path=https://example.org/x"),
    ],
)
def test_a_source_is_rewritten_for_another_folder(tmp_path, source, expected):
    assert moved(source, tmp_path / "old", tmp_path / "new") == expected


def test_names_by_label_can_be_read_back():
    named = {"golden retriever": "dog", "7.0": "cat", "plain-1": "bird", 'a "quoted" one': "fish"}
    entry = TaskEntry(name="pets", source="folder:path=x", class_names=named)
    assert tomllib.loads(battery_text((), [entry], {}))["task"][0]["class_names"] == named
