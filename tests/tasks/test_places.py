"""Places in a source: variables, the home folder, and what is relative to the battery file."""

from pathlib import Path

import pytest

from forgetcheck.errors import CannotAsk
from forgetcheck.tasks.places import joined, settled, unset


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
    with pytest.raises(CannotAsk, match="may only stand for the folder") as caught:
        settled(option, text, "folder:path=x", Path("/b"))
    assert "s3cret" not in str(caught.value)


def test_a_variable_is_no_address(monkeypatch):
    monkeypatch.setenv("WEB", "https://s3cret.example/x")
    with pytest.raises(CannotAsk, match=r"\$\{WEB\} is set to an address") as caught:
        settled("path", "${WEB}/x", "webdataset:path=${WEB}/x", Path("/b"))
    assert "s3cret" not in str(caught.value)


def test_what_a_run_recorded_fills_no_variable(monkeypatch):
    monkeypatch.setenv("HERE", "/s3cret")
    assert joined("path", "${HERE}/x", "folder:path=x", Path("/b")) == "${HERE}/x"
    assert joined("path", "x", "folder:path=x", Path("/b")) == "/b/x"
