"""Finding a checkpoint: what a word on the command line names, and what it doesn't."""

import json

import pytest
import torch
from safetensors.torch import save_file

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import HEADER
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.errors import InputError


def test_tiny_is_embedded():
    tiny = find_checkpoint("forgetcheck:tiny")
    assert tiny.name == "tiny"
    assert tiny.weights.is_file()


def test_a_folder_of_open_clip(vit_folder, vit):
    found = find_checkpoint(str(vit_folder))
    assert found.name == "vit"
    assert load_encoder(found, "cpu").digests == vit.digests


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_bare_file_takes_its_architecture_from_model_or_from_the_pair(tmp_path, vit, vit_folder, suffix):
    path = tmp_path / f"bare.{suffix}"
    weights = {k: v.detach().clone() for k, v in vit.weights.items()}
    torch.save(weights, path) if suffix == "pt" else save_file(weights, path)
    with pytest.raises(InputError, match="--model"):
        find_checkpoint(str(path))
    pair = find_checkpoint(str(vit_folder))
    for found in (find_checkpoint(str(path), model=str(vit_folder)), find_checkpoint(str(path), like=pair)):
        assert found.name == "bare"
        assert load_encoder(found, "cpu").digests == vit.digests


def test_a_recorded_architecture_beats_the_pair(tmp_path, vit):
    save_file({"x": torch.ones(1)}, tmp_path / "w.safetensors", {HEADER: json.dumps(vit.config)})
    pair = find_checkpoint("forgetcheck:tiny")
    assert find_checkpoint(str(tmp_path / "w.safetensors"), like=pair).config == vit.config


def test_a_tag_brings_its_own_activation_and_preprocessing():
    openai = find_checkpoint("ViT-B-32:openai")
    assert openai.tag == ("ViT-B-32", "openai")
    assert openai.config["model_cfg"]["quick_gelu"] is True
    half = find_checkpoint("ViT-B-16-SigLIP:webli")
    assert list(half.config["preprocess_cfg"]["mean"]) == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("nowhere.pt", "no checkpoint at 'nowhere.pt'"),
        ("forgetcheck:tyni", "did you mean 'forgetcheck:tiny'"),
        ("ViT-B-32:opena", "did you mean 'openai'"),
        ("ViT-B-23:openai", "did you mean 'ViT-B-32'"),
    ],
)
def test_words_that_name_nothing(text, hint):
    with pytest.raises(InputError, match=hint):
        find_checkpoint(text)


