"""Adapters that aren't merged: on the base that the user names, equal to what PEFT itself merges."""

import json
import os
from copy import deepcopy
from dataclasses import replace

import adapters
import open_clip
import pytest
import torch
from adapters import ATTENTION, MLP
from safetensors.torch import load_file, save_file
from torch.nn.functional import normalize

from forgetcheck.auditing.candidates import distinct_names
from forgetcheck.clip.formats.base import Weights
from forgetcheck.clip.formats.transformers_siglip import siglip_tensors
from forgetcheck.clip.identity.resolve import find_checkpoint, find_checkpoints
from forgetcheck.clip.model.adapter_files import read_adapter
from forgetcheck.clip.model.adapters import merge
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.errors import InputError

if "FORGETCHECK_NO_SKIPS" in os.environ:
    import peft
else:
    peft = pytest.importorskip("peft", reason="peft is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
WAYS = {
    "attention": {"target_modules": ATTENTION},
    "many": {"target_modules": [*ATTENTION, *MLP, "visual_projection"], "r": 3, "lora_alpha": 5},
    "rslora": {"target_modules": MLP, "use_rslora": True, "lora_alpha": 16},
    "fan": {"target_modules": ["q_proj"], "fan_in_fan_out": True},
    "patterns": {
        "target_modules": [*ATTENTION, *MLP],
        "rank_pattern": {"fc1": 3, "layers.1.self_attn.q_proj": 2},
        "alpha_pattern": {"fc1": 3, r"^text_model.*\.fc2": 40, r"layers\.\d+\.self_attn\.k_proj": 7},
    },
    "biases": {"target_modules": MLP, "bias": "all"},
    "own biases": {"target_modules": [*MLP, "q_proj"], "bias": "lora_only"},
    "lora_bias": {"target_modules": [*MLP, "k_proj"], "lora_bias": True},
    "whole modules": {"target_modules": ["v_proj"], "modules_to_save": ["text_projection", "post_layernorm"]},
    "whole attention": {"target_modules": ["fc1"], "modules_to_save": ["self_attn"]},
    "convolution": {"target_modules": ["patch_embedding", "q_proj"]},
    "embeddings": {"target_modules": ["token_embedding", "position_embedding", "fc2"]},
    "one layer": {"target_modules": ATTENTION, "layers_to_transform": [1]},
    "dora": {"target_modules": [*ATTENTION, *MLP, "text_projection"], "use_dora": True},
    "dora convolution": {"target_modules": ["patch_embedding", "fc1"], "use_dora": True},
    "dora embeddings": {"target_modules": ["token_embedding", "fc1"], "use_dora": True},
    "orthogonal": {"target_modules": MLP, "init_lora_weights": "orthogonal"},
}
SETTINGS = {"r": 4, "lora_alpha": 6}
IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
TOKENS = torch.tensor([[49406, 7, 9, 11, 49407, *[0] * 7], [49406, 50, 60, 49407, *[0] * 8]])


@pytest.fixture(scope="module")
def model():
    return adapters.transformers_clip()


@pytest.fixture(scope="module")
def base(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("transformers") / "base"
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def converted(base, tmp_path_factory):
    """The same weights in open_clip's layout."""
    from forgetcheck.clip.saving.convert import read_clip
    from forgetcheck.clip.saving.write import write_clip

    folder = tmp_path_factory.mktemp("open_clip") / "base"
    write_clip(folder, read_clip(str(base)).clip, "local-dir")
    return folder


def pair(base, adapter):
    """Load a base, and an adapter on it."""
    before, after = find_checkpoints([str(base), str(adapter)])
    return load_encoder(before, "cpu"), load_encoder(after, "cpu")


def embeddings_of(model):
    with torch.no_grad():
        image = model.get_image_features(pixel_values=IMAGES)
        text = model.get_text_features(input_ids=TOKENS)
    image, text = (getattr(found, "pooler_output", found) for found in (image, text))
    return normalize(image, dim=-1), normalize(text, dim=-1)


def seen_by(encoder):
    with torch.no_grad():
        return encoder.see(IMAGES), normalize(encoder.model.encode_text(TOKENS), dim=-1)


def assert_near(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-5


@pytest.mark.parametrize("layout", ["transformers", "open_clip"])
@pytest.mark.parametrize("way", WAYS)
def test_equal_to_what_peft_merges(model, base, converted, tmp_path, way, layout):
    wrapped = adapters.adapted(deepcopy(model), **{**SETTINGS, **WAYS[way]})
    folder = adapters.save(wrapped, tmp_path / "tuned", safe_serialization=way != "many")
    before, after = pair(base if layout == "transformers" else converted, folder)
    expected = embeddings_of(wrapped)
    assert_near(seen_by(before), embeddings_of(model))
    assert_near(seen_by(after), expected)
    assert (seen_by(after)[0] - seen_by(before)[0]).abs().max() > 1e-3  # it does change something
    adapters.merged(wrapped)
    assert_near(seen_by(after), embeddings_of(wrapped.base_model.model))
    assert after.origin.adapter["base"] == {"name": "base", "digest": before.digests}


CLIP_CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"layers": 2, "width": 32, "head_width": 8, "patch_size": 8, "image_size": 32},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(2)
    return open_clip.model.CLIP(**CLIP_CONFIG).eval()


@pytest.fixture(scope="module")
def clip_folder(clip, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own") / "base"
    folder.mkdir()
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
    config = {"model_cfg": CLIP_CONFIG, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(clip.state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["c_fc", "c_proj", "conv1"]},
        {"target_modules": ["attn", "c_fc"], "alpha_pattern": {"attn": 11}},  # torch's own attention
        {"target_modules": ["c_fc"], "bias": "all"},
        {"target_modules": ["c_proj"], "modules_to_save": ["ln_post", "attn"]},
        {"target_modules": ["token_embedding", "c_fc"], "use_dora": True},
    ],
)
def test_names_of_open_clip(clip, clip_folder, tmp_path, options):
    wrapped = adapters.adapted(deepcopy(clip), **{**SETTINGS, **options})
    folder = adapters.save(wrapped, tmp_path / "tuned")
    _, after = pair(clip_folder, folder)
    with torch.no_grad():
        expected = wrapped.base_model.model.encode_image(IMAGES, normalize=True)
    assert_near([seen_by(after)[0]], [expected])
    truth = adapters.merged(wrapped)
    for name, value in after.model.state_dict().items():
        assert (value - truth[name]).abs().max() < 1e-6, name
    twice = "attn" in options["target_modules"]
    assert any("counts twice" in note for note in after.origin.notes) == twice


def test_names_of_open_clip_on_a_base_of_transformers(base, converted, tmp_path):
    model = deepcopy(load_encoder(find_checkpoint(str(converted)), "cpu").model)
    wrapped = adapters.adapted(model, **SETTINGS, target_modules=["c_fc", "attn"])
    folder = adapters.save(wrapped, tmp_path / "tuned")
    _, after = pair(base, folder)
    truth = adapters.merged(wrapped)
    for name, value in after.model.state_dict().items():
        assert (value - truth[name]).abs().max() < 1e-6, name


class Wrapped(torch.nn.Module):
    """A model of somebody's own around a CLIP, with a head."""

    def __init__(self, model):
        super().__init__()
        self.backbone = model
        self.classifier = torch.nn.Linear(24, 3)


def test_a_wrapper_around_the_model_and_a_head_of_its_own(model, base, tmp_path):
    options = {"target_modules": ATTENTION, "modules_to_save": ["classifier"]}
    wrapped = adapters.adapted(Wrapped(deepcopy(model)), **SETTINGS, **options)
    folder = adapters.save(wrapped, tmp_path / "tuned")
    _, after = pair(base, folder)
    assert_near(seen_by(after), embeddings_of(wrapped.base_model.model.backbone))
    assert "Left out what is no part of the CLIP: base_model.model.classifier" in after.origin.doubts[0]


def test_one_tower_alone_has_shorter_names(model, base, tmp_path):
    """transformers 5 leaves `vision_model.` out of them; the other tower has layers of the same names."""
    for tower, layer in (("vision_model", "fc1"), ("text_model", "fc2")):
        whole = deepcopy(model)
        wrapped = adapters.adapted(getattr(whole, tower), **SETTINGS, target_modules=[layer])
        folder = adapters.save(wrapped, tmp_path / tower)
        assert not any(tower in name for name in load_file(folder / "adapter_model.safetensors"))
        _, after = pair(base, folder)
        adapters.merged(wrapped)
        assert_near(seen_by(after), embeddings_of(whole))


def test_one_tower_of_two_alike(clip_folder, tmp_path):
    config = {**CLIP_CONFIG, "text_cfg": {**CLIP_CONFIG["text_cfg"], "width": 32}}
    torch.manual_seed(0)
    twins = open_clip.model.CLIP(**config)
    folder = tmp_path / "twins"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file(twins.state_dict(), folder / "open_clip_model.safetensors")
    tower = adapters.adapted(deepcopy(twins.visual), **SETTINGS, target_modules=["c_fc"])
    tuned = adapters.save(tower, tmp_path / "tuned")
    _, after = pair(folder, tuned)  # its config names the class VisionTransformer
    assert after.digests["text"] == load_encoder(find_checkpoint(str(folder)), "cpu").digests["text"]
    change(tuned, auto_mapping=None)
    refused(folder, tuned, "fits both towers")


def change(folder, **settings):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def refused(base, adapter, *words):
    with pytest.raises(InputError) as caught:
        pair(base, adapter)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.fixture
def tuned(model, tmp_path):
    wrapped = adapters.adapted(deepcopy(model), **SETTINGS, target_modules=["fc1"])
    return adapters.save(wrapped, tmp_path / "tuned")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"peft_type": "IA3"}, ("'IA3'", "merge_and_unload")),
        ({"peft_type": "LOHA"}, ("'LOHA'", "merge_and_unload")),
        ({"peft_type": "PREFIX_TUNING"}, ("'PREFIX_TUNING'",)),
        ({"peft_type": None}, ("doesn't say its kind",)),
        ({"init_lora_weights": "pissa"}, ("'pissa'", "weights of the base", "merge_and_unload")),
        ({"init_lora_weights": 1}, ("init_lora_weights '1'",)),
        ({"layer_replication": [[0, 2]]}, ("layer_replication",)),
        ({"use_qalora": True}, ("use_qalora",)),
        ({"something_new": {"x": 1}}, ("something_new",)),
        ({"lora_alpha": None}, ("lora_alpha",)),
        ({"lora_alpha": True}, ("lora_alpha",)),
        ({"r": 8}, ("rank 4", "8")),
        ({"use_dora": True}, ("magnitude", "use_dora")),
        ({"alpha_pattern": {"fc1": "8"}}, ("alpha_pattern",)),
        ({"alpha_pattern": {"(a*)*b": 8}}, ("(a*)*b",)),
        ({"alpha_pattern": {"(": 8}}, ("pattern",)),
    ],
)
def test_what_is_no_plain_lora_is_refused_by_its_cause(base, tuned, settings, words):
    change(tuned, **settings)
    refused(base, tuned, *words)


