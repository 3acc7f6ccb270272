"""Answers: what base and tuned said for the same samples in the same order. The evidence, on disk."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from forgetcheck.documents import parse_within, read_bytes, reason
from forgetcheck.errors import InputError
from forgetcheck.files import AUDIT_MANIFEST as MANIFEST
from forgetcheck.files import whole_folder

_SCHEMA = "forgetcheck/audit@2"
OLDER = "forgetcheck/audit@1"  # without variants, and chance where an answer names several classes
ARRAYS = "answers.safetensors"
_GALLERY = "gallery"
_PARTS = (MANIFEST, ARRAYS, _GALLERY)  # all that lies in the folder of an audit
# of a task: wanted, if it is there, by the record of a run; or nobody came to it before the audit was stopped
Role = Literal["asked", "optional", "recorded", "stopped"]
_LARGEST = 2**27  # bytes of a manifest; 50 tasks of 100 classes and 5 candidates have 1.2 MB
_MEMORY = 400 * 2**20  # bytes of what is read from it
_LARGEST_ARRAYS = 2**32  # bytes; 50 tasks of 10,000 samples and 5 candidates have 0.1 GB
_LARGEST_PICTURE = 2**20  # bytes; a thumbnail has some thousand
_DIGEST = re.compile(rb'("digest": "sha256:)([0-9a-f]{64})(")')
_HEAD = 4096  # bytes at the start of a manifest that hold its digest
_BLANK = b"0" * 64  # stands where the digest goes while it is computed
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
class Predictions:
    """What one model said for every test sample of one question."""

    label: NDArray[np.int32]  # (n,) predicted class
    confidence: NDArray[np.float32]  # (n,) probability the model gave to that class
    notes: Mapping[str, Any] = field(default_factory=dict)  # how the answer was reached, JSON-able
    named: NDArray[np.int32] | None = None  # (n, k) all classes that count as said, where several do (acc@k)
    variants: Variants | None = None


@dataclass(frozen=True)
class PairedPredictions:
    """One question: what base and tuned answered to the same samples of a task, through the same probe."""

    checkpoint: str  # name of the tuned checkpoint in this audit
    task: str
    probe: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int32]  # (n,) truth
    base: Predictions
    tuned: Predictions
    identical: bool = False  # the weights this question depends on are the same, bit for bit
    target: bool = False  # the task this checkpoint was tuned on
    warnings: tuple[str, ...] = ()
    groups: NDArray[np.int32] | None = None  # (n,) samples of one image, patient ...; None: independent
    chance: NDArray[np.float64] | None = None  # (1 + c,) of the task and each class; None: see compare.chance


@dataclass(frozen=True)
class SkippedQuestion:
    """A question that could not be put, and why."""

    checkpoint: str
    task: str
    probe: str
    why: str
    role: Role = "asked"


@dataclass(frozen=True)
class LostSample:
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

    answers: tuple[PairedPredictions, ...]
    provenance: Mapping[str, Any]
    unasked: tuple[SkippedQuestion, ...] = ()
    gallery: tuple[LostSample, ...] = ()
    older: bool = False  # read from a folder of the first schema, whose evidence lacks what is counted today
    digest: str = ""  # "sha256:..." of the folder it was written to, or read from; see `seal`
    unsealed: bool = False  # read from a folder of an earlier version, which carries no such digest
    stopped: str = ""  # what ended it before all was asked: "Ctrl-C", "SIGTERM"; empty: it is complete


class _VariantsRecord(BaseModel):
    """What the manifest holds of variants."""

    model_config = ConfigDict(strict=True)

    of: Literal["template", "train"]
    bits: str
    left_out: float
    settings: str | None = None
    chosen: str | None = None


class _PredictionsRecord(BaseModel):
    """What the manifest holds of a Said: the keys of its arrays."""

    model_config = ConfigDict(strict=True)

    label: str
    confidence: str
    notes: dict[str, Any]
    named: str | None = None
    variants: _VariantsRecord | None = None


class _QuestionRecord(BaseModel):
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
    base: _PredictionsRecord
    tuned: _PredictionsRecord
    groups: str | None = None
    chance: str | None = None


class _SkippedRecord(BaseModel):
    """What the manifest holds of a question that could not be asked."""

    model_config = ConfigDict(strict=True)

    checkpoint: str
    task: str
    probe: str
    why: str
    role: Role = "asked"


class _LostSampleRecord(BaseModel):
    """What the manifest holds of a sample of the gallery: all but its picture, which is a file."""

    model_config = ConfigDict(strict=True)

    checkpoint: str
    task: str
    probe: str
    sample: str
    concept: str
    said: str
    image: str


class _AuditRecord(BaseModel):
    """The manifest. Whoever wrote it, nothing of another type gets past here."""

    model_config = ConfigDict(strict=True)

    questions: list[_QuestionRecord]
    provenance: dict[str, Any]
    unasked: list[_SkippedRecord] = []
    gallery: list[_LostSampleRecord] = []
    stopped: str = ""


def write_audit(folder: Path, audit: Audit, overwrite: bool = False) -> str:
    """Write the manifest and the arrays; the folder appears whole or not at all. Returns its digest."""
    arrays: dict[str, NDArray[Any]] = {}
    questions = [_pack(item, arrays) for item in audit.answers]
    manifest = {
        "schema": _SCHEMA,
        "digest": f"sha256:{_BLANK.decode()}",
        "complete": not audit.stopped,
        **({"stopped": audit.stopped} if audit.stopped else {}),
        "questions": questions,
        "unasked": [asdict(item) for item in audit.unasked],
        "gallery": [{**asdict(item), "image": _picture_name(item.image)} for item in audit.gallery],
        "provenance": audit.provenance,
    }
    with whole_folder(folder, overwrite) as temporary:
        save_file(arrays, temporary / ARRAYS)
        for item in audit.gallery:
            (temporary / _GALLERY).mkdir(exist_ok=True)
            (temporary / _GALLERY / _picture_name(item.image)).write_bytes(item.image)
        text = json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        # a file name that isn't UTF-8 holds surrogates; escaped with a backslash they are JSON again
        blank = text.encode("utf-8", errors="backslashreplace")
        digest = seal(blank, arrays, audit.gallery)
        (temporary / MANIFEST).write_bytes(_DIGEST.sub(rb"\g<1>" + digest.encode() + rb"\3", blank, count=1))
    return f"sha256:{digest}"


def seal(blank: bytes, arrays: Mapping[str, NDArray[Any]], gallery: Sequence[LostSample]) -> str:
    """Return the one digest over all that a report reads: the manifest, every array and every picture.

    `blank` is the manifest as it is written, with zeros where the digest itself goes.
    """
    whole = hashlib.sha256(blank)
    for key in sorted(arrays):
        whole.update(key.encode() + _content_digest(arrays[key]))
    for picture in sorted({item.image for item in gallery}):
        whole.update(hashlib.sha256(picture).digest())
    return whole.hexdigest()


def _picture_name(image: bytes) -> str:
    """Name a picture by its content; raises KeyError for what isn't a PNG or a JPEG."""
    ending = next((ending for start, ending in PICTURES.items() if image.startswith(start)), None)
    if ending is None:
        raise KeyError("a picture of the gallery")
    return f"{hashlib.sha256(image).hexdigest()[:32]}.{ending}"


