"""Report: all findings, policy and provenance. What every exporter reads."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forgetcheck.retention.answers import Audit
from forgetcheck.retention.compare import compare
from forgetcheck.retention.policy import Finding, Policy, judge, passed

SCHEMA = "forgetcheck/report@1"


@dataclass(frozen=True)
class Report:
    """An audit judged under a policy."""

    findings: tuple[Finding, ...]
    policy: Policy
    provenance: Mapping[str, Any]

    @property
    def passed(self) -> bool:
        return passed(self.findings)

    @property
    def checkpoints(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.retention.checkpoint for finding in self.findings))

    def tasks(self, checkpoint: str | None = None) -> list[Finding]:
        """Return the whole-task findings, of one checkpoint or of all."""
        return [
            finding
            for finding in self.findings
            if finding.retention.concept is None and checkpoint in (None, finding.retention.checkpoint)
        ]

    def worst_concepts(self, checkpoint: str, count: int) -> list[Finding]:
        """Return the concepts whose drop is surest to be large: by lower bound, then by drop."""
        concepts = [
            finding
            for finding in self.findings
            if finding.retention.concept is not None
            and finding.retention.checkpoint == checkpoint
            and finding.retention.drop > 0
        ]
        return sorted(concepts, key=lambda f: (-f.retention.low, -f.retention.drop))[:count]


def make_report(audit: Audit, policy: Policy) -> Report:
    """Compare and judge every question of an audit."""
    rows = [row for answers in audit.answers for row in compare(answers, policy.confidence)]
    return Report(tuple(judge(rows, policy)), policy, audit.provenance)


def summarise(report: Report) -> dict[str, dict[str, dict[str, Any]]]:
    """Return checkpoint -> probe -> mean drop, worst drop and the task it is on.

    As in the paper, the task a checkpoint was tuned on does not count as forgetting, unless a
    probe was put to nothing else (the checkpoint's own head).
    """
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for checkpoint in report.checkpoints:
        summary[checkpoint] = dict(summarise_probes(report.tasks(checkpoint)))
    return summary


def summarise_probes(findings: list[Finding]) -> Iterator[tuple[str, dict[str, Any]]]:
    for probe in dict.fromkeys(finding.retention.probe for finding in findings):
        rows = [finding.retention for finding in findings if finding.retention.probe == probe]
        rows = [row for row in rows if not row.target] or rows
        worst = max(rows, key=lambda row: row.drop)
        yield (
            probe,
            {
                "mean_drop": math.fsum(row.drop for row in rows) / len(rows),
                "worst_drop": worst.drop,
                "worst_task": worst.task,
            },
        )


def as_record(report: Report) -> dict[str, Any]:
    """Return the report as plain JSON values, schema forgetcheck/report@1; fractions, not points."""
    return {
        "schema": SCHEMA,
        "passed": report.passed,
        "policy": report.policy.model_dump(),
        "findings": [finding_record(finding) for finding in report.findings],
        "summary": summarise(report),
        "provenance": dict(report.provenance),
    }


def finding_record(finding: Finding) -> dict[str, Any]:
    row = finding.retention
    return {
        "checkpoint": row.checkpoint,
        "task": row.task,
        "concept": row.concept,
        "probe": row.probe,
        "n": row.n,
        "base": row.base,
        "tuned": row.tuned,
        "drop": row.drop,
        "low": row.low,
        "high": row.high,
        "p": finding.p,
        "p_adjusted": finding.p_adjusted,
        "limit": finding.limit,
        "verdict": finding.verdict.value,
        "gated": finding.gated,
        "target": row.target,
        "lost": row.lost,
        "gained": row.gained,
        "warnings": list(row.warnings),
    }
