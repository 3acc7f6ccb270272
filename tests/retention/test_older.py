"""An audit folder of the first schema, from before the rules changed, still opens and says what did."""

from pathlib import Path

from forgetcheck.retention.answers import read_audit
from forgetcheck.retention.compare import UNTAUGHT
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report
from forgetcheck.retention.text.wording import sentence
from forgetcheck.retention.verdict import Verdict

OLDER = Path(__file__).parent / "older" / "audit"
BEFORE = "by the older rules that this audit was made under, its verdict was: never knew"


def judged():
    return make_report(read_audit(OLDER), Policy())


def test_it_opens_and_is_known_to_be_older():
    audit = read_audit(OLDER)
    assert audit.older
    assert len(audit.answers) == 9


def test_a_verdict_that_changed_with_the_rules_says_what_it_was():
    """The collapse that the older rules excused: 97.7 to 4 %, "never knew"."""
    (parts,) = (f for f in judged().tasks() if f.retention.task == "parts")
    assert parts.verdict is Verdict.FORGOT
    assert BEFORE in parts.retention.warnings
    assert "made under older rules, by which 4 verdicts were others" in sentence(judged())


def test_a_verdict_that_did_not_change_says_nothing():
    rows = [f for f in judged().findings if f.retention.task == "weather"]
    assert {f.verdict for f in rows} == {Verdict.NEVER_KNEW}
    assert not any("older" in warning for f in rows for warning in f.retention.warnings)


def test_what_it_did_not_measure_is_said():
    rows = [f.retention for f in judged().findings if f.retention.probe == "linear"]
    assert rows
    assert all(UNTAUGHT in row.warnings for row in rows)
