"""The README keeps its word: every command in it runs, every link leads somewhere."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from forgetcheck import catalog
from forgetcheck.retention.policy import read_policy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_every_forgetcheck_command_runs_in_order(tmp_path):
    drafted, written = blocks("toml")
    (tmp_path / "shown.toml").write_text(written)
    assert read_policy(tmp_path / "shown.toml").concepts
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("forgetcheck ")]
    assert len(commands) >= 5
    for command in commands:
        words = [sys.executable, "-m", *shlex.split(command, comments=True)]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        allowed = (0, 1) if "--policy" in words else (0,)
        assert done.returncode in allowed, (command, done.stderr)
    assert drafted in (tmp_path / "policy.toml").read_text()  # what init writes, to the letter
    assert (tmp_path / "report.md").read_text().startswith("## forgetcheck")
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert (tmp_path / "junit.xml").exists()
    (python,) = blocks("python")
    subprocess.run([sys.executable, "-c", python], cwd=tmp_path, check=True, capture_output=True)


def test_set_up_takes_one_command_each():
    """The first block installs and runs the demo; the marked one installs and runs the tests."""
    demo, test = (block.strip() for block in blocks("bash") if "pip install" in block)
    assert demo.count("\n") == test.count("\n") == 0
    assert demo.endswith("forgetcheck demo")
    assert "pytest" in test
    assert f"<!-- test command -->\n```bash\n{test}\n```" in README
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_every_exporter_is_told_of():
    rows = re.findall(r"^\| (`.*`) \|", README, re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert told >= set(catalog.names("exporters"))


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
