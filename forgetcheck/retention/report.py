"""Report: all findings, policy and provenance. What every exporter reads."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from forgetcheck.retention.answers import Audit, LostSample, SkippedQuestion
from forgetcheck.retention.compare import Retention, compare
from forgetcheck.retention.gate import ASKED, IDENTICAL, Check, Mean, Outcome, ignored, judge, passed
from forgetcheck.retention.labels import doubts, fits_of, sanity
from forgetcheck.retention.notebook import as_html
from forgetcheck.retention.older import remark_of_older, told_of_older
from forgetcheck.retention.pins import refuse_unpinned
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.suspicion import remarks, same_checkpoints
from forgetcheck.retention.verdict import Finding, Verdict

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "forgetcheck/report@1"
_DIGITS = 4  # of a design effect


@dataclass(frozen=True)
class Report:
    """An audit judged under a policy."""

    findings: tuple[Finding, ...]
    means: tuple[Mean, ...]
    checks: tuple[Check, ...]
    policy: Policy
    provenance: Mapping[str, Any]
    unasked: tuple[SkippedQuestion, ...] = ()
    gallery: tuple[LostSample, ...] = ()
    gated: bool = True  # whether somebody gave this policy; else it is the default, and only informs
    remarks: tuple[str, ...] = ()  # what a reader must know before any number: "the same weights", "swapped?"
    sanity: str = ""  # whether the labels fit the images, in a line

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

        What was not measured has no distance from its limit: a checkpoint that is the base comes first, what
        could not be asked last.
        """
        found = [check for check in self.checks if check.outcome in (outcomes or (Outcome.FAILED,))]
        far = {check: abs(check.value - check.limit) if check.measured else 0.0 for check in found}
        return sorted(
            found, key=lambda check: (check.demand != IDENTICAL, check.demand == ASKED, -far[check])
        )

    def unmet(self) -> list[Check]:
        """Return the demands that keep the policy from being met."""
        unsure = [Outcome.UNSURE] if self.policy.when_unsure == "fail" else []
        return [check for outcome in (Outcome.FAILED, *unsure) for check in self.failures(outcome)]

    @property
    def missing(self) -> tuple[SkippedQuestion, ...]:
        """Questions that were wanted and could not be asked: what a gate can't say anything of.

        What a run folder records that it was tuned on is wanted by a policy, and by nobody without one.
        """
        wanted = (item for item in self.unasked if not ignored(item, self.policy))
        return tuple(item for item in wanted if item.role != "recorded" or self.gated)

    @property
    def refuted(self) -> bool:
        """Whether a demand was measured and failed, or nothing is missing that could excuse it."""
        return not self.passed and (not self.missing or any(c.demand != ASKED for c in self.unmet()))

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders and addresses that the tasks of the battery were read from, as far as that is known."""
        battery = self.provenance.get("battery")
        found = battery.get("folders") if isinstance(battery, Mapping) else None
        return tuple(map(str, found)) if isinstance(found, list) else ()

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

    def to_pandas(self) -> "pd.DataFrame":
        """Return one row per finding, whole tasks and concepts (`concept` is None for a whole task).

        Accuracies, drops, intervals and limits are fractions; drop = base - tuned, positive is forgetting.
        """
        import pandas as pd  # half a second that no command waits for

        return pd.DataFrame.from_records([finding_record(finding) for finding in self.findings])

    def _repr_html_(self) -> str:
        """Show whole tasks in a notebook; all else is in `to_pandas()`, or in a document of an exporter."""
        return as_html(self.tasks(), self.passed if self.gated else None, self.remarks)

    def small_losses(self) -> list[Finding]:
        """Return what is shown to be forgotten and fails nothing, though nobody said to ignore it."""
        return [
            finding
            for finding in self.findings
            if finding.verdict is Verdict.FORGOT and not (finding.gated or finding.watched or finding.ignored)
        ]


def make_report(audit: Audit, policy: Policy, gated: bool = True) -> Report:
    """Compare and judge every question of an audit. `gated` tells whether the policy is anybody's.

    Raises InputError if the policy pins another base, battery or audit than this one.
    """
    refuse_unpinned(audit, policy.pins)
    rows = _mark_targets(compare(audit.answers, policy.confidence), policy)
    same = same_checkpoints(audit, rows)
    found = judge(rows, policy, audit.unasked, same)
    findings = told_of_older(found.findings, audit, policy)
    fits = fits_of(audit)
    return Report(
        findings,
        found.means,
        found.checks,
        policy,
        {**audit.provenance, **({"audit": audit.digest} if audit.digest else {})},
        audit.unasked,
        audit.gallery,
        gated,
        (
            *stopped(audit),
            *doubts(fits),
            *remarks(audit, findings, same),
            *remark_of_older(findings),
            *unsealed(audit),
        ),
        sanity(fits),
    )


def stopped(audit: Audit) -> list[str]:
    """Say of an audit that somebody stopped what is in it."""
    asked, left = len(audit.answers), sum(item.role == "stopped" for item in audit.unasked)
    told = f"it was stopped ({audit.stopped}) after {asked} of {asked + left} questions"
    return [f"This audit isn't complete: {told}"] if audit.stopped else []


def unsealed(audit: Audit) -> list[str]:
    """Say of a folder of an earlier version what can't be known of it."""
    told = "This audit is of an earlier version and carries no digest: that nobody changed it can't be shown"
    return [told] if audit.unsealed else []


