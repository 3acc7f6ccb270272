"""Random bytes and damaged files of every family: weights or a refusal, never another exception."""

import os
import shutil
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forgetcheck.clip.model.read import Weights, read_weights
from forgetcheck.errors import InputError

pytestmark = pytest.mark.slow

MANY = settings(
    max_examples=int(os.environ.get("FORGETCHECK_FUZZ", "150")),  # a long run: docs/checkpoints.md
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
STARTS = (b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04", b"{", b"\x10\0\0\0\0\0\0\0{")


def weights_or_refusal(path):
    try:
        found = read_weights(path)
    except InputError as refusal:
        found = str(refusal)
    assert isinstance(found, Weights) or len(found) < 700
    assert isinstance(found, Weights) or ("\n" not in found and "weights_only" not in found)


@MANY
@given(start=st.sampled_from(STARTS), content=st.binary(max_size=400))
def test_random_bytes(tmp_path, start, content):
    path = tmp_path / "w.pt"
    path.write_bytes(start + content)
    weights_or_refusal(path)


@MANY
@given(data=st.data())
def test_damaged_files(tmp_path, family_file, data):
    content = bytearray(family_file.read_bytes())
    folder = tmp_path / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(family_file.parent, folder)
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    length = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    (folder / family_file.name).write_bytes(bytes(content[:length]))
    weights_or_refusal(asked(folder / family_file.name))


@MANY
@given(data=st.data(), family=st.sampled_from(["zip", "training checkpoint", "module", "torchscript"]))
def test_damaged_pickles_in_whole_archives(tmp_path, family_files, family, data):
    """The checksums are right, so that the damage reaches the pickle."""
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(family_files[family]) as whole, zipfile.ZipFile(path, "w") as damaged:
        for name in whole.namelist():
            content = bytearray(whole.read(name))
            if name.endswith("data.pkl"):
                for _ in range(data.draw(st.integers(1, 5))):
                    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
            damaged.writestr(name, bytes(content))
    weights_or_refusal(path)


def test_whole_files_are_read(family_file):
    assert read_weights(asked(family_file)).tensors


def asked(path):
    """Folders are named for what is in them, not for the file that is damaged."""
    return path.parent if path.suffix == ".json" else path