def test_an_adapter_of_another_model(base, tuned, clip_folder, tmp_path):
    path = tuned / "adapter_model.safetensors"
    tensors = load_file(path)
    name = "base_model.model.text_model.encoder.layers.0.mlp.fc1.lora_A.weight"
    save_file({**tensors, name: torch.ones(4, 17)}, path)
    refused(base, tuned, "another model than 'base'", "layers.0.mlp.fc1", "(4, 17)", "(4, 16)")
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    refused(base, tuned, "lacks lora_A")
    save_file({key.replace("fc1", "fc9"): value for key, value in tensors.items()}, path)
    refused(base, tuned, "layers.0.mlp.fc9", "doesn't have")
    save_file({**tensors, name: tensors[name] * float("nan")}, path)
    refused(base, tuned, "NaN or Inf")
    save_file({**tensors, "base_model.model.vision_model.strange.weight": torch.ones(2)}, path)
    refused(base, tuned, "vision_model.strange.weight", "doesn't have")
    path.unlink()
    refused(base, tuned, "adapter_model.safetensors", "copy it again")


def test_more_layers_than_the_base_has(tmp_path):
    """The text tower would have them: names never lose the tower that they begin with."""
    text, vision = {**CLIP_CONFIG["text_cfg"], "width": 32, "layers": 3}, CLIP_CONFIG["vision_cfg"]
    base = open_clip.model.CLIP(24, vision, text)
    other = open_clip.model.CLIP(24, {**vision, "layers": 3}, text)
    wrapped = adapters.adapted(other, **SETTINGS, target_modules=r"visual\..*c_fc")
    folder = adapters.save(wrapped, tmp_path / "tuned")
    with pytest.raises(
        InputError, match=r"visual\.transformer\.resblocks\.2\.mlp\.c_fc', which that doesn't have"
    ):
        merge(Weights(base.state_dict(), "x"), read_adapter(folder), "base")


