"""CVAT for images 1.1: an XML file of image-level tags, of images with one tag each.

A subset that is called train, test or the like is that part; without any it is split by content. Classes are
the labels of the tags, sorted (numbers by value). Paths are relative to the file, or to `root`, and stay
below it. The file is read by its events: documents with a DTD or entities are refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn
from xml.parsers import expat

from forgetcheck.catalog import Share, White
from forgetcheck.documents import kind_of, reason
from forgetcheck.errors import DataError
from forgetcheck.tasks.annotated import Annotated, Reading, Several, named_part, refuse_strange
from forgetcheck.tasks.base import Task
from forgetcheck.tasks.indexed import Index, Indexed
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.decode import WHITE
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach, reach_of

_LARGEST = 2**30  # bytes of a file
_MOST = 5_000_000  # images of a file; each takes some 300 bytes of memory
FOLDER = "images"  # beside annotations.xml in CVAT's export with images


@dataclass(frozen=True)
class Cvat(Indexed, Task):
    """The one tag of each image is its class."""

    path: str  # annotations.xml
    root: str = ""  # where the paths begin; if empty, `images` beside the file if there is one, or its folder
    several: Several = "refuse"  # images that don't have exactly one tag
    strip: str = ""  # what a server or mount wrote before the paths; several between |
    prompts: str = ""  # a file of templates
    links: Literal["inside", "follow"] = "inside"
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray: 4095 where 12 bits of them are used

    @cached_property
    def index(self) -> Index:
        path, reach = Path(self.path), reach_of(self)
        found = _read_tags(path, self.begins, reach, self.strip)
        classes = naming.in_order(label for image in found for label in image.labels)
        follow = self.links == "follow"
        reading = Reading(f"'{path}'", "tag", self.begins, self.strip, self.several, follow, reach)
        return reading.index(found, classes)

    @property
    def begins(self) -> Path:
        """Where the paths of its images begin."""
        beside = Path(self.path).parent / FOLDER
        return Path(self.root) if self.root else beside if beside.is_dir() else beside.parent

    def around(self, text: Path) -> Sequence[Path]:
        return self.beside_list(Path(self.path), self.begins, text)


def _read_tags(path: Path, root: Path, reach: Reach = ANYWHERE, strip: str = "") -> list[Annotated]:
    """Return the images of a file with their tags. Raises InputError for what is no CVAT for images."""
    seen = _Seen(path)
    parser = expat.ParserCreate()
    parser.StartElementHandler = seen.start
    parser.EndElementHandler = seen.end
    parser.StartDoctypeDeclHandler = seen.refuse_document
    parser.EntityDeclHandler = seen.refuse_document
    try:
        place = reach.allowed(path, reach.around_list(path, root))
        if place.exists() and not place.is_file():
            raise ValueError(f"it is {kind_of(place)}, not a file")
        if place.stat().st_size > _LARGEST:
            raise ValueError(f"it has more than {_LARGEST >> 20:,} MiB")
        with place.open("rb") as file:
            parser.ParseFile(file)
    except (OSError, ValueError, expat.ExpatError) as problem:
        raise DataError(f"cannot read '{path}': {reason(problem)}; expected CVAT's XML.") from None
    refuse_strange(reach, path, root, strip, seen.images)
    if not seen.images:
        raise DataError(f"'{path}' lists no images: expected CVAT for images 1.1.")
    return seen.images


@dataclass
class _Seen:
    """What was seen so far of a file, element by element."""

    path: Path
    images: list[Annotated] = field(default_factory=list)
    open: list[str] = field(default_factory=list)  # elements
    image: Mapping[str, str] | None = None
    tags: dict[str, None] = field(default_factory=dict)

    def start(self, name: str, facts: Mapping[str, str]) -> None:
        if not self.open and name != "annotations":
            raise DataError(f"'{self.path}' is no CVAT: it begins with <{name}>, not with <annotations>.")
        if self.open == ["annotations"] and name == "track":
            raise DataError(f"'{self.path}' is CVAT for video: export it as CVAT for images 1.1.")
        if self.open == ["annotations"] and name == "image":
            self.image, self.tags = dict(facts), {}
        if self.open == ["annotations", "image"] and name == "tag":
            self.tags[naming.tidied(facts.get("label", ""))] = None
        self.open.append(name)

    def end(self, name: str) -> None:
        self.open.pop()
        if self.open == ["annotations"] and self.image is not None:
            where, path = f"'{self.path}' image {len(self.images)}", self.image.get("name", "")
            if not path or "" in self.tags:
                raise DataError(
                    f"{where} has {'a tag without a label' if path else 'no name'}: export it anew."
                )
            if len(self.images) >= _MOST:
                raise DataError(f"'{self.path}' lists more than {_MOST:,} images: export it in parts.")
            part = named_part(self.image.get("subset", ""))
            self.images.append(Annotated(where, path, tuple(self.tags), part))
            self.image = None

    def refuse_document(self, *declared: Any) -> NoReturn:
        raise DataError(f"'{self.path}' has a DTD, which could name other files: CVAT writes none; refused.")
