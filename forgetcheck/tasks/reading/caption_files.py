"""Captions as their data sets write them: tables, COCO, Karpathy's splits, lists, SugarCrepe."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from forgetcheck.documents import read_json as parsed
from forgetcheck.documents import reason
from forgetcheck.errors import DataError
from forgetcheck.tasks.captioned import Told
from forgetcheck.tasks.reading.naming import has_no_text, tidied
from forgetcheck.tasks.reading.prefixes import refuse_lost, stripped
from forgetcheck.tasks.reading.reach import Reach
from forgetcheck.tasks.reading.shard_folder import LAYOUT
from forgetcheck.tasks.reading.table import JSON_LINES, Columns, below, read_rows

TABLES = (".csv", ".tsv", *JSON_LINES)
_LARGEST = 2**30  # bytes of a file of captions
_MEMORY = 2**32  # bytes of what is read from it; Karpathy's COCO takes a third
LOOSE = ConfigDict(extra="ignore", strict=True)
Text = Annotated[str, Field(min_length=1)]
Whole = str | int


class Image(BaseModel):
    """An image of COCO."""

    model_config = LOOSE
    id: Whole
    file_name: Text


class _Annotation(BaseModel):
    """A caption of COCO."""

    model_config = LOOSE
    image_id: Whole
    caption: str


class _Coco(BaseModel):
    """`captions_val2017.json`, and data sets that write the same."""

    model_config = LOOSE
    images: list[Image]
    annotations: list[_Annotation]


class _Sentence(BaseModel):
    """A caption of Karpathy."""

    model_config = LOOSE
    raw: str


class _Split(BaseModel):
    """An image of Karpathy."""

    model_config = LOOSE
    filename: Text
    filepath: str = ""  # a folder
    split: str
    sentences: list[_Sentence]


class _Karpathy(BaseModel):
    """`dataset_coco.json`, `dataset_flickr30k.json`: parts as the field splits COCO and Flickr30k."""

    model_config = LOOSE
    images: list[_Split]


class _Listed(BaseModel):
    """An entry of a plain list, as `coco_karpathy_test.json` of BLIP."""

    model_config = LOOSE
    image: Text
    caption: str | list[str]


class _Swapped(BaseModel):
    """An entry of SugarCrepe."""

    model_config = LOOSE
    filename: Text
    caption: str
    negative_caption: str


_NAMED = {
    name
    for kind in (Image, _Annotation, _Coco, _Sentence, _Split, _Karpathy, _Listed, _Swapped)
    for name in kind.model_fields
}


def read_table(path: Path, root: Path, columns: Columns, reach: Reach) -> list[Told]:
    """Return the rows of a CSV or TSV file."""
    return [
        Told(
            row.path,
            tidied(row.said["caption"]),
            tidied(row.said.get("swap", "")),
            *(row.said[name] for name in ("kind", "part", "group")),
        )
        for row in read_rows(path, root, columns, reach)
    ]


def read_captions(path: Path, root: Path, reach: Reach, strip: str = "") -> list[Told]:
    """Return the captions of a JSON file of COCO, Karpathy, or a list of image and caption."""
    found = read_json(path, root, reach)
    _refuse_shard_list(path, found)
    if isinstance(found, list):
        read: Callable[..., Iterator[Told]] = _from_list
        kind: Any = list[_Listed]
    elif isinstance(found, dict) and "annotations" in found:
        _refuse_boxes(path, found)
        read, kind = _from_coco, _Coco
    elif isinstance(found, dict) and "images" in found:
        read, kind = _from_karpathy, _Karpathy
    else:
        raise DataError(
            f"'{path}' is no file of captions: expected COCO's images and annotations, Karpathy's images, or "
            "a list of image and caption."
        )
    return _settled(path, root, reach, read(str(path), checked(path, kind, found)), strip)


def _refuse_shard_list(path: Path, found: Any) -> None:
    """Refuse the index that wids writes of tars, in the place of captions."""
    listed = found.get("shardlist") if isinstance(found, dict) else found
    first = listed[0] if isinstance(listed, list) and listed else None
    if isinstance(first, dict) and {"url", "nsamples"} <= first.keys():
        raise DataError(f"'{path}' is an index of tars, and not the tars: {LAYOUT}.")


def _refuse_boxes(path: Path, found: Mapping[str, Any]) -> None:
    listed = found["annotations"]
    first = listed[0] if isinstance(listed, list) and listed else None
    if isinstance(first, dict) and "category_id" in first and "caption" not in first:
        raise DataError(f"'{path}' has boxes and no captions: read it by coco:path={path}.")


def read_swaps(path: Path, root: Path, reach: Reach, strip: str = "") -> list[Told]:
    """Return captions and their swaps from a JSON file of SugarCrepe, or a folder of them: a kind each."""
    needed: tuple[Literal["caption", "swap"], ...] = ("caption", "swap")
    if not path.is_dir():
        return _settled(path, root, reach, _from_sugar_crepe(path, root, reach, ""), strip, needed)
    files = sorted(path.glob("*.json"))
    if not files:
        raise DataError(f"'{path}' has no JSON files: name the folder with SugarCrepe's, or one of them.")
    kinds = [
        _settled(file, root, reach, _from_sugar_crepe(file, root, reach, file.stem), strip, needed)
        for file in files
    ]
    for file, rows in zip(files, kinds, strict=True):
        if not rows:
            raise DataError(f"'{file}' has no captions: remove it, or get it again.")
    return [row for rows in kinds for row in rows]


def names_by_id(where: str, images: Sequence[Image]) -> dict[Whole, str]:
    """Return the files of COCO's images by their ids. Raises InputError for one id of two."""
    names: dict[Whole, str] = {}
    for image in images:
        if names.setdefault(image.id, image.file_name) != image.file_name:
            raise DataError(
                f"'{where}' gives the id {image.id!r} to '{names[image.id]}' and '{image.file_name}': give "
                "each image its own."
            )
    return names


