"""The executive summary as plain text: at most twelve lines, in English or Japanese."""

from dataclasses import dataclass

from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.phrases import Language
from forgetcheck.retention.text.summary import executive_summary
from forgetcheck.text import printable


@dataclass(frozen=True)
class Summary(Exporter):
    """What was tried, gained and lost, whether the evidence suffices, and what to do next."""

    language: Language = "en"

    def render(self, report: Report) -> str:
        return "\n".join(map(printable, executive_summary(report, self.language))) + "\n"