def test_an_adapter_that_changes_nothing_is_the_base(model, base, converted, tmp_path):
    for dora in (False, True):
        wrapped = peft.get_peft_model(
            deepcopy(model), peft.LoraConfig(**SETTINGS, target_modules=[*ATTENTION, *MLP], use_dora=dora)
        )
        folder = adapters.save(wrapped, tmp_path / f"fresh{dora}")
        for layout in (base, converted):
            before, after = pair(layout, folder)
            assert after.digests == before.digests


def test_the_base_stays_as_it_is_and_half_precision_is_widened(model, tmp_path):
    half = deepcopy(model).half()
    half.save_pretrained(tmp_path / "base")
    wrapped = adapters.adapted(deepcopy(half).float(), **SETTINGS, target_modules=["fc1"])
    folder = adapters.save(wrapped, tmp_path / "tuned")
    before, after = pair(tmp_path / "base", folder)
    assert_near(seen_by(before), embeddings_of(deepcopy(half).float()))
    assert_near(seen_by(after), embeddings_of(wrapped))


def test_several_adapters_in_one_folder(model, base, tmp_path):
    wrapped = adapters.adapted(deepcopy(model), **SETTINGS, target_modules=["fc1"])
    wrapped.add_adapter("other", peft.LoraConfig(**SETTINGS, target_modules=["fc2"], init_lora_weights=False))
    folder = adapters.save(wrapped, tmp_path / "tuned")  # the default in it, the other in a folder below
    _, default = pair(base, folder)
    assert "Left out other adapters in its folder: other." in default.origin.notes
    assert_near(seen_by(default), embeddings_of(wrapped))
    wrapped.set_adapter("other")
    assert_near(seen_by(pair(base, folder / "other")[1]), embeddings_of(wrapped))
    only = adapters.save(wrapped, tmp_path / "only", selected_adapters=["other"])
    assert not (only / "adapter_config.json").exists()
    assert_near(seen_by(pair(base, only)[1]), embeddings_of(wrapped))
    (folder / "adapter_config.json").unlink()
    (folder / "third").mkdir()
    (folder / "third" / "adapter_config.json").write_text("{}")
    refused(base, folder, "several adapters (other, third)")


