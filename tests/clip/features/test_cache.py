"""The feature cache: what was put is what is got, or nothing is; whatever goes wrong costs time only."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from forgetcheck.clip.features import cache as feature_cache
from forgetcheck.clip.features.cache import SUFFIX, TAG, FeatureCache, Features, cache_folder, key_of

FACTS = {"weights": "w", "part": "test", "contents": "c", "precision": "fp32"}
KILLED = """
import sys
from pathlib import Path
import numpy as np
from forgetcheck.clip.features.cache import FeatureCache, Features
cache = FeatureCache(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(1000):
    rows = np.full((4000, 64), number, np.float32)
    cache.put({"number": number % 7}, Features(rows, np.arange(4000)))
"""
FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from forgetcheck.clip.features.cache import FeatureCache, Features
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
cache = FeatureCache(Path(sys.argv[1]), warn=print)
for number in range(3):
    cache.put({"number": number}, Features(np.ones((4000, 64), np.float32), np.arange(4000)))
"""


def features(seed=0, n=20, unread=()):
    rows = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    return Features(rows, np.arange(n), tuple(unread))


def same(one, other):
    return (
        np.array_equal(one.embeddings, other.embeddings)
        and np.array_equal(one.kept, other.kept)
        and one.unread == other.unread
    )


@pytest.fixture
def cache(tmp_path):
    """A cache that remembers its warnings."""
    found = FeatureCache(tmp_path / "cache", warn=lambda text: found.said.append(text))
    found.said = []
    return found


def only_entry(cache):
    (entry,) = cache.entries()
    return entry.path


def test_what_was_put_is_what_is_got(cache):
    put = features(unread=[(20, "truncated"), (21, "no “image”")])
    assert cache.get(FACTS) is None
    cache.put(FACTS, put)
    assert same(cache.get(FACTS), put)
    assert cache.get(FACTS).embeddings.flags.writeable
    assert cache.said == []
    assert cache.reused == set()
    other = FeatureCache(cache.folder)
    assert same(other.get(FACTS), put)
    assert other.reused == {key_of(FACTS)}


@pytest.mark.parametrize("changed", FACTS)
def test_no_other_facts_find_it(cache, changed):
    cache.put(FACTS, features())
    assert cache.get({**FACTS, changed: "other"}) is None
    assert cache.get({**FACTS, "more": None}) is None


def test_another_version_of_the_format_never_finds_it(cache, monkeypatch):
    cache.put(FACTS, features())
    monkeypatch.setattr(feature_cache, "VERSION", feature_cache.VERSION + 1)
    assert cache.get(FACTS) is None


def test_the_folder_is_its_owners_and_no_backup_takes_it(cache):
    cache.put(FACTS, features())
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert (cache.folder / TAG).read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    key = key_of(FACTS)
    assert only_entry(cache) == cache.folder / "features" / key[:2] / f"{key}{SUFFIX}"


def test_whichever_byte_is_flipped_it_is_never_believed(cache):
    put = features(unread=[(3, "x")])
    cache.put(FACTS, put)
    path = only_entry(cache)
    whole = path.read_bytes()
    for offset in range(0, len(whole), 7):
        path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 0x10]) + whole[offset + 1 :])
        found = cache.get(FACTS)
        assert found is None or same(found, put)  # padding and our own description may change
    assert len(cache.said) > len(whole) / 14
    assert all("damaged and made again" in text for text in cache.said)


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_truncated_entry_is_removed_and_made_again(cache, left):
    cache.put(FACTS, features())
    path = only_entry(cache)
    path.write_bytes(path.read_bytes()[:left])
    assert cache.get(FACTS) is None
    assert not path.exists()
    assert len(cache.said) == 1
    cache.put(FACTS, features())
    assert same(cache.get(FACTS), features())


def test_an_entry_under_another_name_is_another_entry(cache):
    cache.put(FACTS, features())
    other = {**FACTS, "weights": "other"}
    target = cache.place(key_of(other))
    target.parent.mkdir(exist_ok=True)
    only_entry(cache).rename(target)
    assert cache.get(other) is None
    assert "it is another entry" in cache.said[0]


def test_the_least_recently_used_go_first(cache):
    for number in range(3):
        cache.put({"number": number}, features(number))
        cache.limit = 3 * next(cache.entries()).size + 10
        path = cache.place(key_of({"number": number}))
        os.utime(path, (number, number))
    assert cache.get({"number": 0}) is not None  # used now
    cache.put({"number": 3}, features(3))
    left = [number for number in range(4) if cache.place(key_of({"number": number})).exists()]
    assert 3 in left
    assert 0 in left
    assert 1 not in left
    assert sum(entry.size for entry in cache.entries()) <= cache.limit


def test_what_is_larger_than_the_limit_is_not_stored(cache):
    cache.limit = 100
    cache.put(FACTS, features())
    assert list(cache.entries()) == []
    assert cache.said == []


def test_what_a_dead_process_left_is_swept_up(cache):
    cache.put(FACTS, features())
    folder = only_entry(cache).parent
    old, new = (folder / f".x{SUFFIX}.{name}.partial" for name in ("old", "new"))
    for path in (old, new):
        path.write_text("half")
    os.utime(old, (1, 1))
    cache.put({"more": 1}, features())
    assert (old.exists(), new.exists()) == (False, True)


def test_clearing_leaves_what_is_not_ours(cache):
    cache.put(FACTS, features())
    mine = cache.folder / "features" / "thesis.txt"
    mine.write_text("mine")
    assert [entry.path.suffix for entry in cache.clear()] == [SUFFIX]
    assert list(cache.entries()) == []
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("problem", [errno.EROFS, errno.EACCES, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_cannot_be_written_is_said_once_and_still_read(cache, monkeypatch, problem):
    cache.put(FACTS, features())

    def refuse(*_, **__):
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("os.utime", refuse)
    for number in range(3):
        cache.put({"number": number}, features())
    assert same(cache.get(FACTS), features())
    assert len(cache.said) == 1
    assert "goes on without" in cache.said[0]


def test_a_file_in_the_way_is_said_once(tmp_path):
    said = []
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file", warn=said.append)
    for number in range(2):
        assert cache.get({"number": number}) is None
        cache.put({"number": number}, features())
    assert len(said) == 1
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_is_said_once_and_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path / "c"], capture_output=True, text=True, check=True
    )
    assert len(done.stdout.splitlines()) == 1
    assert "the disk is full" in done.stdout
    assert [path for path in (tmp_path / "c").rglob("*") if path.is_file()] == [tmp_path / "c" / TAG]


def test_killed_while_writing_leaves_whole_entries_only(tmp_path):
    for turn in range(6):
        process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.02 + 0.017 * turn)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        said = []
        cache = FeatureCache(tmp_path, warn=said.append)
        for number in range(7):
            found = cache.get({"number": number})
            assert found is None or set(np.unique(found.embeddings % 7)) == {number}
        assert said == []
    assert list(cache.entries())


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("FORGETCHECK_CACHE", "here")
    monkeypatch.chdir(tmp_path)
    assert cache_folder() == tmp_path / "here"
    monkeypatch.setenv("FORGETCHECK_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "forgetcheck"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the standard
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "forgetcheck"


def test_an_entry_says_what_it_is(cache):
    from safetensors import safe_open

    cache.put(FACTS, features())
    with safe_open(only_entry(cache), framework="numpy") as file:
        assert json.loads(file.metadata()["facts"]) == FACTS
