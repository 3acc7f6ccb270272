"""What `audit` and `report` do with the answers: judge, show, write documents, and gate."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from forgetcheck import catalog
from forgetcheck.batteries.names import some
from forgetcheck.cli import console, tables
from forgetcheck.errors import InputError, PolicyFailed
from forgetcheck.files import followed, refuse_unwritable, write_text
from forgetcheck.retention.answers import Audit
from forgetcheck.retention.policy import Policy, find_policy, read_policy
from forgetcheck.retention.report import Report, make_report
from forgetcheck.retention.text.phrases import Language
from forgetcheck.retention.text.summary import executive_summary
from forgetcheck.retention.text.wording import sentence
from forgetcheck.text import printable


@dataclass(frozen=True)
class Judging:
    """How an audit is to be judged and shown: everything a command was asked, checked beforehand."""

    policy: Policy
    source: Path | None  # the file the policy is from; None: the default informs and doesn't gate
    documents: "tuple[_Document, ...]"
    language: Language | None
    top: int
    quiet: bool


@dataclass(frozen=True)
class _Document:
    """An exporter and where its text goes; None is stdout."""

    exporter: Any
    path: Path | None


def prepare(
    policy: Path | None,
    specs: Sequence[str],
    out: Path | None,
    language: Language | None,
    top: int,
    quiet: bool,
) -> Judging:
    """Read and check everything before any work is done."""
    source = policy or _policy_here()
    limits = Policy() if source is None else read_policy(source)
    documents = _documents_of(specs, out, language)
    for document in documents:
        if document.path is not None:
            refuse_unwritable(document.path)
    return Judging(limits, source, documents, language, top, quiet)


def _documents_of(specs: Sequence[str], out: Path | None, language: Language | None) -> tuple[_Document, ...]:
    """Read `--as NAME[:options][=PATH]`; --out is the path of the one that has none."""
    parsed = [(spec, *split_path(spec)) for spec in specs]
    bare = [spec for spec, _, path in parsed if path is None]
    if len(bare) > 1:
        raise InputError(
            f"--as {' and --as '.join(bare)} would share one output: "
            f"give each a file, as --as {bare[0]}=FILE."
        )
    if out is not None and not bare:
        hint = "add --as json, csv, markdown, html ..." if not specs else "every --as has a file already"
        raise InputError(f"--out {out} needs an --as without a file: {hint}.")
    found = tuple(
        _Document(_spoken(catalog.build("exporters", name), language), path or out)
        for _, name, path in parsed
    )
    places = Counter(document.path and followed(document.path) for document in found)
    twice = [path for path in (d.path for d in found) if path is not None and places[followed(path)] > 1]
    if twice:
        raise InputError(f"two --as write to '{twice[0]}': give each its own file.")
    return found


def refuse_inputs(judging: Judging, audit: Path) -> None:
    """A document may not take the place of what it is made from: the policy, or a part of the audit."""
    for path in (document.path for document in judging.documents if document.path is not None):
        place = followed(path)
        if judging.source is not None and place == followed(judging.source):
            raise InputError(f"'{path}' is the policy itself: choose another file.")
        if followed(audit) in (place, *place.parents):
            raise InputError(f"'{path}' lies in the audit '{audit}', which is evidence: choose another file.")


def split_path(spec: str) -> tuple[str, Path | None]:
    """Split `html=report.html`, `markdown:top=3=report.md` and `json:indent=0` from their paths."""
    name, colon, options = spec.partition(":")
    if "=" in name or not colon:
        name, equals, path = spec.partition("=")
        return name, _checked_path(spec, path) if equals else None
    head, equals, path = options.rpartition("=")
    if "=" not in head.rpartition(",")[2]:  # the last option has but its own equals sign
        return spec, None
    return f"{name}:{head}", _checked_path(spec, path)


def _checked_path(spec: str, path: str) -> Path:
    if not path or path.endswith("/") or Path(path).is_dir():
        raise InputError(f"--as {spec}: expected a file after the equals sign, found '{path}'.")
    return Path(path)


def _spoken(exporter: Any, language: Language | None) -> Any:
    """Set the language where an exporter has one."""
    if language is None or "language" not in {field.name for field in fields(exporter)}:
        return exporter
    return replace(exporter, language=language)


def conclude(audit: Audit, judging: Judging, tabled: bool) -> None:
    """Judge, show, write, end with the verdict line, and fail if a policy was given and isn't met."""
    report = make_report(audit, judging.policy, gated=judging.source is not None)
    texts = [document.exporter.render(report) for document in judging.documents]
    if tabled and not judging.quiet:
        tables.show_report(report, judging.top)
    for document, text in zip(judging.documents, texts, strict=True):
        if document.path is None:
            console.print_document(text, commands=document.exporter.commands)
        else:
            write_text(document.path, text)
            console.print_note(f"wrote {document.path}")
    if audit.digest:
        console.print_note(f"the digest of the audit: {audit.digest}")
    taken = any(document.path is None for document in judging.documents)
    say = console.print_note if taken else console.print_line
    for line in executive_summary(report, judging.language) if judging.language else []:
        say(printable(line))
    say(printable(sentence(report)))
    gate(report, judging.source)


def _policy_here() -> Path | None:
    """Return the policy of the working directory; none where that was deleted."""
    try:
        return find_policy(Path.cwd())
    except FileNotFoundError:
        return None


def gate(report: Report, source: Path | None) -> None:
    """Fail if a policy was given and something measured doesn't meet it; refuse what could not be asked.

    Without a policy, the report only informs.
    """
    if source is not None and report.refuted:
        raise PolicyFailed(f"the policy {source} failed.")
    if source is None:
        console.print_note("no policy given or found: the default limit informs, the exit code won't judge.")
    if report.missing:
        raise InputError(_missing(report))
    if source is not None:
        console.print_note(f"the policy {source} is met.")


def _missing(report: Report) -> str:
    """Say in one line what could not be asked; the rest is measured, written and shown."""
    if any(item.role == "stopped" for item in report.missing):
        return "the audit was stopped before all was asked: run the same `forgetcheck audit`, which goes on."
    tasks = list(dict.fromkeys(item.task for item in report.missing))
    first = report.missing[0]
    more = f"; nor could {some(tasks[1:])}" if len(tasks) > 1 else ""
    return (
        f"'{first.task}' could not be asked ({first.probe}): {first.why.rstrip('.')}{more}. All else is in "
        "the report: mend it, leave the task out, or mark it `optional = true` in the battery."
    )
