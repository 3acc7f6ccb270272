"""A drafted policy reads back, and its suggestions do when they are taken."""

import pytest
from planted import full_report, make_answers, make_judged

from forgetcheck.retention.policy import Policy, read_policy
from forgetcheck.retention.text.policy_draft import draft

HOSTILE = ('quo"te', "back\\slash", "two\nlines", "caf\udce9", "]] # x", "'''", "\x7f\x00", "🦊", "")


def read(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return read_policy(path)


def test_it_is_the_default_policy_until_it_is_changed(tmp_path):
    assert read(tmp_path, draft(full_report(), "audit")) == Policy()


def uncommented(text):
    """Take every suggested table, as a user would: its lines lose their hash."""
    keys = ("[[policy", "match =", "probe =", "max_drop =", "reason =")
    lines = [line.removeprefix("# ") for line in text.splitlines()]
    return "\n".join(line if line.startswith(keys) else f"# {line}" for line in lines)


@pytest.mark.parametrize("name", HOSTILE)
def test_its_suggestions_are_valid_whatever_the_names(tmp_path, name):
    thin = {name: (40, 1, 0, 0), "b": (40, 0, 0, 0)}
    text = draft(make_judged(make_answers(thin, task=name, probe=name)), name)
    rules = "[policy]\n" + uncommented(text).split("[policy]")[1]
    policy = read(tmp_path, rules)
    report = make_judged(make_answers(thin, task=name, probe=name), concepts=policy.model_dump()["concepts"])
    assert [finding.gated for finding in report.findings] == [True, True, False]  # both rules caught theirs


def test_it_names_the_tasks_that_cannot_show_the_limit_and_no_others():
    enough = make_answers({"a": (5000, 5, 5, 90), "b": (4900, 0, 0, 0)}, task="large")
    thin = make_answers({"a": (40, 1, 0, 0), "b": (40, 0, 0, 0)}, task="thin")
    text = draft(make_judged(enough, thin), "audit")
    assert 'match = "thin"' in text
    assert 'match = "large"' not in text
    assert "enough samples" in draft(make_judged(enough), "audit")


def test_it_says_what_the_target_reached():
    assert '# min_target_accuracy = 0.98  # on "digits", now 0.985' in draft(full_report(), "audit")
    assert "# target =" in draft(make_judged(make_answers({"a": (9, 0, 0, 0), "b": (9, 0, 0, 0)})), "x")
