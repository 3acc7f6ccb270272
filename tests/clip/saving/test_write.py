"""Written weights: the same bits in every format, loaded by open_clip, torch and safetensors themselves."""

import errno
import json

import open_clip
import pytest
import torch
from conftest import RESNET, VIT, random_encoder
from safetensors import safe_open

from forgetcheck import __version__
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import CONFIG, HEADER, WEIGHTS
from forgetcheck.clip.model.read import read_weights
from forgetcheck.clip.model.towers import digests
from forgetcheck.clip.saving.convert import read_clip
from forgetcheck.clip.saving.write import Clip, write_clip
from forgetcheck.errors import InputError
from forgetcheck.files import KINDS, OURS

pytestmark = pytest.mark.slow

PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)
ORIGIN = {"base": {"name": "tiny", "digest": {"visual": "0", "text": "1"}}, "seed": 3}


def name_of(kind):
    return f"written{KINDS[kind]}"


def weights_in(path):
    return path / WEIGHTS if path.is_dir() else path


def bits(tensor):
    return tensor.dtype, tuple(tensor.shape), tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def assert_same_bits(found, wanted):
    assert set(found) == set(wanted)
    assert all(bits(found[name]) == bits(wanted[name]) for name in wanted)


def stored(encoder, precision):
    """The weights in a precision, with numbers among them that careless arithmetic would lose."""
    found = {
        name: value.detach().to(precision) if value.is_floating_point() else value.detach().clone()
        for name, value in encoder.weights.items()
    }
    with torch.no_grad():
        first = found["visual.conv1.weight"].view(-1)
        first[:3] = torch.tensor([-0.0, torch.finfo(precision).tiny / 2, 1 / 3])
    return found


@pytest.fixture(scope="module")
def encoders():
    return {"vit": random_encoder(VIT), "resnet": random_encoder(RESNET)}


@pytest.fixture(params=["vit", "resnet"])
def encoder(request, encoders):
    return encoders[request.param]


@pytest.fixture(params=PRECISIONS, ids=str)
def clip(request, encoder):
    return Clip(encoder.config, stored(encoder, request.param), ORIGIN)


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_survives(tmp_path, clip, kind):
    path = tmp_path / name_of(kind)
    write_clip(path, clip, kind)
    assert_same_bits(read_weights(weights_in(path)).tensors, clip.tensors)


def test_the_resnet_holds_whole_numbers(encoders):
    """So the tests above see integer buffers too."""
    assert encoders["resnet"].weights["visual.bn1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("precision", PRECISIONS, ids=str)
@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_from_any_format_to_any_other(tmp_path, encoder, first, second, precision):
    clip = Clip(encoder.config, stored(encoder, precision), ORIGIN)
    start, end = tmp_path / f"a{KINDS[first]}", tmp_path / f"b{KINDS[second]}"
    write_clip(tmp_path / "model", clip, "local-dir")
    write_clip(start, clip, first)
    found = read_clip(str(start), str(tmp_path / "model") if first == "pt" else None)
    write_clip(end, found.clip, second)
    assert_same_bits(read_weights(weights_in(end)).tensors, clip.tensors)
    assert found.precision == str(precision).removeprefix("torch.")


def seen(model, pictures):
    words = open_clip.SimpleTokenizer(context_length=16)(["a red circle", "a dog"])
    with torch.no_grad():
        return model.eval().encode_image(pictures), model.encode_text(words)


@pytest.mark.parametrize("kind", KINDS)
def test_open_clip_itself_sees_the_same(tmp_path, clip, encoder, kind, images, monkeypatch):
    path = tmp_path / name_of(kind)
    write_clip(path, clip, kind)
    if kind == "local-dir":
        model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{path}")
        assert str(preprocess) == str(encoder.preprocess)
    else:
        config = json.loads(json.dumps(clip.config["model_cfg"]))
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "written", config)
        model = open_clip.create_model("written", pretrained=str(path))
    twin = encoder.twin().model
    twin.load_state_dict(clip.tensors)
    wanted = seen(twin, images)
    assert all(torch.equal(*pair) for pair in zip(seen(model, images), wanted, strict=True))
    again = encoder.twin().model
    open_clip.load_checkpoint(again, str(weights_in(path)))
    assert all(torch.equal(*pair) for pair in zip(seen(again, images), wanted, strict=True))


