"""Is this the comparison that was meant? The same weights twice, base and tuned swapped. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forgetcheck.retention.answers import Audit
from forgetcheck.retention.compare import Retention
from forgetcheck.retention.verdict import Finding, Verdict

_COUNTERS = ("epoch", "global_step", "global_steps", "step", "iteration")  # of training, as files record them
_FEWEST = 2  # tasks that must all rise before anybody is asked


def same_checkpoints(audit: Audit, rows: Sequence[Retention]) -> list[str]:
    """Name the checkpoints whose weights are those of the base: nothing can have been lost, or gained."""
    base = facts(audit, "base").get("digest")
    return [
        name
        for name in dict.fromkeys(row.checkpoint for row in rows)
        # an audit may have asked one tower only: what is recorded of both decides
        if facts(audit, "tuned", name).get("digest", base) == base
        and all(row.identical for row in rows if row.checkpoint == name)
    ]


def remarks(audit: Audit, findings: Sequence[Finding], same: Sequence[str]) -> Iterator[str]:
    """Say what makes a comparison doubtful, before any verdict is believed."""
    for name in dict.fromkeys(finding.retention.checkpoint for finding in findings):
        tasks = [f for f in findings if f.retention.checkpoint == name and f.retention.concept is None]
        if name in same:
            yield f"{name} is the base itself: all its weights are the same, so nothing was compared"
        elif all(finding.retention.unchanged for finding in tasks):
            yield (
                f"{name} gives every single answer of the base: was it trained, and is this the file that "
                "was?"
            )
        else:
            why = _swapped(audit, name, tasks)
            if why:
                yield f"{why}: are base and {name} swapped?"


def _swapped(audit: Audit, name: str, tasks: Sequence[Finding]) -> str:
    """Say what speaks for a base that was made from what is called tuned; empty if nothing does."""
    base, tuned = facts(audit, "base"), facts(audit, "tuned", name)
    if _made_from(base) and _made_from(base) == tuned.get("digest"):
        return "The base records that it was tuned from the other"
    if _tuned_by_us(base) and not _tuned_by_us(tuned):
        return "The base records a fine-tuning and the other none"
    others = [finding for finding in tasks if not finding.retention.target]
    counter = next((key for key in _COUNTERS if _counted(base, key) and _counted(tuned, key)), None)
    # a fine-tuning that begins to count anew is no swap: it forgets, where a swapped one seems to learn
    if counter and base[counter] > tuned[counter] and not any(f.verdict is Verdict.FORGOT for f in others):
        return f"The base records {counter.replace('_', ' ')} {base[counter]:,}, the other {tuned[counter]:,}"
    if len(others) >= _FEWEST and all(finding.verdict is Verdict.GAINED for finding in others):
        return "Every task is answered better than by the base"
    return ""


def _counted(model: Mapping[str, Any], key: str) -> bool:
    return type(model.get(key)) is int


def facts(audit: Audit, *keys: str) -> Mapping[str, Any]:
    """Follow keys into the provenance, which anybody may have written; empty where they don't lead."""
    value: Any = audit.provenance
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _made_from(model: Mapping[str, Any]) -> Any:
    """Return the digests of the base that a model was made from, as far as it records them."""
    for key in ("lineage", "run"):
        base = model.get(key, {}).get("base") if isinstance(model.get(key), Mapping) else None
        if isinstance(base, Mapping) and base.get("digest"):
            return base["digest"]
    return None


def _tuned_by_us(model: Mapping[str, Any]) -> bool:
    return any(
        isinstance(model.get(key), Mapping) and model[key].get("regularizer") for key in ("run", "lineage")
    )
