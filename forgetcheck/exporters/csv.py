"""One row per finding, for spreadsheets and data frames; drops in points, with the paper's delta."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from forgetcheck.catalog import Digits
from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.report import Report, finding_record

POINTS = ("base", "tuned", "drop", "low", "high", "limit")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\n")


@dataclass(frozen=True)
class Csv(Exporter):
    """Accuracies and drops in percentage points; `delta` = tuned - base, as papers print it."""

    decimals: Digits = 4

    def render(self, report: Report) -> str:
        frame = pd.DataFrame([self.row(record) for record in map(finding_record, report.findings)])
        return frame.to_csv(index=False, lineterminator="\n")

    def row(self, record: dict[str, Any]) -> dict[str, Any]:
        points = {key: round(100 * record[key], self.decimals) for key in POINTS}
        text = {key: harmless(record[key] or "") for key in ("checkpoint", "task", "concept", "probe")}
        warnings = harmless("; ".join(record["warnings"]))
        delta = round(-100 * record["drop"], self.decimals) + 0.0  # no -0.0
        return {**record, **points, **text, "delta": delta, "warnings": warnings}


def harmless(text: str) -> str:
    """Keep a spreadsheet from running a name that looks like a formula, and a reader from a false row end."""
    text = text.replace("\r", " ")  # Python before 3.13 leaves a lone one unquoted
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
