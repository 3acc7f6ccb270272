"""Texts are read once per distinct text and text tower, without padding only where that changes nothing."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from captioned import Told

from forgetcheck.clip.features import text_pass as module
from forgetcheck.clip.features.encoded_task import EncodedTask, encode_task
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.clip.features.text_pass import as_images, read_prompts, shortened
from forgetcheck.clip.model.encoder import CutText
from forgetcheck.clip.model.heads import class_embeddings, mean_by_class
from forgetcheck.tasks.drawn import Drawn

WORDS = [
    f"a {size} {colour} square"
    for size in ("small", "large", "very tall")
    for colour in ("red", "green", "grey")
]


def silent(*_):
    pass


@pytest.fixture
def shapes(tiny):
    """The shape of every batch of tokens that forgetcheck:tiny is given."""
    found = []
    hook = tiny.model.token_embedding.register_forward_pre_hook(lambda _m, i: found.append(tuple(i[0].shape)))
    yield found
    hook.remove()


def test_padding_is_left_out_where_that_is_the_same(tiny):
    reader = shortened(tiny, WORDS)
    assert isinstance(reader.model, CutText)
    with torch.inference_mode():
        torch.testing.assert_close(reader.read(WORDS), tiny.read(WORDS), atol=1e-6, rtol=0)


def test_a_tower_that_minds_is_read_whole(tiny, monkeypatch):
    class Minding(CutText):
        def encode_text(self, tokens):
            return super().encode_text(tokens) + tokens.shape[1] * 1e-3

    monkeypatch.setattr("forgetcheck.clip.model.encoder.CutText", Minding)
    assert shortened(tiny, WORDS) is tiny


def test_a_tower_without_a_meaning_for_it_is_read_whole(tiny, monkeypatch):
    monkeypatch.setattr(module, "why_uncut", lambda _model: "it takes the meaning from the last place")
    assert shortened(tiny, WORDS) is tiny


def test_a_few_texts_are_not_worth_a_proof(tiny):
    assert shortened(tiny, WORDS[:8]) is tiny


def test_prompts_are_those_of_the_whole_texts(tiny):
    task = Drawn("colour")
    (found,) = read_prompts(task, [tiny], silent, Engine())
    with torch.inference_mode():
        expected = class_embeddings(tiny, task.class_names, task.templates)
    assert found.shape == (len(task.class_names), len(task.templates), expected.shape[1])
    torch.testing.assert_close(mean_by_class(found, len(found)), expected, atol=1e-6, rtol=0)


@dataclass(frozen=True)
class Doubled(Drawn):
    """Every prompt is there twice."""

    family: str = "colour"

    @property
    def templates(self):
        return super().templates * 2


def test_equal_texts_and_equal_towers_are_read_once(tiny, shapes):
    task = Doubled()
    found = read_prompts(task, [tiny, tiny.twin(), tiny], silent, Engine())
    prompts = len(task.class_names) * len(task.templates) // 2
    tried = 2 * module.TRIED
    assert sum(count for count, _ in shapes) == prompts + tried
    assert max(places for count, places in shapes if count > module.TRIED) < tiny.model.context_length
    assert torch.equal(found[0], found[1])


def test_prompts_come_with_the_images_and_are_part_of_the_progress(tiny, shapes):
    task, seen = Drawn("colour"), []
    (encoded,) = encode_task(
        "colour", task, [tiny], ("test",), lambda *event: seen.append(event[1:3]), prompted=True
    )
    before = len(shapes)
    prompts = encoded.prompts
    assert len(shapes) == before
    assert torch.equal(prompts, EncodedTask(task, tiny, {}).prompts)
    count = len(task.class_names) * len(task.templates)
    total = len(task.split("test")) + as_images(count)
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_captions_are_read_in_chunks(tiny, monkeypatch):
    whole = encode_task("told", Told(per_class=3), [tiny], ("test",))[0].splits["test"].captions
    monkeypatch.setattr(module, "CHUNK", 7)
    pieces = encode_task("told", Told(per_class=3), [tiny], ("test",))[0].splits["test"].captions
    assert np.allclose(whole.embeddings, pieces.embeddings, atol=1e-6)
    assert whole.rows == pieces.rows


def test_eight_texts_take_as_long_as_an_image():
    assert [as_images(count) for count in (0, 1, 8, 9)] == [0, 1, 1, 2]
