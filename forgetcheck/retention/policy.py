"""How much may be lost: the limits a person sets, and which questions each of them catches."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from forgetcheck.documents import read_toml, reason
from forgetcheck.errors import PolicyError
from forgetcheck.retention.compare import FEW, FEW_CLUSTERS, Retention

_Share = Annotated[float, Field(ge=0, lt=1)]
Accuracy = Annotated[float, Field(ge=0, le=1)]
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
FILES = ("forgetcheck.toml", "pyproject.toml")  # looked for in the working folder, in this order
_LIMITS = ("max_drop", "max_lost")  # what a rule may gate
_EXCLUSIVE = (*_LIMITS, "ignore", "must_forget", "max_accuracy")


class Rule(BaseModel):
    """Limits for the questions that a pattern catches: `task`, or `task/class` for concepts of it.

    `*` stands for anything. Of several rules that catch a question, the last decides, key by key.
    """

    model_config = _STRICT

    match: Annotated[str, Field(min_length=1)]
    probe: Annotated[str, Field(min_length=1)] = "*"
    max_drop: _Share | None = None  # gates what it catches
    max_lost: _Share | None = None  # of the base's right answers, whatever was gained for them
    weight: Annotated[float, Field(gt=0, le=1e6)] | None = None  # in the mean drop; 1 if not given
    ignore: bool | None = None  # reported, but neither gates nor counts in the mean; false takes it back
    must_forget: bool | None = None  # knowledge that must not survive
    max_accuracy: Accuracy | None = None  # what counts as forgotten, with must_forget
    reason: str = ""  # why this limit; shown with it

    @model_validator(mode="after")
    def says_something(self) -> Self:
        effects = (self.max_drop, self.max_lost, self.weight, self.ignore, self.must_forget)
        if all(effect is None for effect in effects):
            raise ValueError("says nothing: give max_drop, max_lost, weight, ignore or must_forget")
        if bool(self.must_forget) != (self.max_accuracy is not None):
            raise ValueError("must_forget = true and max_accuracy go together")
        limits = [key for key in _LIMITS if getattr(self, key) is not None]
        if self.must_forget and (limits or self.ignore):
            raise ValueError(f"must_forget excludes {limits[0] if limits else 'ignore'}")
        if self.ignore and limits:
            raise ValueError(f"ignore excludes {limits[0]}")
        return self

    @property
    def gates(self) -> bool:
        """Whether the gate needs something to be caught: a limit on nothing would pass quietly."""
        return any(getattr(self, key) is not None for key in _LIMITS) or bool(self.must_forget)

    def catches(self, row: Retention) -> bool:
        """Whether the pattern of this rule matches a question."""
        if not like(self.probe, row.probe):
            return False
        if row.concept is None:
            return like(self.match, row.task)
        slashes = [place for place, mark in enumerate(self.match) if mark == "/"]
        return any(
            like(self.match[:place], row.task) and like(self.match[place + 1 :], row.concept)
            for place in slashes  # a name may hold slashes of its own
        )

    def through_task(self, row: Retention) -> bool:
        """Whether a concept is ignored, or no longer, because its task is."""
        about_ignoring = self.ignore is not None and row.concept is not None
        return about_ignoring and like(self.probe, row.probe) and like(self.match, row.task)

    @property
    def keys(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True, exclude_defaults=True)


@lru_cache(maxsize=1000)
def pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern; each part is taken where it first fits, so that no pattern takes forever."""
    first, *rest = (re.escape(part) for part in text.split("*"))
    if not rest:
        return re.compile(first)
    *middle, last = rest
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + f".*{last}", re.DOTALL)


@lru_cache(maxsize=100_000)
def like(text: str, name: str) -> bool:
    """Whether a name matches a pattern, in which `*` stands for anything and all else for itself."""
    return pattern(text).fullmatch(name) is not None


_Pin = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]


