"""Places in a source: variables, the home folder, and what is relative to the battery file."""

from pathlib import Path

import pytest
from PIL import Image

from forgetcheck import catalog
from forgetcheck.batteries.paths import joined, recorded, same_data, settled, unset
from forgetcheck.errors import InputError


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("path", "data", "/b/data"),
        ("path", "../data", "/b/../data"),
        ("path", "/data", "/data"),
        ("root", "x/y", "/b/x/y"),
        ("path", "~/data", "/home/ann/data"),
        ("path", "${HERE}/data", "/with, comma/data"),
        ("path", "${NOBODY}/data", "${NOBODY}/data"),
        ("path", "https://example.org/data", "https://example.org/data"),
        ("family", "shape", "shape"),
        ("prompts", "", ""),
        ("prompts", "p.txt", "/b/p.txt"),
        ("path", "${PART}/x", str(Path.cwd() / "small/x")),
        ("path", "~", "/home/ann"),
        ("name", "~x", "~x"),
    ],
)
def test_where_it_is(monkeypatch, option, text, expected):
    for name, value in {"HOME": "/home/ann", "HERE": "/with, comma", "PART": "small"}.items():
        monkeypatch.setenv(name, value)
    assert settled(option, text, "folder:path=x", Path("/b")) == expected


def test_a_name_on_the_hub_is_no_folder_unless_there_is_one(tmp_path):
    assert settled("path", "ann/pets", "huggingface:path=ann/pets", tmp_path) == "ann/pets"
    (tmp_path / "ann" / "pets").mkdir(parents=True)
    assert settled("path", "ann/pets", "huggingface:path=ann/pets", tmp_path) == str(tmp_path / "ann/pets")
    assert settled("classes", "names.txt", "huggingface:path=x", tmp_path) == str(tmp_path / "names.txt")


def test_unset_variables_are_named_once(monkeypatch):
    monkeypatch.setenv("A", "1")
    monkeypatch.setenv("EMPTY", "")
    assert unset("folder:path=${A}/${B}/${EMPTY},x=${B}") == ("B", "EMPTY")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("path", "sub/${PART}"),
        ("path", "${PART}x/y"),
        ("path", "${HERE}/${PART}"),
        ("path", "~/${PART}"),
        ("path", "https://example.org/${PART}"),
        ("path", "${HERE}/x://y"),
        ("path", "x${PART}"),
        ("name", "${PART}"),
        ("links", "${PART}"),
    ],
)
def test_a_variable_stands_for_a_folder_at_the_beginning_and_nowhere_else(monkeypatch, option, text):
    monkeypatch.setenv("HERE", "/with, comma")
    monkeypatch.setenv("PART", "s3cret")
    with pytest.raises(InputError, match="may only stand for the folder") as caught:
        settled(option, text, "folder:path=x", Path("/b"))
    assert "s3cret" not in str(caught.value)


def test_a_variable_is_no_address(monkeypatch):
    monkeypatch.setenv("WEB", "https://s3cret.example/x")
    with pytest.raises(InputError, match=r"\$\{WEB\} is set to an address") as caught:
        settled("path", "${WEB}/x", "webdataset:path=${WEB}/x", Path("/b"))
    assert "s3cret" not in str(caught.value)


def test_what_a_run_recorded_fills_no_variable(monkeypatch):
    monkeypatch.setenv("HERE", "/s3cret")
    assert joined("path", "${HERE}/x", "folder:path=x", Path("/b")) == "${HERE}/x"
    assert joined("path", "x", "folder:path=x", Path("/b")) == "/b/x"


AWAY = ("webdataset:path=https://example.org/data", "huggingface:path=org/data",
        "torchvision:name=CIFAR10,root=x,download=true")  # fmt: skip


@pytest.mark.parametrize("source", AWAY)
def test_nothing_is_fetched_because_the_file_of_a_run_says_so(guard, source):
    """Not even to compare it with what a battery asks; one that asks the same is recognised all the same."""
    task = catalog.build("tasks", source)
    asked = recorded(task, "")
    with pytest.raises(InputError, match="nothing is fetched because a file says so"):
        asked.split("test")
    with pytest.raises(InputError, match="add the task to the battery if you trust it"):
        _ = asked.class_names
    assert same_data(asked, catalog.build("tasks", source))
    assert not same_data(asked, catalog.build("tasks", "webdataset:path=https://example.org/other"))
    assert guard.network == []


def test_the_file_of_a_run_names_no_text_file_that_is_shown(tmp_path, monkeypatch):
    """Class names of a secret: images of the attacker, and labels that are places in any file."""
    (tmp_path / "run").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "run" / "a.png")
    (tmp_path / "run" / "t.csv").write_text("path,label\na.png,0\n")
    (tmp_path / "elsewhere" / "secret").write_text("hunter2\nother\n")
    monkeypatch.chdir(tmp_path / "here")
    spec = f"csv:path={tmp_path}/run/t.csv,classes={tmp_path}/elsewhere/secret"
    with pytest.raises(InputError, match="read nowhere else") as refused:
        _ = recorded(catalog.build("tasks", spec), "").class_names
    assert "hunter2" not in str(refused.value)
    assert catalog.build("tasks", spec).class_names == ("hunter2", "other")  # typed by its user
