"""The front door: what `import forgetcheck` offers, at what cost, and the session of docs/api.md."""

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from planted import full_audit, full_report

import forgetcheck
from forgetcheck.errors import InputError
from forgetcheck.retention.answers import write_audit
from forgetcheck.retention.notebook import ROWS

ROOT = Path(__file__).parent.parent
FUNCTIONS = ("audit", "judge", "load", "read_audit", "read_battery", "read_policy", "render", "tune")
HEAVY = {"torch", "open_clip", "torchvision", "sklearn", "pandas", "transformers", "datasets"}


def test_every_name_of_the_api_is_there_once_and_typed_for_mypy():
    offered = set(forgetcheck.__all__) - {"__version__"}
    assert offered == {name for names in forgetcheck._HOMES.values() for name in names}
    tree = ast.parse(Path(forgetcheck.__file__).read_text(encoding="utf-8"))
    typed = {
        f"{line.module}": {alias.name for alias in line.names}
        for block in tree.body
        if isinstance(block, ast.If)
        for line in block.body
        if isinstance(line, ast.ImportFrom)
    }
    assert typed == {f"forgetcheck.{home}": set(names) for home, names in forgetcheck._HOMES.items()}
    for name in forgetcheck.__all__:
        assert getattr(forgetcheck, name) is not None
    assert set(forgetcheck.__all__) <= set(dir(forgetcheck))


def test_a_name_that_it_has_not():
    with pytest.raises(AttributeError, match="module 'forgetcheck' has no attribute 'retain'"):
        forgetcheck.retain  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_what_it_does_and_what_it_refuses(name):
    found = getattr(forgetcheck, name)
    assert inspect.getdoc(found).splitlines()[0].endswith(".")
    assert "Raises InputError" in found.__doc__


@pytest.mark.parametrize(
    ("code", "without"),
    [
        ("import forgetcheck", HEAVY | {"numpy", "pydantic", "PIL", "scipy"}),
        (
            "import forgetcheck as f; f.render(f.judge(f.read_audit('a')), 'json'); f.Exporter; f.Task",
            HEAVY,
        ),
        ("import forgetcheck as f; f.audit; f.tune; f.load; f.read_battery('drawn'); f.Policy()", HEAVY),
    ],
)
def test_nothing_is_imported_before_it_is_needed(tmp_path, code, without):
    write_audit(tmp_path / "a", full_audit())
    code += f"\nimport sys; print(*sorted({without!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_an_audit_is_judged_under_a_policy_by_whatever_name(tmp_path):
    write_audit(tmp_path / "a", full_audit())
    (tmp_path / "policy.toml").write_text("[policy]\nmax_drop = 0.5\ngate_concepts = false\n")
    lax = forgetcheck.read_policy(tmp_path / "policy.toml")
    by_path = forgetcheck.judge(tmp_path / "a", tmp_path / "policy.toml")
    assert by_path.findings == forgetcheck.judge(forgetcheck.read_audit(tmp_path / "a"), lax).findings
    assert by_path.gated
    assert by_path.policy == lax
    informed = forgetcheck.judge(full_audit())
    assert not informed.gated
    assert informed.policy == forgetcheck.Policy()
    assert forgetcheck.render(informed, "markdown:top=1").startswith("## forgetcheck")
    with pytest.raises(InputError, match="unknown exporter 'markdwon'"):
        forgetcheck.render(informed, "markdwon")


def test_a_frame_has_a_row_for_every_finding_in_fractions():
    report = full_report()
    frame = report.to_pandas()
    assert len(frame) == len(report.findings)
    assert {"checkpoint", "task", "concept", "probe", "n", "base", "tuned", "drop", "low", "high"} <= set(
        frame
    )
    assert frame["drop"].tolist() == [finding.retention.drop for finding in report.findings]
    assert (frame["drop"] - (frame["base"] - frame["tuned"])).abs().max() < 1e-12
    assert frame["verdict"].tolist() == [finding.verdict.value for finding in report.findings]


def test_a_notebook_shows_whole_tasks_and_every_name_as_text():
    report = full_report()
    shown = report._repr_html_()
    assert shown.count("<tr>") == 1 + len(report.tasks())
    assert re.sub(r"<[^>]*>", "", shown).count("$") == 0
    finding = report.tasks()[0]
    hostile = '<img src=x onerror="alert(1)">\u202e& $\\href{javascript:1}{x}$\n'
    changed = replace(finding, retention=replace(finding.retention, checkpoint=hostile, task=hostile))
    many = replace(report, findings=(changed,) * (ROWS + 2), remarks=(hostile,))
    shown = many._repr_html_()
    assert "<img" not in shown
    assert "\u202e" not in shown
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;" in shown
    assert "2 more rows" in shown
    assert "mathjax_ignore" in shown  # else what stands between dollars is typeset, and may link


@pytest.mark.parametrize(("gated", "said"), [(True, "NOT met"), (False, "No policy was given")])
def test_a_notebook_says_whether_the_policy_is_met(gated, said):
    assert said in replace(full_report(), gated=gated)._repr_html_()


def test_the_session_of_the_docs_runs(tmp_path):
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    (tmp_path / "session.py").write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "session.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "ldifs" / "tune.json").is_file()
    assert (tmp_path / "report.html").stat().st_size > 10_000