class Pins(BaseModel):
    """The digests of what was approved: what is judged must be that, or nothing is."""

    model_config = _STRICT

    base: _Pin | None = None  # its weights
    tuned: Annotated[list[_Pin], Field(min_length=1)] | None = None  # each must have one of these weights
    battery: _Pin | None = None  # class names, templates and test samples of every task
    audit: _Pin | None = None  # all of the folder

    @field_validator("tuned", mode="before")
    @classmethod
    def one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @property
    def wanted(self) -> dict[str, list[str]]:
        """Return the digests that are demanded, by what they are demanded of."""
        said = self.model_dump(exclude_none=True)
        return {name: [value] if isinstance(value, str) else value for name, value in said.items()}


class Policy(BaseModel):
    """The limits, as fractions. Read from a TOML file; unknown keys are refused."""

    model_config = _STRICT

    max_drop: _Share = 0.02  # of any task; and no concept may be shown to have lost more
    gate_concepts: bool = True  # whether a concept that is shown to have lost more fails the policy
    max_lost: _Share | None = None  # of any task's right answers, whatever was gained for them
    max_mean_drop: _Share | None = (
        None  # of the tasks of a checkpoint and probe that the base knows, by weight
    )
    min_target_accuracy: Accuracy | None = None  # of the tuned model on the task it was tuned on
    max_target_drop: _Share | None = None  # there, instead of max_drop
    target: str | None = None  # that task, for a checkpoint that doesn't record it
    max_calibration_error_increase: _Share | None = None  # of any task; not of probes that are trained for it
    allow_identical: bool = False  # whether a checkpoint may be the base itself
    when_unsure: Literal["warn", "fail"] = "warn"
    confidence: Annotated[float, Field(gt=0.5, le=0.999999)] = 0.95  # of the two-sided intervals
    pins: Pins | None = None
    concepts: list[Rule] = []

    @property
    def level(self) -> float:
        """Of each one-sided claim: what a two-sided interval leaves on one side."""
        return (1 - self.confidence) / 2

    @property
    def settings(self) -> dict[str, Any]:
        """Return what it says besides its rules; pins under their whole names, where there are any."""
        wanted = {} if self.pins is None else self.pins.wanted
        pins = {f"pins.{name}": ", ".join(digests) for name, digests in wanted.items()}
        return {**self.model_dump(exclude={"concepts", "pins"}), **pins}

    def names_target(self, task: str) -> bool:
        return self.target is not None and like(self.target, task)


@dataclass(frozen=True)
class Limit:
    """What a policy says of one question, all rules taken together."""

    max_drop: float
    gated: bool  # to be shown to be kept
    watched: bool = False  # a concept that nobody named: fails where it is shown to be broken, and no more
    max_lost: float | None = None
    ignored: bool = False
    weight: float = 1.0
    max_accuracy: float | None = None  # given: this must be forgotten
    reason: str = ""

    @property
    def must_forget(self) -> bool:
        return self.max_accuracy is not None


def limits_of(rows: Sequence[Retention], policy: Policy) -> list[Limit]:
    """Return what the policy says of each row, in order."""

    @cache
    def combined(whole: bool, target: bool, tells: bool, caught: tuple[tuple[int, bool], ...]) -> Limit:
        said = [
            policy.concepts[number].keys if direct else {"ignore": policy.concepts[number].ignore}
            for number, direct in caught
        ]
        return _limit_of(whole, target, tells, policy, said)

    return [
        combined(row.concept is None, row.target, tells(row), tuple(_caught_by(row, policy))) for row in rows
    ]


def tells(row: Retention) -> bool:
    """Whether a row has samples enough to be tested among many: it must not depend on what was answered."""
    return row.n >= FEW and (row.clusters is None or row.clusters >= FEW_CLUSTERS)


def _caught_by(row: Retention, policy: Policy) -> Iterator[tuple[int, bool]]:
    """Yield the rules that speak of a row by number, and whether they name it or only its task."""
    for number, rule in enumerate(policy.concepts):
        if rule.catches(row):
            yield number, True
        elif rule.through_task(row):
            yield number, False


