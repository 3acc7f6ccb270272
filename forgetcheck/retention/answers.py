"""Answers: what base and tuned said for the same samples in the same order. The evidence, on disk."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from forgetcheck.documents import parse_json, reason
from forgetcheck.errors import CannotAsk
from forgetcheck.files import AUDIT_MANIFEST as MANIFEST
from forgetcheck.files import whole_folder

SCHEMA = "forgetcheck/audit@2"
OLDER = "forgetcheck/audit@1"  # without variants, and chance where an answer names several classes
ARRAYS = "answers.safetensors"
GALLERY = "gallery"
Role = Literal["asked", "optional", "recorded"]  # of a task: wanted, if it is there, by the record of a run
PICTURES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg"}


@dataclass(frozen=True)
class Variants:
    """Whether the answers are right if the question is put otherwise, over and over.

    By each prompt template alone, or by a probe that was trained on a part of its images.
    """

    of: Literal["template", "train"]
    bits: NDArray[np.uint8]  # (v, ceil(n / 8)) right or not, as numpy packs bits
    left_out: float = 0.0  # of "train": the share of the images that each leaves out
    settings: NDArray[np.uint8] | None = None  # (s, ceil(n / 8)) the same with each setting
    chosen: NDArray[np.uint8] | None = None  # (b,) the settings that other training images would choose

    def right(self, n: int) -> NDArray[np.bool_]:  # (v, n)
        return np.unpackbits(self.bits, axis=1, count=n).view(np.bool_)

    def right_by_setting(self, n: int) -> NDArray[np.bool_] | None:  # (s, n)
        if self.settings is None:
            return None
        return np.unpackbits(self.settings, axis=1, count=n).view(np.bool_)


def variants_of(
    of: Literal["template", "train"],
    right: NDArray[np.bool_],
    left_out: float = 0.0,
    settings: NDArray[np.bool_] | None = None,
    chosen: NDArray[np.uint8] | None = None,
) -> Variants:  # (v, n), (s, n), (b,)
    packed = None if settings is None else np.packbits(settings, axis=1)
    return Variants(of, np.packbits(right, axis=1), left_out, packed, chosen)


@dataclass(frozen=True)
class Said:
    """What one model said for every test sample of one question."""

    label: NDArray[np.int32]  # (n,) predicted class
    confidence: NDArray[np.float32]  # (n,) probability the model gave to that class
    notes: Mapping[str, Any] = field(default_factory=dict)  # how the answer was reached, JSON-able
    named: NDArray[np.int32] | None = None  # (n, k) all classes that count as said, where several do (acc@k)
    variants: Variants | None = None


@dataclass(frozen=True)
class Answers:
    """One question: a task put to base and tuned through the same probe, sample by sample."""

    checkpoint: str  # name of the tuned checkpoint in this audit
    task: str
    probe: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int32]  # (n,) truth
    base: Said
    tuned: Said
    identical: bool = False  # the weights this question depends on are the same, bit for bit
    target: bool = False  # the task this checkpoint was tuned on
    warnings: tuple[str, ...] = ()
    groups: NDArray[np.int32] | None = None  # (n,) samples of one image, patient ...; None: independent
    chance: NDArray[np.float64] | None = None  # (1 + c,) of the task and each class; None: see compare.chance


@dataclass(frozen=True)
class Unasked:
    """A question that could not be put, and why."""

    checkpoint: str
    task: str
    probe: str
    why: str
    role: Role = "asked"


@dataclass(frozen=True)
class Lost:
    """A sample that the base got right and the tuned model gets wrong, to look at."""

    checkpoint: str
    task: str
    probe: str
    sample: str  # its id in the task
    concept: str  # the truth, and what the base said
    said: str  # what the tuned model said
    image: bytes  # a thumbnail, PNG or JPEG


@dataclass(frozen=True)
class Audit:
    """All answers of an audit, and where they come from."""

    answers: tuple[Answers, ...]
    provenance: Mapping[str, Any]
    unasked: tuple[Unasked, ...] = ()
    gallery: tuple[Lost, ...] = ()
    older: bool = False  # read from a folder of the first schema, whose evidence lacks what is counted today


class VariantsRecord(BaseModel):
    """What the manifest holds of variants."""

    model_config = ConfigDict(strict=True)

    of: Literal["template", "train"]
    bits: str
    left_out: float
    settings: str | None = None
    chosen: str | None = None


class SaidRecord(BaseModel):
    """What the manifest holds of a Said: the keys of its arrays."""

    model_config = ConfigDict(strict=True)

    label: str
    confidence: str
    notes: dict[str, Any]
    named: str | None = None
    variants: VariantsRecord | None = None


class QuestionRecord(BaseModel):
    """What the manifest holds of one question."""

    model_config = ConfigDict(strict=True)

    checkpoint: str
    task: str
    probe: str
    class_names: list[str]
    identical: bool
    target: bool
    warnings: list[str]
    labels: str
    base: SaidRecord
    tuned: SaidRecord
    groups: str | None = None
    chance: str | None = None


class UnaskedRecord(BaseModel):
    """What the manifest holds of a question that could not be asked."""

    model_config = ConfigDict(strict=True)

    checkpoint: str
    task: str
    probe: str
    why: str
    role: Role = "asked"


class LostRecord(BaseModel):
    """What the manifest holds of a sample of the gallery: all but its picture, which is a file."""

    model_config = ConfigDict(strict=True)

    checkpoint: str
    task: str
    probe: str
    sample: str
    concept: str
    said: str
    image: str


class AuditRecord(BaseModel):
    """The manifest. Whoever wrote it, nothing of another type gets past here."""

    model_config = ConfigDict(strict=True)

    questions: list[QuestionRecord]
    provenance: dict[str, Any]
    unasked: list[UnaskedRecord] = []
    gallery: list[LostRecord] = []


def write_audit(folder: Path, audit: Audit, overwrite: bool = False) -> None:
    """Write the manifest and the arrays; the folder appears complete or not at all."""
    arrays: dict[str, NDArray[Any]] = {}
    questions = [pack(item, arrays) for item in audit.answers]
    manifest = {
        "schema": SCHEMA,
        "complete": True,
        "questions": questions,
        "unasked": [asdict(item) for item in audit.unasked],
        "gallery": [{**asdict(item), "image": picture_name(item.image)} for item in audit.gallery],
        "provenance": audit.provenance,
    }
    with whole_folder(folder, overwrite) as temporary:
        save_file(arrays, temporary / ARRAYS)
        for item in audit.gallery:
            (temporary / GALLERY).mkdir(exist_ok=True)
            (temporary / GALLERY / picture_name(item.image)).write_bytes(item.image)
        text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False)
        # a file name that isn't UTF-8 holds surrogates; escaped with a backslash they are JSON again
        (temporary / MANIFEST).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


def picture_name(image: bytes) -> str:
    """Name a picture by its content; raises KeyError for what isn't a PNG or a JPEG."""
    ending = next((ending for start, ending in PICTURES.items() if image.startswith(start)), None)
    if ending is None:
        raise KeyError("a picture of the gallery")
    return f"{hashlib.sha256(image).hexdigest()[:32]}.{ending}"


