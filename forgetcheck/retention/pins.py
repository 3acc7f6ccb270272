"""Pins: the digests of what was approved, which a policy may demand of what is judged. Pure."""

from collections.abc import Mapping
from typing import Any

from forgetcheck.errors import PolicyError
from forgetcheck.provenance import digest
from forgetcheck.retention.answers import Audit
from forgetcheck.retention.policy import Pins

_NONE = ""  # the audit doesn't record it


def found_pins(audit: Audit) -> dict[str, list[str]]:
    """Return what can be pinned of an audit, by the key that does: one digest, of tuned one each."""
    models = _table(audit.provenance.get("tuned")).values()
    return {
        "base": [_weights(audit.provenance.get("base"))],
        "tuned": [*dict.fromkeys(map(_weights, models))] or [_NONE],
        "battery": [_data(_table(audit.provenance.get("battery")))],
        "audit": [audit.digest],
    }


def refuse_unpinned(audit: Audit, pins: Pins | None) -> None:
    """Raise InputError, naming both digests, if what is judged isn't what a policy pins."""
    found = found_pins(audit)
    for name, wanted in ({} if pins is None else pins.wanted).items():
        for each in found[name]:
            if each not in wanted:
                has = f"the audit's is {each}" if each else "the audit records none"
                raise PolicyError(
                    f"policy.pins.{name}: the policy demands {' or '.join(wanted)}, {has}: judge what was "
                    f"approved, or approve this one and pin it."
                )


def _weights(model: Any) -> str:
    """Return the digest of the weights of both towers, whatever file and precision they are stored in."""
    towers = _table(model).get("digest")
    return f"sha256:{digest(towers)}" if towers else _NONE


def _data(battery: Mapping[str, Any]) -> str:
    """Return the digest of what is asked: class names, templates and test samples of every task."""
    tasks, data = _table(battery.get("tasks")), _table(battery.get("data"))
    if not tasks or not all(data.get(name) for name in tasks):
        return _NONE
    words = ("class_names", "templates")
    whole = {name: [data[name], *(_table(tasks[name]).get(key) for key in words)] for name in tasks}
    return f"sha256:{digest(whole)}"


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
