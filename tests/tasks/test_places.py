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
        ("name", "${PART}", "small"),
    ],
)
def test_where_it_is(monkeypatch, option, text, expected):
    for name, value in {"HOME": "/home/ann", "HERE": "/with, comma", "PART": "small"}.items():
        monkeypatch.setenv(name, value)
    assert settled(option, text, Path("/b")) == expected


def test_unset_variables_are_named_once(monkeypatch):
    monkeypatch.setenv("A", "1")
    monkeypatch.setenv("EMPTY", "")
    assert unset("folder:path=${A}/${B}/${EMPTY},x=${B}") == ("B", "EMPTY")
