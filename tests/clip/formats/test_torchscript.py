"""TorchScript archives, as OpenAI publishes them: the numbers without the programs."""

from copy import deepcopy

import pytest
import torch
from conftest import RESNET, TEXT, VIT
from open_clip.model import CLIP

from forgetcheck.clip.model.read import read_weights
from forgetcheck.errors import InputError

WIDE = {**TEXT, "width": 64, "heads": 1}  # OpenAI's heads are 64 wide
TOWERS = {
    "vit": {**VIT, "width": 128, "head_width": 64},
    "resnet": {**RESNET, "width": 8, "layers": [1, 2, 1, 1]},
}


@pytest.mark.parametrize("tower", TOWERS)
def test_openais_archives(tmp_path, monkeypatch, script, images, tower):
    torch.manual_seed(0)
    model = CLIP(16, TOWERS[tower], WIDE, quick_gelu=True).eval()
    path = tmp_path / "ViT-B-32.pt"
    script(deepcopy(model), path)
    monkeypatch.setattr(torch.jit, "load", None)  # would run the archive's code
    monkeypatch.setattr(torch, "load", None)
    weights = read_weights(path)
    wanted = model.state_dict()
    assert weights.family == "OpenAI TorchScript archive"
    assert set(weights.tensors) == set(wanted)
    assert all(torch.equal(weights.tensors[name], wanted[name]) for name in wanted)
    notes = " ".join(weights.notes)
    assert "input_resolution" in notes
    assert "QuickGELU" in notes

    again = CLIP(**weights.config["model_cfg"]).eval()
    again.load_state_dict(weights.tensors)
    texts = torch.randint(1, 49408, (2, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(again.encode_image(images), model.encode_image(images))
        assert torch.equal(again.encode_text(texts), model.encode_text(texts))
    assert weights.config["preprocess_cfg"]["size"] == 32


def test_another_archive(family_files):
    weights = read_weights(family_files["torchscript"])
    assert weights.family == "TorchScript archive"
    assert set(weights.tensors) == {"weight", "bias"}
    assert weights.config is None


class Odd(torch.nn.Module):
    """OpenAI's settings and none of its weights."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2))

    def forward(self, images, texts):
        return images.sum() + texts.sum() + self.weight.sum()


def test_an_archive_that_only_looks_like_openais(tmp_path, script):
    script(Odd(), tmp_path / "w.pt")
    with pytest.raises(InputError, match="no readable"):
        read_weights(tmp_path / "w.pt")
