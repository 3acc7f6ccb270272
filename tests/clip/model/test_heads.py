"""Linear heads: prompts ensembled as published."""

import torch
import torch.nn.functional as F

from forgetcheck.clip.model.heads import class_embeddings, prompt_head


def test_class_embeddings_are_normalised_means_of_prompts(vit):
    found = class_embeddings(vit, ["cat", "dog"], ["a {}", "the {}"])
    with torch.no_grad():
        one = F.normalize(vit.read(["a dog", "the dog"]).mean(0), dim=0)
    torch.testing.assert_close(found[1], one)
    assert found.shape == (2, 16)


def test_a_prompt_head_gives_zero_shot_logits(vit, images):
    head = prompt_head(vit, ["cat", "dog"], ["a {}"])
    with torch.no_grad():
        seen = vit.see(images)
        expected = vit.scale * seen @ class_embeddings(vit, ["cat", "dog"], ["a {}"]).T
        torch.testing.assert_close(head(seen), expected)


def test_a_class_name_with_braces_is_only_a_name(vit):
    assert class_embeddings(vit, ["{0} {x}"], ["a {}"]).shape == (1, 16)
