"""Drawn concepts: the same pixels on every machine, one stream never meets another."""

import hashlib

import pytest

from forgetcheck.errors import InputError
from forgetcheck.tasks.drawn import FAMILIES, Drawn, sketch

# SHA-256 over the first 60 test images of each family: the weights were trained on this drawing code
GOLDEN = {
    "shape": "e6e04cf3414db4d7",
    "colour": "41e114ba0059c0d8",
    "count": "8e36a4d332c36eab",
    "texture": "869c602655020793",
    "letter": "eaa04447b8a5a8fb",
    "digit": "562f0180cfecaad1",
    "position": "5ff616fdd27993fe",
    "size": "10af4e6f3496d849",
    "orientation": "4184694f9a621c5e",
    "relation": "51fcd6a155e611b8",
    "binding": "a93d5ce2e97e9a6e",
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pixels_are_golden(family):
    pixels = hashlib.sha256()
    for index in range(60):
        pixels.update(sketch(family, "test", index).image.tobytes())
    assert pixels.hexdigest()[:16] == GOLDEN[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_streams_differ(family):
    images = {sketch(family, stream, 0).image.tobytes() for stream in ("train", "test", "pretrain")}
    assert len(images) == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_captions_are_true_and_prompts_are_among_them(family):
    kind = FAMILIES[family]
    for index in range(40):
        drawn = sketch(family, "pretrain", index)
        concept = kind.concepts[drawn.label]
        assert all(concept in caption for caption in drawn.captions)
        assert {template.format(concept) for template in kind.templates} <= set(drawn.captions)


def test_an_object_swap_is_another_class():
    concepts = FAMILIES["relation"].concepts
    assert {"circle left of a square", "square left of a circle"} <= set(concepts)
    assert {"red circle and a blue square", "blue circle and a red square"} <= set(
        FAMILIES["binding"].concepts
    )


def test_there_are_at_least_ten_families():
    assert {"shape", "colour", "count", "texture", "letter", "digit", "position"} < set(FAMILIES)
    assert len(FAMILIES) >= 10


def test_an_unknown_family_is_refused():
    with pytest.raises(InputError, match="did you mean 'colour'"):
        Drawn("color")
