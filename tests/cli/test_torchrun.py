"""Several processes, one audit: the answers of one process, one voice, one exit code."""

import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file
from sources import told

pytestmark = pytest.mark.slow

TINY = "forgetcheck:tiny"
AUDIT = ["audit", TINY, TINY, "--gallery", "0", "--device", "cpu"]
FAILING = '[[policy.concepts]]\nmatch = "shape/circle"\nmust_forget = true\nmax_accuracy = 0.1\n'
PATCH = (
    "import os, sys, signal\nfrom forgetcheck.auditing import audit as auditing\n"
    "from forgetcheck.clip.features import image_pass as encoding\n"
)
START = "\nfrom forgetcheck.cli.main import main\nmain()"


def same(one, other):
    one, other = (load_file(folder / "answers.safetensors") for folder in (one, other))
    return one.keys() == other.keys() and all(np.array_equal(one[key], other[key]) for key in one)


@pytest.fixture
def team(tmp_path, small_battery):
    """Start two processes as torchrun does, and wait for both: exit codes, stdout and stderr."""

    def start(*arguments, code=""):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                  "TORCHELASTIC_RUN_ID": "test"}  # fmt: skip
        program = ["-c", PATCH + code + START] if code else ["-m", "forgetcheck"]
        asked = [*AUDIT, "--battery", str(small_battery), "--probe", "zero-shot"]
        command = [sys.executable, *program, *asked, *arguments]
        both = [
            subprocess.Popen(
                command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env={**os.environ, **common, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            )
            for rank in range(2)
        ]  # fmt: skip
        said = [process.communicate(timeout=120) for process in both]
        return [process.returncode for process in both], said

    return start


def test_torchrun_gives_the_answers_of_one_process(tmp_path, run):
    battery = tmp_path / "two.toml"
    battery.write_text(
        '[[task]]\nname = "shape"\nsource = "drawn:family=shape"\n'
        '[[task]]\nname = "digits"\nsource = "digits"\n'
        f"[[task]]\nname = 'told'\nsource = '{told(tmp_path / 'told')}'\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "forgetcheck", *AUDIT, "--battery", str(battery), "--out", "shared"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no policy: by the default limit, ") == 1
    assert run(*AUDIT, "--battery", battery, "--out", "alone", "--no-cache").code == 0
    assert same(tmp_path / "shared", tmp_path / "alone")
    assert "the cache spared 8 of 8" in run(*AUDIT, "--battery", battery, "--out", "again").err


def test_one_speaks_and_a_failed_policy_is_everybodys_exit_code(tmp_path, team):
    (tmp_path / "forgetcheck.toml").write_text(FAILING)
    codes, (leader, other) = team()
    assert codes == [1, 1], leader
    assert "failed" in leader[1]
    assert other == ("", "")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--out", "small.toml"], "", "is a file"),  # before anybody joined
        ([], "if os.environ['RANK'] == '1': os.chdir('/')", "nowhere.safetensors"),
        ([], "def refuse(*_): raise encoding.InputError('too odd')\n"
             "if os.environ['RANK'] == '1': encoding._Runner.see = refuse", "nothing was measured: too odd"),
    ],
    ids=["usage", "one has no file", "one refuses"],
)  # fmt: skip
def test_what_one_cannot_ask_nobody_does(tmp_path, team, arguments, code, words):
    if "chdir" in code:
        from forgetcheck.clip.model.checkpoint import TINY_FOLDER, WEIGHTS

        (tmp_path / "nowhere.safetensors").write_bytes((TINY_FOLDER / WEIGHTS).read_bytes())
        code += "\nsys.argv[2] = 'nowhere.safetensors'"
        arguments = ["--out", tmp_path / "out", "--model", TINY]
    codes, (leader, other) = team(*arguments, code=code)
    assert codes == [2, 2], leader
    assert words in leader[1]
    assert other == ("", "")


@pytest.mark.parametrize(
    "code",
    [
        "if os.environ['RANK'] == '1': encoding._Runner.see = lambda *_: 1 / 0",
        "auditing.gallery.collect = lambda *_: 1 / 0",
    ],
    ids=["of another", "of the leader"],
)
def test_a_bug_is_nobodys_failed_policy(team, code):
    codes, (leader, _) = team(code=code)
    assert codes == [3, 3], leader
    assert "this is a bug in forgetcheck" in leader[1]
    assert "division by zero" in leader[1]


def test_nobody_waits_for_the_dead(team):
    codes, _ = team(code="auditing.gallery.collect = lambda *_: os.kill(os.getpid(), signal.SIGKILL)")
    assert codes[0] == -signal.SIGKILL
    assert codes[1] not in (0, 1)
