"""Whole modules of research code: their numbers are read, their code is not run."""

import pickle
import sys
import zipfile
from copy import deepcopy

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from torch import nn

from forgetcheck.clip.model.read import read_weights
from forgetcheck.errors import InputError


def write(how, module, path):
    if how == "pickle":
        path.write_bytes(pickle.dumps(module))
    else:
        torch.save(module, path, _use_new_zipfile_serialization=how == "zip")
    return path


def assert_equal(found, wanted):
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_module_reads_as_its_state_dict(tmp_path, how, clip_model):
    path = write(how, clip_model, tmp_path / "module.pt")
    weights = read_weights(path)
    assert weights.family == "whole-module pickle"
    assert_equal(weights.tensors, clip_model.state_dict())
    assert weights.head is None


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_wise_ft_and_its_kin(tmp_path, how, research, classifier, clip_model):
    path = write(how, classifier, tmp_path / "checkpoint_10.pt")
    del sys.modules["research_code"]
    weights = read_weights(path)
    assert not research.log.exists()  # neither imported again nor restored
    visual = {name: value for name, value in clip_model.state_dict().items() if name.startswith("visual.")}
    assert_equal(weights.tensors, {**visual, "logit_scale": clip_model.state_dict()["logit_scale"]})
    assert torch.equal(weights.head, classifier.classification_head.weight)
    assert torch.equal(weights.head_bias, classifier.classification_head.bias)
    notes = " ".join(weights.notes)
    assert "image_encoder.model." in notes
    assert "image tower only" in notes
    assert "head of 5 classes" in notes
    assert "research_code.ImageClassifier" in notes


def test_the_state_dict_of_such_a_classifier(tmp_path, classifier):
    names = {f"module.{name}": value for name, value in classifier.state_dict().items()}
    torch.save(names, tmp_path / "w.pt")
    weights = read_weights(tmp_path / "w.pt")
    assert "visual.conv1.weight" in weights.tensors
    assert weights.head.shape == (5, 16)
    assert weights.family == "state dict"


def test_an_image_encoder_with_its_text_tower(tmp_path, research, clip_model):
    """FLYP keeps both towers."""
    path = write("pickle", nn.DataParallel(research.ImageEncoder(clip_model)), tmp_path / "w.pt")
    assert_equal(read_weights(path).tensors, clip_model.state_dict())


def test_a_module_inside_a_training_checkpoint(tmp_path, clip_model):
    content = {"model": clip_model, "epoch": 3, "optimizer": {"state": {0: {"step": torch.tensor(4.0)}}}}
    torch.save(content, tmp_path / "w.pt")
    weights = read_weights(tmp_path / "w.pt")
    assert_equal(weights.tensors, clip_model.state_dict())
    assert "under 'model'" in weights.notes[0]


def test_a_bare_head(tmp_path, research):
    write("pickle", research.ClassificationHead(torch.ones(5, 16)), tmp_path / "head.pt")
    with pytest.raises(InputError, match="head and no CLIP"):
        read_weights(tmp_path / "head.pt")


def test_the_model_gives_the_same_embeddings_after_reading(tmp_path, clip_model, images, research):
    path = write("pickle", research.ImageEncoder(clip_model), tmp_path / "w.pt")
    again = open_clip.model.CLIP(
        16,
        {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    ).eval()
    again.load_state_dict(read_weights(path).tensors)
    with torch.no_grad():
        assert torch.equal(again.encode_image(images), clip_model.encode_image(images))


def test_shared_and_strided_tensors(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    wanted = {"whole": base, "turned": base.T, "part": base[1:, 2], "tied": base, "none": torch.empty(0, 3)}
    for how in ("zip", "legacy", "pickle"):
        assert_equal(read_weights(write(how, wanted, tmp_path / "w.pt")).tensors, wanted)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_number_types(tmp_path, kind, how):
    wanted = {"a": torch.arange(5).to(kind), "b": nn.Parameter(torch.ones(2, 2))}
    assert_equal(read_weights(write(how, wanted, tmp_path / "w.pt")).tensors, wanted)


def test_modules_that_share_modules_for_ever(tmp_path):
    """Few modules may spell very many names: each holds the next one twice."""
    inner = nn.Module()
    for _ in range(40):
        outer = nn.Module()
        outer.left = outer.right = inner
        inner = outer
    write("pickle", inner, tmp_path / "w.pt")
    with pytest.raises(InputError, match="no readable"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_a_module_without_weights(tmp_path, how):
    write(how, nn.Sequential(nn.ReLU(), nn.Flatten()), tmp_path / "w.pt")
    with pytest.raises(InputError, match="whole-module pickle without any weights"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])
def test_buffers_that_no_state_dict_has(tmp_path, how):
    """Which ones those are is a set, which torch.save's old protocol writes as a call."""
    module = nn.Linear(2, 2)
    module.register_buffer("table", torch.ones(3), persistent=False)
    module.register_buffer("kept", torch.ones(3))
    assert_equal(read_weights(write(how, module, tmp_path / "w.pt")).tensors, module.state_dict())


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_stored_with_the_other_sign(tmp_path, zipped):
    """torch writes the bytes of a negative view as they are, and that it is one beside them."""
    negative = torch.tensor([1 + 2j, 3 - 4j]).conj().imag
    assert negative.is_neg()
    torch.save({"a": negative}, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="'a' is not dense"):
        read_weights(tmp_path / "w.pt")


def test_an_archive_without_checksums(tmp_path):
    wanted = {"a": torch.randn(100), "b": torch.randn(3, 3)}
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(wanted, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        assert archive.testzip()
    assert_equal(read_weights(tmp_path / "w.pt").tensors, wanted)


@pytest.mark.parametrize("normalize", [True, False])
def test_a_head_for_embeddings_as_they_are_is_left_out(tmp_path, classifier, normalize):
    classifier.classification_head.normalize = normalize
    found = read_weights(write("zip", classifier, tmp_path / "w.pt"))
    assert (found.head is not None) is normalize
    assert normalize or "not normalised" in found.notes[-1]


@pytest.mark.parametrize("activation", ["GELU", "QuickGELU"])
def test_a_module_names_its_activation(tmp_path, activation, clip_model):
    model = deepcopy(clip_model)
    for block in model.visual.transformer.resblocks:
        block.mlp.gelu = QuickGELU() if activation == "QuickGELU" else torch.nn.GELU()
    found = read_weights(write("zip", model, tmp_path / "w.pt"))
    assert found.quick_gelu is (activation == "QuickGELU")
    torch.save(model.state_dict(), tmp_path / "s.pt")
    assert read_weights(tmp_path / "s.pt").quick_gelu is None