def test_two_files_of_one_adapter(base, tuned):
    tensors = load_file(tuned / "adapter_model.safetensors")
    torch.save(tensors, tuned / "adapter_model.bin")
    safe = pair(base, tuned)[1]
    tensors["base_model.model.text_model.encoder.layers.0.mlp.fc1.lora_A.weight"] += 1
    torch.save(tensors, tuned / "adapter_model.bin")
    refused(base, tuned, "different adapters", "name the file")
    assert pair(base, tuned / "adapter_model.safetensors")[1].digests == safe.digests
    assert pair(base, tuned / "adapter_model.bin")[1].digests != safe.digests


def test_the_base_that_it_names_is_compared_and_never_opened(base, tuned, tmp_path):
    for recorded in ("base", "some/where/base/", "", None):
        change(tuned, base_model_name_or_path=recorded)
        origin = pair(base, tuned)[1].origin
        assert not origin.doubts
        assert not any("It says" in note for note in origin.notes)
    trap = tmp_path / "elsewhere"
    os.mkfifo(trap)  # opening it would wait for ever
    change(tuned, base_model_name_or_path=str(trap))
    origin = pair(base, tuned)[1].origin
    assert any(f"trained on '{trap}', not 'base'" in note for note in origin.notes)
    change(tuned, base_model_name_or_path="openai/clip-vit-large-patch14")
    assert "clip-vit-large-patch14', not 'base'" in pair(base, tuned)[1].origin.doubts[0]
    assert origin.adapter["trained_on"] == str(trap)


