"""One line per checkpoint, for a chat."""

from dataclasses import dataclass

from forgetcheck import Exporter, Report, Verdict


@dataclass(frozen=True)
class OneLine(Exporter):
    """Counts whole tasks, by every probe; `mark` begins the line of a checkpoint that forgot one."""

    mark: str = "!"

    def render(self, report: Report) -> str:
        return "".join(f"{self.line(report, checkpoint)}\n" for checkpoint in report.checkpoints)

    def line(self, report: Report, checkpoint: str) -> str:
        findings = report.tasks(checkpoint)
        forgotten = sum(finding.verdict is Verdict.FORGOT for finding in findings)
        mark = f"{self.mark} " if forgotten else ""
        return f"{mark}{checkpoint}: forgot {forgotten} of {len(findings)}"
