"""`policy init` and `policy check`: a first policy, and what one catches."""

import json

import pytest
from planted import full_audit, make_answers

from forgetcheck.retention.answers import Audit, write_audit
from forgetcheck.retention.policy import read_policy


@pytest.fixture
def audit(tmp_path):
    write_audit(tmp_path / "audit", full_audit())


def test_init_writes_a_policy_that_check_and_report_take(audit, run, tmp_path):
    done = run("policy", "init", "audit")
    assert done.code == 0, done.err
    assert "policy check forgetcheck.toml audit" in done.err
    checked = run("policy", "check", "forgetcheck.toml", "audit")
    assert checked.code == 0, checked.err
    assert "valid policy" in checked.out
    assert "100 samples can hardly show a limit of 2 points" in checked.out
    assert run("report", "audit").code == 1  # found, and not met


def test_init_never_replaces_a_policy_by_accident(audit, run, tmp_path):
    (tmp_path / "forgetcheck.toml").write_text("[policy]\n")
    run("policy", "init", "audit").refusal("already exists", "--overwrite")
    assert run("policy", "init", "audit", "--overwrite").code == 0
    assert "Drafted" in (tmp_path / "forgetcheck.toml").read_text()


@pytest.mark.parametrize("options", [[], ["--overwrite"]])
@pytest.mark.parametrize("name", ["pyproject.toml", "link.toml", "new/pyproject.toml"])
def test_init_leaves_a_pyproject_alone(audit, run, tmp_path, name, options):
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "link.toml").symlink_to("pyproject.toml")
    run("policy", "init", "audit", "--out", name, *options).refusal(name, "forgetcheck.toml")
    assert (tmp_path / "pyproject.toml").read_text() == "[project]\n"
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["new/", "audit", "audit/"])
def test_init_writes_a_file_not_a_folder(audit, run, tmp_path, name):
    run("policy", "init", "audit", "--out", name).refusal(f"{name}", "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["audit"]


def test_check_says_what_each_rule_catches(audit, run, tmp_path):
    (tmp_path / "forgetcheck.toml").write_text(
        '[policy]\n[[policy.concepts]]\nmatch = "shape/*"\nmax_drop = 0.1\nreason = "logos"\n'
        '[[policy.concepts]]\nmatch = "nothing"\nweight = 2\n'
    )
    done = run("policy", "check", "forgetcheck.toml", "audit")
    assert "catches 3: shape / circle, shape / star, shape / disc" in done.out
    assert "catches nothing in this audit" in done.out
    assert done.code == 0  # a weight on nothing does no harm


def test_a_limit_on_nothing_is_a_mistake(audit, run, tmp_path):
    (tmp_path / "p.toml").write_text('[policy]\n[[policy.concepts]]\nmatch = "shpae"\nmax_drop = 0.1\n')
    run("policy", "check", "p.toml", "audit").refusal("p.toml", "concepts[1] (shpae)", "catches no question")
    assert run("policy", "check", "p.toml").code == 0  # without an audit nobody can tell
    assert run("report", "audit", "--policy", "p.toml").code == 1


def test_check_finds_the_policy_of_the_folder_and_refuses_problems_at_once(run, tmp_path):
    run("policy", "check").refusal("no policy in this folder", "policy init")
    (tmp_path / "forgetcheck.toml").write_text("[policy]\nmax_dorp = 1\nconfidence = 3\n")
    run("policy", "check").refusal("max_dorp", "did you mean 'max_drop'", "confidence")


def test_many_names_are_cut(audit, run, tmp_path):
    (tmp_path / "p.toml").write_text('[policy]\n[[policy.concepts]]\nmatch = "*/*"\nweight = 2\n')
    assert "and 3 more" in run("policy", "check", "p.toml", "audit").out


SEALED = {
    "base": {"digest": {"visual": "a", "text": "b"}},
    "tuned": {"tuned": {"digest": {"visual": "c", "text": "b"}}},
    "battery": {"tasks": {"shape": {"class_names": ["cat", "dog"]}}, "data": {"shape": "d"}},
}
KINDS = ("base", "tuned", "battery", "audit")


def test_init_pins_what_the_gate_then_demands(run, tmp_path):
    kept = {"cat": (500, 0, 0, 0), "dog": (500, 0, 0, 0)}
    write_audit(tmp_path / "audit", Audit((make_answers(kept),), SEALED))
    assert run("policy", "init", "audit", *(f"--pin={kind}" for kind in KINDS)).code == 0
    assert run("report", "audit").code == 0
    other = {**SEALED, "device": "cuda"}
    digest = write_audit(tmp_path / "audit", Audit((make_answers(kept),), other), overwrite=True)
    pinned = read_policy(tmp_path / "forgetcheck.toml").pins
    run("report", "audit", "--as", "html=r.html").refusal("policy.pins.audit", pinned.audit, digest)
    assert not (tmp_path / "r.html").exists()
    run("policy", "check", "forgetcheck.toml", "audit").refusal("policy.pins.audit")


def test_init_pins_nothing_that_the_audit_does_not_record(audit, run):
    run("policy", "init", "audit", "--pin", "battery").refusal("--pin battery", "records no digest")
    assert run("policy", "init", "audit", "--pin", "weights").code == 2


def test_a_changed_audit_is_refused_by_every_reader(audit, run, tmp_path):
    path = tmp_path / "audit" / "audit.json"
    path.write_text(path.read_text().replace('"target": true', '"target": false'))
    (tmp_path / "p.toml").write_text("[policy]\n")
    for command in (["report", "audit"], ["policy", "init", "audit"], ["policy", "check", "p.toml", "audit"]):
        run(*command).refusal("audit.json' was changed after the audit")


def test_report_says_the_digest(audit, run, tmp_path):
    digest = json.loads((tmp_path / "audit" / "audit.json").read_text())["digest"]
    assert digest in run("report", "audit").err
