"""Two sets of weights where one is wanted: none is ever taken in silence."""

import json
from collections import OrderedDict

import pytest
import torch
from conftest import save_folder
from safetensors.torch import save_file

from forgetcheck.clip.formats.rivals import Choice
from forgetcheck.clip.identity.resolve import find_checkpoint, find_checkpoints
from forgetcheck.clip.model.checkpoint import CONFIG
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.read import FILES, read_weights
from forgetcheck.errors import InputError

PLACES = [
    ("model", "ema"),
    ("state_dict", "state_dict_ema"),
    ("model_state_dict", "ema_model"),
    ("net_a", "net_b"),
]


@pytest.fixture
def one(vit):
    return {name: value.detach().clone().contiguous() for name, value in vit.weights.items()}


@pytest.fixture
def other(one):
    return {name: value + 0.01 for name, value in one.items()}


def refusal(path, *words, choice=None):
    with pytest.raises(InputError) as caught:
        read_weights(path, choice=choice or Choice())
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def same(found, expected):
    assert found.keys() == expected.keys()
    return all(torch.equal(found[name], value) for name, value in expected.items())


def around(weights, shape):
    """Put weights into what averages are kept in."""
    return {
        "plain": weights,
        "ordered": OrderedDict(weights),
        "module": {"module": {f"module.{name}": value for name, value in weights.items()}, "decay": 0.999},
        "shadow": {"decay": 0.999, "num_updates": 7, "shadow": weights},
        "swa": {
            "n_averaged": torch.tensor(3),
            **{f"module.{name}": value for name, value in weights.items()},
        },
    }[shape]


@pytest.mark.parametrize("shape", ["plain", "ordered", "module", "shadow", "swa"])
@pytest.mark.parametrize(("usual", "average"), PLACES[:3])
def test_a_model_beside_its_average(tmp_path, one, other, usual, average, shape):
    path = tmp_path / "w.pt"
    torch.save({"epoch": 3, average: around(other, shape), usual: one, "optimizer": {"state": {}}}, path)
    refusal(path, f"different weights under '{usual}' and '{average}'", f"`--weights {average}`")
    assert same(read_weights(path, choice=Choice(usual)).tensors, one)
    found = read_weights(path, choice=Choice(average))
    assert same(found.tensors, other)
    assert f"Left out other weights: {usual}." in found.notes
    refusal(path, "no weights under 'best'", f"'{usual}' and '{average}'", choice=Choice("best"))
    refusal(path, "no weights under 'best'", choice=Choice("best", required=False))


@pytest.mark.parametrize("shape", ["plain", "module", "shadow"])
def test_equal_weights_are_one(tmp_path, one, shape):
    path = tmp_path / "w.pt"
    half = {name: value.half() for name, value in one.items()}
    torch.save({"model": one, "ema": around(half, shape)}, path)
    found = read_weights(path)
    assert same(found.tensors, one)
    assert "The same weights are under 'ema'." in found.notes


def test_what_is_no_rival_is_left_out_as_before(tmp_path, one):
    path = tmp_path / "w.pt"
    beside = {
        "optimizer": {"state": {0: {"exp_avg": torch.tensor([float("nan")])}}, "param_groups": []},
        "head": {"weight": torch.ones(3, 16), "bias": torch.ones(3)},
        "teacher": {"visual.conv1.weight": torch.ones(2, 2), "loss": torch.ones(1)},
        "model": {"name": "ViT-B-32", "layers": 2},  # a config under a usual name
    }
    torch.save({"state_dict": one, **beside}, path)
    found = read_weights(path)
    assert same(found.tensors, one)
    assert "Left out other weights: head, teacher." in found.notes


def test_a_file_that_holds_an_average_only(tmp_path, one):
    for number, content in enumerate(
        [{"ema": one}, {"ema_state_dict": one, "step": 5}, {"ema": around(one, "shadow")}]
    ):
        path = tmp_path / f"{number}.pt"
        torch.save(content, path)
        found = read_weights(path)
        assert same(found.tensors, one)
        assert found.counters == ({"step": 5} if number == 1 else {})
        refusal(path, "no weights under 'model'", choice=Choice("model"))
        assert same(read_weights(path, choice=Choice("model", required=False)).tensors, one)


def test_an_average_without_names(tmp_path, one):
    path = tmp_path / "w.pt"
    torch.save(
        {"model": one, "ema": {"decay": 0.9, "shadow_params": [value * 2 for value in one.values()]}}, path
    )
    refusal(path, "without names under 'ema'", "`--weights model`")
    assert same(read_weights(path, choice=Choice("model")).tensors, one)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize(
    ("first", "second"), [("model.", "model_ema."), ("student.clip.", "teacher.clip."), ("", "ema.")]
)
def test_two_models_in_one_state_dict(tmp_path, one, other, suffix, first, second):
    path = tmp_path / f"w{suffix}"
    both = {
        **{f"{first}{name}": value for name, value in one.items()},
        **{f"{second}{name}": value for name, value in other.items()},
    }
    save_file(both, path) if suffix == ".safetensors" else torch.save(both, path)
    names = [first.rstrip(".") or ".", second.rstrip(".")]
    refusal(path, f"different weights under '{names[0]}' and '{names[1]}'", f"--weights {names[1]}")
    for name, expected in zip(names, (one, other), strict=True):
        assert same(read_weights(path, choice=Choice(name)).tensors, expected)


