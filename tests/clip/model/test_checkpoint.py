"""Architectures by name, as configs."""

import pytest

from forgetcheck.clip.model.checkpoint import architecture
from forgetcheck.errors import InputError


def test_architectures_by_open_clips_name():
    config = architecture("ViT-B/32")
    assert config["model_cfg"]["vision_cfg"]["patch_size"] == 32
    assert config["preprocess_cfg"]["size"] == 224
    with pytest.raises(InputError, match="did you mean 'ViT-B-32'"):
        architecture("VitB-32")
