"""The head of a run folder: read as it was written, or refused with the reason."""

import pytest
import torch
from safetensors.torch import save_file

from forgetcheck.clip.run_folder import read_head
from forgetcheck.errors import CannotAsk


def test_a_head_that_may_not_be_read_is_not_called_missing(tmp_path, forbid):
    save_file({"weight": torch.ones(2, 3)}, tmp_path / "head.safetensors")
    assert read_head(tmp_path / "head.safetensors").shape == (2, 3)
    forbid("head.safetensors")
    with pytest.raises(CannotAsk, match=r"cannot read the head .*Permission denied; tune again"):
        read_head(tmp_path / "head.safetensors")
