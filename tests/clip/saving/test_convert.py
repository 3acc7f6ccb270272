"""A checkpoint of any kind becomes a whole CLIP under its model's own names, with its history or without."""

import json
import os

import pytest
import torch
from conftest import save_folder
from safetensors.torch import load_file, save_file

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import HEADER, WEIGHTS, Checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.saving.convert import fitted, read_clip
from forgetcheck.clip.saving.write import Clip, write_clip
from forgetcheck.errors import InputError

ORIGIN = {"base": {"name": "tiny"}, "seed": 3}


def plain(encoder):
    return {name: value.detach().clone() for name, value in encoder.weights.items()}


def assert_equal(found, wanted):
    assert list(found) == list(wanted)  # in the model's order too
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_wrappers_go_and_are_told_of(tmp_path, vit, vit_folder):
    wrapped = {f"module.{name}": value for name, value in plain(vit).items()}
    torch.save({"state_dict": wrapped, "optimizer": {"lr": 1.0}}, tmp_path / "ddp.pt")
    found = read_clip(str(tmp_path / "ddp.pt"), str(vit_folder))
    assert_equal(found.clip.tensors, plain(vit))
    assert found.family == "training checkpoint"
    assert "Stripped 'module.' from every name." in found.notes
    assert found.clip.origin["read"]["name"] == "ddp"
    json.dumps(found.clip.origin)


def test_a_head_is_left_out_and_told_of(tmp_path, vit, vit_folder):
    weights = {**plain(vit), "classification_head.weight": torch.ones(5, 16)}
    torch.save(weights, tmp_path / "w.pt")
    found = read_clip(str(tmp_path / "w.pt"), str(vit_folder))
    assert_equal(found.clip.tensors, plain(vit))
    assert "Left out the fine-tuned head: what is written is the CLIP alone." in found.notes
    save_file({"weight": torch.ones(5, 16)}, vit_folder / "head.safetensors")
    assert any("Left out the fine-tuned head" in note for note in read_clip(str(vit_folder)).notes)


@pytest.mark.parametrize("name", ["flat", "custom"])
def test_the_text_tower_takes_the_names_of_its_model(vit, name):
    text = ("transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection")
    flat = plain(vit)
    custom = {f"text.{key}" if key.startswith(text) else key: value for key, value in flat.items()}
    assert flat.keys() != custom.keys()
    stored, own = (custom, flat) if name == "flat" else (flat, custom)
    assert_equal(fitted("x", stored, own), own)


def test_buffers_that_decide_nothing_may_be_the_models_own():
    own = {"visual.a": torch.ones(2), "visual.bn.num_batches_tracked": torch.tensor(0)}
    assert_equal(fitted("x", {"visual.a": own["visual.a"], "attn_mask": torch.ones(1)}, own), own)


@pytest.mark.parametrize("shape", [(), (1,)])
def test_scales_take_the_shape_of_their_model(shape):
    own = {"logit_scale": torch.zeros(shape)}
    assert fitted("x", {"logit_scale": torch.full((1,), 4.6)}, own)["logit_scale"].shape == shape


@pytest.mark.parametrize(
    ("stored", "hint"),
    [
        ({"visual.a": torch.ones(1)}, "lacks 'text.b'"),
        ({"visual.a": torch.ones(1), "text.b": torch.ones(1), "c": torch.ones(1)}, "has 'c'"),
    ],
)
def test_half_a_clip_is_not_completed_by_chance(stored, hint):
    own = {"visual.a": torch.ones(1), "text.b": torch.ones(1)}
    with pytest.raises(InputError, match=rf"'x' {hint}.*whole CLIP"):
        fitted("x", stored, own)


def test_what_does_not_fit_is_refused(tmp_path, vit, vit_folder):
    weights = plain(vit)
    weights["visual.proj"] = torch.ones(3, 3)
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"is no .*vit: 'visual.proj' is \(3, 3\), not \(32, 16\);"):
        read_clip(str(tmp_path / "w.pt"), str(vit_folder))


def test_a_tag_of_open_clip_is_read_from_the_loaded_model(vit, monkeypatch):
    tagged = Checkpoint("ViT-X:best", vit.config, weights=None, tag=("ViT-X", "best"))
    monkeypatch.setattr("forgetcheck.clip.saving.convert.find_checkpoint", lambda *_, **__: tagged)
    monkeypatch.setattr("forgetcheck.clip.saving.convert.load_encoder", lambda _checkpoint, _device: vit)
    found = read_clip("ViT-X:best")
    assert_equal(found.clip.tensors, plain(vit))
    assert found.clip.origin == {
        "read": {"name": "ViT-X:best", "family": "weights of open_clip", "notes": ()}
    }


def test_what_weights_were_made_from_travels_on(tmp_path, vit):
    write_clip(tmp_path / "a", Clip(vit.config, plain(vit), ORIGIN), "local-dir")
    for source, target in (("a", "b.safetensors"), ("b.safetensors", "c")):
        found = read_clip(str(tmp_path / source))
        write_clip(tmp_path / target, found.clip, "local-dir" if target == "c" else "safetensors")
    assert found.clip.origin == {**ORIGIN, "read": {"name": "b", "family": "safetensors", "notes": ()}}
    record = json.loads((tmp_path / "c" / "convert.json").read_text())
    assert record["seed"] == 3


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"schema": "forgetcheck/weights@1", "digests": 3}',
        '{"schema": "forgetcheck/weights@1", "digests": {"visual": "0", "text": "1"}, "seed": 3}',
    ],
)
def test_a_history_of_other_weights_is_left_out(tmp_path, vit, text):
    path = tmp_path / "w.safetensors"
    save_file(plain(vit), path, {HEADER: json.dumps(vit.config), "forgetcheck": text})
    found = read_clip(str(path))
    assert set(found.clip.origin) == {"read"}
    assert any("speaks of other weights" in note for note in found.notes)


def test_changed_weights_lose_their_history(tmp_path, vit):
    path = tmp_path / "a"
    write_clip(path, Clip(vit.config, plain(vit), ORIGIN), "local-dir")
    assert read_clip(str(path)).clip.origin["seed"] == 3
    changed = load_file(path / WEIGHTS)
    changed["visual.proj"] += 1
    save_folder(tmp_path / "b", vit)
    from safetensors import safe_open

    with safe_open(path / WEIGHTS, "pt") as file:
        save_file(changed, tmp_path / "b" / WEIGHTS, file.metadata())
    assert "seed" not in read_clip(str(tmp_path / "b")).clip.origin


def transformers_clip(folder):
    if "FORGETCHECK_NO_SKIPS" in os.environ:
        import transformers
    else:
        transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    sizes = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**sizes, "vocab_size": 49408, "max_position_embeddings": 16}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    model = transformers.CLIPModel(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_folder_of_transformers_becomes_one_file(tmp_path, images):
    model = transformers_clip(tmp_path / "hub")
    found = read_clip(str(tmp_path / "hub"))
    assert "transformers" in found.family
    write_clip(tmp_path / "w.safetensors", found.clip, "safetensors")
    encoder = load_encoder(find_checkpoint(str(tmp_path / "w.safetensors")), "cpu")
    with torch.no_grad():
        wanted = model.visual_projection(model.vision_model(images).pooler_output)
        torch.testing.assert_close(encoder.see(images), torch.nn.functional.normalize(wanted, dim=-1))
