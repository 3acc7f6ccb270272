"""The gallery: lost samples, the worst concepts first, as small pictures."""

import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image
from planted import make_answers

from forgetcheck.auditing.gallery import SIDE, collect, thumbnail
from forgetcheck.tasks.base import Split, Task

COUNTS = {"cat": (10, 6, 0, 2), "dog": (10, 2, 1, 0), "owl": (10, 0, 0, 0)}


@dataclass(frozen=True)
class Painted(Task):
    """Every sample has a colour of its own, so that a picture tells which it is."""

    size: int = 100

    class_names = ("cat", "dog", "owl")
    templates = ("{}",)

    def split(self, name):
        return Split(
            tuple(f"s{k}" for k in range(self.size)),
            np.zeros(self.size, np.int64),
            lambda k: Image.new("RGB", (4, 4), (k, 0, 0)),
        )


TESTS = {
    (name, probe): Painted().split("test")
    for name in ("shape", "colour", "digits")
    for probe in ("zero-shot", "linear")
}


def test_concepts_that_lost_most_come_first_in_turn():
    found = collect([make_answers(COUNTS)], TESTS, 5)
    assert [item.concept for item in found] == ["cat", "dog", "cat", "dog", "cat"]
    assert [item.said for item in found[:2]] == ["dog", "owl"]


def test_they_are_lost_and_their_pictures_are_theirs():
    item = make_answers(COUNTS)
    for lost in collect([item], TESTS, 100):
        place = int(lost.sample[1:])
        assert item.base.label[place] == item.labels[place] != item.tuned.label[place]
        assert Image.open(io.BytesIO(lost.image)).getpixel((0, 0)) == (place, 0, 0)


def test_there_are_as_many_as_asked_for_per_checkpoint():
    answers = [make_answers(COUNTS, name, task) for name in ("a", "b") for task in ("shape", "colour")]
    found = collect(answers, TESTS, 3)
    assert [item.checkpoint for item in found] == ["a"] * 3 + ["b"] * 3
    assert len(collect(answers, TESTS, 1000)) == 2 * 2 * 8
    assert collect(answers, TESTS, 0) == ()


def test_those_the_base_was_surest_of_come_first():
    item = make_answers({"cat": (0, 3, 0, 0), "dog": (9, 0, 0, 0)})
    item.base.confidence[:3] = 0.3, 0.8, 0.5
    assert [lost.sample for lost in collect([item], TESTS, 3)] == ["s1", "s2", "s0"]


def test_the_target_is_left_out_and_one_probe_tells():
    target = make_answers(COUNTS, task="digits", target=True)
    linear = make_answers(COUNTS, probe="linear")
    assert collect([target], TESTS, 5) == ()
    assert {lost.probe for lost in collect([linear, make_answers(COUNTS)], TESTS, 50)} == {"zero-shot"}
    assert {lost.probe for lost in collect([linear], TESTS, 50)} == {"linear"}


def test_nothing_lost_nothing_shown():
    assert collect([make_answers({"cat": (5, 0, 1, 0), "dog": (5, 0, 0, 1)})], TESTS, 9) == ()


@pytest.mark.parametrize(
    ("size", "kind", "expected"),
    [((32, 32), "PNG", (32, 32)), ((64, 10), "PNG", (64, 10)), ((640, 320), "JPEG", (SIDE, SIDE // 2))],
)
def test_thumbnails_are_small_and_small_pictures_exact(size, kind, expected):
    noise = np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    small = Image.open(io.BytesIO(thumbnail(Image.fromarray(noise))))
    assert (small.format, small.size) == (kind, expected)
    if kind == "PNG":
        assert (np.asarray(small) == noise).all()
