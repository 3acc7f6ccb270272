"""Judging a saved audit: tables, documents, the verdict line and the exit code."""

import json
import re

import pytest
from planted import full_audit, make_answers

from forgetcheck import catalog
from forgetcheck.cli import console
from forgetcheck.cli.tables import bar
from forgetcheck.cli.verdict import split_path
from forgetcheck.retention.answers import Audit, write_audit

pytestmark = pytest.mark.slow

GOOD = {"cat": (500, 0, 0, 0), "dog": (500, 0, 0, 0)}
THIN = {"cat": (40, 1, 0, 0), "dog": (40, 0, 0, 0)}
UNASKED = 2  # one question of the planted audit could not be asked; everything else is written
VERDICT = "no policy: by the default limit, 5 of "


@pytest.fixture
def audit(tmp_path):
    write_audit(tmp_path / "a", full_audit())
    return tmp_path / "a"


@pytest.fixture
def kept(tmp_path):
    write_audit(tmp_path / "kept", Audit((make_answers(GOOD), make_answers(THIN, task="few")), {}))
    return tmp_path / "kept"


def test_the_verdict_comes_last(audit, run):
    assert run("report", "a").out.splitlines()[-1].startswith(VERDICT)


def test_quiet_is_the_verdict_and_nothing_else(audit, run):
    done = run("report", "a", "--quiet")
    assert done.out.startswith(VERDICT)
    assert done.out.count("\n") == 1


@pytest.mark.parametrize("columns", ["80", None])
def test_tables_fit_80_columns_and_show_drops_as_bars(audit, process, columns):
    shown = process("report", "a", **({"COLUMNS": columns} if columns else {})).out
    tables = [line for line in shown.splitlines() if "[" in line and "(" not in line]
    assert len(tables) >= 12
    assert max(map(len, tables)) <= 80
    assert "██████" in shown
    assert "░" in shown  # what was gained
    assert "\x1b" not in shown  # not a terminal: no colour


def test_long_names_fold_and_never_lose_a_number(run, tmp_path):
    item = make_answers(GOOD, task="a-task-with-quite-a-long-name-of-its-own", probe="zero-shot:text=base")
    write_audit(tmp_path / "long", Audit((item,), {}))
    shown = run("report", "long").out
    assert max(len(line) for line in shown.splitlines() if "retained" in line) <= 80
    assert re.search(r"1000 +1 retained", shown)


