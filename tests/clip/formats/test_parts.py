"""Sharded checkpoints: the index alone, as the file that is named, and a part that is taken for the whole."""

import json

import pytest
import torch
from safetensors.torch import save_file

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.read import read_weights
from forgetcheck.errors import InputError

pytestmark = pytest.mark.slow

KINDS = {
    "model.safetensors.index.json": "model-0000{}-of-00003.safetensors",
    "open_clip_model.safetensors.index.json": "open_clip_model-0000{}-of-00003.safetensors",
    "pytorch_model.bin.index.json": "pytorch_model-0000{}-of-00003.bin",
}


@pytest.fixture(params=KINDS)
def index(request, tmp_path):
    """Write forgetcheck:tiny in three parts, in each of the ways in which there is an index."""
    weights = load_encoder(find_checkpoint("forgetcheck:tiny"), "cpu").weights
    shared = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    names, save = sorted(shared), torch.save if ".bin." in request.param else save_file
    listed = {}
    for number in range(3):
        part = KINDS[request.param].format(number + 1)
        save({name: shared[name] for name in names[number::3]}, tmp_path / part)
        listed.update(dict.fromkeys(names[number::3], part))
    path = tmp_path / request.param
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": listed}, indent=2))
    return path


def refusal(path):
    with pytest.raises(InputError) as caught:
        find_checkpoint(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_index_is_read_as_the_whole(index):
    """Whether it is named as the file or lies in the folder of the config."""
    expected = load_encoder(find_checkpoint("forgetcheck:tiny"), "cpu").weights
    found = load_encoder(find_checkpoint(str(index), like=find_checkpoint("forgetcheck:tiny")), "cpu").weights
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_missing_parts_are_named(index):
    parts = sorted(index.parent.glob("*-of-00003.*"))
    parts[0].unlink()
    parts[2].unlink()
    told = (
        f"lists 3 parts, of which 2 are missing: '{parts[0].name}', '{parts[2].name}'; copy or download them"
    )
    assert told in refusal(index)
    with pytest.raises(InputError, match="lists 3 parts, of which 2 are missing"):
        read_weights(index.parent)


def test_a_part_is_not_the_whole(index):
    part = sorted(index.parent.glob("*-of-00003.*"))[1]
    assert f"'{part}' is one of 3 parts of a checkpoint: name their index, '{index}'" in refusal(part)
    index.write_text("{damaged")
    told = f"is part 2 of 3 of a checkpoint, and no index that can be read ({index.name}) is beside"
    assert told in refusal(part)
    index.unlink()
    assert told in refusal(part)


@pytest.mark.parametrize(
    "name", ["model-00001-of-00001.safetensors", "model-00001-of-00002.safetensors", "x.safetensors"]
)
def test_a_whole_is_read_whatever_it_is_called(tmp_path, name):
    weights = load_encoder(find_checkpoint("forgetcheck:tiny"), "cpu").weights
    save_file({each: value.detach().clone().contiguous() for each, value in weights.items()}, tmp_path / name)
    for text in ("{damaged", json.dumps({"weight_map": {"a": name}})):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        assert read_weights(tmp_path / name).tensors.keys() == weights.keys()
