"""What an exporter does: a report in, text out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from forgetcheck.retention.report import Report


@dataclass(frozen=True)
class Exporter(ABC):
    """Turns a report into text. The dataclass fields of a subclass are its options."""

    @abstractmethod
    def render(self, report: Report) -> str:
        """Return the whole document, ending in a newline."""
