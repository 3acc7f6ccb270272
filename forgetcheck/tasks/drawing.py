"""Draw one concept: shapes, textures, glyphs and scenes, with the same pixels on every machine.

Everything is drawn with whole-number coordinates on a canvas four times too large and reduced by
whole-number averaging, and all randomness comes from a generator whose stream Python keeps stable.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin
from typing import TypeVar

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_SIDE = 32  # pixels of a finished image
_OVERSAMPLING = 4  # drawn larger, then averaged: soft edges from integer arithmetic
_CANVAS = _SIDE * _OVERSAMPLING

_Colour = tuple[int, int, int]
_Point = tuple[float, float]
Item = TypeVar("Item")

COLOURS: dict[str, _Colour] = {
    "red": (214, 40, 40),
    "orange": (245, 130, 32),
    "yellow": (250, 215, 50),
    "green": (50, 160, 70),
    "blue": (45, 85, 215),
    "purple": (135, 55, 170),
    "pink": (250, 150, 190),
    "brown": (120, 75, 40),
    "black": (18, 18, 18),
    "white": (246, 246, 246),
}


class Dice(random.Random):
    """Draws built on `random()` alone, whose stream Python guarantees across versions."""

    def below(self, stop: int) -> int:
        return int(self.random() * stop)

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random()

    def pick(self, items: tuple[Item, ...]) -> Item:
        return items[self.below(len(items))]


@dataclass
class _Drawing:
    """A canvas on a random plain background, and the ink that can be seen on it."""

    dice: Dice
    background: _Colour
    image: Image.Image

    @classmethod
    def blank(cls, dice: Dice) -> "_Drawing":
        level = dice.between(0, 60) if dice.random() < 0.5 else dice.between(180, 255)
        tint = tuple(int(min(255, max(0, level + dice.between(-25, 25)))) for _ in range(3))
        background: _Colour = (tint[0], tint[1], tint[2])
        return cls(dice, background, Image.new("RGB", (_CANVAS, _CANVAS), background))

    def colour(self, *avoid: str) -> str:
        """Pick the name of a colour that stands out from the background and from `avoid`."""
        seen = [self.background, *(COLOURS[name] for name in avoid)]
        clear = tuple(
            name for name, ink in COLOURS.items() if all(_contrast(ink, other) > 110 for other in seen)
        )
        return self.dice.pick(clear)

    def shape(self, name: str, ink: _Colour, centre: _Point, radius: float) -> None:
        """Draw a filled shape whose circumscribed circle has this centre and radius (pixels)."""
        pencil = ImageDraw.Draw(self.image)
        if name == "ring":
            inner = radius * 0.55
            pencil.ellipse(_box(centre, radius), fill=ink)
            pencil.ellipse(_box(centre, inner), fill=self.background)
        elif name == "circle":
            pencil.ellipse(_box(centre, radius * 0.92), fill=ink)
        else:
            turn = self.dice.between(-0.16, 0.16)
            pencil.polygon(_whole(_rotated(_OUTLINES[name], turn), centre, radius), fill=ink)

    def finish(self) -> Image.Image:
        """Average the canvas down to SIDE x SIDE and add faint sensor noise."""
        small = np.asarray(self.image.reduce(_OVERSAMPLING), dtype=np.int16)
        strength = self.dice.below(13)
        noise = np.frombuffer(self.dice.randbytes(small.size), dtype=np.uint8).reshape(small.shape)
        moved = small + (noise.astype(np.int16) - 128) * strength // 128
        return Image.fromarray(moved.clip(0, 255).astype(np.uint8))


def _contrast(one: _Colour, other: _Colour) -> int:
    """Sum of absolute channel differences, 0 to 765."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def _box(centre: _Point, radius: float) -> tuple[int, int, int, int]:
    x, y = centre
    return round(x - radius), round(y - radius), round(x + radius), round(y + radius)


def _whole(points: list[_Point], centre: _Point, radius: float) -> list[tuple[int, int]]:
    """Scale unit points to whole pixels, so that no machine rounds them differently."""
    return [(round(centre[0] + radius * x), round(centre[1] + radius * y)) for x, y in points]


def _rotated(points: list[_Point], turn: float) -> list[_Point]:
    c, s = cos(turn), sin(turn)
    return [(c * x - s * y, s * x + c * y) for x, y in points]


