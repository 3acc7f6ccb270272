"""How much may be lost, and the verdict on each question under that policy."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forgetcheck.documents import read_toml
from forgetcheck.errors import CannotAsk
from forgetcheck.retention.compare import Retention
from forgetcheck.retention.statistics import holm, p_more_than


class Policy(BaseModel):
    """The limits. Read from the `[policy]` table of a TOML file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    max_drop: float = Field(default=0.02, ge=0, lt=1)  # of any task, as a fraction
    confidence: float = Field(default=0.95, gt=0.5, le=0.999999)  # of the two-sided interval


class Verdict(StrEnum):
    """What the evidence says of one question."""

    RETAINED = "retained"  # shown to be within the limit
    FORGOT = "forgot"  # shown to exceed the limit
    UNSURE = "unsure"  # the evidence does not tell
    NEVER_KNEW = "never knew"  # the base is not better than chance: nothing to forget
    GAINED = "gained"  # retained, and shown to be better than the base


@dataclass(frozen=True)
class Finding:
    """A retention, the limit it is held against and the verdict."""

    retention: Retention
    limit: float
    p: float  # of "the drop is at most the limit"; small speaks for forgetting
    p_adjusted: float  # what the verdict goes by: for a concept, adjusted for how many were tried
    verdict: Verdict
    gated: bool  # counts for passing: whole tasks do, single concepts inform


def judge(rows: Sequence[Retention], policy: Policy) -> list[Finding]:
    """Give the verdict on every row, in the order given.

    Concepts are many, so their p-values are adjusted (Holm) within a checkpoint and probe.
    """
    raw = [p_value(row, policy) for row in rows]
    shown = adjusted(rows, raw)
    return [
        Finding(row, policy.max_drop, p, decisive, verdict(row, decisive, policy), gated=row.concept is None)
        for row, p, decisive in zip(rows, raw, shown, strict=True)
    ]


def p_value(row: Retention, policy: Policy) -> float:
    if row.identical:
        return 1.0
    return float(p_more_than(row.lost, row.gained, row.n, policy.max_drop))


def adjusted(rows: Sequence[Retention], raw: Sequence[float]) -> list[float]:
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        if row.concept is not None:
            groups[row.checkpoint, row.probe].append(number)
    result = list(raw)
    for members in groups.values():
        for number, p in zip(members, holm([raw[m] for m in members]), strict=True):
            result[number] = float(p)
    return result


def verdict(row: Retention, p: float, policy: Policy) -> Verdict:
    """Decide one row from its interval and its decisive p-value.

    The interval leaves alpha/2 on each side, so each one-sided claim is made at that level.
    """
    alpha = (1 - policy.confidence) / 2
    if row.identical:
        return Verdict.RETAINED
    if row.high < 0:
        return Verdict.GAINED
    if row.chance_p > 1 - policy.confidence:
        return Verdict.NEVER_KNEW
    if p < alpha:
        return Verdict.FORGOT
    return Verdict.RETAINED if row.high <= policy.max_drop else Verdict.UNSURE


def passed(findings: Iterable[Finding]) -> bool:
    """Say whether no gated question was forgotten and at least one was measured."""
    gated = [finding.verdict for finding in findings if finding.gated]
    measured = any(verdict is not Verdict.NEVER_KNEW for verdict in gated)
    return measured and Verdict.FORGOT not in gated


def read_policy(path: Path) -> Policy:
    """Read `[policy]` of a TOML file, or `[tool.forgetcheck.policy]` of a pyproject.toml.

    Raises CannotAsk with every problem of the file at once.
    """
    document, table = document_of(path), "policy"
    if path.name == "pyproject.toml":
        document, table = inner(inner(document, "tool"), "forgetcheck"), "tool.forgetcheck.policy"
    unknown = sorted(set(document) - {"policy"})
    if "policy" not in document or unknown:
        found = f"found {', '.join(unknown)}" if unknown else "found nothing"
        raise CannotAsk(
            f"{path}: expected one table [{table}], {found}; write [{table}] and below it max_drop = 0.02."
        )
    try:
        return Policy.model_validate(document["policy"])
    except ValidationError as problem:
        raise CannotAsk(f"{path}: " + "; ".join(describe(error) for error in problem.errors())) from None


def document_of(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CannotAsk(
            f"no policy file at '{path}': check the path, or leave --policy out for the default limit."
        )
    try:
        return read_toml(path)
    except (OSError, ValueError) as problem:
        raise CannotAsk(f"cannot read '{path}': {problem}.") from None


def inner(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a table of a TOML document, empty if there is none of this name."""
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def describe(error: Any) -> str:
    """Put one of pydantic's problems into half a line: the key, what is wrong, the way out."""
    key = ".".join(["policy", *(str(part) for part in error["loc"])])
    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), Policy.model_fields, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(Policy.model_fields)}"
        return f"{key}: unknown key, {hint}"
    return f"{key}: {error['msg'][0].lower()}{error['msg'][1:]}, found {error['input']!r}"
