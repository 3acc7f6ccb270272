"""Files and folders appear whole or not at all, and a refusal says why."""

import errno
import os
import stat
from pathlib import Path

import pytest

from forgetcheck.errors import InputError
from forgetcheck.files import refuse_existing, refuse_existing_file, whole_file, whole_folder, write_text

FULL = OSError(errno.ENOSPC, "No space left on device")
PROBLEMS = [RuntimeError("mine"), KeyboardInterrupt(), SystemExit(1), FULL]


@pytest.fixture(params=[0o022, 0o077, 0o002])
def mask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def break_off(writing, problem):
    """Fail in the middle of writing a file or a folder."""
    with writing as temporary:
        (temporary / "a.txt" if temporary.is_dir() else temporary).write_text("half")
        raise problem


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with whole_file(path) as temporary:
        assert temporary.parent == path.parent  # so that the last step is a rename
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert names(tmp_path) == ["a.txt", "new"]


def test_a_file_replaces_the_one_before(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "two\n")
    assert (tmp_path / "a.txt").read_bytes() == b"two\n"


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_file_that_fails_leaves_the_old_one(tmp_path, problem):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises((type(problem), InputError)):
        break_off(whole_file(tmp_path / "a.txt"), problem)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_text_is_utf8_and_what_is_not_is_escaped(tmp_path):
    write_text(tmp_path / "a.txt", "é 🦊 caf\udce9\n")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "é 🦊 caf\\udce9\n"


def test_a_folder_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "runs" / "one"
    with whole_folder(path) as temporary:
        assert temporary.parent == path.parent
        (temporary / "a.txt").write_text("whole")
        assert not path.exists()
    assert names(tmp_path) == ["a.txt", "one", "runs"]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_folder_that_fails_leaves_nothing(tmp_path, problem):
    with pytest.raises((type(problem), InputError)):
        break_off(whole_folder(tmp_path / "one"), problem)
    assert names(tmp_path) == []


