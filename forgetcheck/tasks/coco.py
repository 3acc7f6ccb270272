"""COCO's instances as classes: a JSON file of boxes, or Roboflow's folder, of images with one category each.

A file, such as `instances_val2017.json`, lists images, annotations and categories; it is split by content. A
folder has train, valid and test with `_annotations.coco.json` beside the images. Classes are the categories
that an annotation has, by their names, in the order of their ids; an image of one category may show it
several times. Paths are relative to the file, or to `root`, and stay below it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from forgetcheck.catalog import Share, White
from forgetcheck.documents import reason
from forgetcheck.errors import DataError
from forgetcheck.tasks.annotated import Annotated, Reading, Several, refuse_strange
from forgetcheck.tasks.base import Task
from forgetcheck.tasks.indexed import Index, Indexed
from forgetcheck.tasks.reading.caption_files import LOOSE, Image, Text, Whole, checked, names_by_id, read_json
from forgetcheck.tasks.reading.decode import WHITE
from forgetcheck.tasks.reading.naming import has_no_text, tidied
from forgetcheck.tasks.reading.reach import Reach, reach_of
from forgetcheck.tasks.reading.splitting import is_part

_FILE = "_annotations.coco.json"  # as Roboflow calls it


class _Category(BaseModel):
    """A class; ids may have holes, and begin anywhere."""

    model_config = LOOSE
    id: Whole
    name: Text


class _Instance(BaseModel):
    """A box, or a mask."""

    model_config = LOOSE
    image_id: Whole
    category_id: Whole


class _Instances(BaseModel):
    """`instances_val2017.json`, and data sets that write the same."""

    model_config = LOOSE
    images: list[Image]
    annotations: list[_Instance]
    categories: list[_Category]


@dataclass(frozen=True)
class Coco(Indexed, Task):
    """The one category of each image is its class."""

    path: str  # a JSON file, or a folder with train, valid or test
    root: str = ""  # where the paths begin; the folder of the file if empty
    several: Several = "refuse"  # images that don't have exactly one category
    strip: str = ""  # what a server or mount wrote before the paths; several between |
    prompts: str = ""  # a file of templates
    links: Literal["inside", "follow"] = "inside"
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray: 4095 where 12 bits of them are used

    @cached_property
    def index(self) -> Index:
        path, where, reach = Path(self.path), f"'{self.path}'", reach_of(self)
        files = _parts_of(path) if path.is_dir() else {"": path}
        found: list[Annotated] = []
        classes: dict[str, None] = {}
        for part, file in files.items():
            read = checked(file, _Instances, _instances_in(file, self.begins, reach))
            listed = [Annotated("", each.file_name, (), folder=part) for each in read.images]
            refuse_strange(reach, file, self.begins, self.strip, listed)
            names = _category_names(f"'{file}'", read)
            found += _annotated(str(file), read, names, part)
            used = {names[each.category_id] for each in read.annotations}
            classes.update((name, None) for name in names.values() if name in used)
        reading = Reading(
            where, "category", self.begins, self.strip, self.several, self.links == "follow", reach
        )
        return reading.index(found, list(classes))

    @property
    def begins(self) -> Path:
        """Where the paths of its images begin."""
        path = Path(self.path)
        return Path(self.root) if self.root else path if path.is_dir() else path.parent

    def around(self, text: Path) -> Sequence[Path]:
        return self.beside_list(Path(self.path), self.begins, text)


def _parts_of(folder: Path) -> dict[str, Path]:
    """Find the files of Roboflow's export."""
    try:
        files = {path.name: path / _FILE for path in sorted(folder.iterdir()) if is_part(path.name)}
    except OSError as problem:
        raise DataError(f"cannot read the folder '{folder}': {reason(problem)}.") from None
    found = {part: file for part, file in files.items() if file.is_file()}
    if not found:
        raise DataError(
            f"'{folder}' has no train, valid or test with a {_FILE} inside: name the JSON file itself, "
            "and with root=DIR the folder of its images."
        )
    return found


def _instances_in(file: Path, root: Path, reach: Reach) -> Any:
    found = read_json(file, root, reach)
    if isinstance(found, dict) and {"images", "annotations"} <= found.keys():
        first = (found["annotations"] or [None])[0] if isinstance(found["annotations"], list) else None
        if not isinstance(first, dict) or "caption" not in first or "category_id" in first:
            return found
        raise DataError(f"'{file}' has captions and no categories: read it by captions:path={file}.")
    raise DataError(f"'{file}' is no COCO: expected images, annotations and categories.")


def _category_names(where: str, read: _Instances) -> dict[Whole, str]:
    """Return the names of all categories by their ids, in the order of the ids."""
    names: dict[Whole, str] = {}
    ids: dict[str, Whole] = {}
    ordered = sorted(read.categories, key=lambda each: (isinstance(each.id, str), each.id))
    for each in ordered:
        name = tidied(each.name)
        if each.id in names or name in ids:
            raise DataError(
                f"{where} lists the category {each.id!r}, '{name}', beside "
                f"{ids.get(name, each.id)!r}, '{names.get(each.id, name)}': give each its own id and name."
            )
        names[each.id], ids[name] = name, each.id
    return names


def _annotated(where: str, read: _Instances, names: dict[Whole, str], part: str) -> Iterator[Annotated]:
    """Yield the images in the order of the file, each with the names of its categories."""
    images = names_by_id(where, read.images)
    labels: dict[Whole, dict[str, None]] = {each: {} for each in images}
    for number, each in enumerate(read.annotations):
        if each.image_id not in images or each.category_id not in names:
            what = "image" if each.image_id not in images else "category"
            known = each.image_id if what == "image" else each.category_id
            raise DataError(f"'{where}' annotation {number} has the {what} {known!r}, which it doesn't list.")
        labels[each.image_id][names[each.category_id]] = None
    for number, (known, path) in enumerate(images.items()):
        if has_no_text(path):
            raise DataError(f"'{where}' image {number} is not Unicode (a lone surrogate): write it anew.")
        yield Annotated(f"'{where}' image {number}", path, tuple(labels[known]), part, part)
