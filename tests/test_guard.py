"""The guard hears what it is for, in every thread, and nothing once it is off."""

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from guard import guarded


def test_files_are_heard_by_their_real_place_in_every_thread(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "secret")
    with guarded() as guard:
        thread = threading.Thread(target=(tmp_path / "a" / "link").read_text)
        thread.start()
        thread.join()
        os.close(os.open(tmp_path / "a" / "new", os.O_CREAT | os.O_WRONLY))
    assert guard.outside(tmp_path / "a") == [str(tmp_path / "secret")]
    assert guard.outside(tmp_path) == []
    assert (str(tmp_path / "a" / "new"), "w") in guard.files
    with pytest.raises(AssertionError):
        guard.check(tmp_path / "a")


def test_pythons_own_files_are_nobodys_secret():
    with guarded() as guard:
        Path(json.__file__).read_text()
        Path("/proc/self/stat").read_text()
    assert [path for path in guard.outside() if not path.startswith("/proc")] == []
    assert guard.outside() != []


def test_processes_and_connections_are_heard():
    with guarded() as guard:
        subprocess.run([sys.executable, "-c", ""], check=True)
        with socket.socket() as plug, pytest.raises(ConnectionError):
            plug.connect(("127.0.0.1", 1))
    assert guard.started[0][0] == "subprocess.Popen"
    assert "socket.connect" in [event for event, _ in guard.network]


def test_code_and_modules_are_heard():
    with guarded() as guard:
        pickle.loads(pickle.dumps(Path("x")))
        with pytest.raises(ImportError):
            __import__("nowhere_to_be_found")
    assert "pickle.find_class" in [event for event, _ in guard.code]
    assert "nowhere_to_be_found" in guard.imports


def test_a_guard_that_is_off_hears_nothing(tmp_path):
    with guarded() as guard:
        pass
    (tmp_path / "x").write_text("x")
    assert guard.files == []
