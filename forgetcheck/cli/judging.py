"""What `audit` and `report` do with the answers: judge, show or export, and gate."""

from pathlib import Path

from forgetcheck import catalog
from forgetcheck.cli import console
from forgetcheck.errors import PolicyFailed
from forgetcheck.files import write_text
from forgetcheck.retention.answers import Audit
from forgetcheck.retention.policy import Policy, read_policy
from forgetcheck.retention.report import Report, make_report
from forgetcheck.retention.wording import sentence


def policy_of(path: Path | None) -> Policy:
    return Policy() if path is None else read_policy(path)


def show_audit(audit: Audit, policy: Policy, exporter: str | None, out: Path | None, top: int) -> Report:
    """Judge an audit and print it, or write it with an exporter."""
    report = make_report(audit, policy)
    if exporter is None:
        console.show_report(report, top)
        console.print_line(sentence(report))
        return report
    document = catalog.build("exporters", exporter).render(report)
    if out is None:
        console.print_document(document)
    else:
        write_text(out, document)
        console.print_note(f"wrote {out}")
    return report


def gate(report: Report, policy: Path | None) -> None:
    """Fail if a policy was given and is not met; without one, the report only informs."""
    if policy is None:
        console.print_note("no --policy given: the default limit informs, the exit code doesn't judge.")
    elif not report.passed:
        raise PolicyFailed(f"the policy {policy} failed: {sentence(report)}")
