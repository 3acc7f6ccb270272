"""A model card for the Hugging Face Hub: results as model-index metadata, then a short page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from forgetcheck.errors import unknown_name
from forgetcheck.exporters import markup
from forgetcheck.exporters.base import Exporter
from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.summary import tried
from forgetcheck.retention.text.wording import sentence
from forgetcheck.retention.verdict import Finding

_DIGITS = 6  # of a fraction
_LONGEST = 1_000_000  # bytes of the page
_UNNAMED = "(no name)"  # the Hub wants one
_SOURCES = {
    "base model": ("base", "name"),
    "battery": ("battery", "name"),
    "device": ("device",),
    "forgetcheck": ("environment", "forgetcheck"),
    "measured": ("environment", "created"),
}


@dataclass(frozen=True)
class ModelCard(Exporter):
    """The card of one checkpoint: start a repository's README.md with it, or copy its model-index."""

    model_name: str = ""  # the checkpoint's, if not given
    checkpoint: str = ""  # the first, if not given

    def render(self, report: Report) -> str:
        checkpoint = self.checkpoint or next(iter(report.checkpoints), "")
        if self.checkpoint and checkpoint not in report.checkpoints:
            raise unknown_name("checkpoint", checkpoint, report.checkpoints, "forgetcheck report AUDIT")
        own = _only(report, checkpoint)
        name = self.model_name or checkpoint or _UNNAMED
        return f"---\n{metadata(own, name)}\n---\n\n{_page(own, name)}"


def _only(report: Report, checkpoint: str) -> Report:
    """Leave the other checkpoints out; what the policy demands of no checkpoint in particular stays."""
    asked = (*report.checkpoints, *(item.checkpoint for item in report.unasked))
    others = set(asked) - {checkpoint}
    return replace(
        report,
        findings=tuple(f for f in report.findings if f.retention.checkpoint == checkpoint),
        means=tuple(report.means_of(checkpoint)),
        checks=tuple(check for check in report.checks if check.checkpoint not in others),
        unasked=tuple(item for item in report.unasked if item.checkpoint == checkpoint),
        gallery=tuple(item for item in report.gallery if item.checkpoint == checkpoint),
    )


def metadata(report: Report, name: str) -> str:
    """Return the YAML that the Hub reads. Its names are data, quoted as YAML needs it."""
    from huggingface_hub import EvalResult, ModelCardData  # only here: the command line starts without it

    results = [EvalResult(**fields) for finding in report.tasks() for fields in _results_of(finding, report)]
    card = ModelCardData(model_name=name, eval_results=results or None, tags=["forgetcheck"])
    return card.to_yaml(line_break="\n")


def _results_of(finding: Finding, report: Report) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of the tuned model and its drop against the base, as fractions."""
    row = finding.retention
    zero_shot = row.probe == "zero-shot"
    shared = {
        "task_type": "zero-shot-image-classification" if zero_shot else "image-classification",
        "dataset_type": row.task or _UNNAMED,
        "dataset_name": row.task or _UNNAMED,
        "dataset_split": "test",
    }
    evidence = {"probe": row.probe, "n": row.n}
    tuned_on = ", tuned on it" if row.target else ""
    yield {
        **shared,
        "metric_type": "accuracy",
        "metric_name": f"Accuracy ({row.probe}{tuned_on})",
        "metric_value": round(row.tuned, _DIGITS),
        "metric_args": evidence,
    }
    ends = {"low": round(row.low, _DIGITS), "high": round(row.high, _DIGITS)}
    yield {
        **shared,
        "metric_type": "accuracy_drop",
        "metric_name": f"Drop of accuracy against the base model ({row.probe}{tuned_on})",
        "metric_value": round(row.drop, _DIGITS),
        "metric_args": {
            **evidence,
            "base": round(row.base, _DIGITS),
            **ends,
            "confidence": report.policy.confidence,
        },
    }


def _page(report: Report, name: str) -> str:
    opening = [
        f"# {markup.code(name)}",
        "Audited by forgetcheck for what fine-tuning made it forget: " + markup.prose(tried(report, "en")),
        f"**{markup.prose(sentence(report))}**",
    ]
    sections = [
        markup.gained(report),
        markup.lost_on_average(report),
        markup.demands(report, "Failed demands", Outcome.FAILED),
        markup.demands(report, "Unsure demands", Outcome.UNSURE),
        markup.tasks(report),
        markup.unasked(report),
        markup.warnings(report),
        markup.Section("How it was measured", tuple(_how(report))),
    ]
    return markup.document(opening, sections, [markup.how_to_read(report)], _LONGEST)


def _how(report: Report) -> Iterator[str]:
    yield "- Base and tuned model answered the same test images through the same probes, image by image."
    yield "- The verdicts that the policy goes by allow for how many questions were asked."
    for label, keys in _SOURCES.items():
        found = _inner(report.provenance, keys)
        if isinstance(found, str):
            yield f"- {label}: {markup.code(found)}"


def _inner(value: Any, keys: tuple[str, ...]) -> Any:
    """Follow keys into nested tables; None where they don't lead."""
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
