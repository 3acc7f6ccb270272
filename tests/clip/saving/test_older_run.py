"""A run folder that an earlier version wrote still opens: its head, its task and what it was tuned with."""

import shutil
from pathlib import Path

import pytest
from changed_tiny import TINY
from safetensors.torch import save_file

from forgetcheck.auditing.audit import audit
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import WEIGHTS
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.saving.run_folder import read_head
from forgetcheck.tasks.digits import Digits
from forgetcheck.tasks.drawn import Drawn

OLDER = Path(__file__).parent / "older" / "run"  # `tune forgetcheck:tiny --on digits --epochs 1`

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    """All of it but the weights, which are 30 MB and a standard file: here the base's."""
    shutil.copytree(OLDER, tmp_path / "run")
    save_file(load_encoder(TINY, "cpu").weights, tmp_path / "run" / WEIGHTS)
    return tmp_path / "run"


def test_it_is_asked_about_its_own_task_with_its_own_head(folder):
    assert read_head(folder / "head.safetensors").shape == (10, 128)
    battery = Battery("one", {"shape": Drawn(family="shape"), "digits": Digits()})
    found = audit(TINY, [find_checkpoint(str(folder))], battery, ("zero-shot",), "cpu")
    (head,) = (item for item in found.answers if item.probe == "head")
    assert head.task == "digits"
    assert len(head.labels) == 596
    (tuned,) = found.provenance["tuned"].values()
    assert tuned["run"]["regularizer"]["spec"] == "ldifs"