def pack(item: Answers, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Put the arrays of a question under the digest of their content and describe the rest.

    Equal arrays (the base's answers, the labels) are stored once, and a damaged one is found out.
    """
    return {
        "checkpoint": item.checkpoint,
        "task": item.task,
        "probe": item.probe,
        "class_names": list(item.class_names),
        "identical": item.identical,
        "target": item.target,
        "warnings": list(item.warnings),
        "labels": store(item.labels, arrays),
        "base": pack_said(item.base, arrays),
        "tuned": pack_said(item.tuned, arrays),
        **{
            name: store(array, arrays)
            for name, array in (("groups", item.groups), ("chance", item.chance))
            if array is not None
        },
    }


def pack_said(said: Said, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    packed = {
        "label": store(said.label, arrays),
        "confidence": store(said.confidence, arrays),
        "notes": dict(said.notes),
    }
    if said.named is not None:
        packed["named"] = store(said.named, arrays)
    if said.variants is not None:
        packed["variants"] = {
            name: store(value, arrays) if isinstance(value, np.ndarray) else value
            for name, value in vars(said.variants).items()
            if value is not None
        }
    return packed


def store(array: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> str:
    key = content_key(array)
    arrays[key] = np.ascontiguousarray(array)
    return key


def content_key(array: NDArray[Any]) -> str:
    head = f"{array.dtype}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()[:32]


def read_audit(folder: Path) -> Audit:
    """Read an audit folder back and verify it.

    Raises CannotAsk if it is missing, incomplete, damaged or of another schema.
    """
    manifest = read_manifest(folder)
    arrays = read_arrays(folder)
    try:
        record = AuditRecord.model_validate(manifest)
        answers = tuple(unpack(item, arrays) for item in record.questions)
        gallery = tuple(unpack_lost(item, folder / GALLERY) for item in record.gallery)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CannotAsk(
            f"audit '{folder}' is incomplete or damaged at {place} ({first['msg'].lower()}); "
            "run the audit again."
        ) from None
    except KeyError as problem:
        raise CannotAsk(
            f"audit '{folder}' is incomplete: {problem} is missing; run the audit again."
        ) from None
    misfit = next((item for item in answers if not fits(item)), None) or repeated(answers)
    if misfit is not None:
        raise CannotAsk(
            f"audit '{folder}' is damaged at {misfit.task} / {misfit.probe}; run the audit again."
        )
    if not answers:
        raise CannotAsk(f"audit '{folder}' holds no questions: nothing was measured; run the audit again.")
    unasked = tuple(Unasked(**item.model_dump()) for item in record.unasked)
    return Audit(answers, record.provenance, unasked, gallery, older=manifest["schema"] == OLDER)


def read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not folder.exists():
        raise CannotAsk(
            f"no audit at '{folder}': make one with `forgetcheck audit BASE TUNED --out {folder}`."
        )
    if not path.is_file():
        raise CannotAsk(
            f"'{folder}' is not a complete audit: it has no {MANIFEST}; run `forgetcheck audit` again."
        )
    try:
        manifest = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise CannotAsk(f"cannot read '{path}': {reason(problem)}; run `forgetcheck audit` again.") from None
    found = manifest.get("schema")
    if found not in (SCHEMA, OLDER):
        raise CannotAsk(
            f"'{path}' has schema {found!r}, this forgetcheck reads {SCHEMA!r} and {OLDER!r}; "
            "run the audit again."
        )
    if manifest.get("complete") is not True:
        raise CannotAsk(f"audit '{folder}' is incomplete; run `forgetcheck audit` again.")
    return manifest


def read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    path = folder / ARRAYS
    if not path.is_file():
        raise CannotAsk(f"audit '{folder}' is incomplete: it has no {ARRAYS}; run `forgetcheck audit` again.")
    try:
        path.open("rb").close()  # safetensors calls a file missing that may not be read
        arrays = load_file(path)
    except (OSError, SafetensorError, TypeError, AttributeError) as problem:  # or no type of numpy
        raise CannotAsk(f"cannot read '{path}': {reason(problem)}; run `forgetcheck audit` again.") from None
    damaged = [key for key, array in arrays.items() if content_key(array) != key]
    if damaged:
        raise CannotAsk(f"'{path}' is damaged (array {damaged[0]}); run `forgetcheck audit` again.")
    return arrays


def fits(item: Answers) -> bool:
    """Whether every model answered every sample, with a class that exists."""
    arrays = (item.labels, item.base.label, item.tuned.label)
    others = (item.base.confidence, item.tuned.confidence)
    shapes = {array.shape for array in (*arrays, *others)}
    kinds = [array.dtype.kind for array in (*arrays, *others)]
    if item.groups is not None and (item.groups.dtype.kind, item.groups.shape) != ("i", item.labels.shape):
        return False
    if item.chance is not None and not fits_chance(item.chance, len(item.class_names)):
        return False
    if kinds != ["i", "i", "i", "f", "f"] or shapes != {(item.labels.size,)}:
        return False
    if not all(((array >= 0) & (array <= 1)).all() for array in others):  # nor NaN
        return False
    if item.identical and (item.base.label != item.tuned.label).any():
        return False
    if not all(fits_variants(said, item) for said in (item.base, item.tuned)):
        return False
    return all(((array >= 0) & (array < len(item.class_names))).all() for array in arrays)


def fits_variants(said: Said, item: Answers) -> bool:
    """Whether variants and named classes are about these samples and classes."""
    n = len(item.labels)
    if said.named is not None:
        named = said.named
        if named.dtype.kind != "i" or named.ndim != 2 or len(named) != n or named.shape[1] < 1:
            return False
        if ((named < 0) | (named >= len(item.class_names))).any():
            return False
    if said.variants is None:
        return True
    variants = said.variants
    tables = [variants.bits, *([] if variants.settings is None else [variants.settings])]
    if any(t.dtype != np.uint8 or t.ndim != 2 or t.shape[0] < 1 or t.shape[1] != -(-n // 8) for t in tables):
        return False
    if (variants.settings is None) != (variants.chosen is None):
        return False
    if variants.settings is not None and variants.chosen is not None:
        chosen = variants.chosen
        if chosen.dtype != np.uint8 or chosen.ndim != 1 or not len(chosen):
            return False
        if (chosen >= len(variants.settings)).any():
            return False
    return 0 < variants.left_out < 1 if variants.of == "train" else variants.left_out == 0


def fits_chance(chance: NDArray[Any], classes: int) -> bool:
    shaped = chance.dtype.kind == "f" and chance.shape == (1 + classes,)
    return shaped and bool(((chance >= 0) & (chance <= 1)).all())  # nor NaN


def repeated(answers: Sequence[Answers]) -> Answers | None:
    """Return a question that is asked twice, and would count twice."""
    seen = set()
    for item in answers:
        key = (item.checkpoint, item.task, item.probe)
        if key in seen:
            return item
        seen.add(key)
    return None


def unpack(item: QuestionRecord, arrays: dict[str, NDArray[Any]]) -> Answers:
    return Answers(
        checkpoint=item.checkpoint,
        task=item.task,
        probe=item.probe,
        class_names=tuple(item.class_names),
        labels=arrays[item.labels],
        base=unpack_said(item.base, arrays),
        tuned=unpack_said(item.tuned, arrays),
        identical=item.identical,
        target=item.target,
        warnings=tuple(item.warnings),
        groups=None if item.groups is None else arrays[item.groups],
        chance=None if item.chance is None else arrays[item.chance],
    )


def unpack_lost(item: LostRecord, folder: Path) -> Lost:
    """Read the picture; raises KeyError if it is missing, or another than was written."""
    path = folder / Path(item.image).name
    try:
        image = path.read_bytes() if path.is_file() else b""
    except PermissionError as problem:
        raise CannotAsk(f"cannot read '{path}': {reason(problem)}; check its permissions.") from None
    except (OSError, ValueError):  # a name that no file can have
        image = b""
    if not image:
        raise KeyError(f"{GALLERY}/{item.image}")
    if picture_name(image) != item.image:
        raise KeyError(f"{GALLERY}/{item.image} as it was written")
    return Lost(**{**item.model_dump(), "image": image})


def unpack_said(said: SaidRecord, arrays: dict[str, NDArray[Any]]) -> Said:
    other = said.variants
    return Said(
        arrays[said.label],
        arrays[said.confidence],
        said.notes,
        named=None if said.named is None else arrays[said.named],
        variants=None if other is None else unpack_variants(other, arrays),
    )


def unpack_variants(found: VariantsRecord, arrays: dict[str, NDArray[Any]]) -> Variants:
    settings, chosen = (None if key is None else arrays[key] for key in (found.settings, found.chosen))
    return Variants(found.of, arrays[found.bits], found.left_out, settings, chosen)