def test_no_name_is_a_command_to_githubs_log(run, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    names = ["::error::pwned", "##[error]pwned"]
    items = [make_answers({name: (0, 99, 0, 0), "b": (99, 0, 0, 0)}, name, name, name) for name in names]
    write_audit(tmp_path / "odd", Audit(tuple(items), {}))
    exporters = [["--as", name] for name in catalog.names("exporters") if name != "github"]
    for options in ([], ["--language", "en"], ["--as", "github:part=summary"], *exporters):
        shown = run("report", "odd", *options)
        assert "pwned" in shown.out
        assert not commands(shown.out + shown.err)


def test_annotations_are_the_commands_they_are_meant_to_be(audit, run, monkeypatch):
    plain = run("report", "a", "--as", "github").out
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    assert run("report", "a", "--as", "github").out == plain
    assert commands(plain) == plain.splitlines()


def test_a_document_that_goes_to_a_file_keeps_its_names(process, tmp_path):
    item = make_answers({"a": (0, 99, 0, 0), "b": (99, 0, 0, 0)}, "##[error]pwned")
    write_audit(tmp_path / "odd", Audit((item,), {}))
    code = "import sys; sys.stdout = open('x.json', 'w'); sys.argv = ['', 'report', 'odd', '--as', 'json']\n"
    process(code=code + "from forgetcheck.cli.main import main; main()", GITHUB_ACTIONS="true")
    assert json.loads((tmp_path / "x.json").read_text())["findings"][0]["checkpoint"] == "##[error]pwned"


@pytest.mark.parametrize(
    "name", ["::error::x", " \t::error::x", "a\r::error::x", "a\n\n::x::", ":::x", "##[x]"]
)
def test_what_is_harmless_is_so_wherever_it_stands(name):
    assert commands(name)
    assert not commands(console.harmless(name))
    assert console.harmless("a::b") == "a::b"


def commands(text):
    """Return the lines that a runner obeys."""
    return [line for line in text.splitlines() if line.strip().startswith("::") or "##[" in line]


@pytest.mark.parametrize(
    ("drop", "drawn"),
    [(0.5, "██████"), (0.25, "███"), (0.02, "▎"), (0.0, ""), (-0.25, "░░░"), (0.9, "██████")],
)
def test_bars(monkeypatch, drop, drawn):
    assert bar(drop, 0.5) == drawn
    assert bar(drop, 0.0) == ""


def test_an_ascii_terminal_gets_ascii_bars(audit, process):
    shown = process("report", "a", PYTHONIOENCODING="ascii").out
    assert "######" in shown
    assert "++++++" in shown


def test_every_limit_comes_with_what_would_be_found(audit, run):
    assert run("report", "a").out.count("found 4 times in 5: a drop of") == 5


def test_what_failed_is_named_and_top_cuts_it(audit, run, tmp_path):
    (tmp_path / "p.toml").write_text('[policy]\nmax_mean_drop = 0.01\nwhen_unsure = "fail"\n')
    every, cut = (
        run("report", "a", "--policy", "p.toml"),
        run("report", "a", "--policy", "p.toml", "--top", 1),
    )
    assert every.out.count("failed: ") > cut.out.count("failed: ") == 2
    assert "more; --top" in cut.out
    assert "texture (naive, linear) could not be asked" in every.out


def test_a_question_that_could_not_be_asked_is_no_passed_gate(run, tmp_path):
    audit = full_audit()
    write_audit(tmp_path / "u", Audit((make_answers(GOOD),), {}, audit.unasked))
    (tmp_path / "p.toml").write_text("[policy]\nmax_drop = 0.5\n")
    failed = run("report", "u", "--policy", "p.toml")
    assert failed.code == 2
    assert "class 'lines' has no train images" in failed.out


def test_without_a_policy_nothing_is_gated(audit, run):
    done = run("report", "a")
    assert done.code == UNASKED
    assert "no policy given or found" in done.err
    assert "could not be asked" in done.err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("forgetcheck.toml", "[policy]\nmax_drop = 0.001\n"),
        ("pyproject.toml", "[tool.forgetcheck.policy]\nmax_drop = 0.001\n"),
    ],
)
def test_a_policy_in_this_folder_is_found_and_gates(audit, run, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    done = run("report", "a")
    assert done.code == 1
    assert name in done.err


def test_when_unsure_decides(kept, run, tmp_path):
    (tmp_path / "p.toml").write_text("[policy]\n")
    assert run("report", "kept", "--policy", "p.toml").code == 0
    (tmp_path / "p.toml").write_text('[policy]\nwhen_unsure = "fail"\n')
    done = run("report", "kept", "--policy", "p.toml")
    assert done.code == 1
    assert "unsure: few (tuned, zero-shot)" in done.out


def test_documents_are_written_even_if_the_policy_fails(audit, run, tmp_path):
    (tmp_path / "p.toml").write_text("[policy]\n")
    done = run("report", "a", "--policy", "p.toml", "--as", "html=r/r.html", "--as", "junit=j.xml")
    assert done.code == 1
    assert (tmp_path / "r" / "r.html").read_text().startswith("<!doctype html>")
    assert (tmp_path / "j.xml").read_text().startswith("<?xml")
    assert done.out.startswith("NOT passed: 5 of ")  # documents instead of tables
    assert done.err.count("wrote ") == 2


def test_one_document_goes_to_stdout_and_the_rest_to_files(audit, run, tmp_path):
    done = run("report", "a", "--as", "json", "--as", "csv=x.csv")
    assert json.loads(done.out)["schema"] == "forgetcheck/report@1"
    assert VERDICT in done.err
    assert (tmp_path / "x.csv").exists()


def test_out_is_the_file_of_the_one_that_has_none(audit, run, tmp_path):
    done = run("report", "a", "--as", "json", "--out", "x.json", "--as", "csv=x.csv")
    assert done.code == UNASKED, done.err
    assert json.loads((tmp_path / "x.json").read_text())
    assert done.out.startswith(VERDICT)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--as", "json", "--as", "csv"], ["json", "csv", "each a file"]),
        (["--as", "json=a.x", "--as", "csv=a.x"], ["two --as write to 'a.x'"]),
        (["--as", "json=b.x", "--as", "csv=../" + "FOLDER" + "/b.x"], ["each its own file"]),
        (["--as", "json=a/audit.json"], ["lies in the audit"]),
        (["--as", "json=a/new.json"], ["lies in the audit"]),
        (["--as", "json=/dev/stdout"], ["/dev/stdout"]),
        (["--as", "json=x.json", "--out", "y.json"], ["needs an --as without a file"]),
        (["--as", "json="], ["expected a file"]),
        (["--as", "json=folder/"], ["expected a file"]),
        (["--as", "json=a"], ["expected a file"]),  # the audit itself
        (["--as", "json", "--out", "new/"], ["--out new/", "expected a file"]),
        (["--as", "json", "--out", "a"], ["'a' is a folder"]),
        (["--as", "json=a/audit.json/r.json"], ["cannot write", "Not a directory"]),
        (["--as", f"json={'x' * 250}"], ["cannot write", "File name too long"]),
        (["--as", "jsno=x"], ["unknown exporter 'jsno'", "did you mean 'json'"]),
        (["--as", "=x"], ["unknown exporter ''"]),
        (["--as", "json:indnt=1=x"], ["unknown option of json 'indnt'"]),
        (["--language", "fr"], ["--language"]),
    ],
)
def test_odd_documents_are_refused_before_anything_is_written(audit, run, tmp_path, arguments, words):
    before = {path.name for path in tmp_path.iterdir()}
    arguments = [argument.replace("FOLDER", tmp_path.name) for argument in arguments]
    run("report", "a", *arguments).refusal(*words)
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("depth", [101, 975, 5000])
def test_an_audit_nested_beyond_reading_is_refused(audit, run, depth):
    path = audit / "audit.json"
    deep = '{"a": ' * depth + "1" + "}" * depth
    path.write_text(path.read_text().replace('"device": "cpu"', f'"device": {deep}'))
    run("report", "a", "--as", "html").refusal("audit.json", "nested too deeply")