def _pack(item: PairedPredictions, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
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
        "labels": _store(item.labels, arrays),
        "base": _pack_said(item.base, arrays),
        "tuned": _pack_said(item.tuned, arrays),
        **{
            name: _store(array, arrays)
            for name, array in (("groups", item.groups), ("chance", item.chance))
            if array is not None
        },
    }


def _pack_said(said: Predictions, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    packed = {
        "label": _store(said.label, arrays),
        "confidence": _store(said.confidence, arrays),
        "notes": dict(said.notes),
    }
    if said.named is not None:
        packed["named"] = _store(said.named, arrays)
    if said.variants is not None:
        packed["variants"] = {
            name: _store(value, arrays) if isinstance(value, np.ndarray) else value
            for name, value in vars(said.variants).items()
            if value is not None
        }
    return packed


def _store(array: NDArray[Any], arrays: dict[str, NDArray[Any]]) -> str:
    key = content_key(array)
    arrays[key] = np.ascontiguousarray(array)
    return key


def content_key(array: NDArray[Any]) -> str:
    return _content_digest(array).hex()[:32]


def _content_digest(array: NDArray[Any]) -> bytes:
    whole = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    whole.update(np.ascontiguousarray(array).data)
    return whole.digest()


def read_audit(folder: Path) -> Audit:
    """Read an audit folder back and verify it.

    Raises InputError if it is missing, incomplete, damaged, changed since or of another schema.
    """
    data, manifest = _read_manifest(folder)
    arrays = _read_arrays(folder)
    try:
        record = _AuditRecord.model_validate(manifest)
        answers = tuple(_unpack(item, arrays) for item in record.questions)
        gallery = tuple(_unpack_lost(item, folder / _GALLERY) for item in record.gallery)
    except ValidationError as problem:
        first = problem.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"audit '{folder}' is incomplete or damaged at {place} ({first['msg'].lower()}); "
            "run the audit again."
        ) from None
    except KeyError as problem:
        raise InputError(
            f"audit '{folder}' is incomplete: {problem} is missing; run the audit again."
        ) from None
    misfit = next((item for item in answers if not _fits(item)), None) or repeated(answers)
    if misfit is not None:
        raise InputError(
            f"audit '{folder}' is damaged at {misfit.task} / {misfit.probe}; run the audit again."
        )
    if not answers:
        raise InputError(f"audit '{folder}' holds no questions: nothing was measured; run the audit again.")
    digest = verified(folder, data, manifest, arrays, gallery)
    unasked = tuple(SkippedQuestion(**item.model_dump()) for item in record.unasked)
    older = manifest["schema"] == OLDER
    return Audit(
        answers, record.provenance, unasked, gallery, older, digest, not digest, stopped=record.stopped
    )