def _polygon(corners: int, start: float, inner: float = 0.0) -> list[_Point]:
    """Return a regular polygon, or a star whose inner corners lie at radius `inner`."""
    if not inner:
        turns = [start + 2 * pi * k / corners for k in range(corners)]
        return [(cos(turn), sin(turn)) for turn in turns]
    turns = [start + pi * k / corners for k in range(2 * corners)]
    radii = [1.0 if k % 2 == 0 else inner for k in range(2 * corners)]
    return [(r * cos(turn), r * sin(turn)) for r, turn in zip(radii, turns, strict=True)]


_CROSS = [(-.3, -.95), (.3, -.95), (.3, -.3), (.95, -.3), (.95, .3), (.3, .3),
         (.3, .95), (-.3, .95), (-.3, .3), (-.95, .3), (-.95, -.3), (-.3, -.3)]  # fmt: skip
_ARROW = [(0, -1), (.65, -.25), (.25, -.25), (.25, 1), (-.25, 1), (-.25, -.25), (-.65, -.25)]  # fmt: skip
_OUTLINES: dict[str, list[_Point]] = {
    "square": _polygon(4, pi / 4),
    "triangle": _polygon(3, -pi / 2),
    "star": _polygon(5, -pi / 2, inner=0.42),
    "cross": [(float(x), float(y)) for x, y in _CROSS],
    "diamond": [(0.0, -1.0), (0.62, 0.0), (0.0, 1.0), (-0.62, 0.0)],
    "hexagon": _polygon(6, 0.0),
    "arrow": [(float(x), float(y)) for x, y in _ARROW],
}
SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond")


def _centre_of(dice: Dice, slack: float) -> _Point:
    middle = _CANVAS / 2
    return middle + dice.between(-slack, slack), middle + dice.between(-slack, slack)


Picture = tuple[Image.Image, dict[str, str]]  # a picture and the words its captions may use


def draw_shape(dice: Dice, concept: str) -> Picture:
    canvas = _Drawing.blank(dice)
    colour = canvas.colour()
    canvas.shape(concept, COLOURS[colour], _centre_of(dice, 14), dice.between(30, 48))
    return canvas.finish(), {"colour": colour}


def draw_colour(dice: Dice, concept: str) -> Picture:
    canvas = _Drawing.blank(dice)
    ink = COLOURS[concept]
    while _contrast(canvas.background, ink) <= 110:
        canvas = _Drawing.blank(dice)
    shape = dice.pick(SHAPES)
    canvas.shape(shape, ink, _centre_of(dice, 14), dice.between(30, 48))
    return canvas.finish(), {"shape": shape}


COUNTS = ("one object", "two objects", "three objects", "four objects", "five objects", "six objects")


def draw_count(dice: Dice, concept: str) -> Picture:
    """Scatter n equal shapes over the cells of a 3 x 3 grid."""
    canvas = _Drawing.blank(dice)
    colour, shape = canvas.colour(), dice.pick(("circle", "square", "triangle"))
    cells = [(column, row) for column in range(3) for row in range(3)]
    step = _CANVAS / 3
    for _ in range(COUNTS.index(concept) + 1):
        column, row = cells.pop(dice.below(len(cells)))
        centre = (
            step * (column + 0.5) + dice.between(-5, 5),
            step * (row + 0.5) + dice.between(-5, 5),
        )
        canvas.shape(shape, COLOURS[colour], centre, dice.between(12, 15))
    return canvas.finish(), {"colour": colour, "shape": shape}


TEXTURES = ("striped", "dotted", "checkered", "zigzag", "bricked", "speckled", "plain", "gradient")


def draw_texture(dice: Dice, concept: str) -> Picture:
    """Fill the whole picture with one pattern in two contrasting colours."""
    canvas = _Drawing.blank(dice)
    colour = canvas.colour()
    _PATTERNS[concept](canvas, COLOURS[colour], ImageDraw.Draw(canvas.image))
    return canvas.finish(), {"colour": colour}


def _fill_striped(canvas: _Drawing, ink: _Colour, pencil: ImageDraw.ImageDraw) -> None:
    period, shift = round(canvas.dice.between(18, 30)), canvas.dice.below(30)
    upright = canvas.dice.random() < 0.5
    for start in range(shift - 60, _CANVAS, period):
        end = start + period // 2
        pencil.rectangle((start, 0, end, _CANVAS) if upright else (0, start, _CANVAS, end), fill=ink)


