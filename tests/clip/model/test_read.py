"""Reading weights: plain state dicts only, nothing executed, one line of refusal."""

import argparse
import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from forgetcheck.clip.formats.base import Weights
from forgetcheck.clip.formats.rivals import Choice
from forgetcheck.clip.formats.transformers_clip import PROJECTIONS
from forgetcheck.clip.model.read import read_metadata, read_weights, with_openai_config
from forgetcheck.errors import InputError

WEIGHTS = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(2, dtype=torch.float16)}


def assert_same(found):
    assert set(found) == set(WEIGHTS)
    assert all(torch.equal(found[name], WEIGHTS[name]) for name in WEIGHTS)


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_weights(path)
    text = str(caught.value)
    assert "\n" not in text
    assert path.name in text
    assert "weights_only" not in text  # torch's own advice would switch the safety off
    assert all(word in text for word in words), text


def test_safetensors_with_any_suffix(tmp_path):
    save_file(WEIGHTS, tmp_path / "w.pt", {"who": "me"})
    assert_same(read_weights(tmp_path / "w.pt").tensors)
    assert read_metadata(tmp_path / "w.pt") == {"who": "me"}


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(tmp_path, zipped):
    torch.save(WEIGHTS, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    assert_same(read_weights(tmp_path / "w.pt").tensors)
    assert read_metadata(tmp_path / "w.pt") == {}


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "state_dict_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "model."])
def test_training_checkpoints(tmp_path, wrapper, prefix):
    torch.save(
        {wrapper: {prefix + name: value for name, value in WEIGHTS.items()}, "epoch": 3}, tmp_path / "w.pt"
    )
    found = read_weights(tmp_path / "w.pt")
    assert_same(found.tensors)
    assert found.family == "training checkpoint"
    assert found.notes[0] == f"Read the weights under '{wrapper}'."
    assert found.notes[1:] == ((f"Stripped '{prefix}' from every name.",) if prefix else ())


def test_what_lies_beside_the_weights_is_left_out(tmp_path):
    beside = {
        "optimizer": {"state": {0: {"exp_avg": torch.tensor([float("nan")])}}},
        "args": argparse.Namespace(),
        "loss": {"scale": torch.ones(2)},
    }
    torch.save({"state_dict": WEIGHTS, **beside}, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert_same(found.tensors)
    assert "Left out other weights: loss." in found.notes


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_scales_of_one_number(tmp_path, shape):
    weights = {"logit_scale": torch.full(shape, 4.6), "logit_bias": torch.full(shape, -10.0)}
    save_file(weights, tmp_path / "w.safetensors")
    found = read_weights(tmp_path / "w.safetensors")
    assert all(value.shape == () for value in found.tensors.values())
    assert found.notes == (("Made a scalar of logit_scale, logit_bias.",) if shape else ())


def test_masks_and_positions_are_no_weights(tmp_path):
    mask = torch.full((3, 3), -torch.inf).triu(1)
    constants = {f"layers.{number}.attn_mask": mask.clone() for number in range(5)}
    save_file({**WEIGHTS, **constants, "position_ids": torch.arange(3)}, tmp_path / "w.safetensors")
    found = read_weights(tmp_path / "w.safetensors")
    assert_same(found.tensors)
    assert "and 3 more" in found.notes[0]


def test_files_without_a_weight(tmp_path):
    save_file({"attn_mask": torch.zeros(2, 2)}, tmp_path / "masks.safetensors")
    refused(tmp_path / "masks.safetensors", "without any weights")
    save_file({}, tmp_path / "nothing.safetensors")
    refused(tmp_path / "nothing.safetensors", "without any weights")


def test_a_folder_of_open_clip(vit, vit_folder):
    found = read_weights(vit_folder)
    assert found.family == "safetensors"
    assert found.config is None  # open_clip_config.json is the checkpoint's to read
    assert set(found.tensors) == set(vit.weights)


def test_parts_with_an_index(tmp_path):
    save_file({"a": WEIGHTS["a"], "more": torch.ones(1)}, tmp_path / "one")
    torch.save({"b": WEIGHTS["b"]}, tmp_path / "two")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one", "b": "two"}}, indent=1))
    for path in (index, tmp_path):
        found = read_weights(path)
        assert_same(found.tensors)
        assert found.family == "sharded safetensors"


def test_a_prefix_that_not_all_names_share_stays(tmp_path):
    torch.save({"module.a": WEIGHTS["a"], "b": WEIGHTS["b"]}, tmp_path / "w.pt")
    assert set(read_weights(tmp_path / "w.pt").tensors) == {"module.a", "b"}


class Canary:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, monkeypatch, how):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # must not lift the safety
    canary, path = tmp_path / "canary", tmp_path / "evil.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"a": Canary(canary)}))
    else:
        torch.save({"a": Canary(canary)}, path, _use_new_zipfile_serialization=how == "torch")
    refused(path, ".system", "nothing was run")
    assert not canary.exists()


def test_missing_empty_and_irregular_files(tmp_path):
    refused(tmp_path / "absent.pt", "no checkpoint")
    (tmp_path / "empty.pt").touch()
    refused(tmp_path / "empty.pt", "empty")
    refused(tmp_path, "no weights in the folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "not a file")


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_truncated_files(tmp_path, suffix, share):
    whole, path = tmp_path / "whole", tmp_path / f"cut.{suffix}"
    weights = {"a": torch.randn(50, 50)}
    torch.save(weights, whole) if suffix == "pt" else save_file(weights, whole)
    content = whole.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


def test_a_flipped_bit_in_a_torch_file(tmp_path):
    path = tmp_path / "flipped.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    refused(path, "damaged")


def test_a_compressed_archive(tmp_path):
    path = tmp_path / "bomb.pt"
    stored = io.BytesIO()
    torch.save({"a": torch.zeros(10)}, stored)
    with zipfile.ZipFile(stored) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for item in plain.infolist():
            packed.writestr(item.filename, plain.read(item))
    refused(path, "compressed")


def test_a_text_file(tmp_path):
    (tmp_path / "notes.pt").write_text("these are not weights")
    refused(tmp_path / "notes.pt")


@pytest.mark.parametrize("content", [[torch.ones(1)], {}, {"a": 1}, {1: torch.ones(1)}, torch.ones(2)])
def test_files_that_are_no_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "odd.pt")
    refused(tmp_path / "odd.pt", "state dict")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(tmp_path, value):
    save_file({"a": torch.ones(2), "b": torch.tensor([1.0, value])}, tmp_path / "nan.safetensors")
    refused(tmp_path / "nan.safetensors", "NaN or Inf", "'b'")


def test_tensors_larger_than_the_file(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**9)}, tmp_path / "stride.pt")
    refused(tmp_path / "stride.pt", "more data than the file holds")


