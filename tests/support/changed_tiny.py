"""forgetcheck:tiny with changed weights: damage that an audit must name."""

import torch
from safetensors.torch import save_file

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder

TINY = find_checkpoint("forgetcheck:tiny")


def changed(tmp_path, name, change):
    """Save tiny with changed weights as a bare file and find it again."""
    weights = {k: v.detach().clone() for k, v in load_encoder(TINY, "cpu").weights.items()}
    change(weights)
    save_file(weights, tmp_path / f"{name}.safetensors")
    return find_checkpoint(str(tmp_path / f"{name}.safetensors"), like=TINY)


def scramble(weights):
    generator = torch.Generator().manual_seed(0)
    for name in weights:
        if name.startswith("visual."):
            weights[name] = torch.randn(weights[name].shape, generator=generator) * 0.02


def move_text(weights):
    weights["text_projection"] = weights["text_projection"].flip(0)
