"""Bytes of an image file -> RGB pixels, as the field sees them; what can't be decoded is Unreadable.

Like open_clip and torchvision: the first frame, `convert("RGB")` (transparency is dropped, not composited),
no EXIF rotation. One thing is done better: 16-bit gray is scaled to 8 bits, where Pillow would cut it off.
"""

import os
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from forgetcheck.documents import reason
from forgetcheck.tasks.base import Unreadable
from forgetcheck.tasks.reading import in_flight
from forgetcheck.tasks.reading.stretches import Stretch, opened

LARGEST = 2**29  # bytes of a file
LONG = in_flight.LARGE  # bytes of a file, from which on it is read from the disk piece by piece
_PIXELS = 2**28 // 3  # Pillow's own limit: a quarter of a gigabyte as RGB
# EPS, PDF and the like are left out: Pillow hands them to programs that execute what is in them
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000")
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".avif", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"),
)
UNREAD = (  # images as well, which no evaluator of CLIPs reads
    *(
        ".heic",
        ".heif",
        ".jxl",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".orf",
        ".rw2",
        ".dcm",
        ".tga",
        ".exr",
    ),
)
ROWS = 64  # of an image that are scaled at once
WHITE = 65535  # the brightest of 16 bits
_GIT_LFS = b"version https://git-lfs"
_STILL = ("JPEG", "PNG", "BMP", "PPM")  # formats of one frame: once it is read, the file is let go
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_SIXTEEN_IN_32 = ("PNG", "PPM")  # formats whose mode "I" holds 0 to 65535


class _Quiet:
    """Drop Pillow's remarks on odd metadata, also where a test suite makes warnings errors.

    `warnings.catch_warnings` alone restores the wrong filters when threads overlap: here the first one that
    decodes sets them, and the last one restores them.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.silence = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.silence = warnings.catch_warnings(action="ignore")
                self.silence.__enter__()
            self.inside += 1

    def __exit__(self, *problem: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.silence.__exit__(None, None, None)


_QUIET = _Quiet()
if hasattr(os, "register_at_fork"):  # a lock that another thread held would stay locked in the child
    os.register_at_fork(after_in_child=_QUIET.begin)


def read_file(path: Path) -> bytes | Stretch:
    """Return the bytes of a file, or where they lie if they are many.

    Raises Unreadable for what isn't a file, or is too large to be an image.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):  # a pipe could keep us waiting, a device has no end
            raise Unreadable("it is not a file")
        refuse_large(facts.st_size)
        if facts.st_size >= LONG:
            return Stretch(path, 0, facts.st_size, whole=True)
        with path.open("rb") as file:
            data = file.read(facts.st_size + 1)
        if len(data) > facts.st_size:
            raise Unreadable("it grew while it was read")
        return data
    except (OSError, ValueError) as problem:  # ValueError: a name with a zero byte
        raise Unreadable(reason(problem)) from None


def refuse_large(size: int) -> None:
    """Raise Unreadable for a file that is too large; any other waits for its turn to be read."""
    if size > LARGEST:
        raise Unreadable(f"it has {size / 2**20:,.0f} MiB; at most {LARGEST >> 20} are read")
    in_flight.reading(size)


def decode(data: bytes | Stretch, white: int = WHITE) -> Image.Image:
    """Return the image as RGB. Raises Unreadable with the reason, and nothing else.

    `white` is the brightest level of 16-bit gray: many cameras and scanners use 12 bits of them.
    """
    if not data:
        raise Unreadable("it is empty")
    if isinstance(data, bytes) and data.startswith(_GIT_LFS):  # which is never long
        raise Unreadable("it is a pointer of Git LFS: run `git lfs pull`")
    known = formats()
    with refusing(), opened(data) as file, _blocks_for(data), Image.open(file, formats=known) as image:
        return as_rgb(image, white)


@contextmanager
def _blocks_for(data: bytes | Stretch) -> Iterator[None]:
    """Let Pillow read a long chunk of a very large file at once.

    It would read blocks and join them, which takes twice as much, to guard against lengths that a file
    doesn't have; ours end where they end. No other file is decoded meanwhile (see in_flight), and PPM, whose
    decoder takes its text apart block by block, is left as it is.
    """
    size = len(data) if isinstance(data, bytes) else data.size
    if size < in_flight.FILES or (data[:1] if isinstance(data, bytes) else data.start(1)) == b"P":
        yield
        return
    usual = ImageFile.SAFEBLOCK
    ImageFile.SAFEBLOCK = LARGEST
    try:
        yield
    finally:
        ImageFile.SAFEBLOCK = usual


@contextmanager
def refusing() -> Iterator[None]:
    """Turn whatever Pillow runs into into Unreadable."""
    try:
        with _QUIET:
            yield
    except Unreadable:
        raise
    except Image.DecompressionBombError:
        raise Unreadable(f"it has more than {_PIXELS:,} pixels: scale it down") from None
    except UnidentifiedImageError:
        raise Unreadable("it is no image of a known format") from None
    except Exception as problem:  # its plugins let through OSError, SyntaxError, struct.error ...
        raise Unreadable(" ".join(f"{problem or type(problem).__name__}".split())[:200]) from None


@cache
def formats() -> tuple[str, ...]:
    """Return those of FORMATS that this Pillow has: it fails on names it doesn't know."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def as_rgb(image: Image.Image, white: int = WHITE) -> Image.Image:
    """Convert to RGB in 8 bits. Raises Unreadable before anything is decoded that would take too much."""
    if image.width * image.height > _PIXELS:
        raise Unreadable(f"{image.width} x {image.height} pixels are more than {_PIXELS:,}: scale it down")
    in_flight.decoding(image.width * image.height)
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format in _SIXTEEN_IN_32):
        return Image.fromarray(eight_bits(np.asarray(image), white)).convert("RGB")
    if image.mode in ("I", "F"):
        raise Unreadable("its 32-bit pixels have no agreed range: save it with 8 or 16 bits")
    image.load()
    image.info.pop("transparency", None)  # dropped in any case; left in, Pillow warns of losing it
    if image.mode == "RGB" and image.format in _STILL:
        return image  # a copy would take as much again
    return image.convert("RGB")


def eight_bits(levels: np.ndarray, white: int = WHITE) -> np.ndarray:
    """Scale 0 to `white` to 0 to 255, rounding; what is brighter is white."""
    found = np.empty(levels.shape, np.uint8)
    for row in range(0, len(levels), ROWS):  # as wide numbers, all at once would take eight times as much
        scaled = (levels[row : row + ROWS].astype(np.uint64) * 255 + white // 2) // white
        found[row : row + ROWS] = scaled.clip(max=255)
    return found