def test_an_adapter_needs_a_base(base, tuned, tmp_path):
    for texts in ([tuned], [tuned, tuned]):
        with pytest.raises(InputError, match=r"is an adapter \(LoRA of rank 4\) and no whole model"):
            find_checkpoints(list(map(str, texts)))
    with pytest.raises(InputError, match="--base BASE"):
        find_checkpoint(str(tuned))
    other = tmp_path / "adapter_model.safetensors"
    save_file(load_file(tuned / "adapter_model.safetensors"), other)
    refused(base, other, "holds an adapter", "merge")


def test_a_folder_of_whole_weights_beside_an_adapter(clip_folder, clip, tuned, tmp_path):
    (clip_folder / "adapter_config.json").write_text("{}")
    try:
        with pytest.raises(InputError, match=r"holds an adapter.*open_clip_model\.safetensors"):
            find_checkpoint(str(clip_folder))
        assert find_checkpoint(str(clip_folder / "open_clip_model.safetensors"))
    finally:
        (clip_folder / "adapter_config.json").unlink()


def test_a_whole_state_dict_of_peft(model, base, tmp_path):
    """With the config beside, what it holds is merged; without it, nobody knows how much is added."""
    options = {"target_modules": ["q_proj", "fc1"], "modules_to_save": ["text_projection"]}
    wrapped = adapters.adapted(deepcopy(model), **SETTINGS, **options)
    folder = tmp_path / "whole"
    model.save_pretrained(folder)
    tensors = {name: value.clone() for name, value in wrapped.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"holds an adapter .*merge_and_unload.*adapter_config\.json"):
        find_checkpoint(str(folder / "model.safetensors"))
    adapters.save(wrapped, tmp_path / "adapter")
    (folder / "adapter_config.json").write_text((tmp_path / "adapter" / "adapter_config.json").read_text())
    _, after = pair(base, folder / "model.safetensors")
    assert_near(seen_by(after), embeddings_of(wrapped))
    assert any("as they were trained" in note for note in after.origin.notes)
    assert any("Merged LoRA of rank 4" in note for note in after.origin.notes)


def test_siglip_of_transformers(tmp_path):
    """timm has no image tower as small as this: what is compared is the weights, name by name."""
    import transformers

    torch.manual_seed(0)
    text = {**adapters.TEXT, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 98}
    config = transformers.SiglipConfig(text_config=text, vision_config=adapters.VISION)
    model = transformers.SiglipModel(config).eval()
    base = Weights(siglip_tensors(dict(model.state_dict())), "x")
    options = {"target_modules": ["q_proj", "v_proj", "fc1", "patch_embedding"], "bias": "all"}
    wrapped = adapters.adapted(deepcopy(model), **SETTINGS, **options)
    folder = adapters.save(wrapped, tmp_path / "tuned")
    found = merge(base, read_adapter(folder), "base").tensors
    truth = siglip_tensors(dict(adapters.merged(wrapped)))
    assert set(found) == set(truth)
    changed = [name for name in truth if not torch.equal(truth[name], base.tensors[name])]
    assert len(changed) > 10
    for name, value in truth.items():
        assert (found[name] - value).abs().max() < 1e-6, name


def test_files_in_the_folder_of_an_adapter_share_its_name(base, tuned):
    before, after = find_checkpoints([str(base), str(tuned / "adapter_model.safetensors")])
    assert distinct_names(before, [after]) == ["base", "tuned"]
    other = replace(after, weights=tuned.parent / "x" / "tuned")
    assert distinct_names(before, [after, other])[2] == "x/tuned"
