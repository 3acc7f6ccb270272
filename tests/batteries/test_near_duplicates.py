"""The same picture twice: exact copies, scaled and compressed ones, and pictures that only resemble."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from forgetcheck import catalog
from forgetcheck.batteries import near_duplicates
from forgetcheck.batteries.near_duplicates import alike_pairs, digest_of, look_at, nearest
from forgetcheck.batteries.repeats import Keyed


def scene(seed, side=64):
    """Draw a picture with structure at every scale, as a photo has."""
    dice = np.random.default_rng(seed)
    whole = np.zeros((side, side, 3))
    for size in (2, 4, 8, 16):
        noise = Image.fromarray(dice.integers(0, 256, (size, size, 3), dtype=np.uint8))
        whole += np.asarray(noise.resize((side, side), Image.Resampling.BICUBIC), dtype=float)
    return Image.fromarray((whole / 4).astype(np.uint8))


def jpeg(image, quality=60):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def looks(*images):
    return [look_at(image) for image in images]


def keyed(*images):
    return Keyed((), (), [look.pixels for look in looks(*images)])


def test_equal_pixels_are_found_once_and_in_order():
    left = keyed(scene(1), scene(2), scene(3))
    assert left.also_in(keyed(scene(9), scene(3), scene(1), scene(1))) == [(0, 2), (2, 1)]
    assert left.also_in(keyed(scene(9))) == []


@pytest.mark.parametrize(
    "change",
    [
        jpeg,
        lambda image: image.resize((40, 40)),
        lambda image: jpeg(image.resize((200, 200)), 80),
        lambda image: ImageEnhance.Brightness(image).enhance(1.02),
    ],
)
def test_a_changed_copy_looks_alike(change):
    copies = looks(*(change(scene(seed)) for seed in range(20)))
    assert alike_pairs(copies, looks(*map(scene, range(20)))) == [(i, i) for i in range(20)]


def test_other_pictures_dont_look_alike():
    assert alike_pairs(looks(*map(scene, range(40))), looks(*map(scene, range(40, 90)))) == []


def test_flat_pictures_are_told_apart_by_their_colour():
    red, blue = (Image.new("RGB", (32, 32), colour) for colour in ("red", "blue"))
    assert np.array_equal(look_at(red).slopes, look_at(blue).slopes)
    assert alike_pairs(looks(red), looks(blue)) == []


def test_handwritten_digits_are_not_mistaken_for_one_another():
    task = catalog.build("tasks", "digits")
    train, test = task.split("train"), task.split("test")
    seen = looks(*(train.image(i) for i in range(300)))
    assert alike_pairs(looks(*(test.image(i) for i in range(150))), seen) == []


def test_many_are_compared_in_parts(monkeypatch):
    left, right = looks(*map(scene, range(7))), looks(*(jpeg(scene(seed)) for seed in (9, 3, 1, 6, 0)))
    whole = nearest(left, right)
    monkeypatch.setattr(near_duplicates, "ROWS", 3)
    monkeypatch.setattr(near_duplicates, "COLUMNS", 2)
    assert nearest(left, right).tolist() == whole.tolist()
    assert whole[[3, 1, 6, 0]].tolist() == [1, 2, 3, 4]


def test_nothing_is_like_nothing():
    assert alike_pairs([], looks(scene(1))) == alike_pairs(looks(scene(1)), []) == []


def test_the_digest_tells_size_and_pixels():
    digests = {
        digest_of(Image.new("RGB", size, colour)) for size in ((2, 3), (3, 2)) for colour in ("red", "blue")
    }
    assert len(digests) == 4