def _fill_dotted(canvas: _Drawing, ink: _Colour, pencil: ImageDraw.ImageDraw) -> None:
    period, shift = round(canvas.dice.between(24, 34)), canvas.dice.below(24)
    for x in range(shift - 24, _CANVAS + 24, period):
        for y in range(shift - 24, _CANVAS + 24, period):
            pencil.ellipse(_box((x, y), period * 0.3), fill=ink)


def _fill_checkered(canvas: _Drawing, ink: _Colour, pencil: ImageDraw.ImageDraw) -> None:
    cell, shift = round(canvas.dice.between(14, 26)), canvas.dice.below(26)
    for column in range(-2, _CANVAS // cell + 2):
        for row in range(-2, _CANVAS // cell + 2):
            if (column + row) % 2:
                x, y = column * cell + shift, row * cell + shift
                pencil.rectangle((x, y, x + cell - 1, y + cell - 1), fill=ink)


def _fill_zigzag(canvas: _Drawing, ink: _Colour, pencil: ImageDraw.ImageDraw) -> None:
    period, wave = round(canvas.dice.between(24, 36)), round(canvas.dice.between(20, 32))
    for top in range(canvas.dice.below(24) - 36, _CANVAS + 36, period):
        corners = [
            (x, top + (wave // 2 if k % 2 else 0)) for k, x in enumerate(range(-8, _CANVAS + 40, wave))
        ]
        pencil.line(corners, fill=ink, width=period // 3)


def _fill_bricked(canvas: _Drawing, ink: _Colour, pencil: ImageDraw.ImageDraw) -> None:
    height, shift = round(canvas.dice.between(20, 30)), canvas.dice.below(20)
    for row, top in enumerate(range(shift - 30, _CANVAS, height)):
        offset = height if row % 2 else 0
        for left in range(shift - 80 + offset, _CANVAS, 2 * height):
            pencil.rectangle((left, top, left + 2 * height - 6, top + height - 6), fill=ink)


def _fill_speckled(canvas: _Drawing, ink: _Colour, pencil: ImageDraw.ImageDraw) -> None:
    for _ in range(220):
        x, y = canvas.dice.below(_CANVAS), canvas.dice.below(_CANVAS)
        side = 3 + canvas.dice.below(6)
        pencil.rectangle((x, y, x + side, y + side), fill=ink)


def _fill_plain(canvas: _Drawing, ink: _Colour, pencil: ImageDraw.ImageDraw) -> None:
    pencil.rectangle((0, 0, _CANVAS, _CANVAS), fill=ink)


def _fill_gradient(canvas: _Drawing, ink: _Colour, pencil: ImageDraw.ImageDraw) -> None:
    upright, backward = canvas.dice.random() < 0.5, canvas.dice.random() < 0.5
    for k in range(_CANVAS):
        part = _CANVAS - 1 - k if backward else k
        mixed = tuple(
            (a * part + b * (_CANVAS - 1 - part)) // (_CANVAS - 1)
            for a, b in zip(ink, canvas.background, strict=True)
        )
        pencil.line(
            (k, 0, k, _CANVAS) if upright else (0, k, _CANVAS, k), fill=(mixed[0], mixed[1], mixed[2])
        )


_PATTERNS: dict[str, Callable[[_Drawing, _Colour, ImageDraw.ImageDraw], None]] = {
    "striped": _fill_striped,
    "dotted": _fill_dotted,
    "checkered": _fill_checkered,
    "zigzag": _fill_zigzag,
    "bricked": _fill_bricked,
    "speckled": _fill_speckled,
    "plain": _fill_plain,
    "gradient": _fill_gradient,
}


@cache
def _glyph(character: str) -> Image.Image:
    """Render a character in Pillow's built-in bitmap font, cropped to its ink, mode L."""
    font = ImageFont.load_default_imagefont()
    sheet = Image.new("L", (16, 16), 0)
    ImageDraw.Draw(sheet).text((2, 2), character, fill=255, font=font)
    return sheet.crop(sheet.getbbox())


def draw_glyph(dice: Dice, concept: str) -> Picture:
    canvas = _Drawing.blank(dice)
    colour = canvas.colour()
    mark = _glyph(concept)
    across, up = 9 + dice.below(6), 9 + dice.below(4)
    mask = mark.resize((mark.width * across, mark.height * up), Image.Resampling.NEAREST)
    room = (_CANVAS - mask.width, _CANVAS - mask.height)
    place = tuple(size // 2 + round(dice.between(-0.35, 0.35) * size) for size in room)
    canvas.image.paste(COLOURS[colour], (place[0], place[1]), mask)
    return canvas.finish(), {"colour": colour}


POSITIONS = (
    "top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right",
)  # fmt: skip


def draw_position(dice: Dice, concept: str) -> Picture:
    canvas = _Drawing.blank(dice)
    colour, shape = canvas.colour(), dice.pick(SHAPES)
    row, column = divmod(POSITIONS.index(concept), 3)
    step = _CANVAS / 3
    centre = (
        step * (column + 0.5) + dice.between(-6, 6),
        step * (row + 0.5) + dice.between(-6, 6),
    )
    canvas.shape(shape, COLOURS[colour], centre, dice.between(13, 18))
    return canvas.finish(), {"colour": colour, "shape": shape}


SIZES = {"tiny": (9, 12), "small": (18, 22), "large": (32, 38), "huge": (52, 60)}  # radii, pixels


def draw_size(dice: Dice, concept: str) -> Picture:
    canvas = _Drawing.blank(dice)
    colour, shape = canvas.colour(), dice.pick(("circle", "square", "triangle", "star"))
    radius = dice.between(*SIZES[concept])
    canvas.shape(shape, COLOURS[colour], _centre_of(dice, 62 - radius), radius)
    return canvas.finish(), {"colour": colour, "shape": shape}


DIRECTIONS = ("up", "up right", "right", "down right", "down", "down left", "left", "up left")


def draw_orientation(dice: Dice, concept: str) -> Picture:
    canvas = _Drawing.blank(dice)
    colour = canvas.colour()
    turn = DIRECTIONS.index(concept) * pi / 4 + dice.between(-0.14, 0.14)
    points = _whole(_rotated(_OUTLINES["arrow"], turn), _centre_of(dice, 10), dice.between(38, 50))
    ImageDraw.Draw(canvas.image).polygon(points, fill=COLOURS[colour])
    return canvas.finish(), {"colour": colour}


RELATIONS = tuple(
    f"{one} {where} a {other}"
    for where in ("left of", "above", "inside")
    for one, other in (("circle", "square"), ("square", "circle"),
                       ("triangle", "circle"), ("circle", "triangle"))
)  # fmt: skip


def draw_relation(dice: Dice, concept: str) -> Picture:
    """Draw two objects in a stated order; every class has its swap among the classes."""
    canvas = _Drawing.blank(dice)
    one, where, other = concept.split()[0], concept.split()[1], concept.split()[-1]
    first = canvas.colour()
    second = canvas.colour(first)
    if where == "inside":
        place = _centre_of(dice, 8)
        canvas.shape(other, COLOURS[second], place, dice.between(50, 56))
        canvas.shape(one, COLOURS[first], place, dice.between(19, 23))
    else:
        apart = dice.between(29, 33)
        across = _centre_of(dice, 6)
        before, after = ((-apart, 0.0), (apart, 0.0)) if where == "left" else ((0.0, -apart), (0.0, apart))
        for name, colour, (x, y) in ((one, first, before), (other, second, after)):
            canvas.shape(name, COLOURS[colour], (across[0] + x, across[1] + y), dice.between(21, 26))
    return canvas.finish(), {"first": first, "second": second}


BINDINGS = tuple(
    f"{first} circle and a {second} square"
    for first in ("red", "blue", "green")
    for second in ("red", "blue", "green")
    if first != second
)


def draw_binding(dice: Dice, concept: str) -> Picture:
    """Draw a coloured circle and a coloured square, sides free: only the pairing tells."""
    canvas = _Drawing.blank(dice)
    first, second = concept.split()[0], concept.split()[4]
    while min(_contrast(canvas.background, COLOURS[name]) for name in (first, second)) <= 110:
        canvas = _Drawing.blank(dice)
    apart = dice.between(28, 33) * (1 if dice.random() < 0.5 else -1)
    across = _centre_of(dice, 6)
    for name, colour, x in (("circle", first, -apart), ("square", second, apart)):
        canvas.shape(name, COLOURS[colour], (across[0] + x, across[1]), dice.between(21, 27))
    return canvas.finish(), {}