def _from_coco(where: str, found: _Coco) -> Iterator[Told]:
    names = names_by_id(where, found.images)
    for number, each in enumerate(found.annotations):
        if each.image_id not in names:
            raise DataError(
                f"'{where}' annotation {number} is about the image {each.image_id!r}, which it doesn't list."
            )
        yield Told(names[each.image_id], each.caption)


def _from_karpathy(where: str, found: _Karpathy) -> Iterator[Told]:
    for number, image in enumerate(found.images):
        path = f"{image.filepath}/{image.filename}" if image.filepath else image.filename
        _refuse_none(where, number, path, image.sentences)
        yield from (Told(path, sentence.raw, part=image.split) for sentence in image.sentences)


def _from_list(where: str, found: Sequence[_Listed]) -> Iterator[Told]:
    for number, each in enumerate(found):
        captions = [each.caption] if isinstance(each.caption, str) else each.caption
        _refuse_none(where, number, each.image, captions)
        yield from (Told(each.image, caption) for caption in captions)


def _refuse_none(where: str, number: int, path: str, captions: Sequence[Any]) -> None:
    """Refuse an image without captions: left out, the others would be easier to tell apart."""
    if not captions:
        raise DataError(
            f"'{where}' entry {number}, about '{path}', has no captions: write one, or remove the entry."
        )


def _from_sugar_crepe(path: Path, root: Path, reach: Reach, kind: str) -> Iterator[Told]:
    found = read_json(path, root, reach)
    shape: Any = list[_Swapped] if isinstance(found, list) else dict[str, _Swapped]
    entries = checked(path, shape, found)
    for each in entries.values() if isinstance(entries, Mapping) else entries:
        yield Told(each.filename, each.caption, each.negative_caption, kind)


def _settled(
    path: Path,
    root: Path,
    reach: Reach,
    told: Iterator[Told],
    strip: str,
    needed: Sequence[Literal["caption", "swap"]] = ("caption",),
) -> list[Told]:
    """Return rows whose captions are one line, and whose images lie below the root."""
    rows, paths, every = [], [], list(told)
    reach.refuse_no_list(path, root, (stripped(row.path, strip) for row in every))
    for number, row in enumerate(every):
        where = f"'{path}' entry {number}"
        said = {"caption": tidied(row.text), "swap": tidied(row.swap)}
        empty = next((name for name in needed if not said[name]), None)
        if empty is not None:
            raise DataError(
                f"{where}, about '{row.path}', has an empty {empty}: write it, or remove the entry."
            )
        if has_no_text(row.path + row.text + row.swap):
            raise DataError(f"{where} is not Unicode (a lone surrogate, such as \\ud83d): write it anew.")
        name = below(where, root, row.path, strip)
        paths.append((row.path, name))
        rows.append(Told(name, said["caption"], said["swap"], row.kind, row.part))
    refuse_lost(f"'{path}'", root, strip, paths)
    return rows


def checked(path: Path, shape: Any, found: Any) -> Any:
    try:
        return TypeAdapter(shape).validate_python(found)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        # other keys are not shown: any file may be named
        place = ".".join(str(part) for part in first["loc"] if part in _NAMED or str(part).isdecimal())
        where = f"'{path}' at {place}" if place else f"'{path}'"
        raise DataError(f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}.") from None


def read_json(path: Path, root: Path, reach: Reach) -> Any:
    own = reach.around_list(path, root)
    try:
        return parsed(reach.allowed(path, own), _LARGEST, _MEMORY, "utf-8-sig")
    except OSError as problem:
        raise DataError(f"cannot read '{path}': {reason(problem)}; check the path.") from None
    except ValueError as problem:
        raise DataError(
            f"cannot read '{path}': {reason(problem)}; expected JSON in UTF-8, or a table whose name ends in "
            f"{' or '.join(TABLES)}."
        ) from None