def test_torch_reads_a_plain_state_dict(tmp_path, clip):
    write_clip(tmp_path / "a.pt", clip, "pt")
    found = torch.load(tmp_path / "a.pt", weights_only=True)
    assert type(found) is dict
    assert_same_bits(found, clip.tensors)


def test_the_header_says_what_it_is_and_was_made_from(tmp_path, clip):
    write_clip(tmp_path / "a.safetensors", clip, "safetensors")
    with safe_open(tmp_path / "a.safetensors", framework="np") as file:
        header = file.metadata()
    assert header["format"] == "pt"
    assert json.loads(header[HEADER]) == clip.config
    assert json.loads(header["forgetcheck"]) == {
        "schema": "forgetcheck/weights@1",
        "forgetcheck": __version__,
        "digests": digests(clip.tensors),
        **ORIGIN,
    }
    assert find_checkpoint(str(tmp_path / "a.safetensors")).config == clip.config


def test_a_folder_says_it_in_a_file_for_people(tmp_path, clip):
    write_clip(tmp_path / "a", clip, "local-dir")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {CONFIG, WEIGHTS, "convert.json"}
    record = json.loads((tmp_path / "a" / "convert.json").read_text())
    assert record["complete"] is True
    assert record["digests"] == digests(clip.tensors)
    assert "convert.json" in OURS


def test_the_same_weights_give_the_same_state_dict_byte_for_byte(tmp_path, clip):
    for name in ("a.pt", "other.pt"):
        write_clip(tmp_path / name, clip, "pt")
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "other.pt").read_bytes()


def odd_memory():
    whole = torch.arange(1_000_000.0)
    shared = torch.ones(3, 4)
    return {
        "visual.part": whole[10:20],
        "visual.turned": torch.arange(6.0).view(2, 3).T,
        "visual.repeated": torch.ones(1).expand(5),
        "shared": shared,
        "shared.too": shared,
        "shared.rows": shared[1:],
        "empty": torch.zeros(0, 3),
        "moving": torch.nn.Parameter(torch.ones(2)),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_shared_and_turned_tensors_are_written_each_for_itself(tmp_path, kind):
    path = tmp_path / name_of(kind)
    clip = Clip({"model_cfg": {}, "preprocess_cfg": {}}, odd_memory(), {})
    write_clip(path, clip, kind)
    assert_same_bits(read_weights(weights_in(path)).tensors, {k: v.detach() for k, v in odd_memory().items()})
    assert weights_in(path).stat().st_size < 10_000  # not the million numbers behind a part


def test_what_is_written_stays_as_it_was(tmp_path, clip):
    before = {name: (value.data_ptr(), bits(value)) for name, value in clip.tensors.items()}
    write_clip(tmp_path / "a.pt", clip, "pt")
    assert before == {name: (value.data_ptr(), bits(value)) for name, value in clip.tensors.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "problem", [RuntimeError("mine"), KeyboardInterrupt(), OSError(errno.ENOSPC, "full")]
)
def test_a_failure_half_way_leaves_nothing(tmp_path, clip, monkeypatch, kind, problem):
    def fail(_tensors, target, *_rest):
        (target.write if hasattr(target, "write") else target.write_bytes)(b"half")
        raise problem

    monkeypatch.setattr("forgetcheck.clip.saving.write.save_file", fail)
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises((type(problem), InputError)):
        write_clip(tmp_path / name_of(kind), clip, kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_what_exists_is_replaced_only_when_asked(tmp_path, clip, kind):
    path = tmp_path / name_of(kind)
    write_clip(path, clip, kind)
    before = weights_in(path).read_bytes()
    other = Clip(clip.config, {name: value * 0 for name, value in clip.tensors.items()}, {})
    with pytest.raises(InputError, match="already exists"):
        write_clip(path, other, kind)
    assert weights_in(path).read_bytes() == before
    write_clip(path, other, kind, overwrite=True)
    assert_same_bits(read_weights(weights_in(path)).tensors, other.tensors)
    assert [item.name for item in tmp_path.iterdir()] == [path.name]


class Tokenizer:
    def save_pretrained(self, folder):
        with open(f"{folder}/tokenizer.json", "w") as file:
            file.write("{}")


def test_a_tokenizer_of_transformers_is_kept_where_open_clip_looks_for_it(tmp_path, clip):
    write_clip(tmp_path / "a", Clip(clip.config, clip.tensors, {}, tokenizer=Tokenizer()), "local-dir")
    assert (tmp_path / "a" / "tokenizer.json").is_file()
