"""forgetcheck: did fine-tuning cripple your CLIP model?

What this module names is the public API; docs/api.md shows it at work. Each name is imported when it is
first used: reading and judging an audit never waits for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from forgetcheck.version import __version__

if TYPE_CHECKING:
    from forgetcheck.api import audit, judge, load, read_audit, read_battery, read_policy, render, tune
    from forgetcheck.batteries.battery import Battery
    from forgetcheck.clip.model.encoder import Encoder
    from forgetcheck.clip.saving.run_folder import Run
    from forgetcheck.errors import ForgetcheckError, InputError
    from forgetcheck.exporters.base import Exporter
    from forgetcheck.probes.base import Probe
    from forgetcheck.regularizers.base import Regularizer
    from forgetcheck.retention.answers import Audit, PairedPredictions, SkippedQuestion
    from forgetcheck.retention.compare import Retention
    from forgetcheck.retention.gate import Check, Mean, Outcome
    from forgetcheck.retention.policy import Policy
    from forgetcheck.retention.report import Report
    from forgetcheck.retention.verdict import Finding, Verdict
    from forgetcheck.tasks.base import Task
    from forgetcheck.tuning.schedule import Schedule

__all__ = [
    "Audit",
    "Battery",
    "Check",
    "Encoder",
    "Exporter",
    "Finding",
    "ForgetcheckError",
    "InputError",
    "Mean",
    "Outcome",
    "PairedPredictions",
    "Policy",
    "Probe",
    "Regularizer",
    "Report",
    "Retention",
    "Run",
    "Schedule",
    "SkippedQuestion",
    "Task",
    "Verdict",
    "__version__",
    "audit",
    "judge",
    "load",
    "read_audit",
    "read_battery",
    "read_policy",
    "render",
    "tune",
]

_HOMES = {
    "api": ("audit", "judge", "load", "read_audit", "read_battery", "read_policy", "render", "tune"),
    "batteries.battery": ("Battery",),
    "clip.model.encoder": ("Encoder",),
    "clip.saving.run_folder": ("Run",),
    "errors": ("InputError", "ForgetcheckError"),
    "exporters.base": ("Exporter",),
    "probes.base": ("Probe",),
    "regularizers.base": ("Regularizer",),
    "retention.answers": ("PairedPredictions", "Audit", "SkippedQuestion"),
    "retention.compare": ("Retention",),
    "retention.gate": ("Check", "Mean", "Outcome"),
    "retention.policy": ("Policy",),
    "retention.report": ("Report",),
    "retention.verdict": ("Finding", "Verdict"),
    "tasks.base": ("Task",),
    "tuning.schedule": ("Schedule",),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'forgetcheck' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(f"forgetcheck.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
