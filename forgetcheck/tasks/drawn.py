"""Procedurally drawn concepts: seeded, identical on every machine, no download."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from string import ascii_uppercase

import numpy as np
from PIL import Image

from forgetcheck.errors import unknown_name
from forgetcheck.provenance import digest, source
from forgetcheck.tasks import drawing
from forgetcheck.tasks.base import Split, SplitName, Task
from forgetcheck.tasks.drawing import Dice, Picture

_SAMPLES = {"train": 400, "test": 600}  # per family


@dataclass(frozen=True)
class _Family:
    """A set of concepts that differ in one respect, and how to draw and describe them."""

    concepts: tuple[str, ...]
    templates: tuple[str, ...]  # for zero-shot, with one {}
    captions: tuple[str, ...]  # for pre-training: {0} is the concept, names are what was drawn
    draw: Callable[[Dice, str], Picture]


FAMILIES: dict[str, _Family] = {
    "shape": _Family(
        drawing.SHAPES,
        ("a {}", "a picture of a {}"),
        ("a {0}", "a picture of a {0}", "a {0} coloured {colour}"),
        drawing.draw_shape,
    ),
    "colour": _Family(
        tuple(drawing.COLOURS),
        ("an object coloured {}", "a picture of an object coloured {}"),
        ("an object coloured {0}", "a picture of an object coloured {0}", "a {shape} coloured {0}"),
        drawing.draw_colour,
    ),
    "count": _Family(
        drawing.COUNTS,
        ("{}", "a picture of {}"),
        ("{0}", "a picture of {0}", "{0} coloured {colour}"),
        drawing.draw_count,
    ),
    "texture": _Family(
        drawing.TEXTURES,
        ("a {} pattern", "a picture of a {} pattern"),
        ("a {0} pattern", "a picture of a {0} pattern", "a {0} pattern, {colour}"),
        drawing.draw_texture,
    ),
    "letter": _Family(
        tuple(ascii_uppercase),
        ("the letter {}", "a picture of the letter {}"),
        ("the letter {0}", "a picture of the letter {0}", "the letter {0} coloured {colour}"),
        drawing.draw_glyph,
    ),
    "digit": _Family(
        tuple("0123456789"),
        ("the digit {}", "a picture of the digit {}"),
        ("the digit {0}", "a picture of the digit {0}", "the digit {0} coloured {colour}"),
        drawing.draw_glyph,
    ),
    "position": _Family(
        drawing.POSITIONS,
        ("an object at the {}", "a picture of an object at the {}"),
        ("an object at the {0}", "a picture of an object at the {0}", "a {shape} at the {0}"),
        drawing.draw_position,
    ),
    "size": _Family(
        tuple(drawing.SIZES),
        ("a {} object", "a picture of a {} object"),
        ("a {0} object", "a picture of a {0} object", "a {0} {shape}"),
        drawing.draw_size,
    ),
    "orientation": _Family(
        drawing.DIRECTIONS,
        ("an arrow pointing {}", "a picture of an arrow pointing {}"),
        ("an arrow pointing {0}", "a picture of an arrow pointing {0}", "an arrow pointing {0}, {colour}"),
        drawing.draw_orientation,
    ),
    "relation": _Family(
        drawing.RELATIONS,
        ("a {}", "a picture of a {}"),
        ("a {0}", "a picture of a {0}", "a {0}, {first} and {second}"),
        drawing.draw_relation,
    ),
    "binding": _Family(
        drawing.BINDINGS, ("a {}", "a picture of a {}"), ("a {0}", "a picture of a {0}"), drawing.draw_binding
    ),
}


@dataclass(frozen=True)
class _Sketch:
    """One drawn sample: its picture, the index of its concept and what may be said of it."""

    image: Image.Image
    label: int
    captions: tuple[str, ...]  # all true


def sketch(family: str, stream: str, index: int) -> _Sketch:
    """Draw sample `index` of a stream; streams ('train', 'test', 'pretrain', ...) never meet.

    Concepts take turns, so every stream is balanced to within one sample.
    """
    kind = FAMILIES[family]
    dice = Dice(f"forgetcheck/{family}/{stream}/{index}")
    label = index % len(kind.concepts)
    image, words = kind.draw(dice, kind.concepts[label])
    captions = tuple(caption.format(kind.concepts[label], **words) for caption in kind.captions)
    return _Sketch(image, label, captions)


@dataclass(frozen=True)
class Drawn(Task):
    """A family of drawn concepts: 400 train and 600 test images of 32 x 32 pixels."""

    family: str = "shape"

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise unknown_name("family of drawn concepts", self.family, FAMILIES, "forgetcheck list tasks")

    @property
    def class_names(self) -> tuple[str, ...]:
        return FAMILIES[self.family].concepts

    @property
    def templates(self) -> tuple[str, ...]:
        return FAMILIES[self.family].templates

    def split(self, name: SplitName) -> Split:
        count = _SAMPLES[name]
        classes = len(self.class_names)
        return Split(
            ids=tuple(f"{self.family}/{name}/{index}" for index in range(count)),
            labels=np.arange(count, dtype=np.int64) % classes,
            image=lambda index: sketch(self.family, name, index).image,
            contents=lambda: digest([asdict(self), name, count, source(__file__), source(drawing.__file__)]),
        )