def _mark_targets(rows: Sequence[Retention], policy: Policy) -> list[Retention]:
    """Mark what the policy says a checkpoint was tuned on, where the checkpoint itself doesn't."""
    known = {row.checkpoint for row in rows if row.target}
    return [
        replace(row, target=True) if row.checkpoint not in known and policy.names_target(row.task) else row
        for row in rows
    ]


def summarise(report: Report) -> dict[str, dict[str, dict[str, Any]]]:
    """Return checkpoint -> probe -> mean drop with its interval, worst drop and the task it is on."""
    return {
        checkpoint: {
            mean.probe: {
                "tasks": mean.tasks,
                "never_knew": mean.unknown,
                "mean_drop": mean.drop,
                "mean_drop_of_all": mean.every_drop,
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
        "gated": report.gated,
        "remarks": list(report.remarks),
        "sanity": report.sanity,
        "policy": report.policy.model_dump(exclude={"pins"} if report.policy.pins is None else None),
        "checks": [_check_record(check) for check in report.checks],
        "findings": [finding_record(finding) for finding in report.findings],
        "summary": summarise(report),
        "unasked": [asdict(item) for item in report.unasked],
        "provenance": dict(report.provenance),
    }


def _check_record(check: Check) -> dict[str, Any]:
    """Return a check as JSON values; what was not measured is null."""
    advice = {"enough": check.advice and check.advice.samples, "why_none": check.advice and check.advice.why}
    values = {**asdict(check), "outcome": check.outcome.value, "advice": check.advice and advice}
    return {key: None if value != value else value for key, value in values.items()}


def finding_record(finding: Finding) -> dict[str, Any]:
    row = finding.retention
    base_error, tuned_error, ece_change, error = row.calibration or (None, None, None, None)
    low_template, high_template = row.by_template or (None, None)
    return {
        "checkpoint": row.checkpoint,
        "task": row.task,
        "concept": row.concept,
        "probe": row.probe,
        "n": row.n,
        "clusters": row.clusters,
        "design_effect": round(row.design_effect, _DIGITS),
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
        "gated": finding.gated or finding.watched,
        "must_forget": finding.must_forget,
        "target": row.target,
        "lost": row.lost,
        "gained": row.gained,
        "lost_share": row.lost_share,
        "chance_p": row.chance_p,
        "widened": round(row.widened, _DIGITS),
        "lowest_template": low_template,
        "highest_template": high_template,
        "base_ece": base_error,
        "tuned_ece": tuned_error,
        "ece_change": ece_change,
        "ece_error": error,
        "confused": [list(pair) for pair in row.confused],
        "reason": finding.reason,
        "warnings": list(row.warnings),
    }