def verified(
    folder: Path,
    data: bytes,
    manifest: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    gallery: Sequence[LostSample],
) -> str:
    """Return the digest of a folder, empty where an earlier version wrote none.

    Raises InputError if it is another. Arrays and pictures are named by their content in the manifest, and
    were compared with that when they were read: what was changed is the manifest.
    """
    if "digest" not in manifest:
        return ""
    head = data[:_HEAD]
    blank = _DIGEST.sub(rb"\g<1>" + _BLANK + rb"\3", head, count=1) + data[_HEAD:]
    found = f"sha256:{seal(blank, arrays, gallery)}"
    if manifest["digest"] != found:
        raise InputError(
            f"'{folder / MANIFEST}' was changed after the audit: it says {str(manifest['digest'])[:80]!r}, "
            f"and what it holds has {found}; restore the file, or run the audit again."
        )
    return found


def _read_manifest(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the manifest as it is written, and what it says."""
    path = folder / MANIFEST
    if not folder.exists():
        raise InputError(
            f"no audit at '{folder}': make one with `forgetcheck audit BASE TUNED --out {folder}`."
        )
    if not path.is_file():
        raise InputError(
            f"'{folder}' is not a complete audit: it has no {MANIFEST}; run `forgetcheck audit` again."
        )
    try:
        data = read_bytes(path, _LARGEST)
        manifest = parse_within(_MEMORY, data)
        if not isinstance(manifest, dict):
            raise ValueError(f"expected a JSON object, found {type(manifest).__name__}")
    except (OSError, ValueError) as problem:
        raise InputError(f"cannot read '{path}': {reason(problem)}; run `forgetcheck audit` again.") from None
    found = manifest.get("schema")
    if found not in (_SCHEMA, OLDER):
        raise InputError(
            f"'{path}' has schema {found!r}, this forgetcheck reads {_SCHEMA!r} and {OLDER!r}; "
            "run the audit again."
        )
    if manifest.get("complete") is not True and not _says_stopped(manifest):
        raise InputError(f"audit '{folder}' is incomplete; run `forgetcheck audit` again.")
    return data, manifest


def _says_stopped(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is of an audit that somebody stopped: what it holds is whole, and isn't all."""
    stopped = manifest.get("stopped")
    return manifest.get("complete") is False and isinstance(stopped, str) and bool(stopped)


def to_go_on(folder: Path) -> bool:
    """Whether an audit that was stopped, and nothing else, lies here: the next one may take its place."""
    try:
        _, manifest = _read_manifest(folder)
        return _says_stopped(manifest) and {file.name for file in folder.iterdir()} <= {*_PARTS}
    except (InputError, OSError):
        return False


def _read_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    path = folder / ARRAYS
    if not path.is_file():
        raise InputError(
            f"audit '{folder}' is incomplete: it has no {ARRAYS}; run `forgetcheck audit` again."
        )
    try:
        path.open("rb").close()  # safetensors calls a file missing that may not be read
        if path.stat().st_size > _LARGEST_ARRAYS:
            raise ValueError(f"it has more than {_LARGEST_ARRAYS >> 20:,} MiB")
        arrays = load_file(path)
    except (
        OSError,
        ValueError,
        SafetensorError,
        TypeError,
        AttributeError,
    ) as problem:  # or no type of numpy
        raise InputError(f"cannot read '{path}': {reason(problem)}; run `forgetcheck audit` again.") from None
    damaged = [key for key, array in arrays.items() if content_key(array) != key]
    if damaged:
        raise InputError(f"'{path}' is damaged (array {damaged[0]}); run `forgetcheck audit` again.")
    return arrays


def _fits(item: PairedPredictions) -> bool:
    """Whether every model answered every sample, with a class that exists."""
    arrays = (item.labels, item.base.label, item.tuned.label)
    others = (item.base.confidence, item.tuned.confidence)
    shapes = {array.shape for array in (*arrays, *others)}
    kinds = [array.dtype.kind for array in (*arrays, *others)]
    if item.groups is not None and (item.groups.dtype.kind, item.groups.shape) != ("i", item.labels.shape):
        return False
    if item.chance is not None and not _fits_chance(item.chance, len(item.class_names)):
        return False
    if kinds != ["i", "i", "i", "f", "f"] or shapes != {(item.labels.size,)}:
        return False
    if not all(((array >= 0) & (array <= 1)).all() for array in others):  # nor NaN
        return False
    if item.identical and (item.base.label != item.tuned.label).any():
        return False
    if not all(_fits_variants(said, item) for said in (item.base, item.tuned)):
        return False
    return all(((array >= 0) & (array < len(item.class_names))).all() for array in arrays)


def _fits_variants(said: Predictions, item: PairedPredictions) -> bool:
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


def _fits_chance(chance: NDArray[Any], classes: int) -> bool:
    shaped = chance.dtype.kind == "f" and chance.shape == (1 + classes,)
    return shaped and bool(((chance >= 0) & (chance <= 1)).all())  # nor NaN


def repeated(answers: Sequence[PairedPredictions]) -> PairedPredictions | None:
    """Return a question that is asked twice, and would count twice."""
    seen = set()
    for item in answers:
        key = (item.checkpoint, item.task, item.probe)
        if key in seen:
            return item
        seen.add(key)
    return None


def _unpack(item: _QuestionRecord, arrays: dict[str, NDArray[Any]]) -> PairedPredictions:
    return PairedPredictions(
        checkpoint=item.checkpoint,
        task=item.task,
        probe=item.probe,
        class_names=tuple(item.class_names),
        labels=arrays[item.labels],
        base=_unpack_said(item.base, arrays),
        tuned=_unpack_said(item.tuned, arrays),
        identical=item.identical,
        target=item.target,
        warnings=tuple(item.warnings),
        groups=None if item.groups is None else arrays[item.groups],
        chance=None if item.chance is None else arrays[item.chance],
    )


def _unpack_lost(item: _LostSampleRecord, folder: Path) -> LostSample:
    """Read the picture; raises KeyError if it is missing, or another than was written."""
    path = folder / Path(item.image).name
    try:
        image = read_bytes(path, _LARGEST_PICTURE) if path.is_file() else b""
    except PermissionError as problem:
        raise InputError(f"cannot read '{path}': {reason(problem)}; check its permissions.") from None
    except (OSError, ValueError):  # a name that no file can have
        image = b""
    if not image:
        raise KeyError(f"{_GALLERY}/{item.image}")
    if _picture_name(image) != item.image:
        raise KeyError(f"{_GALLERY}/{item.image} as it was written")
    return LostSample(**{**item.model_dump(), "image": image})


def _unpack_said(said: _PredictionsRecord, arrays: dict[str, NDArray[Any]]) -> Predictions:
    other = said.variants
    return Predictions(
        arrays[said.label],
        arrays[said.confidence],
        said.notes,
        named=None if said.named is None else arrays[said.named],
        variants=None if other is None else _unpack_variants(other, arrays),
    )


def _unpack_variants(found: _VariantsRecord, arrays: dict[str, NDArray[Any]]) -> Variants:
    settings, chosen = (None if key is None else arrays[key] for key in (found.settings, found.chosen))
    return Variants(found.of, arrays[found.bits], found.left_out, settings, chosen)
