"""One row per finding, for spreadsheets and data frames; drops in points, with the paper's delta."""

import csv
from dataclasses import dataclass
from io import StringIO
from typing import Any

from forgetcheck.catalog import Digits
from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.report import Report, finding_record

_POINTS = ("base", "tuned", "drop", "low", "high", "limit", "detectable", "base_ece", "tuned_ece")
_NAMES = ("checkpoint", "task", "concept", "probe", "reason")
_CHANCES = ("p", "p_adjusted")
_DIGITS = 6  # of a p-value: beyond them, machines differ
_FORMULA_STARTS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\n")  # Excel reads wide ones too


@dataclass(frozen=True)
class Csv(Exporter):
    """All shares in percentage points; `delta` = tuned - base, as papers print it.

    `level` tells a whole task from a concept of any name. `limit` is of the drop, but where
    `must_forget` is True of the tuned accuracy. What was not measured is empty.
    """

    decimals: Digits = 4

    def render(self, report: Report) -> str:
        rows = [self.row(record) for record in map(finding_record, report.findings)]
        document = StringIO(newline="")
        writer = csv.DictWriter(document, rows[0] if rows else (), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return document.getvalue()

    def row(self, record: dict[str, Any]) -> dict[str, Any]:
        return {
            "level": "task" if record["concept"] is None else "concept",
            **record,
            **{key: self.points(record[key]) for key in _POINTS},
            **{key: float(f"{record[key]:.{_DIGITS}g}") for key in _CHANCES},
            **{key: _harmless(record[key] or "") for key in _NAMES},
            "confused": _harmless("; ".join(f"{times} {name}" for name, times in record["confused"])),
            "warnings": _harmless("; ".join(record["warnings"])),
            "delta": self.points(-record["drop"]),
        }

    def points(self, fraction: float | None) -> float | None:
        return None if fraction is None else round(100 * fraction, self.decimals) + 0.0  # no -0.0


def _harmless(text: str) -> str:
    """Keep a spreadsheet from running a name that looks like a formula, and a reader from a false row end."""
    text = text.replace("\r", " ")  # Python before 3.13 leaves a lone one unquoted
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
