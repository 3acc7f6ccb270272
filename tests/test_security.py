"""docs/security.md promises nothing without a test: every one that it names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
HELD_BY = NAMED.findall((ROOT / "docs" / "security.md").read_text(encoding="utf-8"))


def test_there_are_promises():
    assert len(HELD_BY) > 15


@pytest.mark.parametrize(("file", "name"), HELD_BY)
def test_what_holds_a_promise_is_there(file, name):
    text = (ROOT / file).read_text(encoding="utf-8")
    assert f"def {name or 'test_'}" in text