@pytest.mark.parametrize(
    "command", [["report", "a", "--as", "json=loop"], ["policy", "init", "a", "--out", "loop"]]
)
def test_a_loop_of_links_is_refused(audit, run, tmp_path, command):
    (tmp_path / "loop").symlink_to("loop")
    run(*command).refusal("loop")
    assert (tmp_path / "loop").is_symlink()


def test_a_document_never_replaces_its_policy(audit, run, tmp_path):
    (tmp_path / "p.toml").write_text("[policy]\n")
    run("report", "a", "--policy", "p.toml", "--as", "json=p.toml").refusal("is the policy itself")
    assert (tmp_path / "p.toml").read_text() == "[policy]\n"


def test_a_document_is_whole_on_an_unbuffered_stream(audit, process):
    """A stream without a buffer may take a part of what it is given."""
    assert json.loads(process("report", "a", "--as", "json", PYTHONUNBUFFERED="1").out)
    code = (
        "import io, sys\n"
        "class Sip(io.RawIOBase):\n"
        "    def writable(self): return True\n"
        "    def write(self, data): return sys.__stdout__.buffer.write(bytes(data[:100]))\n"
        "sys.stdout = io.TextIOWrapper(Sip(), write_through=True)\n"
        "sys.argv = ['forgetcheck', 'report', 'a', '--as', 'json']\n"
        "from forgetcheck.cli.main import main\n"
        "main()\n"
    )
    assert json.loads(process(code=code).out)


@pytest.mark.parametrize(
    ("spec", "name", "path"),
    [
        ("html", "html", None),
        ("html=r.html", "html", "r.html"),
        ("html=a=b:c.html", "html", "a=b:c.html"),
        ("json:indent=0", "json:indent=0", None),
        ("json:indent=0=x.json", "json:indent=0", "x.json"),
        ("markdown:top=3,language=ja=r.md", "markdown:top=3,language=ja", "r.md"),
    ],
)
def test_the_path_is_what_follows_the_last_equals_sign(spec, name, path):
    found, where = split_path(spec)
    assert (found, None if where is None else str(where)) == (name, path)


def test_the_language_is_that_of_the_summary(audit, run, tmp_path):
    done = run("report", "a", "--quiet", "--language", "ja")
    assert "次の手順" in done.out
    assert done.out.splitlines()[-1].startswith(VERDICT)
    run("report", "a", "--as", "html=r.html", "--language", "ja")
    assert "次の手順" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", catalog.names("exporters"))
def test_every_exporter_writes_a_file(audit, run, tmp_path, name):
    done = run("report", "a", "--as", f"{name}=out.txt")
    assert done.code == UNASKED, done.err
    assert (tmp_path / "out.txt").stat().st_size > 100


def test_a_deleted_working_directory_has_no_policy(process, audit, tmp_path):
    code = (
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')\n"
        f"sys.argv = ['forgetcheck', 'report', {str(audit)!r}, '--as', 'html={tmp_path}/x.html']\n"
        "from forgetcheck.cli.main import main; main()"
    )
    done = process(code=code)
    assert done.code == UNASKED, done.err
    assert (tmp_path / "x.html").is_file()


def test_a_second_interrupt_is_no_traceback(monkeypatch, run):
    def interrupt(_words):
        raise KeyboardInterrupt

    monkeypatch.setattr("forgetcheck.cli.main.program", interrupt)
    done = run("report", "a")
    assert done.code == 130
    assert done.err == ""
