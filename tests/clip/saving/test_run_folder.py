"""A run folder's weights say what they were made from, and are written as any other checkpoint."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from forgetcheck import __version__
from forgetcheck.clip.model.checkpoint import HEADER, IMAGES, WEIGHTS
from forgetcheck.clip.saving.convert import read_clip
from forgetcheck.clip.saving.run_folder import Run, read_head, read_images, write_run
from forgetcheck.errors import InputError
from forgetcheck.files import RUN_MANIFEST

FACTS = {
    "base": {"name": "tiny", "digest": {"visual": "0", "text": "1"}},
    "task": {"source": "digits", "class_names": ["a", "b"]},
    "regularizer": {"spec": "ldifs:strength=1"},
    "schedule": {"seed": 7},
}


@pytest.fixture
def folder(tmp_path, vit):
    head = torch.arange(32.0).view(16, 2).T  # a view: neither its memory nor its order is its own
    write_run(tmp_path / "run", Run(vit.config, vit.weights, head, [{"step": 1}], FACTS))
    return tmp_path / "run"


def header(folder):
    with safe_open(folder / WEIGHTS, framework="np") as file:
        return file.metadata()


def test_the_weights_know_their_base_task_method_and_seed(folder, vit):
    found = header(folder)
    assert found["base"] == str(FACTS["base"]["digest"])
    assert json.loads(found[HEADER]) == vit.config
    lineage = json.loads(found["forgetcheck"])
    assert lineage == {
        "schema": "forgetcheck/weights@1",
        "forgetcheck": __version__,
        "digests": vit.digests,
        "base": FACTS["base"],
        "task": "digits",
        "regularizer": "ldifs:strength=1",
        "seed": 7,
    }


def test_what_they_know_stays_with_them_when_converted(folder):
    found = read_clip(str(folder))
    assert found.clip.origin["regularizer"] == "ldifs:strength=1"
    assert "Left out the fine-tuned head: what is written is the CLIP alone." in found.notes


def test_a_run_is_told_by_its_own_manifest(folder):
    assert (folder / RUN_MANIFEST).is_file()
    assert not (folder / "convert.json").exists()
    assert torch.equal(read_head(folder / "head.safetensors"), torch.arange(32.0).view(16, 2).T)


def test_a_head_that_may_not_be_read_is_not_called_missing(tmp_path, forbid):
    save_file({"weight": torch.ones(2, 3)}, tmp_path / "head.safetensors")
    assert read_head(tmp_path / "head.safetensors").shape == (2, 3)
    forbid("head.safetensors")
    with pytest.raises(InputError, match=r"cannot read the head .*Permission denied; tune again"):
        read_head(tmp_path / "head.safetensors")


def test_a_run_knows_the_images_it_has_seen(folder, tmp_path, vit):
    assert read_images(folder) is None  # of an earlier version, or where nobody looked
    seen = np.array([3, 2**64 - 1], dtype=np.uint64)
    run = Run(vit.config, vit.weights, torch.ones(2, 16), [{"step": 1}], FACTS, images=seen)
    write_run(tmp_path / "other", run)
    assert read_images(tmp_path / "other").tolist() == seen.tolist()


@pytest.mark.parametrize("found", [b"", {"sha256": torch.ones(3)}, {"x": torch.ones(3)}])
def test_a_damaged_list_of_images_is_refused(folder, found):
    if isinstance(found, bytes):
        (folder / IMAGES).write_bytes(found)
    else:
        save_file(found, folder / IMAGES)
    with pytest.raises(InputError, match="tune again"):
        read_images(folder)
