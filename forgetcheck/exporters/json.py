"""The report as JSON, schema forgetcheck/report@1: fractions, not points."""

import json
from dataclasses import dataclass

from forgetcheck.catalog import Digits
from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.report import Report, as_record


@dataclass(frozen=True)
class Json(Exporter):
    """One document with every finding, the summary and the provenance."""

    indent: Digits = 2

    def render(self, report: Report) -> str:
        return json.dumps(as_record(report), indent=self.indent, ensure_ascii=False, allow_nan=False) + "\n"
