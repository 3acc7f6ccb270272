"""CI fails for a known vulnerability that nobody accepted, and claims nothing where none was looked up."""

import importlib.util
from pathlib import Path

import pytest

CODE = Path(__file__).parents[1] / ".ci" / "advisories.py"
FOUND = {"name": "x", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}


@pytest.fixture
def report():
    spec = importlib.util.spec_from_file_location("advisories", CODE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.report


@pytest.mark.parametrize(
    ("packages", "accepted", "code", "words"),
    [
        ([{"name": "x", "version": "1.0", "vulns": []}], {}, 0, "1 of 1 packages checked"),
        ([FOUND], {}, 1, "x 1.0: PYSEC-1, mended in 1.1"),
        ([FOUND], {"PYSEC-1": {"why": "not used", "until": "2027-01-01"}}, 0, "accepted until 2027-01-01"),
        ([FOUND], {"PYSEC-1": {"why": "not used", "until": "2026-01-01"}}, 1, "PYSEC-1, mended in"),
        ([FOUND], {"PYSEC-1": {"until": "2027-01-01"}}, 1, "PYSEC-1, mended in"),
        ([{"name": "x", "skip_reason": "unknown"}], {}, 0, "NOTHING WAS CHECKED"),
    ],
)
def test_what_it_says(report, capsys, packages, accepted, code, words):
    assert report(packages, accepted, today="2026-11-29") == code
    assert words in capsys.readouterr().out
