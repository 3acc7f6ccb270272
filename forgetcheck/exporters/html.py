"""One self-contained HTML page for people: the verdict, what was gained and lost, every number and why."""

from dataclasses import dataclass

from forgetcheck.catalog import Count
from forgetcheck.exporters.base import Exporter
from forgetcheck.exporters.page import sections
from forgetcheck.exporters.page.dumbbell import figures
from forgetcheck.exporters.page.frontier import methods, scatter
from forgetcheck.exporters.page.heat import heat_map
from forgetcheck.exporters.page.writing import write
from forgetcheck.retention.compare import FEW
from forgetcheck.retention.report import Report
from forgetcheck.retention.statistics.paired import ECE_BINS
from forgetcheck.retention.text.phrases import Language
from forgetcheck.retention.text.summary import executive_summary
from forgetcheck.retention.text.wording import opened, verdict_in_full


@dataclass(frozen=True)
class Html(Exporter):
    """No network, no external font or script; complete without its own script, which sorts and filters."""

    language: Language = "en"  # of the executive summary
    top: Count = 10  # worst concepts per checkpoint

    def render(self, report: Report) -> str:
        found = methods(report)
        concepts = sections.all_concepts(report)
        walls = sections.gallery(report.gallery)
        return write(
            report=report,
            policy=report.policy,
            limits=report.policy.settings,
            base=sections.origin(report, "base") or "the base",
            battery=sections.origin(report, "battery"),
            contents=list(sections.contents(report)),
            top=self.top,
            sentence=verdict_in_full(report),
            remarks=[opened(remark) for remark in report.remarks],
            sanity=report.sanity and opened(report.sanity),
            summary=executive_summary(report, self.language),
            language=self.language,
            plots=figures(report),
            methods=found,
            cards=sections.CARDS,
            targets=len({m.target.retention.task for m in found if m.target is not None}),
            scatter=scatter(found, report.policy.confidence),
            heat=heat_map(report),
            checks=sections.sorted_checks(report),
            doubts=sections.doubts(report),
            worst=sections.worst(report, self.top),
            concepts=concepts[: sections.CONCEPTS],
            concepts_in_all=len(concepts),
            gallery=walls,
            pictures=sum(len(wall.pictures) for wall in walls),
            calibrations=sections.calibrations(report),
            few=FEW,
            bins=ECE_BINS,
            calibrated=sections.calibrated(report),
        )
