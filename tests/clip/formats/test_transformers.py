"""transformers' CLIP and SigLIP: the same embeddings through open_clip as through transformers."""

import json
import os

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CustomTextCLIP
from safetensors.torch import load_file, save_file

from forgetcheck.clip.formats.base import Unbuildable
from forgetcheck.clip.formats.transformers_clip import clip_place, clip_tensors
from forgetcheck.clip.formats.transformers_siglip import siglip_place, siglip_tensors
from forgetcheck.clip.identity.resolve import find_checkpoint, find_checkpoints
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.read import read_weights
from forgetcheck.clip.model.settings import differences
from forgetcheck.clip.saving.convert import read_clip
from forgetcheck.clip.saving.write import write_clip
from forgetcheck.errors import InputError

if "FORGETCHECK_NO_SKIPS" in os.environ:
    import transformers
else:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
TEXT = {
    "hidden_size": 16,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "vocab_size": 99,
    "max_position_embeddings": 12,
    "bos_token_id": 1,
    "eos_token_id": 98,
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 100,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}


def clip(folder, text=(), vision=(), **options):
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**TEXT, **dict(text)}, vision_config={**VISION, **dict(vision)}, projection_dim=24
    )
    return saved(transformers.CLIPModel(config), folder, **options)


def siglip(folder, vision=(), text=(), **options):
    torch.manual_seed(0)
    text = {**TEXT, "num_hidden_layers": 1, "projection_size": 768, **dict(text)}
    config = transformers.SiglipConfig(text_config=text, vision_config=dict(vision))
    return saved(transformers.SiglipModel(config), folder, **options)


def saved(model, folder, **options):
    """Save with weights far from their start, where biases and scales have no effect."""
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim < 2 and "logit" not in name:
                value.add_(torch.randn_like(value) * 0.1)
    model.eval().save_pretrained(folder, **options)
    return model


def build(weights):
    config = dict(weights.config["model_cfg"])
    kind = CustomTextCLIP if config.pop("custom_text", False) else CLIP
    model = kind(**config).eval()
    model.load_state_dict(weights.tensors)
    return model


def tokens(eos):
    """Three texts of different lengths, padded."""
    found = torch.randint(3, 90, (3, 12), generator=torch.Generator().manual_seed(3))
    for row, end in enumerate((4, 8, 11)):
        found[row, end], found[row, end + 1 :] = eos, 0
    return found


def features(found):
    return F.normalize(found if isinstance(found, torch.Tensor) else found.pooler_output, dim=-1)


def largest_difference(ours, theirs, size, eos=98):
    generator = torch.Generator().manual_seed(4)
    images, texts = torch.randn(2, 3, size, size, generator=generator), tokens(eos)
    with torch.no_grad():
        image = features(ours.encode_image(images)) - features(theirs.get_image_features(images))
        text = features(ours.encode_text(texts)) - features(theirs.get_text_features(texts))
        assert torch.equal(ours.logit_scale, theirs.logit_scale.reshape(()))
    return max(float(image.abs().max()), float(text.abs().max()))


@pytest.mark.parametrize(
    ("text", "vision"),
    [
        ({}, {}),
        ({"hidden_act": "gelu"}, {"hidden_act": "gelu"}),
        ({"hidden_act": "gelu_pytorch_tanh"}, {"hidden_act": "gelu"}),
        ({"layer_norm_eps": 1e-3}, {"layer_norm_eps": 1e-2}),
        ({"eos_token_id": 2}, {}),  # older configs: the highest token
        ({"eos_token_id": 50}, {}),
    ],
)
def test_clip(tmp_path, text, vision):
    theirs = clip(tmp_path, text, vision)
    weights = read_weights(tmp_path)
    assert weights.family == "transformers CLIP folder"
    eos = text.get("eos_token_id", 98)
    assert largest_difference(build(weights), theirs, 32, 98 if eos == 2 else eos) < 1e-5


@pytest.mark.parametrize("options", [{"max_shard_size": "20KB"}, {}])
def test_parts_and_pickles(tmp_path, options):
    theirs = clip(tmp_path, **options)
    if options:
        assert (tmp_path / "model.safetensors.index.json").exists()
    else:
        torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
        (tmp_path / "model.safetensors").unlink()
    assert largest_difference(build(read_weights(tmp_path)), theirs, 32) < 1e-5