def test_an_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.txt").write_text("old")
    with pytest.raises(InputError, match=r"already exists.*--overwrite"), whole_folder(tmp_path / "one"):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["a.txt", "one"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_file_is_never_replaced_by_a_folder(tmp_path, overwrite):
    (tmp_path / "one").write_text("mine")
    with pytest.raises(InputError, match="is a file, not a folder"):
        refuse_existing(tmp_path / "one", overwrite)


def test_an_empty_folder_is_as_good_as_none(tmp_path):
    (tmp_path / "one").mkdir()
    with whole_folder(tmp_path / "one") as temporary:
        (temporary / "a.txt").write_text("new")
    assert names(tmp_path) == ["a.txt", "one"]


@pytest.fixture
def old(tmp_path):
    """A folder that is in the way of a new one."""
    path = tmp_path / "one"
    path.mkdir()
    (path / "audit.json").write_text("old")
    return path


def overwrite(path):
    with whole_folder(path, overwrite=True) as temporary:
        (temporary / "new.txt").write_text("new")


def test_overwriting_spares_what_is_not_ours(tmp_path):
    """`--overwrite --out ~/project` must not delete a project."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.tex").write_text("years")
    with pytest.raises(InputError, match="neither a run nor an audit"):
        overwrite(tmp_path / "project")
    assert names(tmp_path) == ["project", "thesis.tex"]


def test_overwriting_replaces_the_whole_folder(old):
    overwrite(old)
    assert names(old.parent) == ["new.txt", "one"]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_overwriting_that_fails_keeps_the_old_folder(old, problem):
    with pytest.raises((type(problem), InputError)):
        break_off(whole_folder(old, overwrite=True), problem)
    assert names(old.parent) == ["audit.json", "one"]


@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("problem", [PermissionError(errno.EACCES, "no"), KeyboardInterrupt()])
def test_a_failing_rename_keeps_the_old_folder(old, monkeypatch, problem, at):
    rename, calls = os.rename, []

    def flaky(source, target):
        calls.append(source)
        if len(calls) == at:
            raise problem
        rename(source, target)

    monkeypatch.setattr(os, "rename", flaky)
    with pytest.raises((InputError, KeyboardInterrupt)):
        overwrite(old)
    assert names(old.parent) == ["audit.json", "one"]


def test_the_old_folder_is_never_deleted_when_it_cannot_be_put_back(old, monkeypatch):
    rename, calls = os.rename, []

    def failing_from_the_second(source, target):
        calls.append(source)
        if len(calls) > 1:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing_from_the_second)
    with pytest.raises(InputError, match="Input/output error"):
        overwrite(old)
    assert "audit.json" in names(old.parent)


def test_modes_follow_the_umask(tmp_path, mask):
    write_text(tmp_path / "a.txt", "text")
    with whole_folder(tmp_path / "one") as temporary:
        (temporary / "deeper").mkdir()
        (temporary / "deeper" / "b.txt").touch(0o600)  # as safetensors leaves its files
    assert mode(tmp_path / "a.txt") == 0o666 & ~mask
    assert mode(tmp_path / "one") == 0o777 & ~mask
    assert mode(tmp_path / "one" / "deeper") == 0o777 & ~mask
    assert mode(tmp_path / "one" / "deeper" / "b.txt") == 0o666 & ~mask


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (FULL, "the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk is full"),
        (
            Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
            "the disk is full",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), "no permission"),
        (OSError(errno.EROFS, "Read-only file system"), "no permission"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error."),
    ],
)
def test_what_the_system_refuses_is_said_in_one_line(tmp_path, problem, words):
    path = tmp_path / "one"
    for writing in (whole_file(path), whole_folder(path)):
        with pytest.raises(InputError) as caught, writing:
            raise problem
        assert str(caught.value).startswith(f"cannot write '{path}': {words}")
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is problem


def test_a_parent_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot write"):
        write_text(tmp_path / "file" / "a.txt", "text")
    with pytest.raises(InputError, match="cannot write"), whole_folder(tmp_path / "file" / "one"):
        pytest.fail("the block must not run")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_really_full(tmp_path):
    def writing():
        with whole_file(tmp_path / "a.txt"), open("/dev/full", "w") as full:
            full.write("text")

    with pytest.raises(InputError, match="the disk is full"):
        writing()
    assert names(tmp_path) == []


def test_an_existing_file_is_refused_before_any_work(tmp_path):
    refuse_existing_file(tmp_path / "new" / "a.pt", overwrite=False)
    assert names(tmp_path) == []  # asking leaves nothing behind
    (tmp_path / "a.pt").write_text("old")
    (tmp_path / "link").symlink_to("a.pt")
    for name in ("a.pt", "link"):
        with pytest.raises(InputError, match=r"already exists.*--overwrite"):
            refuse_existing_file(tmp_path / name, overwrite=False)
        refuse_existing_file(tmp_path / name, overwrite=True)
    assert (tmp_path / "a.pt").read_text() == "old"


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("name", [".", "..", "folder", "fifo", "a.txt/b", "x" * 250, "x" * 5000, "/dev/null"])
def test_files_that_could_not_be_written_are_refused_before_the_work(tmp_path, monkeypatch, name, overwrite):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.txt").touch()
    os.mkfifo("fifo")
    with pytest.raises(InputError):
        refuse_existing_file(Path(name), overwrite)
    assert names(tmp_path) == ["a.txt", "fifo", "folder"]


def test_a_refusal_shows_the_path_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^cannot write 'a.txt'"):
        break_off(whole_file(Path("a.txt")), FULL)


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_plain_file_keeps_its_place(tmp_path, kind):
    path = tmp_path / "pipe" if kind == "fifo" else Path(os.devnull)
    if kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(InputError, match="is a device"):
        write_text(path, "text")
    assert not path.is_file()


def test_a_link_is_followed_to_its_file(tmp_path):
    (tmp_path / "there").write_text("old")
    (tmp_path / "link").symlink_to("there")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "there").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    "name", [".", "..", "x/..", "dangling", "x" * 250, "x" * 5000, "/".join(["y" * 99] * 99)]
)
def test_names_that_could_not_be_written_are_refused_before_the_work(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dangling").symlink_to("nothing")
    with pytest.raises(InputError):
        refuse_existing(Path(name), overwrite=True)
    assert names(tmp_path) == ["dangling"]


def test_what_a_killed_overwrite_left_is_put_back(tmp_path):
    """Between its two renames nothing stands at the name, and the folder before lies beside it."""
    kept = tmp_path / ".run.abc.old" / "was"
    kept.mkdir(parents=True)
    (kept / "tune.json").write_text("{}")
    with pytest.raises(InputError, match="already exists"):
        refuse_existing(tmp_path / "run", overwrite=False)
    assert (tmp_path / "run" / "tune.json").read_text() == "{}"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
