"""Captions as their data sets write them: tables, COCO, Karpathy's splits, lists, SugarCrepe."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from forgetcheck.documents import read_json as parsed
from forgetcheck.documents import reason
from forgetcheck.errors import CannotAsk
from forgetcheck.tasks.captioning import Told
from forgetcheck.tasks.naming import has_no_text, tidied
from forgetcheck.tasks.rows import Columns, below, read_rows

TABLES = (".csv", ".tsv")
LARGEST = 2**30  # bytes of a file of captions
MEMORY = 2**32  # bytes of what is read from it; Karpathy's COCO takes a third
LOOSE = ConfigDict(extra="ignore", strict=True)
Text = Annotated[str, Field(min_length=1)]
Whole = str | int


class Image(BaseModel):
    """An image of COCO."""

    model_config = LOOSE
    id: Whole
    file_name: Text


class Annotation(BaseModel):
    """A caption of COCO."""

    model_config = LOOSE
    image_id: Whole
    caption: str


class Coco(BaseModel):
    """`captions_val2017.json`, and data sets that write the same."""

    model_config = LOOSE
    images: list[Image]
    annotations: list[Annotation]


class Sentence(BaseModel):
    """A caption of Karpathy."""

    model_config = LOOSE
    raw: str


class Split(BaseModel):
    """An image of Karpathy."""

    model_config = LOOSE
    filename: Text
    filepath: str = ""  # a folder
    split: str
    sentences: list[Sentence]


class Karpathy(BaseModel):
    """`dataset_coco.json`, `dataset_flickr30k.json`: parts as the field splits COCO and Flickr30k."""

    model_config = LOOSE
    images: list[Split]


class Listed(BaseModel):
    """An entry of a plain list, as `coco_karpathy_test.json` of BLIP."""

    model_config = LOOSE
    image: Text
    caption: str | list[str]


class Swapped(BaseModel):
    """An entry of SugarCrepe."""

    model_config = LOOSE
    filename: Text
    caption: str
    negative_caption: str


def read_table(path: Path, root: Path, columns: Columns) -> list[Told]:
    """Return the rows of a CSV or TSV file."""
    return [
        Told(
            row.path,
            tidied(row.said["caption"]),
            tidied(row.said.get("swap", "")),
            *(row.said[name] for name in ("kind", "part", "group")),
        )
        for row in read_rows(path, root, columns)
    ]


def read_captions(path: Path, root: Path) -> list[Told]:
    """Return the captions of a JSON file of COCO, Karpathy, or a list of image and caption."""
    found = read_json(path)
    if isinstance(found, list):
        read: Callable[..., Iterator[Told]] = from_list
        kind: Any = list[Listed]
    elif isinstance(found, dict) and "annotations" in found:
        read, kind = from_coco, Coco
    elif isinstance(found, dict) and "images" in found:
        read, kind = from_karpathy, Karpathy
    else:
        raise CannotAsk(
            f"'{path}' is no file of captions: expected COCO's images and annotations, Karpathy's images, or "
            "a list of image and caption."
        )
    return settled(path, root, read(str(path), checked(path, kind, found)))


def read_swaps(path: Path, root: Path) -> list[Told]:
    """Return captions and their swaps from a JSON file of SugarCrepe, or a folder of them: a kind each."""
    if not path.is_dir():
        return settled(path, root, from_sugar_crepe(path, ""), ("caption", "swap"))
    files = sorted(path.glob("*.json"))
    if not files:
        raise CannotAsk(f"'{path}' has no JSON files: name the folder with SugarCrepe's, or one of them.")
    kinds = [settled(file, root, from_sugar_crepe(file, file.stem), ("caption", "swap")) for file in files]
    for file, rows in zip(files, kinds, strict=True):
        if not rows:
            raise CannotAsk(f"'{file}' has no captions: remove it, or get it again.")
    return [row for rows in kinds for row in rows]


def from_coco(where: str, found: Coco) -> Iterator[Told]:
    names: dict[Whole, str] = {}
    for image in found.images:
        if names.setdefault(image.id, image.file_name) != image.file_name:
            raise CannotAsk(
                f"'{where}' gives the id {image.id!r} to '{names[image.id]}' and '{image.file_name}': give "
                "each image its own."
            )
    for number, each in enumerate(found.annotations):
        if each.image_id not in names:
            raise CannotAsk(
                f"'{where}' annotation {number} is about the image {each.image_id!r}, which it doesn't list."
            )
        yield Told(names[each.image_id], each.caption)


def from_karpathy(where: str, found: Karpathy) -> Iterator[Told]:
    for number, image in enumerate(found.images):
        path = str(PurePosixPath(image.filepath) / image.filename)
        refuse_none(where, number, path, image.sentences)
        yield from (Told(path, sentence.raw, part=image.split) for sentence in image.sentences)


def from_list(where: str, found: Sequence[Listed]) -> Iterator[Told]:
    for number, each in enumerate(found):
        captions = [each.caption] if isinstance(each.caption, str) else each.caption
        refuse_none(where, number, each.image, captions)
        yield from (Told(each.image, caption) for caption in captions)


def refuse_none(where: str, number: int, path: str, captions: Sequence[Any]) -> None:
    """Refuse an image without captions: left out, the others would be easier to tell apart."""
    if not captions:
        raise CannotAsk(
            f"'{where}' entry {number}, about '{path}', has no captions: write one, or remove the entry."
        )


def from_sugar_crepe(path: Path, kind: str) -> Iterator[Told]:
    found = read_json(path)
    shape: Any = list[Swapped] if isinstance(found, list) else dict[str, Swapped]
    entries = checked(path, shape, found)
    for each in entries.values() if isinstance(entries, Mapping) else entries:
        yield Told(each.filename, each.caption, each.negative_caption, kind)


def settled(
    path: Path, root: Path, told: Iterator[Told], needed: Sequence[Literal["caption", "swap"]] = ("caption",)
) -> list[Told]:
    """Return rows whose captions are one line, and whose images lie below the root."""
    rows = []
    for number, row in enumerate(told):
        where = f"'{path}' entry {number}"
        said = {"caption": tidied(row.text), "swap": tidied(row.swap)}
        empty = next((name for name in needed if not said[name]), None)
        if empty is not None:
            raise CannotAsk(
                f"{where}, about '{row.path}', has an empty {empty}: write it, or remove the entry."
            )
        if has_no_text(row.path + row.text + row.swap):
            raise CannotAsk(f"{where} is not Unicode (a lone surrogate, such as \\ud83d): write it anew.")
        rows.append(Told(below(where, root, row.path), said["caption"], said["swap"], row.kind, row.part))
    return rows


def checked(path: Path, shape: Any, found: Any) -> Any:
    try:
        return TypeAdapter(shape).validate_python(found)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        where = f"'{path}' at {place}" if place else f"'{path}'"
        raise CannotAsk(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}.") from None


def read_json(path: Path) -> Any:
    try:
        return parsed(path, LARGEST, MEMORY, "utf-8-sig")
    except OSError as problem:
        raise CannotAsk(f"cannot read '{path}': {reason(problem)}; check the path.") from None
    except ValueError as problem:
        raise CannotAsk(
            f"cannot read '{path}': {reason(problem)}; expected JSON in UTF-8, or a table whose name ends in "
            f"{' or '.join(TABLES)}."
        ) from None