def test_sparse_tensors(tmp_path):
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "sparse.pt")
    refused(tmp_path / "sparse.pt", "not dense")


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.complex64])
def test_number_types_that_weights_are_not_stored_in(tmp_path, kind):
    torch.save({"a": torch.ones(3).to(kind)}, tmp_path / "odd.pt")
    refused(tmp_path / "odd.pt", str(kind).removeprefix("torch."), "float32")


@pytest.mark.filterwarnings("ignore")  # torch calls them a prototype
def test_nested_tensors(tmp_path):
    torch.save({"a": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, tmp_path / "nested.pt")
    refused(tmp_path / "nested.pt", "not dense")


def test_a_number_repeated_without_being_stored(tmp_path):
    torch.save({"a": torch.zeros(1).expand(100)}, tmp_path / "stride.pt")
    refused(tmp_path / "stride.pt", "more data than the file holds")


def test_a_deepspeed_checkpoint(tmp_path):
    torch.save({"module": WEIGHTS, "optimizer": None, "ds_version": "0.15"}, tmp_path / "w.pt")
    assert_same(read_weights(tmp_path / "w.pt").tensors)


@pytest.mark.parametrize("prefix", ["net.", "clip.", "clip_model.", "_fsdp_wrapped_module."])
def test_attributes_that_hold_the_model(tmp_path, prefix):
    torch.save({"state_dict": {prefix + name: value for name, value in WEIGHTS.items()}}, tmp_path / "w.pt")
    assert_same(read_weights(tmp_path / "w.pt").tensors)


@pytest.mark.parametrize(
    "wrapper", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_orig_mod._orig_mod"]
)
def test_modules_that_were_wrapped_alone(tmp_path, wrapper):
    save_file({f"visual.{wrapper}.a": WEIGHTS["a"], "b": WEIGHTS["b"]}, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert set(found.tensors) == {"visual.a", "b"}
    assert found.notes == ("Took the wrappers of modules out of 1 names.",)


def test_two_tensors_never_become_one(tmp_path):
    names = {"visual.a", "visual._orig_mod.a"}
    save_file({name: torch.ones(1) for name in names}, tmp_path / "w.pt")
    assert set(read_weights(tmp_path / "w.pt").tensors) == names


def test_averaged_weights_of_torch(tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(torch.nn.Linear(2, 3))
    torch.save(averaged.state_dict(), tmp_path / "w.pt")
    assert set(read_weights(tmp_path / "w.pt").tensors) == {"weight", "bias"}


def test_a_head_behind_the_prefix_of_a_trainer(tmp_path):
    names = {"model.image_encoder.model.visual.a": 2, "model.classification_head.weight": 2}
    weights = {name: torch.ones(3, width) for name, width in names.items()}
    torch.save({"state_dict": weights}, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert set(found.tensors) == {"visual.a"}
    assert found.head is not None
    assert found.notes[1] == "Stripped 'model.' from every name."


@pytest.mark.parametrize(
    "name",
    ["visual.attn.lora_A.weight", "base_model.model.visual.c_fc.base_layer.weight", "a.lora_down.weight"],
)
def test_adapters_that_are_not_merged(tmp_path, name):
    """The weights beside them are the base's: reading those alone would find that nothing was forgotten."""
    save_file({**WEIGHTS, name: torch.ones(2)}, tmp_path / "model.safetensors")
    refused(tmp_path / "model.safetensors", "adapter", "merge")
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    (tmp_path / "adapter_config.json").write_text("{}")
    refused(tmp_path, "adapter", "merge")


def test_two_text_towers(tmp_path):
    """One of each layout: a model takes either, and which must not be left to chance."""
    save_file({"ln_final.bias": torch.ones(2), "text.ln_final.bias": torch.zeros(2)}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "text tower twice")


def test_a_pointer_of_git_lfs(tmp_path):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 605157884\n"
    (tmp_path / "w.safetensors").write_text(pointer)
    refused(tmp_path / "w.safetensors", "git lfs pull")


def test_transformers_names_behind_a_prefix(tmp_path):
    torch.save({"module.vision_model.x": torch.ones(2)}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "save_pretrained")


def write_transformers(folder):
    """Write the least that is read as a CLIPModel."""
    tower = {"hidden_size": 2, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 8}
    config = {
        "model_type": "clip",
        "text_config": {**tower, "vocab_size": 3, "max_position_embeddings": 2},
        "vision_config": {**tower, "image_size": 4, "patch_size": 4},
    }
    (folder / "config.json").write_text(json.dumps(config))
    shapes = {
        **dict.fromkeys(PROJECTIONS, (2, 2)),
        "vision_model.embeddings.position_embedding.weight": (2, 2),
        "text_model.embeddings.token_embedding.weight": (3, 2),
        "text_model.embeddings.position_embedding.weight": (2, 2),
        "logit_scale": (1,),
    }
    for part in ("vision_model", "text_model"):
        layer = f"{part}.encoder.layers.0.self_attn"
        shapes |= {f"{layer}.{each}_proj.weight": (2, 2) for each in "qkv"}
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, folder / "model.safetensors")
    return folder / "config.json"


def test_trained_copies_of_modules(tmp_path):
    """PEFT keeps the module as it was beside the one that was trained."""
    names = ("visual.head.original_module.weight", "visual.head.modules_to_save.default.weight", "visual.x")
    weights = {f"base_model.model.{name}": torch.full((2,), float(k)) for k, name in enumerate(names)}
    torch.save(weights, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert {name: float(value[0]) for name, value in found.tensors.items()} == {
        "visual.head.weight": 1.0,
        "visual.x": 2.0,
    }
    assert "Read 1 tensors as they were trained (modules_to_save)." in found.notes
    weights["base_model.model.visual.head.modules_to_save.other.weight"] = torch.zeros(2)
    torch.save(weights, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "'default' and 'other'", "not which is used")


def test_trained_copies_in_a_transformers_folder(tmp_path):
    """Their names made the conversion fail, which was told as damage."""
    made = write_transformers(tmp_path).parent / "model.safetensors"
    plain = read_weights(tmp_path).tensors
    weights = load_file(made)
    for name in PROJECTIONS:
        module = name.removesuffix(".weight")
        weights[f"{module}.modules_to_save.default.weight"] = 5 * weights[name]
        weights[f"{module}.original_module.weight"] = weights.pop(name)
    save_file({f"base_model.model.{name}": value for name, value in weights.items()}, made)
    found = read_weights(tmp_path).tensors
    assert set(found) == set(plain)
    for name, value in plain.items():
        assert torch.equal(found[name], (5 if name in PROJECTIONS.values() else 1) * value), name


@pytest.mark.parametrize(
    "name", ["visual_projection.weight", "text_model.embeddings.position_embedding.weight"]
)
def test_what_a_transformers_folder_lacks_is_no_damage(tmp_path, name):
    made = write_transformers(tmp_path).parent / "model.safetensors"
    weights = load_file(made)
    del weights[name]
    save_file(weights, made)
    refused(tmp_path, f"lacks '{name}'", "save the whole model")


def test_what_an_archive_of_openai_lacks_is_no_damage():
    with pytest.raises(InputError, match=r"'w\.pt' is no readable archive .* lacks 'ln_final\.weight'"):
        with_openai_config(Path("w.pt"), Weights({"visual.proj": torch.ones(2, 2)}, "x"))


@pytest.mark.parametrize(
    "beside",
    [
        {"lora": {"visual.a.lora_A.weight": torch.ones(2)}},
        {"adapter": {"state_dict": {"visual.a.lora_A": torch.ones(2)}}},
        {"extra": {"layer_0": {"q_proj": {"w_lora_A": torch.ones(2)}}}},
    ],
)
@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_an_adapter_beside_the_weights_is_never_dropped_in_silence(tmp_path, wrapper, beside):
    torch.save({wrapper: WEIGHTS, "epoch": 3, **beside}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "an adapter under", f"--weights {wrapper}")
    assert_same(read_weights(tmp_path / "w.pt", choice=Choice(wrapper)).tensors)


def test_names_of_adapters_in_an_optimizer_are_no_adapter(tmp_path):
    state = {"visual.a.lora_A.weight": {"exp_avg": torch.ones(2)}}
    torch.save({"state_dict": WEIGHTS, "optimizer": {"state": state}}, tmp_path / "w.pt")
    assert_same(read_weights(tmp_path / "w.pt").tensors)


def test_an_adapter_of_another_library_alone(tmp_path):
    layers = {"layer_0": {"q_proj": {"w_lora_A": torch.ones(2, 2), "w_lora_B": torch.ones(2, 2)}}}
    torch.save({"weights": layers, "metadata": {"r": 2, "alpha": 1}}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "holds an adapter ('weights.layer_0.q_proj.w_lora_B')", "merge")