@pytest.mark.parametrize("prefix", ["clipmodel.", "backbone.clip_model.", "ff.model.", "a.b.c."])
def test_a_prefix_is_found_by_where_the_image_tower_is(tmp_path, one, prefix):
    path = tmp_path / "w.safetensors"
    head = {"ff_head.weight": torch.ones(3, 16), "ff_head.bias": torch.ones(3)}
    save_file({**{prefix + name: value for name, value in one.items()}, **head}, path)
    found = read_weights(path)
    assert same(found.tensors, one)
    assert f"Read the weights whose names begin with '{prefix}'." in found.notes
    assert found.doubts == ("Left out what is no part of them: ff_head.bias, ff_head.weight.",)


def folder_of(tmp_path, vit, **files):
    folder = save_folder(tmp_path / "both", vit)
    (folder / "open_clip_model.safetensors").unlink()
    for name, weights in files.items():
        path = folder / FILES[int(name[1:])]
        save_file(weights, path) if path.suffix == ".safetensors" else torch.save(weights, path)
    return folder


@pytest.mark.parametrize("places", [(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)])
def test_a_folder_with_two_files_of_weights(tmp_path, vit, one, other, places):
    first, second = (f"_{place}" for place in places)
    folder = folder_of(tmp_path, vit, **{first: one, second: other})
    names = [FILES[place] for place in places]
    with pytest.raises(InputError, match="holds different weights in") as caught:
        load_encoder(find_checkpoint(str(folder)), "cpu")
    assert all(name in str(caught.value) for name in names)
    for name, expected in zip(names, (one, other), strict=True):
        assert same(read_weights(folder / name).tensors, expected)
        found = (
            find_checkpoint(str(folder / name), model=None, like=None)
            if name.startswith("open_clip")
            else None
        )
        assert found is None or found.config == json.loads((folder / CONFIG).read_text())


def test_a_folder_with_one_model_twice(tmp_path, vit, one):
    folder = folder_of(tmp_path, vit, _0=one, _3={name: value.half() for name, value in one.items()})
    encoder = load_encoder(find_checkpoint(str(folder)), "cpu")
    assert same({name: value.detach() for name, value in encoder.weights.items()}, one)
    assert "The same weights are in pytorch_model.bin." in encoder.origin.notes


def test_shards_beside_a_stale_file(tmp_path, vit, one, other):
    folder = folder_of(tmp_path, vit, _1=one)
    names = list(other)
    parts = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    for part, held in parts.items():
        save_file({name: other[name] for name in held}, folder / part)
    index = {"weight_map": {name: part for part, held in parts.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refusal(folder, "different weights in model.safetensors and model.safetensors.index.json")


def test_what_cannot_be_compared_is_not_passed_over(tmp_path, vit, one):
    folder = folder_of(tmp_path, vit, _0=one)
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 damaged")
    refusal(folder, "can't be compared", "open_clip_model.safetensors")


def test_the_base_may_hold_one_set_only(tmp_path, vit, vit_folder, one, other):
    torch.save({"state_dict": one}, tmp_path / "base.pt")
    torch.save({"model": one, "ema": other, "epoch": 9}, tmp_path / "tuned.pt")
    torch.save({"model": one}, tmp_path / "plain.pt")
    words = [str(vit_folder), str(tmp_path / "tuned.pt")]
    base, tuned = find_checkpoints(words, weights="ema")
    assert same({name: value.detach() for name, value in load_encoder(tuned, "cpu").weights.items()}, other)
    assert load_encoder(tuned, "cpu").origin.counters == {"epoch": 9}
    assert base.choice.name == "ema"
    find_checkpoints(
        [str(vit_folder), str(vit_folder)], weights="ema"
    )  # folders have no names to choose among
    with pytest.raises(InputError, match="no weights under 'ema'"):
        find_checkpoints([str(vit_folder), str(tmp_path / "plain.pt")], weights="ema")


def test_prefixes_inside_of_a_training_checkpoint_can_be_chosen(tmp_path, one, other):
    path = tmp_path / "last.ckpt"
    both = {f"student.{name}": value for name, value in one.items()}
    both |= {f"teacher.{name}": value for name, value in other.items()}
    torch.save({"state_dict": both, "epoch": 3}, path)
    refusal(path, "different weights under 'student' and 'teacher'", "`--weights teacher`")
    for name, expected in (("student", one), ("teacher", other)):
        assert same(read_weights(path, choice=Choice(name)).tensors, expected)
    refusal(path, "no weights under 'ema'", "'state_dict', 'student' and 'teacher'", choice=Choice("ema"))


def test_of_two_models_of_other_shapes_none_is_taken_in_silence(tmp_path, one):
    path = tmp_path / "w.safetensors"
    small = {
        f"teacher.{name}": (value[..., :1] if value.ndim else value).clone() for name, value in one.items()
    }
    save_file({**small, **{f"student.{name}": value for name, value in one.items()}}, path)
    refusal(path, "'teacher'", "'student'", "--weights")
    found = read_weights(path, choice=Choice("student"))
    assert same(found.tensors, one)
    assert found.doubts == ("Left out what is no part of them: teacher.*.",)
