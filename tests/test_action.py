"""action.yml: its own scripts, run as a GitHub runner would."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from planted import full_audit, make_answers

from forgetcheck.retention.answers import Audit, write_audit

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
GOOD = {"cat": (500, 0, 0, 0), "dog": (500, 0, 0, 0)}


def filled(text, inputs):
    """Do what the runner does with `${{ inputs.NAME }}`."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found.group(1)], text)


@pytest.fixture
def judge(tmp_path):
    """Run the judging step with some inputs; return the process, the outputs and the step summary."""

    def call(first="", **given):
        inputs = {name: facts["default"] for name, facts in ACTION["inputs"].items()} | given
        (step,) = (step for step in STEPS if step.get("id") == "judge")
        files = {name: tmp_path / name.lower() for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
        path = os.pathsep.join([*filter(None, [first]), str(Path(sys.executable).parent), os.environ["PATH"]])
        values = {name: filled(value, inputs) for name, value in step["env"].items()}
        environment = {**os.environ, **values, **{n: str(f) for n, f in files.items()}, "PATH": path}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        outputs, summary = (files[n].read_text() if files[n].exists() else "" for n in reversed(files))
        return done, dict(line.split("=", 1) for line in outputs.splitlines()), summary

    return call


def test_a_crippled_model_fails_the_job_with_annotations_summary_and_files(judge, tmp_path):
    write_audit(tmp_path / "a b", full_audit())
    (tmp_path / "p.toml").write_text("[policy]\n")
    done, outputs, summary = judge(audit="a b", policy="p.toml")
    assert done.returncode == 1, done.stderr
    assert "\n::error " in done.stdout
    assert "NOT passed" in summary
    assert outputs == {"passed": "false", "report": "forgetcheck-report/report.html"}
    written = {path.name for path in (tmp_path / "forgetcheck-report").iterdir()}
    assert written == {"report.html", "junit.xml", "annotations.txt", "summary.md"}


def test_a_kept_model_passes_with_the_policy_of_the_checkout(judge, tmp_path):
    write_audit(tmp_path / "a", Audit((make_answers(GOOD),), {}))
    (tmp_path / "forgetcheck.toml").write_text("[policy]\n")
    done, outputs, _ = judge(audit="a")
    assert done.returncode == 0, done.stderr
    assert outputs["passed"] == "true"
    assert "::error" not in done.stdout


def test_what_cannot_be_asked_is_neither_passed_nor_failed(judge):
    done, outputs, summary = judge(audit="nowhere")
    assert done.returncode == 2
    assert "passed" not in outputs
    assert summary == ""
    assert "::error title=forgetcheck::nothing was judged (exit code 2)" in done.stdout


def test_checkpoints_are_audited_one_per_line(judge, tmp_path):
    (tmp_path / "b.toml").write_text('[[task]]\nname = "shape"\nsource = "drawn:family=shape"\n')
    done, outputs, _ = judge(base="forgetcheck:tiny", tuned="forgetcheck:tiny\n\n", battery="b.toml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "forgetcheck-report" / "audit" / "audit.json").exists()
    assert outputs["passed"] == "true"


def test_a_strangers_battery_is_confined(judge, tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "b.toml").write_text('[[task]]\nname = "x"\nsource = "folder:path=../photos"\n')
    done, outputs, _ = judge(
        base="forgetcheck:tiny", tuned="forgetcheck:tiny", battery="inside/b.toml", confine="inside"
    )
    assert done.returncode == 2
    assert "--confine keeps everything inside" in done.stderr
    assert outputs == {}


def test_inputs_are_never_text_of_a_script(judge, tmp_path):
    for step in STEPS:
        assert "${{" not in step.get("run", "")
    done, _, _ = judge(audit="$(touch hacked); `touch hacked`")
    assert done.returncode == 2
    assert not (tmp_path / "hacked").exists()


def test_every_input_is_used_and_every_used_one_is_declared():
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(ACTION["inputs"])
    assert ACTION["runs"]["using"] == "composite"
    assert all(step.get("uses") or step["shell"] == "bash" for step in STEPS)


def test_other_actions_are_pinned_by_their_digest():
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", each) for each in used)


@pytest.mark.parametrize("given", [
    {"base": "b", "tuned": "--help"},
    {"base": "--help", "tuned": "t"},
    {"base": "b", "tuned": "t", "battery": "--help"},
    {"base": "b", "tuned": "t", "policy": "--help"},
    {"base": "b", "tuned": "-h\n--version"},
    {"audit": "--help"},
    {"audit": "--version"},
    {"audit": "nowhere", "policy": "-h"},
])  # fmt: skip
def test_a_value_is_never_an_option(judge, given):
    done, outputs, summary = judge(**given)
    assert done.returncode == 2, done.stdout
    assert (outputs, summary) == ({}, "")
    assert "Usage: " not in done.stdout


@pytest.mark.parametrize("out", ["x\npassed=true\ny", "a\rb", "", "link"])
def test_an_output_folder_that_would_say_more_than_its_name_is_refused(judge, tmp_path, out):
    write_audit(tmp_path / "a", Audit((make_answers(GOOD),), {}))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    done, outputs, _ = judge(audit="a", out=out)
    assert done.returncode == 2
    assert outputs == {}
    assert "::error title=forgetcheck::nothing was judged: the input 'out'" in done.stdout
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("out", ["-rf", "--help", "a b/$(touch hacked)"])
def test_an_output_folder_of_any_name_is_made(judge, tmp_path, out):
    write_audit(tmp_path / "-a", Audit((make_answers(GOOD),), {}))
    done, outputs, _ = judge(audit="-a", out=out)
    assert done.returncode == 0, done.stdout + done.stderr
    assert outputs == {"passed": "true", "report": f"{out}/report.html"}
    assert (tmp_path / out / "report.html").is_file()
    assert not (tmp_path / "hacked").exists()


MODULES = ("pip", "forgetcheck", "typer", "secrets", "numpy")


def plant(folder):
    """Put modules of the checkout's own where Python would find them first."""
    for name in MODULES:
        (folder / f"{name}.py").write_text("open('hacked', 'w').close()\nraise SystemExit(0)\n")


def test_modules_of_the_checkout_are_not_run(judge, tmp_path, monkeypatch):
    write_audit(tmp_path / "a", Audit((make_answers(GOOD),), {}))
    plant(tmp_path)
    monkeypatch.setenv("PYTHONPATH", ".")
    done, outputs, _ = judge(audit="a")
    assert done.returncode == 0, done.stderr
    assert outputs["passed"] == "true"
    assert not (tmp_path / "hacked").exists()


def test_the_pip_that_installs_is_not_one_of_the_checkout(tmp_path):
    plant(tmp_path)
    (step,) = (step for step in STEPS if step.get("name") == "Install forgetcheck")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], cwd=tmp_path, text=True,
        env={**os.environ, "PATH": path, "PACKAGE": "--help"}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "'--help'" in done.stderr  # a requirement that is none
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("given", [{"audit": "a"}, {"base": "b", "tuned": "t"}])
def test_what_exits_well_but_leaves_no_documents_has_not_passed(judge, tmp_path, given):
    out = tmp_path / "forgetcheck-report"
    (out / "audit").mkdir(parents=True)
    for name in ("report.html", "junit.xml", "annotations.txt", "summary.md", "audit/audit.json"):
        (out / name).write_text("of an earlier run")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "bin" / "python").chmod(0o755)
    done, outputs, summary = judge(first=str(tmp_path / "bin"), **given)
    assert done.returncode == 2
    assert (outputs, summary) == ({}, "")
    assert "report.html was not written" in done.stdout


def test_the_report_is_only_kept_if_one_was_made():
    (step,) = (step for step in STEPS if "upload-artifact" in step.get("uses", ""))
    assert "steps.judge.outputs.report != ''" in step["if"]
