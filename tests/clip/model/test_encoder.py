"""The encoder: equal to open_clip's own, any tower, any depth, no neighbours."""

import open_clip
import pytest
import torch
from conftest import RESNET, VIT, make_config, random_encoder, save_folder

from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.checkpoint import Checkpoint
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.clip.model.towers import digest

pytestmark = pytest.mark.slow


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


def test_towers_have_their_own_digest(vit):
    twin = vit.twin()
    with torch.no_grad():
        twin.weights["token_embedding.weight"].add_(1)
    assert twin.digests["visual"] == vit.digests["visual"]
    assert twin.digests["text"] != vit.digests["text"]


FAMILIES = {  # of timm, each with a stem of another shape
    "efficientnet_lite0": 32, "tf_efficientnet_lite0": 32, "resnet18": 32, "mobilenetv3_small_050": 32,
    "mobilenetv2_050": 32, "densenet121": 32, "vgg11": 32, "inception_v4": 96, "ghostnet_050": 32,
    "dla34": 32, "res2net50_26w_4s": 32, "resnest14d": 32, "seresnet50": 32, "convnext_atto": 32,
    "regnetx_002": 32, "fastvit_t8": 64, "repvgg_a0": 32, "twins_pcpvt_small": 64, "rexnet_100": 32,
    "nfnet_f0": 64, "poolformer_s12": 64, "swin_tiny_patch4_window7_224": 224, "vit_tiny_patch16_224": 224,
}  # fmt: skip


@pytest.mark.parametrize(("name", "size"), FAMILIES.items(), ids=FAMILIES)
def test_what_passes_between_the_blocks_of_any_family_of_timm(name, size):
    """LDIFS, the default, compares it: depth 0 is what the stem makes of an image."""
    # open_clip's linear projection doesn't fit those that widen before their classifier
    wide = {"mobilenetv3_small_050": 1024, "vgg11": 4096, "ghostnet_050": 1280}
    tower = {"timm_model_name": name, "timm_model_pretrained": False, "timm_pool": "avg", "image_size": size}
    config = make_config({**tower, "timm_proj": "" if name in wide else "linear"})
    config["model_cfg"]["embed_dim"] = wide.get(name, 16)
    torch.manual_seed(0)
    encoder = load_encoder(Checkpoint("random", config, weights=None), "cpu")
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    embedding, layers = encoder.see_through(images, range(encoder.blocks + 1))
    assert torch.allclose(embedding, encoder.see(images), atol=1e-5)
    assert len(layers) == encoder.blocks + 1
    assert all(layer.ndim == 3 and len(layer) == 2 and layer.requires_grad for layer in layers)
    assert layers[0].shape[1] >= layers[-1].shape[1]  # the stem sees more places than the last block
