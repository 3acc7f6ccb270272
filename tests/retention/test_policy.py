"""Reading a policy that a person wrote, and which questions its rules catch."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from forgetcheck.errors import InputError
from forgetcheck.retention.compare import compare
from forgetcheck.retention.policy import (
    Limit,
    Policy,
    Rule,
    catches_nothing,
    find_policy,
    like,
    limits_of,
    read_policy,
)


def written(tmp_path, text, name="policy.toml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_policy(path)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in (str(path), *words)), text


def test_a_policy_file(tmp_path):
    path = written(tmp_path, "[policy]\nmax_drop = 0.05\nconfidence = 0.9\n")
    assert read_policy(path) == Policy(max_drop=0.05, confidence=0.9)


def test_what_is_left_out_has_a_default(tmp_path):
    assert read_policy(written(tmp_path, "[policy]\n")) == Policy()
    assert read_policy(written(tmp_path, "[policy]\nmax_drop = 0\n")).max_drop == 0


def test_a_policy_in_pyproject(tmp_path):
    text = '[project]\nname = "mine"\n[tool.forgetcheck.policy]\nmax_drop = 0.01\n'
    assert read_policy(written(tmp_path, text, "pyproject.toml")) == Policy(max_drop=0.01)


@pytest.mark.parametrize("text", ['[project]\nname = "mine"\n', "tool = 3\n", "[tool]\nforgetcheck = 3\n"])
def test_a_pyproject_without_a_policy_says_which_table_to_write(tmp_path, text):
    refused(written(tmp_path, text, "pyproject.toml"), "[tool.forgetcheck.policy]", "found nothing")


def test_an_unknown_key_is_named_with_the_nearest_known_one(tmp_path):
    refused(written(tmp_path, "[policy]\nmax_dorp = 0.1\n"), "policy.max_dorp", "did you mean 'max_drop'?")
    refused(
        written(tmp_path, "[policy]\nzzz = 1\n"),
        "policy.zzz",
        "known: max_drop, gate_concepts, max_lost, max_mean_drop",
    )


def test_all_problems_of_a_file_are_told_at_once(tmp_path):
    text = '[policy]\nmax_dorp = 0.1\nmax_drop = "much"\nconfidence = 2\n'
    refused(
        written(tmp_path, text),
        "policy.max_dorp",
        "policy.max_drop",
        "'much'",
        "policy.confidence",
        "found 2",
    )


@pytest.mark.parametrize(
    "line",
    [
        *("max_drop = -0.1", "max_drop = 2", "max_drop = nan", "max_drop = true", "max_drop = [0.1]"),
        *("confidence = 0.5", "confidence = 1", "confidence = inf"),
    ],
)
def test_a_value_that_means_nothing_is_refused(tmp_path, line):
    refused(written(tmp_path, f"[policy]\n{line}\n"), f"policy.{line.split()[0]}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "found nothing"),
        ("max_drop = 0.1\n", "found max_drop"),
        ("[policy]\n[polcy]\n", "found polcy"),
        ("policy = 3\n", "found 3"),
        ("[policy\n", "cannot read"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, text, word):
    refused(written(tmp_path, text), word)


def test_unreadable_files_are_refused(tmp_path):
    refused(tmp_path / "absent.toml", "no policy file")
    path = tmp_path / "latin.toml"
    refused(path / "below", "no policy file")
    path.write_bytes(b"[policy] # caf\xe9\n")
    refused(path, "cannot read")
    refused(path / "below", "no policy file")


def test_what_may_not_be_read_is_not_called_missing(tmp_path, forbid):
    path = written(tmp_path, "[policy]\n")
    forbid("policy.toml")
    refused(path, "cannot read", "toml': Permission denied.")


def test_what_is_no_file_is_named(tmp_path):
    refused(tmp_path, "it is a folder, not a file")
    refused(Path(os.devnull), "it is a device, not a file")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "it is a pipe, not a file")


def test_a_whole_policy(tmp_path):
    text = """
    [policy]
    max_drop = 0.03
    max_mean_drop = 0.01
    min_target_accuracy = 0.9
    max_target_drop = 0.0
    target = "digits"
    when_unsure = "fail"
    confidence = 0.9
    [[policy.concepts]]
    match = "pets/*"
    probe = "zero-shot"
    max_drop = 0.1
    reason = "fifty images each"
    [[policy.concepts]]
    match = "faces/*"
    must_forget = true
    max_accuracy = 0.1
    """
    policy = read_policy(written(tmp_path, text))
    assert policy.when_unsure == "fail"
    assert [rule.match for rule in policy.concepts] == ["pets/*", "faces/*"]
    assert policy.level == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("max_drop = 0.1", "match: field required"),
        ('match = "a"', "says nothing"),
        ('match = ""\nmax_drop = 0.1', "match"),
        ('match = "a"\nmust_forget = true', "go together"),
        ('match = "a"\nmax_accuracy = 0.1', "says nothing"),
        ('match = "a"\nmax_accuracy = 0.1\nweight = 2', "go together"),
        ('match = "a"\nmust_forget = true\nmax_accuracy = 0.1\nmax_drop = 0.1', "excludes"),
        ('match = "a"\nignore = true\nmax_drop = 0.1', "excludes"),
        ('match = "a"\nweight = 0', "greater than 0"),
        ('match = "a"\nmax_dorp = 0.1', "did you mean 'max_drop'?"),
        ('match = "a"\nignore = "yes"', "found 'yes'"),
    ],
)
def test_a_rule_that_means_nothing_is_refused_by_its_number(tmp_path, rule, word):
    refused(written(tmp_path, f"[policy]\n[[policy.concepts]]\n{rule}\n"), "policy.concepts[1]", word)


def test_rules_of_the_wrong_shape_are_refused(tmp_path):
    refused(written(tmp_path, "[policy]\nconcepts = 3\n"), "policy.concepts")
    refused(written(tmp_path, '[policy]\nwhen_unsure = "maybe"\n'), "'warn' or 'fail'")


def test_the_folder_is_searched_for_a_policy(tmp_path):
    assert find_policy(tmp_path) is None
    written(tmp_path, "[project]\nname = 'mine'\n", "pyproject.toml")
    assert find_policy(tmp_path) is None
    project = written(tmp_path, "[tool.forgetcheck.policy]\nmax_drop = 0.1\n", "pyproject.toml")
    assert find_policy(tmp_path) == project
    own = written(tmp_path, "[policy]\n", "forgetcheck.toml")
    assert find_policy(tmp_path) == own


@pytest.mark.parametrize("text", ["[tool.forgetcheck]\nmax_drop = 0.1\n", "[tool.forgetcheck.polcy]\n",
                                  '[tool]\nforgetcheck = "x"\n', "[[tool.forgetcheck]]\n"])  # fmt: skip
def test_a_policy_that_cannot_be_read_is_found_and_refused(tmp_path, text):
    path = written(tmp_path, text, "pyproject.toml")
    assert find_policy(tmp_path) == path
    refused(path, "tool.forgetcheck")


@pytest.mark.parametrize("harm", [lambda path: path.mkdir(), lambda path: path.symlink_to("gone"),
                                  lambda path: path.symlink_to(path.name)])  # fmt: skip
def test_what_is_in_the_place_of_a_policy_is_never_missed(tmp_path, harm):
    path = tmp_path / "forgetcheck.toml"
    harm(path)
    assert find_policy(tmp_path) == path
    refused(path)


@pytest.fixture
def rows(answers):
    """Two tasks of two concepts each, through two probes; one name has a slash of its own."""
    return compare(
        [
            answers({"cat": (40, 0, 0, 0), "dog": (40, 0, 0, 0)}, task=task, probe=probe)
            for task in ("pets", "vtab/pets[1]")
            for probe in ("zero-shot", "linear")
        ],
        0.95,
    )


def caught(rows, **rule):
    found = Rule(**{"max_drop": 0.1, **rule})
    return [f"{row.subject} {row.probe}" for row in rows if found.catches(row)]


def test_a_task_pattern_catches_whole_tasks(rows):
    assert caught(rows, match="pets") == ["pets zero-shot", "pets linear"]
    assert caught(rows, match="pet", probe="linear") == []
    assert len(caught(rows, match="*")) == 4
    assert caught(rows, match="*", probe="lin*") == ["pets linear", "vtab/pets[1] linear"]


def test_a_class_pattern_catches_concepts(rows):
    assert caught(rows, match="pets/cat", probe="linear") == ["pets / cat linear"]
    assert caught(rows, match="pets/*", probe="linear") == ["pets / cat linear", "pets / dog linear"]
    assert len(caught(rows, match="*/cat")) == 4


def test_names_with_slashes_and_brackets_are_names(rows):
    assert caught(rows, match="vtab/pets[1]", probe="linear") == ["vtab/pets[1] linear"]
    assert caught(rows, match="vtab/pets[1]/dog", probe="linear") == ["vtab/pets[1] / dog linear"]
    assert len(caught(rows, match="vtab/*/*", probe="linear")) == 2


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        *(("*", "", True), ("*", "two\nlines", True), ("", "", True), ("", "a", False), ("a", "a\n", False)),
        *(("a*a", "a", False), ("a*a", "aa", True), ("*ab*ab", "abab", True), ("*ab*ab", "ab", False)),
        *(("a*b*c", "axxbxbxc", True), ("a*b*c", "axcxb", False), ("**", "x", True), ("a.c", "abc", False)),
        *(("*" * 60 + "x", "y" * 2000, False), ("*a" * 60, "a" * 59, False), ("*a" * 60, "a" * 5000, True)),
        ("*a" * 60 + "b", "a" * 5000, False),
    ],
)
def test_stars_stand_for_anything_and_never_take_forever(text, name, expected):
    assert like(text, name) is expected


def test_ignoring_a_task_ignores_its_concepts(rows):
    policy = Policy(concepts=[Rule(match="pets", ignore=True)])
    assert sum(found.ignored for found in limits_of(rows, policy)) == 6
    back = Policy(concepts=[*policy.concepts, Rule(match="pets", ignore=False, max_drop=0.05)])
    found = limits_of(rows, back)
    assert not any(limit.ignored for limit in found)
    assert [limit.gated for limit in found[:3]] == [True, False, False]  # its concepts inform, as before


def test_a_limit_after_ignoring_takes_a_question_back(rows):
    off = {"match": "*", "ignore": True}
    assert limit(rows[0], off, {"match": "pets", "max_drop": 0.1}) == Limit(0.1, gated=True)
    assert limit(rows[1], off, {"match": "pets/cat", "max_drop": 0.1}) == Limit(0.1, gated=True)
    must = {"match": "pets/cat", "must_forget": True, "max_accuracy": 0.1}
    assert limit(rows[1], off, must).must_forget
    assert not limit(rows[1], off, must).ignored
    assert limit(rows[1], must, {"match": "pets/cat", "max_drop": 0.1}) == Limit(0.1, gated=True)
    assert limit(rows[1], {"match": "pets/cat", "max_drop": 0.1}, off).ignored
    assert not limit(rows[1], {"match": "pets/cat", "max_drop": 0.1}, off).gated


def limit(row, *rules, **policy):
    (found,) = limits_of([row], Policy(concepts=[Rule(**rule) for rule in rules], **policy))
    return found


def test_without_a_rule_tasks_are_gated_and_concepts_watched(rows):
    assert limit(rows[0]) == Limit(0.02, gated=True)
    assert limit(rows[1], max_drop=0.05) == Limit(0.05, gated=False, watched=True)
    assert limit(replace(rows[1], n=29), max_drop=0.05) == Limit(0.05, gated=False)
    assert limit(rows[1], gate_concepts=False) == Limit(0.02, gated=False)


def test_a_limit_on_lost_answers_stands_beside_one_on_the_drop(rows):
    drop, lost = {"match": "*/*", "max_drop": 0.1}, {"match": "*/*", "max_lost": 0.2}
    for rules in ((drop, lost), (lost, drop)):
        assert limit(rows[1], *rules) == Limit(0.1, gated=True, max_lost=0.2)
    assert limit(rows[0], max_lost=0.3).max_lost == 0.3
    assert limit(rows[1], max_lost=0.3).max_lost is None  # of tasks; a rule speaks of concepts
    off = {"match": "*/*", "ignore": True}
    assert limit(rows[1], lost, off).max_lost is None
    assert limit(rows[1], off, lost).max_lost == 0.2


def test_of_several_rules_the_last_decides_key_by_key(rows):
    wide = {"match": "pets", "max_drop": 0.1, "weight": 3.0}
    tight = {"match": "*", "max_drop": 0.01}
    assert limit(rows[0], wide, tight) == Limit(0.01, gated=True, weight=3.0)
    assert limit(rows[0], tight, wide) == Limit(0.1, gated=True, weight=3.0)


def test_a_concept_with_a_limit_of_its_own_is_gated(rows):
    assert limit(rows[1], {"match": "pets/*", "max_drop": 0.1}) == Limit(0.1, gated=True)
    assert limit(rows[1], {"match": "pets/*", "weight": 2.0}) == Limit(
        0.02, gated=False, watched=True, weight=2.0
    )


def test_ignored_is_not_gated_until_a_later_rule_takes_it_back(rows):
    off, on = {"match": "*", "ignore": True}, {"match": "pets", "ignore": False}
    assert limit(rows[0], off).ignored
    assert not limit(rows[0], off).gated
    assert limit(rows[0], off, on) == Limit(0.02, gated=True)


def test_what_must_be_forgotten_is_held_to_its_accuracy(rows):
    rule = {"match": "pets/*", "must_forget": True, "max_accuracy": 0.0}
    assert limit(rows[1], rule) == Limit(0.02, gated=False, max_accuracy=0.0)


def test_the_target_has_a_limit_of_its_own(rows):
    target = replace(rows[0], target=True)
    assert limit(target, max_target_drop=0.0).max_drop == 0.0
    assert limit(rows[0], max_target_drop=0.0).max_drop == 0.02
    assert limit(target, {"match": "pets", "max_drop": 0.1}, max_target_drop=0.0).max_drop == 0.1


def test_rules_that_catch_nothing_are_found(rows):
    policy = Policy(concepts=[Rule(match="pets", max_drop=0.1), Rule(match="birds/*", max_drop=0.1)])
    assert [rule.match for rule in catches_nothing(rows, policy)] == ["birds/*"]
