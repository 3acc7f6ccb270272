"""Run the program as a user does: in this process for speed, or as a process of its own."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def refusal(self, *words):
        """Assert a refusal: exit 2, one line, with these words."""
        assert self.code == 2, (self.out, self.err)
        lines = [line for line in self.err.splitlines() if line.startswith("forgetcheck: ")]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        assert all(word in lines[0] for word in words), lines[0]


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Call main() with arguments, in an empty folder."""
    from forgetcheck.cli.main import main

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["forgetcheck", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            main()
        captured = capsys.readouterr()
        return Outcome(leaving.value.code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def process(tmp_path):
    """Run `python -m forgetcheck` as its own process."""

    def call(*arguments, code="", **options):
        start = ["-c", code] if code else ["-m", "forgetcheck", *map(str, arguments)]
        done = subprocess.run(
            [sys.executable, *start],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
            check=False,
            env={**os.environ, **options},
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def weights(tiny):
    """The weights of forgetcheck:tiny, to be changed and saved."""
    return {name: value.detach().clone() for name, value in tiny.weights.items()}


@pytest.fixture
def interruptible():
    """Let child processes hear Ctrl-C, which a job in the background, as tests may be, ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
