"""The cache on the command line: shared by audits, reported, emptied, and left out when asked."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from forgetcheck.cli.cache import read_size, spoken
from forgetcheck.errors import InputError

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
SIZES = {"500MB": 500_000_000, "4 GiB": 2**32, "1.5g": 1_500_000_000, "0": 0, "7kb": 7000}


def audit(run, out, battery, *more):
    done = run("audit", TINY, TINY, "--battery", battery, "--out", out, "--gallery", "0", *more)
    assert done.code == 0, done.err
    return done


def answers(folder):
    return load_file(folder / "answers.safetensors")


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


def test_a_second_audit_finds_what_the_first_saw(run, tmp_path, small_battery, cache_home):
    assert "the cache" not in audit(run, "one", small_battery).err
    again = audit(run, "two", small_battery)
    assert "the cache spared 3 of 3 passes" in again.err  # train, test and prompts
    assert same(answers(tmp_path / "one"), answers(tmp_path / "two"))
    assert f"{cache_home}: 3 entries, " in run("cache", "info").out
    assert "removed 3 entries" in run("cache", "clear").out
    assert f"{cache_home}: 0 entries, 0 bytes." in run("cache", "info").out


def test_without_the_cache_nothing_is_stored(run, small_battery, cache_home):
    audit(run, "one", small_battery, "--no-cache")
    assert not cache_home.exists()


def test_a_flipped_byte_is_told_and_made_again(run, tmp_path, small_battery, cache_home):
    audit(run, "one", small_battery)
    for path in cache_home.rglob("*.safetensors"):
        held = bytearray(path.read_bytes())
        held[-3] ^= 1
        path.write_bytes(held)
    done = audit(run, "two", small_battery)
    assert done.err.count("damaged and made again") == 3
    assert same(answers(tmp_path / "one"), answers(tmp_path / "two"))


def test_a_file_in_the_way_is_told_once(run, tmp_path, small_battery, cache_home):
    cache_home.write_text("in the way")
    done = audit(run, "one", small_battery)
    assert done.err.count("goes on without storing") == 1


def test_a_full_disk_costs_the_cache_and_not_the_audit(tmp_path, small_battery):
    code = (
        "import resource, sys\n"
        "from forgetcheck.clip.features import cache as feature_cache\n"
        "write = feature_cache.save_file\n"
        "def full(*arguments, **options):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, resource.RLIM_INFINITY))\n"
        "    try: write(*arguments, **options)\n"
        "    finally: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))\n"
        "feature_cache.save_file = full\n"
        f"sys.argv = ['forgetcheck', 'audit', '{TINY}', '{TINY}', '--battery', '{small_battery}']\n"
        "from forgetcheck.cli.main import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the disk is full") == 1
    assert (tmp_path / "audit" / "audit.json").exists()


def test_two_audits_share_the_cache_at_once(run, tmp_path, small_battery, cache_home):
    command = [sys.executable, "-m", "forgetcheck", "audit", TINY, TINY, "--battery", str(small_battery)]
    both = [
        subprocess.Popen([*command, "--out", name], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    for process in both:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "damaged" not in err
    audit(run, "alone", small_battery, "--no-cache")
    for name in ("one", "two"):
        assert same(answers(tmp_path / name), answers(tmp_path / "alone"))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_an_interrupted_audit_goes_on_where_it_stopped(run, tmp_path, cache_home, interruptible, sent, code):
    arguments = ["audit", TINY, TINY, "--probe", "zero-shot", "--out", "one"]
    command = [sys.executable, "-m", "forgetcheck", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not list(cache_home.rglob("*.safetensors")):
        time.sleep(0.01)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    if (tmp_path / "one").exists():  # a question was answered by then
        assert json.loads((tmp_path / "one" / "audit.json").read_text())["complete"] is False
    assert not list(cache_home.rglob("*.partial"))
    assert "the cache spared " in run(*arguments).err


def begun(tmp_path):
    """Start an audit of three tasks, and wait until it has come to the second of them."""
    battery = tmp_path / "three.toml"
    battery.write_text(
        "".join(f'[[task]]\nname = "{f}"\nsource = "drawn:family={f}"\n' for f in ("shape", "size", "colour"))
    )
    arguments = ["audit", TINY, TINY, "--battery", battery, "--probe", "zero-shot", "--out", "one"]
    process = subprocess.Popen(
        [sys.executable, "-m", "forgetcheck", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FORGETCHECK_QUIET_SECONDS": "0"},
    )
    tasks = set()
    while len(tasks) < 2:
        line = process.stderr.readline()
        assert line, "it ended before it could be stopped"
        tasks |= {line.split()[4]} if line.startswith("auditing: ") else set()
    return process, arguments


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_was_answered_before_an_audit_was_stopped_is_kept(run, tmp_path, interruptible, sent, code):
    process, arguments = begun(tmp_path)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    lines = [line for line in err.splitlines() if not line.startswith("auditing: ")]
    assert len(lines) == 1, err
    assert "are kept in one, which isn't complete; the same command goes on" in lines[0]
    manifest = json.loads((tmp_path / "one" / "audit.json").read_text())
    assert manifest["complete"] is False
    assert manifest["questions"]
    assert {item["role"] for item in manifest["unasked"]} == {"stopped"}
    assert not list(tmp_path.glob(".*.partial"))
    told = run("report", "one")
    told.refusal("stopped before all was asked", "run the same `forgetcheck audit`")
    assert "This audit isn't complete: it was stopped" in " ".join(told.out.split())
    assert manifest["questions"][0]["task"] in told.out
    again = run(*arguments)
    assert again.code == 0, again.err
    assert "the cache spared " in again.err
    assert json.loads((tmp_path / "one" / "audit.json").read_text())["complete"] is True
    run(*arguments).refusal("'one' already exists", "--overwrite")


def test_a_second_interrupt_ends_an_audit_at_once(tmp_path, interruptible):
    """The first is being answered: what would be kept is written slowly, and nothing of it stays."""
    code = (
        "import sys, time; from forgetcheck.retention import answers;"
        "answers.seal = lambda *_: (print('sealing', file=sys.stderr, flush=True), time.sleep(60));"
        f"sys.argv = 'forgetcheck audit {TINY} {TINY} --probe zero-shot --out one'.split();"
        "from forgetcheck.cli.main import main; main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FORGETCHECK_QUIET_SECONDS": "0"},
    )
    for line in process.stderr:
        if line.startswith("auditing: ") and "shape" not in line:
            break
    process.send_signal(signal.SIGINT)
    for line in process.stderr:
        if line.startswith("sealing"):
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, "")
    assert list(tmp_path.iterdir()) == []


def test_an_audit_that_was_stopped_is_not_replaced_with_what_is_not_of_it(run, tmp_path, interruptible):
    process, arguments = begun(tmp_path)
    process.terminate()
    process.communicate(timeout=60)
    (tmp_path / "one" / "notes.txt").write_text("mine")
    run(*arguments).refusal("'one' already exists", "--overwrite")


def test_the_precision_is_in_the_provenance(run, tmp_path, small_battery):
    audit(run, "one", small_battery, "--precision", "bf16", "--workers", "1")
    provenance = json.loads((tmp_path / "one" / "audit.json").read_text())["provenance"]
    assert provenance["precision"] == "bf16"


def test_no_home_is_no_cache(run, monkeypatch):
    monkeypatch.delenv("FORGETCHECK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    run("cache", "info").refusal("no home folder", "FORGETCHECK_CACHE")


@pytest.mark.parametrize("text", SIZES)
def test_sizes_as_people_write_them(text):
    assert read_size("--cache-size", text) == SIZES[text]


@pytest.mark.parametrize("text", ["", "much", "-1GB", "4 XB", "1e9"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="expected a size"):
        read_size("--cache-size", text)


def test_sizes_are_spoken():
    shown = {5: "5 bytes", 2048: "2.0 KiB", 3 * 2**20: "3.0 MiB", 2**33: "8.0 GiB"}
    assert [spoken(size) for size in shown] == list(shown.values())
