"""The encoder: equal to open_clip's own, any tower, any depth, no neighbours."""

import json

import open_clip
import pytest
import torch
import torch.nn.functional as F
from conftest import RESNET, VIT, make_config, random_encoder, save_folder
from safetensors.torch import load_file, save_file

from forgetcheck.clip.checkpoint import Checkpoint
from forgetcheck.clip.finding import find_checkpoint
from forgetcheck.clip.loading import choose_device, load_encoder
from forgetcheck.clip.towers import digest
from forgetcheck.errors import CannotAsk


def test_embeddings_equal_open_clips_own(tmp_path, vit, images):
    folder = save_folder(tmp_path / "m", vit)
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(["a cat", "two dogs"])
    ours = load_encoder(find_checkpoint(str(folder)), "cpu")
    with torch.no_grad():
        assert torch.equal(ours.see(images), model.eval().encode_image(images, normalize=True))
        torch.testing.assert_close(
            ours.read(["a cat", "two dogs"]), model.encode_text(tokens, normalize=True)
        )


def test_seeing_through_gives_the_same_embedding(tower, images):
    with torch.no_grad():
        embedding, layers = tower.see_through(images, range(tower.blocks + 1))
        torch.testing.assert_close(embedding, tower.see(images), atol=1e-5, rtol=1e-5)
    assert len(layers) == tower.blocks + 1
    assert all(layer.ndim == 3 and len(layer) == len(images) for layer in layers)


def test_layers_are_what_passes_between_the_blocks(vit, images):
    blocks = vit.model.visual.transformer.resblocks
    caught = []
    hooks = [block.register_forward_hook(lambda _m, i, o: caught.append((i[0], o))) for block in blocks]
    with torch.no_grad():
        _, layers = vit.see_through(images, (0, 1, 2))
    for hook in hooks:
        hook.remove()
    assert torch.equal(layers[0], caught[0][0])
    assert torch.equal(layers[1], caught[0][1])
    assert torch.equal(layers[2], caught[1][1])


def test_depths_come_in_the_order_asked(vit, images):
    with torch.no_grad():
        _, (last, first) = vit.see_through(images, (2, 0))
        _, (first_again, last_again) = vit.see_through(images, (0, 2))
    assert torch.equal(first, first_again)
    assert torch.equal(last, last_again)


@pytest.mark.parametrize("vision", [VIT, RESNET], ids=["vit", "resnet"])
def test_features_of_an_image_do_not_depend_on_its_neighbours(vision, images):
    encoder = random_encoder(vision)
    with torch.no_grad():
        together, layers = encoder.see_through(images, range(encoder.blocks + 1))
        alone, own_layers = encoder.see_through(images[2:3], range(encoder.blocks + 1))
    torch.testing.assert_close(together[2:3], alone, atol=1e-5, rtol=1e-4)
    for layer, own in zip(layers, own_layers, strict=True):
        torch.testing.assert_close(layer[2:3], own, atol=1e-5, rtol=1e-4)


def test_equal_texts_are_read_once(vit, monkeypatch):
    lengths = []
    original = vit.model.encode_text
    monkeypatch.setattr(
        vit.model, "encode_text", lambda tokens: lengths.append(len(tokens)) or original(tokens)
    )
    with torch.no_grad():
        read = vit.read(["b", "a", "b", "b"])
    assert lengths == [2]
    assert torch.equal(read[0], read[2])
    assert not torch.equal(read[0], read[1])


def test_a_twin_is_independent(vit):
    twin = vit.twin()
    assert twin.digests == vit.digests
    with torch.no_grad():
        twin.weights["visual.proj"].add_(1)
    assert digest(twin.model.state_dict()) != digest(vit.model.state_dict())


def test_digest_ignores_storage_precision_and_order(vit):
    weights = {k: v.half() for k, v in vit.model.state_dict().items()}
    again = dict(reversed(weights.items()))
    assert digest(weights) == digest({k: v.float() for k, v in again.items()})


def test_towers_have_their_own_digest(vit):
    twin = vit.twin()
    with torch.no_grad():
        twin.weights["token_embedding.weight"].add_(1)
    assert twin.digests["visual"] == vit.digests["visual"]
    assert twin.digests["text"] != vit.digests["text"]


def test_weights_of_another_architecture_are_refused_by_name(tmp_path, vit_folder):
    narrow = random_encoder({**VIT, "width": 16})
    (vit_folder / "open_clip_config.json").write_text(json.dumps(narrow.config))
    with pytest.raises(CannotAsk, match=r"doesn't fit the architecture.*--model"):
        load_encoder(find_checkpoint(str(vit_folder)), "cpu")


def test_an_impossible_config_is_refused():
    broken = {
        "model_cfg": {"embed_dim": 4, "vision_cfg": {"nonsense": 1}, "text_cfg": {}},
        "preprocess_cfg": {},
    }
    with pytest.raises(CannotAsk, match="cannot build"):
        load_encoder(Checkpoint("broken", broken, weights=None), "cpu")


def test_an_absent_device_is_refused():
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(CannotAsk, match="--device cpu"):
        choose_device("cuda:99")


def test_an_unreachable_tag_is_refused(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def refuse(*_args, **_kwargs):
        raise RuntimeError("Failed to download weights")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", refuse)
    with pytest.raises(CannotAsk, match=r"cannot load 'ViT-B-32:openai'.*--model"):
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
    with pytest.raises(CannotAsk, match="cannot build"):
        load_encoder(Checkpoint("odd", config, weights=None), "cpu")


@pytest.mark.parametrize("kind", [torch.int64, torch.bool])
def test_weights_without_fractions_are_refused(vit_folder, kind):
    path = vit_folder / "open_clip_model.safetensors"
    weights = load_file(path)
    weights["visual.proj"] = weights["visual.proj"].to(kind)
    save_file(weights, path)
    with pytest.raises(CannotAsk, match=r"'visual\.proj' holds (int64|bool)"):
        load_encoder(find_checkpoint(str(vit_folder)), "cpu")


@pytest.mark.parametrize("device", ["meta", "hpu", "privateuseone", "", "cpu:-1"])
def test_devices_that_cannot_compute_are_refused(device):
    with pytest.raises(CannotAsk, match="not available"):
        choose_device(device)
