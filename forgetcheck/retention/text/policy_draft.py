"""A policy file to start from, drafted from what an audit could show."""

from collections.abc import Iterator, Mapping, Sequence

from forgetcheck.documents import toml_string
from forgetcheck.retention.compare import Retention
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report
from forgetcheck.retention.statistics.power import provable
from forgetcheck.retention.verdict import Finding

_ROUND = 0.005  # a limit a person would write


def draft(report: Report, origin: str, pins: Mapping[str, Sequence[str]] | None = None) -> str:
    """Return a commented policy file: it reads back as a policy, and says what to change.

    `pins` are digests by what they are of, which are demanded from then on.
    """
    return "\n".join([*lines(report, origin), *_pin_lines(pins or {})]) + "\n"


def lines(report: Report, origin: str) -> Iterator[str]:
    policy = Policy()
    yield f"# What may be lost. Drafted from the audit {_quoted(origin)}; every number is a fraction."
    yield "# Lint it with `forgetcheck policy check`; gate with `forgetcheck report AUDIT`."
    yield ""
    yield "[policy]"
    yield f"max_drop = {policy.max_drop}          # of any task; nor may a concept be shown to lose more"
    yield f"confidence = {policy.confidence}        # of the intervals"
    yield 'when_unsure = "warn"     # or "fail": what the evidence does not show is not passed'
    yield "# max_mean_drop = 0.01   # of the tasks on average, by weight"
    yield "# max_lost = 0.1         # of a task's right answers, whatever was gained for them"
    yield "# max_calibration_error_increase = 0.05   # by probes whose confidence is the model's own"
    yield from _target_lines(report)
    yield ""
    yield from _thin_lines(report, policy)
    yield from _concept_lines(report)


def _pin_lines(pins: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if pins:
        yield ""
        yield "[policy.pins]             # what is judged must be what was approved, or nothing is judged"
    for name, digests in pins.items():
        said = [_quoted(each) for each in digests]
        yield f"{name} = {said[0]}" if len(said) == 1 else f"{name} = [{', '.join(said)}]"


def _target_lines(report: Report) -> Iterator[str]:
    found = [target for name in report.checkpoints if (target := report.target(name)) is not None]
    if not found:
        yield '# target = "..."         # the task it was tuned on, so that the next two know what to look at'
        yield "# min_target_accuracy = 0.9"
    for target in found[:1]:
        row = target.retention
        lowest = max(row.tuned - _ROUND, 0)
        yield f"# min_target_accuracy = {lowest:.2f}  # on {_quoted(row.task)}, now {row.tuned:.3f}"
    yield "# max_target_drop = 0.0  # there, instead of max_drop"


def _thin_lines(report: Report, policy: Policy) -> Iterator[str]:
    """Name the tasks whose samples can't show the limit to be kept."""
    thin = [(finding, needed(finding, policy)) for finding in report.tasks()]
    thin = [(finding, limit) for finding, limit in thin if limit > policy.max_drop]
    if not thin:
        yield f"# Every task has enough samples to show a limit of {policy.max_drop}."
        yield ""
        return
    yield f"# These have too few samples to show that a limit of {policy.max_drop} is kept, and will mostly"
    yield "# be unsure. Add test images, or accept a wider limit and say why:"
    seen = set()
    for finding, limit in sorted(thin, key=lambda pair: -pair[1]):
        row = finding.retention
        key = (row.task, row.probe)
        if key not in seen:
            seen.add(key)
            yield "# [[policy.concepts]]"
            yield f"# match = {_pattern(row.task)}"
            yield f"# probe = {_pattern(row.probe)}"
            yield f"# max_drop = {limit:.3f}"
            yield f'# reason = "{row.n} images can hardly show less"'
    yield ""


def needed(finding: Finding, policy: Policy) -> float:
    """Return the smallest limit that an unchanged model would mostly be shown to keep, rounded up."""
    row = finding.retention
    if row.identical:
        return 0.0
    exact = float(provable(row.effective, row.churn, policy.confidence))
    return min(-(-exact // _ROUND) * _ROUND, 0.995)


def _concept_lines(report: Report) -> Iterator[str]:
    yield "# What matters to you gets a rule of its own; the last rule that matches decides, key by key."
    example = _example_concept(report)
    yield "# [[policy.concepts]]"
    yield f"# match = {_pattern(example)}  # a task, or task/class; * stands for anything"
    yield "# max_drop = 0.1         # now to be shown to be kept, not only not shown to be broken"
    yield "# max_lost = 0.2         # of its right answers, whatever was gained for them"
    yield "# weight = 3             # in the mean drop"
    yield "# ignore = true          # reported, but neither gated nor averaged (instead of max_drop)"
    yield "# must_forget = true     # knowledge that must not survive (instead of max_drop) ..."
    yield "# max_accuracy = 0.1     # ... above which it is still known"


def _example_concept(report: Report) -> str:
    rows = [finding.retention for finding in report.findings]
    concepts: list[Retention] = [row for row in rows if row.concept is not None and not row.target]
    return f"{concepts[0].task}/{concepts[0].concept}" if concepts else f"{rows[0].task}/*"


def _pattern(name: str) -> str:
    """Write what matches a name; nothing at all is no pattern, and a `*` matches it too."""
    return _quoted(name or "*")


def _quoted(name: str) -> str:
    """Write a name as a TOML string; what TOML can't hold becomes a `*`, which matches it."""
    able = "".join("*" if 0xD800 <= ord(mark) <= 0xDFFF else mark for mark in name)
    return toml_string(able)
