"""What must answer at once: no import that it does not need."""

import json
import subprocess
import sys

import numpy as np
import pytest

from forgetcheck import __version__, catalog
from forgetcheck.cli import console
from forgetcheck.cli.main import COMMANDS
from forgetcheck.errors import InputError
from forgetcheck.retention.answers import Audit, PairedPredictions, Predictions, write_audit

pytestmark = pytest.mark.slow

MODELS = ("torch", "open_clip", "torchvision", "sklearn", "transformers", "datasets")
TABLES = ("pandas", "pyarrow")
JUDGING = ("scipy", "forgetcheck.retention.gate")
ARRAYS = ("numpy", "safetensors", "PIL")
DOCUMENTS = ("pydantic", "jinja2", "yaml")
ANSWERED_WITHOUT = {
    **dict.fromkeys(["--help", "--version"], (MODELS, TABLES, JUDGING, ARRAYS, DOCUMENTS)),
    **dict.fromkeys(
        ["tune --help", "audit --help", "convert --help", "inspect --help", "doctor --help", "demo --help",
         "report --help", "battery check --help"],
        (MODELS, TABLES, JUDGING, ARRAYS),
    ),
    **dict.fromkeys(["list", "battery show ldifs", "cache info"], (MODELS, TABLES, JUDGING)),
    **dict.fromkeys(
        ["report a", *(f"report a --as {name}" for name in catalog.names("exporters"))], (MODELS, TABLES)
    ),
}  # fmt: skip
PROBE = (
    "import sys; sys.argv = ['forgetcheck', *{arguments!r}]\n"
    "from forgetcheck.cli.main import main\n"
    "try: main()\n"
    "except SystemExit as leaving: code = leaving.code or 0\n"
    "sys.stderr.write('\\nimported: ' + ' '.join(name for name in {unwanted!r} if name in sys.modules))\n"
    "sys.exit(code)"
)


@pytest.fixture
def audit(tmp_path):
    labels = np.arange(40, dtype=np.int32) % 4
    said = Predictions(labels, np.ones(40, dtype=np.float32))
    worse = Predictions(np.zeros(40, dtype=np.int32), np.ones(40, dtype=np.float32))
    answers = PairedPredictions("x", "t", "zero-shot", ("a", "b", "c", "d"), labels, said, worse)
    write_audit(tmp_path / "a", Audit((answers,), {"who": "test"}))


@pytest.mark.parametrize(("line", "without"), ANSWERED_WITHOUT.items(), ids=ANSWERED_WITHOUT)
def test_it_imports_nothing_that_it_does_not_need(process, audit, line, without):
    """Imports are nearly all that these wait for; `benchmarks/startup.py` has the seconds."""
    unwanted = [name for names in without for name in names]
    done = process(code=PROBE.format(arguments=line.split(), unwanted=unwanted))
    assert done.code == 0, done.err
    assert done.err.rsplit("imported: ", 1)[1].split() == []


def test_the_help_of_the_program_has_every_command_in_a_whole_sentence(run):
    shown = run("--help").out
    for name, command in COMMANDS.items():
        assert f"{name} " in shown
        assert command.summary in shown  # which typer would else cut short with three dots
        assert run(name, "--help").code == 0


def test_version_and_module(process):
    assert process("--version").out == f"forgetcheck {__version__}\n"


def test_list_shows_every_extension_and_its_options(run):
    shown = run("list").out
    for kind in catalog.BASES:
        assert all(name in shown for name in catalog.names(kind))
    assert "strength=2.0" in shown
    assert "drawn" in run("list", "batteries").out


def test_no_arguments_shows_help(run):
    done = run()
    assert "audit" in done.out + done.err


def test_completion_is_offered(process):
    done = process(
        _FORGETCHECK_COMPLETE="complete_bash",
        COMP_WORDS="forgetcheck au",
        COMP_CWORD="1",
        code=("import sys; sys.argv = ['forgetcheck']; from forgetcheck.cli.main import main; main()"),
    )
    assert "audit" in done.out


def test_a_reader_that_goes_away_is_no_error(process, audit, tmp_path):
    command = f"{sys.executable} -m forgetcheck report a --as json | head -c 10; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_bug_of_ours_exits_3(run, monkeypatch):
    import forgetcheck.cli.list as module

    monkeypatch.setattr(module.catalog, "entries", lambda kind: 1 / 0)
    done = run("list")
    assert done.code == 3
    assert "bug in forgetcheck" in done.err


def test_output_survives_an_ascii_terminal(process, audit):
    done = process("report", "a", PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    assert "x" in done.out


def test_the_json_is_one_document(run, audit):
    record = json.loads(run("report", "a", "--as", "json").out)
    assert record["passed"] is False
    assert record["findings"][0]["verdict"] == "forgot"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("report a >&-", 0),
        ("report a 2>&-", 0),
        ("report a --as json >&- 2>&-", 0),
        ("report nowhere 2>&-", 2),
        ("report a | true; exit ${PIPESTATUS[0]}", 0),
        ("report a >/dev/full", 2),
        ("report nowhere 2>/dev/full", 2),
    ],
)
def test_streams_that_are_closed_or_full_never_look_like_a_failed_policy(audit, tmp_path, line, code):
    command = ["bash", "-c", f"{sys.executable} -m forgetcheck {line}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "bug" not in done.stderr


def test_a_document_survives_an_ascii_pipe(process, audit):
    done = process("report", "a", "--as", "markdown", PYTHONIOENCODING="ascii")
    assert done.code == 0, done.err
    assert "\\u2212" in done.out


def test_columns_of_zero_still_show_the_table(process, audit):
    assert "zero-shot" in process("report", "a", COLUMNS="0").out


def test_a_pause_that_is_no_number(monkeypatch):
    monkeypatch.setenv("FORGETCHECK_QUIET_SECONDS", "soon")
    with pytest.raises(InputError, match="expected seconds"):
        console.quiet_seconds()
