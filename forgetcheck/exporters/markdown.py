"""The report as Markdown for a pull request comment: verdict first, tables folded away."""

from dataclasses import dataclass

from forgetcheck.catalog import Count
from forgetcheck.exporters import markup
from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.phrases import Language
from forgetcheck.retention.text.summary import executive_summary
from forgetcheck.retention.text.wording import sentence

_LONGEST = 64_000  # bytes; GitHub refuses a comment of more than 65,536 characters


@dataclass(frozen=True)
class Markdown(Exporter):
    """A comment of any audit fits GitHub's limit; names are data and cannot inject markup."""

    top: Count = 10  # worst concepts per checkpoint
    language: Language = "en"  # of the summary

    def render(self, report: Report) -> str:
        opening = [
            "## forgetcheck",
            f"**{markup.prose(sentence(report))}**",
            "\n".join(f"- {markup.prose(line)}" for line in executive_summary(report, self.language)),
        ]
        fails = report.policy.when_unsure == "fail"
        sections = [
            markup.gained(report),
            markup.lost_on_average(report),
            markup.demands(report, "Failed demands", Outcome.FAILED),
            markup.demands(report, "Unsure demands", Outcome.UNSURE, folded=not fails),
            markup.tasks(report, folded=True),
            markup.worst_concepts(report, self.top),
            markup.unasked(report),
            markup.warnings(report, folded=True),
        ]
        return markup.document(opening, sections, [markup.how_to_read(report)], _LONGEST)