def test_a_siglip_whose_activation_timm_shares(tmp_path):
    theirs = siglip(tmp_path, {"patch_size": 32, "image_size": 256})
    weights = read_weights(tmp_path)
    assert weights.family == "transformers SigLIP folder"
    assert weights.config["model_cfg"]["vision_cfg"]["timm_model_name"] == "vit_base_patch32_siglip_256"
    assert not any("GELU" in note for note in weights.notes)
    ours = build(weights)
    assert largest_difference(ours, theirs, 256) < 1e-5
    assert torch.equal(ours.logit_bias, theirs.logit_bias.reshape(()))


def test_a_siglip_whose_activation_timm_computes_otherwise(tmp_path):
    """timm's base towers of patch 16 compute GELU exactly: near, and said."""
    theirs = siglip(tmp_path, {"patch_size": 16, "image_size": 224})
    weights = read_weights(tmp_path)
    assert any("GELU" in note for note in weights.notes)
    assert 0 < largest_difference(build(weights), theirs, 224) < 1e-3


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14", "ViT-B-16-SigLIP", "ViT-B-16-SigLIP2-512"])
def test_the_config_is_that_of_open_clip(tmp_path, name):
    """What transformers' defaults leave out of a config is filled in as open_clip has it."""
    from forgetcheck.clip.formats.transformers_clip import clip_config
    from forgetcheck.clip.formats.transformers_siglip import siglip_config

    wanted = open_clip.get_model_config(f"{name}-quickgelu" if "SigLIP" not in name else name)
    size = {"image_size": 512} if name.endswith("512") else {}
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    if "SigLIP" in name:
        config = {"vision_config": size, "text_config": {"vocab_size": wanted["text_cfg"]["vocab_size"]}}
        found, _ = siglip_config(config, {"text_model.head.weight": torch.empty(768, 768)})
        assert found["text_cfg"]["hf_tokenizer_name"].startswith("timm/ViT-B-16-SigLIP")
    elif name == "ViT-B-32":
        found, _ = clip_config({}, {"visual_projection.weight": torch.empty(512, 768)})
    else:
        vision = {**large, "intermediate_size": 4096, "patch_size": 14}
        text = {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072}
        found, _ = clip_config(
            {"vision_config": vision, "text_config": text},
            {"visual_projection.weight": torch.empty(768, 1024)},
        )
    for tower in ("vision_cfg", "text_cfg"):
        shared = set(wanted[tower]) & set(found[tower]) - {"hf_tokenizer_name"}
        assert {key: wanted[tower][key] for key in shared} == {key: found[tower][key] for key in shared}
    assert found["embed_dim"] == wanted["embed_dim"]
    assert found.get("quick_gelu", False) == wanted.get("quick_gelu", False)


def test_preprocessing_of_a_clip(tmp_path):
    clip(tmp_path)
    assert any("usual preprocessing" in note for note in read_weights(tmp_path).notes)
    processor = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}, "resample": 2}
    text = json.dumps({**processor, "image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1]})
    (tmp_path / "preprocessor_config.json").write_text(text)
    assert read_weights(tmp_path).config["preprocess_cfg"] == {
        "size": 32,
        "mode": "RGB",
        "mean": [0.1, 0.2, 0.3],
        "std": [1.0, 1.0, 1.0],
        "interpolation": "bilinear",
        "resize_mode": "shortest",
        "fill_color": 0,
    }


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"resample": 1}, "lanczos"),
        ({"size": {"shortest_edge": 40}}, "crops"),
        ({"size": {"height": 32, "width": 16}}, "squares"),
        ({"size": {"height": 16, "width": 16}}, "16"),
        ({"do_normalize": False}, "do_normalize"),
        ({"image_mean": [0.5]}, "channels"),
        ({"image_mean": "gray"}, "channels"),
        ({"rescale_factor": 1 / 127.5}, "scales pixels"),
        ({"resample": {}}, "no readable"),
    ],
)
def test_preprocessing_that_open_clip_cannot_do(tmp_path, changes, word):
    clip(tmp_path)
    usual = {"size": {"height": 32, "width": 32}, "crop_size": 32}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**usual, **changes}))
    with pytest.raises(InputError, match=word):
        read_weights(tmp_path)