def test_folders_that_are_no_checkpoint(tmp_path, vit_folder):
    with pytest.raises(InputError, match="no run folder"):
        find_checkpoint(str(tmp_path))
    (vit_folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(InputError, match="incomplete"):
        find_checkpoint(str(vit_folder))


@pytest.mark.parametrize(
    ("run", "hint"),
    [
        ({"schema": "forgetcheck/tune@9"}, "schema"),
        ({"schema": "forgetcheck/tune@1", "complete": False}, "incomplete"),
        ([], "expected a JSON object"),
    ],
)
def test_run_records_of_another_kind(vit_folder, run, hint):
    (vit_folder / "tune.json").write_text(json.dumps(run))
    with pytest.raises(InputError, match=hint):
        find_checkpoint(str(vit_folder))


def test_a_config_that_is_none(vit_folder):
    (vit_folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(InputError, match="model_cfg"):
        find_checkpoint(str(vit_folder))
    (vit_folder / "open_clip_config.json").write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        find_checkpoint(str(vit_folder))


ODD_CONFIGS = [
    ("[]", "expected a JSON object"),
    ("[" * 100_000, "nested too deeply"),
    ('{"model_cfg": NaN}', "NaN"),
    ("{}", "has no model_cfg"),
    ('{"model_cfg": 3}', "model_cfg is no table"),
    ('{"model_cfg": {}, "preprocess_cfg": null}', "preprocess_cfg is no table"),
    ('{"model_cfg": {"vision_cfg": []}}', "vision_cfg is no table"),
    ('{"model_cfg": {"vision_cfg": {}}}', "text_cfg is no table"),
    ('{"model_cfg": {"vision_cfg": {"layers": 1000000}, "text_cfg": {}}}', "1000000 layers"),
    ('{"model_cfg": {"vision_cfg": {"timm_model_name": "hf-hub:a/b"}, "text_cfg": {}}}', "not an address"),
    (
        '{"model_cfg": {"vision_cfg": {}, "text_cfg": {"tokenizer_kwargs": {"trust_remote_code": true}}}}',
        "may not hold 'trust_remote_code'",
    ),
]


@pytest.mark.parametrize(("text", "hint"), ODD_CONFIGS)
@pytest.mark.parametrize("place", ["folder", "header"])
def test_configs_that_open_clip_would_trip_over(tmp_path, vit_folder, place, text, hint):
    path = vit_folder
    if place == "folder":
        (vit_folder / "open_clip_config.json").write_text(text)
    else:
        path = tmp_path / "w.safetensors"
        save_file({"a": torch.ones(1)}, path, {"open_clip_config": text})
    with pytest.raises(InputError, match=hint):
        find_checkpoint(str(path))


@pytest.mark.parametrize("task", [None, 3, {}, {"source": ""}, {"source": 3}])
def test_a_run_that_does_not_say_its_task(vit_folder, task):
    run = {"schema": "forgetcheck/tune@1", "complete": True, "task": task}
    (vit_folder / "tune.json").write_text(json.dumps(run))
    with pytest.raises(InputError, match=r"task\.source"):
        find_checkpoint(str(vit_folder))


def test_an_empty_name_is_not_the_current_folder(vit_folder, monkeypatch):
    monkeypatch.chdir(vit_folder)
    with pytest.raises(InputError, match="is empty"):
        find_checkpoint("")


@pytest.mark.parametrize("model", ["", "ViT-B-23", "hf-hub:a/b"])
def test_an_unknown_model_is_refused_where_it_is_not_needed(model):
    with pytest.raises(InputError, match="unknown model"):
        find_checkpoint("forgetcheck:tiny", model)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("__0_0.distcp", "dcp_to_torch"),
        ("mp_rank_00_model_states.pt", "zero_to_fp32.py"),
        ("saved_model.pb", "from_tf=True"),
        ("flax_model.msgpack", "from_flax=True"),
        ("weights.npz", "save the PyTorch model"),
        ("adapter_config.json", "merge_and_unload"),
    ],
)
def test_folders_of_other_formats_are_called_by_their_names(tmp_path, name, hint):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / name).write_bytes(b"{}")
    with pytest.raises(InputError) as caught:
        find_checkpoint(str(tmp_path / "x"))
    assert hint in str(caught.value)
    assert "run folder" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "start", "said"),
    [
        ("m.gguf", b"GGUF\x03\0\0\0", "a GGUF file"),
        ("m.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        ("m.npy", b"\x93NUMPY\x01\0", "an array of numpy"),
        ("m.onnx", b"\x08\x07\x12\x07pytorch", "an ONNX graph"),
    ],
)
def test_files_of_other_formats_are_called_by_their_names(tmp_path, name, start, said):
    (tmp_path / name).write_bytes(start * 9)
    with pytest.raises(InputError, match=f"is {said}"):
        find_checkpoint(str(tmp_path / name))


def test_a_config_without_preprocessing_is_said_to_be_a_guess(vit_folder, vit):
    path = vit_folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    assert find_checkpoint(str(vit_folder)).inferred == {}
    del config["preprocess_cfg"]["std"]
    path.write_text(json.dumps(config))
    said = find_checkpoint(str(vit_folder)).inferred["preprocessing"]
    assert said == "a guess, the default of open_clip: its config has no std"
    load_encoder(find_checkpoint(str(vit_folder)), "cpu")
    del config["preprocess_cfg"]
    path.write_text(json.dumps(config))
    assert (
        find_checkpoint(str(vit_folder)).inferred["preprocessing"].endswith("its config has no mean and std")
    )
