"""Small labelled data sets in every layout that a source reads; the pictures of a class share a colour."""

import io

import numpy as np
from PIL import Image

COLOURS = {"red fox": (200, 40, 30), "Übersee-Käfer": (30, 160, 70), "blue_jay": (40, 60, 210)}
PARTS = {"train": 6, "test": 4}  # images per class


def picture(name, number=0, side=12):
    """Draw one image of a class; every number is another image."""
    dice = np.random.default_rng([sum(name.encode()), number])
    noise = dice.integers(-20, 20, (side, side, 3))
    return Image.fromarray((np.array(COLOURS.get(name, (90, 90, 90))) + noise).clip(0, 255).astype(np.uint8))


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def folder(root, parts=PARTS, names=tuple(COLOURS)):
    """Write root/<part>/<class>/*.png; a part named '' is the root itself."""
    for shift, (part, count) in enumerate(parts.items()):
        for name in names:
            for number in range(count):
                put(root / part / name / f"image {number}.png", encoded(picture(name, number + 100 * shift)))
    return f"folder:path={root}"


# A source that has required options shows here how it is used: the contract is tested on this
EXAMPLES = {"folder": folder}