def test_preprocessing_that_transformers_itself_writes(tmp_path):
    clip(tmp_path, vision={"image_size": 224, "patch_size": 56})
    for kind, mode in (("CLIPImageProcessor", "shortest"), ("SiglipImageProcessor", "squash")):
        getattr(transformers, kind)().save_pretrained(tmp_path)
        found = read_weights(tmp_path).config["preprocess_cfg"]
        assert (found["resize_mode"], found["size"], found["interpolation"]) == (mode, 224, "bicubic")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model_type": "bert"}, "'bert' of transformers"),
        ({"model_type": None}, "None"),
        ({"vision_config": {**VISION, "num_hidden_layers": 10**9}}, "1000000000 vision layers"),
        ({"text_config": {**TEXT, "vocab_size": 10**12}}, "token_embedding"),
        ({"vision_config": {**VISION, "num_attention_heads": 5}}, "no multiple"),
        ({"text_config": {"hidden_act": "relu"}}, "activation"),
        ({"text_config": {"hidden_act": "gelu"}}, "different activations"),
        ({"vision_config": {"patch_size": [8, 8]}}, "patch_size"),
        ({"vision_config": 3}, "no readable"),
        ({"vision_config": {"num_attention_heads": 0}}, "num_attention_heads"),
        ({"model_type": "siglip", "vision_config": {"hidden_size": 100}}, "timm has no"),
    ],
)
def test_configs_that_are_refused(tmp_path, changes, word):
    clip(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(InputError, match=word) as caught:
        read_weights(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_file_with_transformers_names_asks_for_its_folder(tmp_path):
    clip(tmp_path)
    whole = read_weights(tmp_path).tensors
    named = read_weights(tmp_path / "model.safetensors").tensors  # which says which of several is meant
    assert all(torch.equal(named[name], value) for name, value in whole.items())
    (tmp_path / "alone").mkdir()
    alone = (tmp_path / "model.safetensors").rename(tmp_path / "alone" / "model.safetensors")
    with pytest.raises(InputError, match="save_pretrained"):
        read_weights(alone)
    alone.rename(tmp_path / "model.safetensors")
    (tmp_path / "config.json").unlink()
    with pytest.raises(InputError, match="save_pretrained"):
        read_weights(tmp_path)


@pytest.mark.parametrize(("old", "new"), [("gelu", "quick_gelu"), ("quick_gelu", "gelu")])
def test_an_old_config_that_says_everything_twice(tmp_path, old, new):
    """transformers takes the `_dict`, and its own default for what that leaves out."""
    clip(tmp_path, {"hidden_act": old}, {"hidden_act": old})
    config = json.loads((tmp_path / "config.json").read_text())
    for tower in ("text", "vision"):
        told = {key: value for key, value in config[f"{tower}_config"].items() if key != "hidden_act"}
        config[f"{tower}_config_dict"] = told if new == "quick_gelu" else {**told, "hidden_act": new}
    (tmp_path / "config.json").write_text(json.dumps(config))
    theirs = transformers.CLIPModel.from_pretrained(tmp_path).eval()
    assert theirs.config.text_config.hidden_act == new
    assert largest_difference(build(read_weights(tmp_path)), theirs, 32) < 1e-5


def test_a_siglip_with_another_epsilon(tmp_path):
    """timm's tower has its own, which open_clip's config cannot change."""
    from forgetcheck.clip.formats.transformers_siglip import siglip_config

    with pytest.raises(Unbuildable, match="layer_norm_eps"):
        siglip_config({"vision_config": {"layer_norm_eps": 1e-3}}, {})


def test_preprocessing_inside_of_the_processor(tmp_path):
    """transformers 5 writes one file for images and texts, and reads it before the older one."""
    clip(tmp_path)
    inside = {"size": {"height": 32, "width": 32}, "image_mean": [0.1, 0.2, 0.3], "do_center_crop": False}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inside}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": {"height": 16, "width": 16}}))
    found = read_weights(tmp_path)
    assert found.config["preprocess_cfg"]["mean"] == [0.1, 0.2, 0.3]
    assert found.config["preprocess_cfg"]["resize_mode"] == "squash"
    assert not any("assumed" in note for note in found.notes)
    (tmp_path / "processor_config.json").write_text(json.dumps({"processor_class": "CLIPProcessor"}))
    with pytest.raises(InputError, match="16"):
        read_weights(tmp_path)


def test_a_classifier_made_of_a_clip(tmp_path):
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
    saved(transformers.CLIPForImageClassification(config), tmp_path)
    with pytest.raises(InputError, match="lacks 'text_model"):
        read_weights(tmp_path)


def test_a_clip_with_more_than_a_clip(tmp_path):
    clip(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({**tensors, "classifier.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"'classifier\.weight', which no CLIPModel has"):
        read_weights(tmp_path)


def test_a_folder_is_found_loaded_and_sees_and_reads_as_transformers_does(tmp_path):
    """All the way: the folder's name, the config, the tokenizer of open_clip, normalised embeddings."""
    text = {"vocab_size": 49408, "eos_token_id": 49407, "hidden_act": "gelu"}
    theirs = clip(tmp_path, text, {"hidden_act": "gelu"})
    encoder = load_encoder(find_checkpoint(str(tmp_path)), "cpu")
    assert encoder.config["model_cfg"]["quick_gelu"] is False
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    texts = ["a photo of a dog", "one"]
    with torch.no_grad():
        image = encoder.see(images) - features(theirs.get_image_features(images))
        text = encoder.read(texts) - features(theirs.get_text_features(encoder.tokenizer(texts)))
    assert max(float(image.abs().max()), float(text.abs().max())) < 1e-5


def test_another_tokenizer_than_clips_is_refused(tmp_path):
    clip(tmp_path)
    for name in ("CLIPTokenizer", "CLIPTokenizerFast"):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": name}))
        assert read_weights(tmp_path).tensors
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    with pytest.raises(InputError, match="its tokenizer is BertTokenizer"):
        read_weights(tmp_path)


WORDS = ("a", "photo", "of", "the", "red", "fox", "blue", "jay", "small", "large")


def openai(encoder):
    """Return open_clip's vocabulary with the names that OpenAI gave to the ends of a text."""
    names = {49406: "<|startoftext|>", 49407: "<|endoftext|>"}
    return {names.get(number, token): number for token, number in encoder.items()}


def own_tokenizer(folder, words=(("fox", "jay"), ("red", "blue"))):
    """Save CLIP's own tokenizer with some words exchanged: of the same class and size, and another."""
    known = open_clip.tokenizer.SimpleTokenizer()
    vocabulary = openai(known.encoder)
    for one, other in words:
        here, there = f"{one}</w>", f"{other}</w>"
        vocabulary[here], vocabulary[there] = vocabulary[there], vocabulary[here]
    made = transformers.CLIPTokenizer(vocab=vocabulary, merges=list(known.bpe_ranks), model_max_length=12)
    made.save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


def small_tokenizer(folder, size=99):
    """Save a tokenizer that knows a word at a time."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": size - 1, **{word: 3 + 7 * n for n, word in enumerate(WORDS)}}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer, inner.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", size - 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    ).save_pretrained(folder)
    return transformers.AutoTokenizer.from_pretrained(folder)


LARGE = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}


def read_by_transformers(model, tokenizer, texts):
    tokens = tokenizer(
        texts, return_tensors="pt", padding="max_length", truncation=True, max_length=12
    ).input_ids
    with torch.no_grad():
        features = model.get_text_features(input_ids=tokens)
    return F.normalize(getattr(features, "pooler_output", features), dim=-1)


TEXTS = ["a photo of a red fox", "the small blue jay", "Large Fox of the red photo"]


@pytest.mark.parametrize("kind", [clip, siglip])
def test_a_folders_own_tokenizer_is_the_one_that_counts(tmp_path, kind):
    """Whatever its class is called: one that says CLIPTokenizer may have another vocabulary."""
    model = clip(tmp_path / "x", text=LARGE) if kind is clip else siglip(tmp_path / "x")
    tokenizer = (own_tokenizer if kind is clip else small_tokenizer)(tmp_path / "x")
    found = find_checkpoint(str(tmp_path / "x"))
    encoder = load_encoder(found, "cpu")
    with torch.inference_mode():
        assert torch.allclose(encoder.read(TEXTS), read_by_transformers(model, tokenizer, TEXTS), atol=1e-5)
    assert "its own" in found.config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    assert any("Its own tokenizer is used" in doubt for doubt in encoder.origin.doubts) == (kind is clip)


def test_a_siglip_2(tmp_path, hub):
    """Known by the size of its vocabulary, and read with the tokenizer that lies beside the weights."""
    model = siglip(tmp_path / "x", {"patch_size": 32, "image_size": 256}, {"vocab_size": 256000})
    with pytest.raises(InputError, match="the tokenizer 'timm/ViT-B-16-SigLIP2', whose files are neither"):
        find_checkpoint(str(tmp_path / "x"))
    tokenizer = small_tokenizer(tmp_path / "x", 256000)
    ours = load_encoder(find_checkpoint(str(tmp_path / "x")), "cpu")
    (tmp_path / "x" / "open_clip_config.json").write_text(json.dumps(ours.config))
    theirs = open_clip.create_model(f"local-dir:{tmp_path / 'x'}", load_weights=False)
    theirs.load_state_dict(ours.weights)
    words_of = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'x'}")
    with torch.inference_mode():
        read = F.normalize(theirs.eval().encode_text(words_of(TEXTS)), dim=-1)
        assert torch.allclose(ours.read(TEXTS), read, atol=1e-5)
        assert torch.allclose(ours.read(TEXTS), read_by_transformers(model, tokenizer, TEXTS), atol=1e-5)


def test_a_multilingual_siglip_is_known_by_its_vocabulary(tmp_path, hub):
    siglip(tmp_path / "x", {"patch_size": 32, "image_size": 256}, {"vocab_size": 250000})
    with pytest.raises(InputError, match="the tokenizer 'timm/ViT-B-16-SigLIP-i18n-256', whose files"):
        find_checkpoint(str(tmp_path / "x"))


def test_a_tuned_file_takes_the_tokenizer_of_its_base(tmp_path):
    model = clip(tmp_path / "x", text=LARGE)
    tokenizer = own_tokenizer(tmp_path / "x")
    weights = load_encoder(find_checkpoint(str(tmp_path / "x")), "cpu").weights
    save_file(
        {name: value.detach().clone().contiguous() for name, value in weights.items()},
        tmp_path / "t.safetensors",
    )
    _, tuned = find_checkpoints([str(tmp_path / "x"), str(tmp_path / "t.safetensors")])
    with torch.inference_mode():
        read = load_encoder(tuned, "cpu").read(TEXTS)
        assert torch.allclose(read, read_by_transformers(model, tokenizer, TEXTS), atol=1e-5)


def test_two_tokenizers_are_no_pair(tmp_path):
    for number, words in enumerate([[("fox", "jay")], [("red", "blue")]], 1):
        clip(tmp_path / str(number), text=LARGE)
        own_tokenizer(tmp_path / str(number), words)
    found = find_checkpoints([str(tmp_path / "1"), str(tmp_path / "2")])
    assert "tokenizer" in str(differences(found[0].config, found[1].config))


def test_clips_own_vocabulary_is_open_clips(tmp_path):
    known = open_clip.tokenizer.SimpleTokenizer()
    clip(tmp_path / "x", text=LARGE)
    (tmp_path / "x" / "vocab.json").write_text(json.dumps(openai(known.encoder)))
    merges = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in known.bpe_ranks)])
    (tmp_path / "x" / "merges.txt").write_text(merges)
    found = find_checkpoint(str(tmp_path / "x"))
    assert "hf_tokenizer_name" not in found.config["model_cfg"]["text_cfg"]
    swapped = {
        **openai(known.encoder),
        "fox</w>": known.encoder["jay</w>"],
        "jay</w>": known.encoder["fox</w>"],
    }
    (tmp_path / "x" / "vocab.json").write_text(json.dumps(swapped))
    found = find_checkpoint(str(tmp_path / "x"))
    assert "its own" in found.config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    (tmp_path / "x" / "vocab.json").write_text("{")
    with pytest.raises(InputError, match="cannot read the tokenizer"):
        find_checkpoint(str(tmp_path / "x"))


def test_code_that_a_tokenizer_names_is_never_run(tmp_path):
    clip(tmp_path / "x", text=LARGE)
    own_tokenizer(tmp_path / "x")
    path = tmp_path / "x" / "tokenizer_config.json"
    (tmp_path / "x" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Tokenizer: pass\n")
    path.write_text(
        json.dumps({**json.loads(path.read_text()), "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}})
    )
    load_encoder(find_checkpoint(str(tmp_path / "x")), "cpu")
    assert not (tmp_path / "ran").exists()


def test_an_open_clip_folder_with_its_own_tokenizer(tmp_path):
    """The way that SigLIP, multilingual and BERT towers are published; and what convert and tune write."""
    model = siglip(tmp_path / "x")
    tokenizer = small_tokenizer(tmp_path / "x")
    found = read_clip(str(tmp_path / "x"))
    write_clip(tmp_path / "local", found.clip, "local-dir")
    encoder = load_encoder(find_checkpoint(str(tmp_path / "local")), "cpu")
    with torch.inference_mode():
        assert torch.allclose(encoder.read(TEXTS), read_by_transformers(model, tokenizer, TEXTS), atol=1e-5)
    theirs = open_clip.get_tokenizer(f"local-dir:{tmp_path / 'local'}")
    assert torch.equal(theirs(TEXTS), encoder.tokenizer(TEXTS))


@pytest.mark.parametrize("base_has_it", [True, False])
def test_a_folder_without_a_processor_takes_the_preprocessing_of_the_pair(tmp_path, base_has_it):
    for name in ("base", "tuned"):
        clip(tmp_path / name)
    told = {
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.5, 0.6, 0.7],
        "size": {"shortest_edge": 32},
        "crop_size": 32,
    }
    owner = "base" if base_has_it else "tuned"
    (tmp_path / owner / "preprocessor_config.json").write_text(json.dumps(told))
    base, tuned = find_checkpoints([str(tmp_path / "base"), str(tmp_path / "tuned")])
    assert base.config == tuned.config
    assert base.config["preprocess_cfg"]["mean"] == [0.1, 0.2, 0.3]
    assert "the other checkpoint of the pair" in (tuned if base_has_it else base).inferred["preprocessing"]


def test_the_usual_preprocessing_is_said_to_be_a_guess(tmp_path):
    clip(tmp_path / "x")
    found = find_checkpoint(str(tmp_path / "x"))
    assert found.inferred["preprocessing"].startswith("a guess, the usual one of such models")


def test_a_tensor_that_is_not_there_is_no_damage(tmp_path):
    clip(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["text_model.encoder.layers.0.self_attn.k_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        InputError, match=r"lacks 'text_model\.encoder\.layers\.0\.self_attn\.k_proj\.weight'"
    ) as caught:
        read_weights(tmp_path)
    assert "damaged" not in str(caught.value)


def test_one_vocabulary_written_in_two_ways_is_one(tmp_path):
    """Re-indented, or left out as a Trainer's checkpoint does."""
    for name in ("base", "tuned", "bare"):
        clip(tmp_path / name, text=LARGE)
    for name in ("base", "tuned"):
        own_tokenizer(tmp_path / name)
    path = tmp_path / "tuned" / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3))
    for name in ("tuned", "bare"):
        base, tuned = find_checkpoints([str(tmp_path / "base"), str(tmp_path / name)])
        assert differences(base.config, tuned.config) == ()
        read = [load_encoder(each, "cpu").tokenizer(TEXTS) for each in (base, tuned)]
        assert torch.equal(*read)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_every_tensor_has_a_place(kind):
    """Where it lies in open_clip's layout, told one by one, is where the conversion puts it."""
    torch.manual_seed(0)
    if kind == "clip":
        model = transformers.CLIPModel(
            transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=24)
        )
    else:
        model = transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=VISION))
    own = model.state_dict()
    convert, place_of = {"clip": (clip_tensors, clip_place), "siglip": (siglip_tensors, siglip_place)}[kind]
    converted = convert(dict(own))
    split = [name for name in own if "head.attention.in_proj_" in name]
    for name, value in own.items():
        place = place_of(name)
        if name in split:  # timm keeps query apart from key and value
            assert place.name not in converted
        else:
            assert torch.equal(place.view(converted[place.name]).reshape(value.shape), value), name
