"""Places in a source: variables, the home folder, and what is relative to the battery file."""

from pathlib import Path

import pytest

from forgetcheck.tasks.places import settled, unset


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("path", "data", "/b/data"),
        ("path", "../data", "/b/../data"),
        ("path", "/data", "/data"),
        ("root", "x/y", "/b/x/y"),
        ("path", "~/data", "/home/ann/data"),
        ("path", "${HERE}/data", "/with, comma/data"),
        ("path", "sub/${PART}", "/b/sub/small"),
        ("path", "${NOBODY}/data", "${NOBODY}/data"),
        ("path", "https://example.org/data", "https://example.org/data"),
        ("family", "shape", "shape"),
        ("prompts", "", ""),
        ("prompts", "p.txt", "/b/p.txt"),
        ("name", "${PART}", "small"),
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
