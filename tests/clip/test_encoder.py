"""The encoder: equal to open_clip's own, any tower, any depth, no neighbours."""

import open_clip
import pytest
import torch
from conftest import RESNET, VIT, random_encoder, save_folder

from forgetcheck.clip.finding import find_checkpoint
from forgetcheck.clip.loading import load_encoder
from forgetcheck.clip.towers import digest


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
