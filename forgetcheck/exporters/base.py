"""What an exporter does: a report in, text out."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from forgetcheck.retention.report import Report


@dataclass(frozen=True)
class Exporter(ABC):
    """Turns a report into text. The dataclass fields of a subclass are its options."""

    @property
    def commands(self) -> bool:
        """Whether the lines of the document are commands to the runner that prints them."""
        return False

    @abstractmethod
    def render(self, report: Report) -> str:
        """Return the whole document, ending in a newline."""
