"""Report: all findings, policy and provenance. What every exporter reads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from forgetcheck.retention.answers import Audit, Lost, Unasked
from forgetcheck.retention.compare import Retention, compare
from forgetcheck.retention.gate import ASKED, Check, Mean, Outcome, judge, passed
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.verdict import Finding

SCHEMA = "forgetcheck/report@1"
DIGITS = 4  # of a design effect


@dataclass(frozen=True)
class Report:
    """An audit judged under a policy."""

    findings: tuple[Finding, ...]
    means: tuple[Mean, ...]
    checks: tuple[Check, ...]
    policy: Policy
    provenance: Mapping[str, Any]
    unasked: tuple[Unasked, ...] = ()
    gallery: tuple[Lost, ...] = ()

    @property
    def passed(self) -> bool:
        return passed(self.checks, self.policy)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.retention.checkpoint for finding in self.findings))

    @property
    def probes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.retention.probe for finding in self.findings))

    def tasks(self, checkpoint: str | None = None, probe: str | None = None) -> list[Finding]:
        """Return the whole-task findings, of one checkpoint and probe or of all."""
        return [
            finding
            for finding in self.findings
            if finding.retention.concept is None
            and checkpoint in (None, finding.retention.checkpoint)
            and probe in (None, finding.retention.probe)
        ]

    def means_of(self, checkpoint: str) -> list[Mean]:
        return [mean for mean in self.means if mean.checkpoint == checkpoint]

    def target(self, checkpoint: str) -> Finding | None:
        """Return what was gained on the task it was tuned on, by its own head if it has one."""
        found = [finding for finding in self.tasks(checkpoint) if finding.retention.target]
        heads = [finding for finding in found if finding.retention.probe == "head"]
        return next(iter(heads or found), None)

    def failures(self, *outcomes: Outcome) -> list[Check]:
        """Return the demands with these outcomes (FAILED if none is given), worst first.

        What could not be asked has no distance from its limit, and comes last.
        """
        found = [check for check in self.checks if check.outcome in (outcomes or (Outcome.FAILED,))]
        return sorted(found, key=lambda check: (check.demand == ASKED, -abs(check.value - check.limit)))

    def unmet(self) -> list[Check]:
        """Return the demands that keep the policy from being met."""
        unsure = [Outcome.UNSURE] if self.policy.when_unsure == "fail" else []
        return [check for outcome in (Outcome.FAILED, *unsure) for check in self.failures(outcome)]

    def worst_concepts(self, checkpoint: str, count: int) -> list[Finding]:
        """Return the concepts whose drop is surest to be large: by lower bound, then by drop."""
        concepts = [
            finding
            for finding in self.findings
            if finding.retention.concept is not None
            and finding.retention.checkpoint == checkpoint
            and finding.retention.drop > 0
            and not finding.must_forget  # there a loss is what was asked for
        ]
        return sorted(concepts, key=lambda f: (-f.retention.low, -f.retention.drop))[:count]


def make_report(audit: Audit, policy: Policy) -> Report:
    """Compare and judge every question of an audit."""
    rows = mark_targets(compare(audit.answers, policy.confidence), policy)
    found = judge(rows, policy, audit.unasked)
    return Report(
        found.findings, found.means, found.checks, policy, audit.provenance, audit.unasked, audit.gallery
    )


def mark_targets(rows: Sequence[Retention], policy: Policy) -> list[Retention]:
    """Mark what the policy says a checkpoint was tuned on, where the checkpoint itself doesn't."""
    known = {row.checkpoint for row in rows if row.target}
    return [
        row if row.checkpoint in known else replace(row, target=policy.names_target(row.task)) for row in rows
    ]


def summarise(report: Report) -> dict[str, dict[str, dict[str, Any]]]:
    """Return checkpoint -> probe -> mean drop with its interval, worst drop and the task it is on."""
    return {
        checkpoint: {
            mean.probe: {
                "tasks": mean.tasks,
                "mean_drop": mean.drop,
                "low": mean.low,
                "high": mean.high,
                "delta": -mean.drop + 0.0,  # as papers print it; no -0.0
                "worst_drop": mean.worst.drop,
                "worst_task": mean.worst.task,
            }
            for mean in report.means_of(checkpoint)
        }
        for checkpoint in report.checkpoints
    }


def as_record(report: Report) -> dict[str, Any]:
    """Return the report as plain JSON values, schema forgetcheck/report@1; fractions, not points."""
    return {
        "schema": SCHEMA,
        "passed": report.passed,
        "policy": report.policy.model_dump(),
        "checks": [check_record(check) for check in report.checks],
        "findings": [finding_record(finding) for finding in report.findings],
        "summary": summarise(report),
        "unasked": [asdict(item) for item in report.unasked],
        "provenance": dict(report.provenance),
    }


def check_record(check: Check) -> dict[str, Any]:
    """Return a check as JSON values; what was not measured is null."""
    values = {**asdict(check), "outcome": check.outcome.value}
    return {key: None if value != value else value for key, value in values.items()}


def finding_record(finding: Finding) -> dict[str, Any]:
    row = finding.retention
    base_error, tuned_error = row.calibration or (None, None)
    return {
        "checkpoint": row.checkpoint,
        "task": row.task,
        "concept": row.concept,
        "probe": row.probe,
        "n": row.n,
        "clusters": row.clusters,
        "design_effect": round(row.design_effect, DIGITS),
        "base": row.base,
        "tuned": row.tuned,
        "drop": row.drop,
        "low": row.low,
        "high": row.high,
        "p": finding.p,
        "p_adjusted": finding.p_adjusted,
        "tried": finding.tried,
        "limit": finding.limit,
        "detectable": finding.detectable,
        "verdict": finding.verdict.value,
        "gated": finding.gated,
        "must_forget": finding.must_forget,
        "target": row.target,
        "lost": row.lost,
        "gained": row.gained,
        "base_ece": base_error,
        "tuned_ece": tuned_error,
        "confused": [list(pair) for pair in row.confused],
        "reason": finding.reason,
        "warnings": list(row.warnings),
    }
