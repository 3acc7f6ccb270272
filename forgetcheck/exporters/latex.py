"""Tables for a paper in LaTeX: one row per checkpoint, then a table per task."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from forgetcheck.catalog import Digits
from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.gate import Mean
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.wording import opened
from forgetcheck.retention.verdict import Finding
from forgetcheck.text import MINUS, points, printable

_SPECIAL = str.maketrans(
    {
        **{mark: f"\\{mark}" for mark in "{}$&#%_"},
        **{mark: f"{{{mark}}}" for mark in "[]*"},  # after \\ they would be its argument
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "`": r"\textasciigrave{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\symbol{34}",  # babel makes it a command in some languages
        "�": "?",  # no font of pdfTeX has it
    }
)
_LIGATURE = re.compile(r"([-,'])(?=\1)")
_NOTHING = "--"
_HEAD = r"""% Made by forgetcheck. In the preamble: \usepackage{booktabs}
% Names beyond ASCII need XeLaTeX or LuaLaTeX."""


@dataclass(frozen=True)
class Latex(Exporter):
    r"""Booktabs tables to \input; Delta = tuned - base in points, as papers print it."""

    decimals: Digits = 1

    def render(self, report: Report) -> str:
        tasks: dict[str, list[Finding]] = {}
        for finding in report.tasks():
            tasks.setdefault(finding.retention.task, []).append(finding)
        tables = [self.overview(report)]
        tables += [self.task(number, report, found) for number, found in enumerate(tasks.values(), start=1)]
        return _HEAD + "\n\n" + "\n\n".join(tables) + "\n"

    def overview(self, report: Report) -> str:
        """Write the table that papers print: the target accuracy, and the mean Delta of each probe."""
        means = {(m.checkpoint, m.probe): m for m in report.means if not m.of_target}
        probes = list(dict.fromkeys(probe for _, probe in means))
        rows = (
            [
                tex(checkpoint),
                self.target(report, checkpoint),
                *(self.mean(means.get((checkpoint, probe))) for probe in probes),
            ]
            for checkpoint in report.checkpoints
        )
        caption = (
            r"Accuracy (\%) on the task each checkpoint was tuned on, and the mean change of accuracy on "
            rf"the other tasks: $\Delta$ = tuned $-$ base, in points. {_intervals(report)} "
            "Parentheses: how many tasks."
        )
        head = ["Checkpoint", r"Target (\%)", *(rf"$\Delta$ {tex(probe)}" for probe in probes)]
        notes = [tex(opened(remark)) for remark in report.remarks]
        return _table(caption, "retention", "l" + "r" * (1 + len(probes)), head, rows, notes)

    def target(self, report: Report, checkpoint: str) -> str:
        target = report.target(checkpoint)
        if target is None:
            return _NOTHING
        row = target.retention
        low, high = row.tuned_interval(report.policy.confidence)
        return f"{self.percent(row.tuned)} [{self.percent(low)}, {self.percent(high)}]"

    def mean(self, mean: Mean | None) -> str:
        if mean is None:
            return _NOTHING
        return f"{self.change(mean.drop)} {self.between(mean.low, mean.high)} ({mean.tasks})"

    def task(self, number: int, report: Report, findings: Sequence[Finding]) -> str:
        name = tex(findings[0].retention.task)
        adjusted = "$p$: of the limit being kept, adjusted among as many questions as in parentheses."
        caption = rf"{name}: accuracy (\%) and its change in points. {_intervals(report)} {adjusted}"
        head = ["Checkpoint", "Probe", "Base", "Tuned", r"$\Delta$", "Interval", "$n$", "$p$", "Verdict"]
        rows = (self.cells(finding) for finding in findings)
        return _table(caption, f"task-{number}", "llrrrlrrl", head, rows, _notes_on(findings))

    def cells(self, finding: Finding) -> list[str]:
        row = finding.retention
        return [
            tex(row.checkpoint),
            tex(row.probe),
            self.percent(row.base),
            self.percent(row.tuned),
            self.change(row.drop),
            self.between(row.low, row.high),
            str(row.n),
            f"{finding.p_adjusted:.2g} ({finding.tried})",
            finding.verdict.value,
        ]

    def percent(self, share: float) -> str:
        return f"{100 * share:.{self.decimals}f}"

    def change(self, drop: float) -> str:
        return f"${points(-drop, self.decimals).replace(MINUS, '-')}$"

    def between(self, low: float, high: float) -> str:
        return f"[{self.change(high)}, {self.change(low)}]"


def _intervals(report: Report) -> str:
    return rf"Brackets: {100 * report.policy.confidence:g}\,\% intervals."


def _notes_on(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield the warnings about whole tasks, for below their table."""
    for row in (finding.retention for finding in findings):
        if row.warnings:
            yield f"{tex(row.checkpoint)}, {tex(row.probe)}: {tex('; '.join(row.warnings))}."


def _table(
    caption: str,
    label: str,
    columns: str,
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    notes: Iterable[str] = (),
) -> str:
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:forgetcheck-{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        rf"{' & '.join(head)} \\",
        r"\midrule",
        *(rf"{' & '.join(cells)} \\" for cells in rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {note}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines)


def tex(name: str) -> str:
    """Write a name as text in which TeX sees no command; a surrogate as what a file shows of it."""
    text = printable(name).encode("utf-8", "backslashreplace").decode("utf-8")
    return _LIGATURE.sub(r"\1{}", text.translate(_SPECIAL))