def _limit_of(
    whole: bool, target: bool, tells: bool, policy: Policy, rules: Sequence[dict[str, Any]]
) -> Limit:
    """Combine what the rules say of a question; the last that gives a key decides it.

    Limits, having to forget and being ignored exclude one another: the last of them stands.
    """
    said: dict[str, Any] = {}
    for keys in rules:
        limits = any(key in keys for key in _LIMITS)
        if limits or any(keys.get(key) for key in _EXCLUSIVE):
            kept = _LIMITS if limits else ()
            said = {key: value for key, value in said.items() if key in kept or key not in _EXCLUSIVE}
        said |= keys
    default = policy.max_drop
    if target and policy.max_target_drop is not None:
        default = policy.max_target_drop
    ignored, must_forget = bool(said.get("ignore")), bool(said.get("must_forget"))
    free = not ignored and not must_forget
    gated = free and (whole or "max_drop" in said)
    return Limit(
        max_drop=said.get("max_drop", default),
        gated=gated,
        watched=free and not gated and tells and policy.gate_concepts,
        max_lost=said.get("max_lost", policy.max_lost if whole else None) if free else None,
        ignored=ignored,
        weight=said.get("weight", 1.0),
        max_accuracy=said["max_accuracy"] if must_forget and not ignored else None,
        reason=said.get("reason", ""),
    )


def catches_nothing(rows: Sequence[Retention], policy: Policy) -> Iterator[Rule]:
    """Yield the rules that speak of no question that was asked."""
    for rule in policy.concepts:
        if not any(rule.catches(row) or rule.through_task(row) for row in rows):
            yield rule


def find_policy(folder: Path) -> Path | None:
    """Return the policy file of a folder: forgetcheck.toml, or a pyproject.toml that holds one."""
    for name in FILES:
        path = folder / name
        if name == "pyproject.toml":
            if path.is_file() and "forgetcheck" in inner(_document_of(path), "tool"):
                return path
        elif (
            path.exists() or path.is_symlink()
        ):  # whatever it is: one that can't be read is refused, not missed
            return path
    return None


def read_policy(path: Path) -> Policy:
    """Read `[policy]` of a TOML file, or `[tool.forgetcheck.policy]` of a pyproject.toml.

    Raises InputError with every problem of the file at once.
    """
    document = tables(path, _document_of(path))
    table = "tool.forgetcheck.policy" if path.name == "pyproject.toml" else "policy"
    unknown = sorted(set(document) - {"policy"})
    if "policy" not in document or unknown:
        found = f"found {', '.join(unknown)}" if unknown else "found nothing"
        raise PolicyError(
            f"{path}: expected one table [{table}], {found}; write [{table}] and below it max_drop = 0.02."
        )
    try:
        return Policy.model_validate(document["policy"])
    except ValidationError as problem:
        raise PolicyError(f"{path}: " + "; ".join(_describe(error) for error in problem.errors())) from None


def _document_of(path: Path) -> dict[str, Any]:
    try:
        return read_toml(path)
    except (FileNotFoundError, NotADirectoryError):
        raise PolicyError(
            f"no policy file at '{path}': check the path, or leave --policy out for the default limit."
        ) from None
    except (OSError, ValueError) as problem:
        raise PolicyError(f"cannot read '{path}': {reason(problem)}.") from None


def tables(path: Path, document: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a document that is ours: all of it, but of a pyproject.toml one table."""
    if path.name != "pyproject.toml":
        return document
    return inner(inner(document, "tool"), "forgetcheck")


def inner(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a table of a TOML document, empty if there is none of this name."""
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _describe(error: Any) -> str:
    """Put one of pydantic's problems into half a line: the key, what is wrong, the way out."""
    place = [f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in error["loc"]]
    key = "policy" + "".join(place)
    if error["type"] == "extra_forbidden":
        inside: dict[str, type[BaseModel]] = {"concepts": Rule, "pins": Pins}
        model = inside.get(error["loc"][0], Policy) if len(error["loc"]) > 1 else Policy
        known = list(model.model_fields)
        near = get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
        return f"{key}: unknown key, {hint}"
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("value_error", "missing"):
        return f"{key}: {said[0].lower()}{said[1:]}"
    return f"{key}: {said[0].lower()}{said[1:]}, found {error['input']!r}"
