"""Weights in parts: equal to what torch's own modules compute from them."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.read import read_weights
from forgetcheck.errors import InputError

LAYERS = {
    "linear": lambda: nn.Linear(5, 7),
    "one row": lambda: nn.Linear(5, 1),
    "one number": lambda: nn.Linear(1, 1),
    "convolution": lambda: nn.Conv2d(3, 4, 2),
}


def trained(layer):
    """Move every number, so that no part still says what another does."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in layer.parameters():
            value.add_(0.3 * torch.randn(value.shape, generator=generator))
    return layer.eval()


def old_weight_norm(layer, **options):
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(layer, **options)


WAYS = {
    "old weight norm": old_weight_norm,
    "old weight norm, columns": lambda layer: old_weight_norm(layer, dim=1),
    "old weight norm, whole": lambda layer: old_weight_norm(layer, dim=None),
    "weight norm": parametrizations.weight_norm,
    "weight norm, columns": lambda layer: parametrizations.weight_norm(layer, dim=1),
    "weight norm, whole": lambda layer: parametrizations.weight_norm(layer, dim=None),
    "spectral norm": parametrizations.spectral_norm,
    "spectral norm, columns": lambda layer: parametrizations.spectral_norm(layer, dim=1),
    "pruning": lambda layer: prune.l1_unstructured(layer, "weight", amount=0.4),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("way", WAYS)
def test_equal_to_what_torch_computes(tmp_path, way, kind):
    torch.manual_seed(0)
    layer = trained(WAYS[way](LAYERS[kind]()))
    with torch.no_grad():
        layer(torch.ones(1, 3, 4, 4) if kind == "convolution" else torch.ones(1, layer.in_features))
        expected = layer.weight.detach().clone()
    model = nn.ModuleDict({"visual": nn.ModuleDict({"c_fc": layer})})
    torch.save(model.state_dict(), tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert set(found.tensors) == {"visual.c_fc.weight", "visual.c_fc.bias"}
    assert torch.allclose(found.tensors["visual.c_fc.weight"], expected, rtol=1e-6, atol=0)
    assert any(note.startswith("Computed weights that lay there in parts: 1 of ") for note in found.notes)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("way", [nn.utils.spectral_norm, parametrizations.spectral_norm])
def test_spectral_norm_of_a_square(tmp_path, way, dim):
    """Which dimension it is along doesn't show in the shapes."""
    torch.manual_seed(0)
    layer = way(nn.Linear(6, 6), dim=dim)
    for _ in range(3):
        layer.train()(torch.ones(2, 6))
    layer.eval()
    with torch.no_grad():
        layer(torch.ones(2, 6))
    torch.save({f"visual.{name}": value for name, value in layer.state_dict().items()}, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt").tensors
    assert torch.allclose(found["visual.weight"], layer.weight, rtol=1e-6, atol=0)


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_parts_that_other_code_puts_together_are_refused(tmp_path):
    own = nn.Linear(3, 3)
    parametrize.register_parametrization(own, "weight", Doubled())
    orthogonal = parametrizations.orthogonal(nn.Linear(3, 3))
    chained = parametrizations.spectral_norm(parametrizations.weight_norm(nn.Linear(3, 3)))
    for layer in (own, orthogonal, chained):
        torch.save({f"visual.{name}": value for name, value in layer.state_dict().items()}, tmp_path / "w.pt")
        with pytest.raises(
            InputError, match=r"'visual\.weight' is computed from .*remove_parametrizations"
        ) as caught:
            read_weights(tmp_path / "w.pt")
        assert not re.search("damaged|truncated", str(caught.value))


def test_parts_that_do_not_belong_together(tmp_path):
    for parts in (
        {"weight_g": torch.ones(3, 1), "weight_v": torch.ones(4, 2)},
        {"weight_g": torch.ones(3), "weight_v": torch.ones(3, 2)},
        {"weight_orig": torch.ones(3, 2), "weight_u": torch.ones(9), "weight_v": torch.ones(2)},
        {"weight_orig": torch.ones(3, 2), "weight_mask": torch.ones(2)},
        {"weight_orig": torch.ones(3, 2), "weight_u": torch.ones(3)},
    ):
        save_file({f"visual.{name}": value for name, value in parts.items()}, tmp_path / "w.safetensors")
        with pytest.raises(InputError, match="computed from"):
            read_weights(tmp_path / "w.safetensors")
    zero = {"visual.weight_g": torch.ones(2, 1), "visual.weight_v": torch.zeros(2, 2)}
    save_file(zero, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="NaN or Inf"):
        read_weights(tmp_path / "w.safetensors")


def test_names_that_only_look_like_parts_stay(tmp_path):
    names = [
        "visual.weight_v",
        "visual.proj_g",
        "visual.proj_v",
        "visual.x_u",
        "visual.mask_orig",
        "visual.weight",
    ]
    save_file({name: torch.ones(2) for name in names}, tmp_path / "w.safetensors")
    assert set(read_weights(tmp_path / "w.safetensors").tensors) == set(names)


def test_a_whole_model_in_parts(tmp_path, vit, vit_folder):
    """A CLIP trained under weight norm sees as torch computes it, also behind a prefix."""
    weights = {name: value.detach() for name, value in vit.weights.items()}
    parts = {}
    for name, value in weights.items():
        if name.endswith("c_fc.weight"):
            stem = name.removesuffix("weight") + "parametrizations.weight.original"
            parts[f"{stem}0"], parts[f"{stem}1"] = value.norm(dim=1, keepdim=True), 3 * value
        else:
            parts[name] = value
    torch.save({"state_dict": {f"module.{name}": value for name, value in parts.items()}}, tmp_path / "w.pt")
    encoder = load_encoder(find_checkpoint(str(tmp_path / "w.pt"), str(vit_folder)), "cpu")
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert (encoder.see(images) - vit.see(images)).abs().max() < 1e-6
