"""The right caption against its swap: nearer wins, a tie is no win, and half is chance."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from captioned import Told

from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.probes.base import quoted
from forgetcheck.probes.caption_choice import CaptionChoice


@dataclass(frozen=True)
class Turned(Told):
    """Every caption is in the place of its swap, or its swap is the caption itself."""

    tied: bool = False

    def split(self, name):
        split = super().split(name)
        said = split.captions
        turned = (
            replace(said, swaps=said.texts)
            if self.tied
            else replace(said, texts=said.swaps, swaps=said.texts)
        )
        return replace(split, captions=turned)


def asked(task, tiny):
    (seen,) = encode_task("choice", task, [tiny], ("test",))
    return seen, CaptionChoice().answer(seen, seen)


def test_it_is_which_of_two_captions_lies_nearer(tiny):
    seen, said = asked(Told("swap", "relation", per_class=5), tiny)
    captions = seen.splits["test"].captions
    images = seen.splits["test"].embeddings[captions.said.places]
    near, far = ((images * captions.of(t)).sum(1).numpy() for t in (captions.said.texts, captions.said.swaps))
    right = near > far
    assert (said.label == np.where(right, captions.said.kinds, 2)).all()
    scale = tiny.scale * np.abs(near - far)
    assert said.confidence == pytest.approx(1 / (1 + np.exp(-scale)), abs=1e-5)
    assert right.any()


def test_turned_about_it_is_right_where_it_was_wrong(tiny):
    _, said = asked(Told("swap", "relation", per_class=5), tiny)
    _, turned = asked(Turned("swap", "relation", per_class=5), tiny)
    assert ((said.label == 2) != (turned.label == 2)).all()


def test_a_tie_is_no_win(tiny):
    _, said = asked(Turned("swap", tied=True), tiny)
    assert (said.label == 2).all()
    assert (said.confidence == 0.5).all()


def test_what_is_asked_is_said_and_half_is_chance(tiny):
    seen, _ = asked(Told("swap"), tiny)
    question = CaptionChoice().question(seen)
    assert question.class_names == ("plain", "other", "(the swap)")
    assert question.chance.tolist() == [0.5] * 4
    assert question.samples[0].count("', not '") == 1


def test_a_long_caption_is_shown_by_its_beginning():
    assert quoted("a 'fox'") == "\"a 'fox'\""
    assert quoted("x" * 70_000) == f"'{'x' * 300} ...'"
