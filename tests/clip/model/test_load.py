"""Loading refuses whatever doesn't fit, and equal towers take memory once."""

import json

import open_clip
import pytest
import torch
import torch.nn.functional as F
from conftest import VIT, make_config, random_encoder, save_folder
from safetensors.torch import load_file, save_file

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model import load
from forgetcheck.clip.model.checkpoint import HEADER, Checkpoint
from forgetcheck.clip.model.load import choose_device, load_encoder, share_towers
from forgetcheck.clip.model.settings import activation
from forgetcheck.errors import InputError


def test_weights_of_another_architecture_are_refused_by_name(tmp_path, vit_folder):
    narrow = random_encoder({**VIT, "width": 16})
    (vit_folder / "open_clip_config.json").write_text(json.dumps(narrow.config))
    with pytest.raises(InputError, match=r"doesn't fit the architecture.*--model"):
        load_encoder(find_checkpoint(str(vit_folder)), "cpu")


def test_an_impossible_config_is_refused():
    broken = {
        "model_cfg": {"embed_dim": 4, "vision_cfg": {"nonsense": 1}, "text_cfg": {}},
        "preprocess_cfg": {},
    }
    with pytest.raises(InputError, match="cannot build"):
        load_encoder(Checkpoint("broken", broken, weights=None), "cpu")


def test_an_absent_device_is_refused():
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match="--device cpu"):
        choose_device("cuda:99")


def test_an_unreachable_tag_is_refused(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(*_args, **_kwargs):
        raise RuntimeError("Failed to download weights")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", refuse)
    with pytest.raises(InputError, match=r"cannot load 'ViT-B-32:openai'.*--model"):
        load_encoder(find_checkpoint("ViT-B-32:openai"), "cpu")


def test_a_tag_loads_through_open_clip(tmp_path, monkeypatch, vit, images):
    """A tag whose file is on disk: open_clip's own registry, config and loader, no network."""
    from open_clip import factory, pretrained

    folder = save_folder(tmp_path / "hub", vit)
    monkeypatch.setitem(factory._MODEL_CONFIGS, "test-vit", vit.config["model_cfg"])
    tag = {"file": str(folder / "open_clip_model.safetensors"), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    monkeypatch.setitem(pretrained._PRETRAINED, "test-vit", {"mine": tag})
    loaded = load_encoder(find_checkpoint("test-vit:mine"), "cpu")
    assert F.cosine_similarity(loaded.see(images), vit.see(images)).min() > 0.99999
    assert loaded.digests == vit.digests


@pytest.mark.parametrize("quick", [True, False])
def test_a_tag_runs_with_the_activation_it_was_published_with(tmp_path, monkeypatch, vit, quick):
    """open_clip takes it from the name, and only warns where the tag says another."""
    from open_clip import factory, pretrained

    folder = save_folder(tmp_path / "hub", vit)
    monkeypatch.setitem(factory._MODEL_CONFIGS, "test-vit", vit.config["model_cfg"])
    tag = {"file": str(folder / "open_clip_model.safetensors"), "quick_gelu": quick}
    monkeypatch.setitem(pretrained._PRETRAINED, "test-vit", {"mine": tag})
    found = load_encoder(find_checkpoint("test-vit:mine"), "cpu")
    blocks = [*found.model.visual.transformer.resblocks, *found.model.transformer.resblocks]
    assert {type(block.mlp.gelu).__name__ for block in blocks} == {"QuickGELU" if quick else "GELU"}
    assert activation(found.config) == ("QuickGELU" if quick else "GELU")


def test_a_config_that_asks_for_more_than_the_weights_have_is_not_built(tmp_path, vit, monkeypatch):
    vision = {**vit.config["model_cfg"]["vision_cfg"], "layers": 900, "width": 2048, "head_width": 64}
    config = {**vit.config, "model_cfg": {**vit.config["model_cfg"], "vision_cfg": vision}}
    weights = {name: value.detach().clone() for name, value in vit.weights.items()}
    save_file(weights, tmp_path / "w.safetensors", {HEADER: json.dumps(config)})
    monkeypatch.setattr(load, "create", lambda *_: pytest.fail("built"))
    with pytest.raises(InputError, match=r"doesn't fit the architecture: .*is missing"):
        load_encoder(find_checkpoint(str(tmp_path / "w.safetensors")), "cpu")


@pytest.mark.parametrize("options", [5, [[1]], "x"])
def test_tokenizer_options_that_are_no_table_are_refused(tmp_path, vit, options):
    text = {**vit.config["model_cfg"]["text_cfg"], "tokenizer_kwargs": options}
    config = {**vit.config, "model_cfg": {**vit.config["model_cfg"], "text_cfg": text}}
    save_file({"a": torch.ones(1)}, tmp_path / "w.safetensors", {HEADER: json.dumps(config)})
    with pytest.raises(InputError, match="tokenizer_kwargs is no table"):
        find_checkpoint(str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("preprocess_cfg", "mean", "x"),
        ("preprocess_cfg", "mean", [0.5, 0.5, 0.5, 0.5]),
        ("preprocess_cfg", "std", [0, 0, 0]),
        ("vision_cfg", "patch_size", 0),
        ("vision_cfg", "width", 0),
        ("vision_cfg", "image_size", -32),
        ("vision_cfg", "layers", [1, 2]),
        ("vision_cfg", "timm_model_name", 3),
        ("text_cfg", "vocab_size", 5),
        ("text_cfg", "tokenizer_kwargs", 3),
    ],
)
def test_a_config_is_tried_before_it_is_believed(part, key, value):
    config = make_config(VIT)
    (config if part == "preprocess_cfg" else config["model_cfg"])[part][key] = value
    with pytest.raises(InputError, match="cannot build"):
        load_encoder(Checkpoint("odd", config, weights=None), "cpu")


@pytest.mark.parametrize("kind", [torch.int64, torch.bool])
def test_weights_without_fractions_are_refused(vit_folder, kind):
    path = vit_folder / "open_clip_model.safetensors"
    weights = load_file(path)
    weights["visual.proj"] = weights["visual.proj"].to(kind)
    save_file(weights, path)
    with pytest.raises(InputError, match=r"'visual\.proj' holds (int64|bool)"):
        load_encoder(find_checkpoint(str(vit_folder)), "cpu")


@pytest.mark.parametrize("device", ["meta", "hpu", "privateuseone", "", "cpu:-1"])
def test_devices_that_cannot_compute_are_refused(device):
    with pytest.raises(InputError, match="not available"):
        choose_device(device)


def test_equal_towers_are_held_once(vit):
    other = vit.twin()
    with torch.no_grad():
        other.weights["visual.proj"].add_(1)
    share_towers(other, vit)
    own, theirs = other.weights, vit.weights
    same = {name for name in own if own[name].data_ptr() == theirs[name].data_ptr()}
    assert same == {name for name in own if not name.startswith("visual.")}


def test_a_text_tower_is_borrowed_from_behind_a_tag(monkeypatch, tmp_path, vit):
    """A tag has no file of ours to read: open_clip's own model lends its tower."""
    monkeypatch.setattr(load, "create_tagged", lambda *_, **__: (vit.twin().model, None, None))
    base = Checkpoint("tagged", vit.config, None, tag=("some", "tag"))
    visual = {name: value.detach() for name, value in vit.weights.items() if name.startswith("visual.")}
    torch.save(visual, tmp_path / "image.pt")
    image = Checkpoint("image", vit.config, tmp_path / "image.pt", text_from=base)
    assert load_encoder(image, "cpu").digests == vit.digests
