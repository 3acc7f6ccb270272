"""`forgetcheck policy`: write a policy to start from, and see what one says."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from forgetcheck.cli import console
from forgetcheck.cli.options import file_path
from forgetcheck.errors import InputError
from forgetcheck.files import followed, refuse_unwritable, write_text
from forgetcheck.retention.answers import read_audit
from forgetcheck.retention.pins import found_pins
from forgetcheck.retention.policy import FILES, Policy, Rule, catches_nothing, find_policy, read_policy
from forgetcheck.retention.report import Report, make_report
from forgetcheck.retention.text.policy_draft import draft, needed
from forgetcheck.text import printable

DEFAULT, PYPROJECT = FILES
_SHOWN = 8  # names of what a rule catches
app = typer.Typer(
    name="policy",
    help="Write a policy to start from, and see what one says.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


class _Pinned(StrEnum):
    """What can be pinned, as the keys of Pins."""

    BASE = "base"
    TUNED = "tuned"
    BATTERY = "battery"
    AUDIT = "audit"


@app.command()
def init(
    audit: Annotated[
        Path, typer.Argument(metavar="AUDIT", help="A folder written by `forgetcheck audit`.")
    ] = Path("audit"),
    out: Annotated[Path, typer.Option(parser=file_path, metavar="FILE", help="The file to write.")] = Path(
        DEFAULT
    ),
    pin: Annotated[
        list[_Pinned] | None,
        typer.Option(help="Demand this very one from now on; repeatable.", show_default=False),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file.")] = False,
) -> None:
    """Write a commented policy from what an audit could show."""
    refuse_unwritable(out)
    if PYPROJECT in (out.name, followed(out).name):
        raise InputError(
            f"'{out}' is for more than a policy: write it to {DEFAULT}, which is looked for as well, "
            "or copy its tables from there as [tool.forgetcheck.policy]."
        )
    if out.exists() and not overwrite:
        raise InputError(f"'{out}' already exists: choose another name, or pass --overwrite to replace it.")
    answers = read_audit(audit)
    pins: dict[str, list[str]] = {
        name: found for name, found in found_pins(answers).items() if name in (pin or [])
    }
    unknown = next((name for name, found in pins.items() if not all(found)), None)
    if unknown is not None:
        raise InputError(
            f"--pin {unknown}: the audit '{audit}' records no digest of it, as those of "
            "earlier versions and data of unknown contents: run the audit again, or leave it out."
        )
    write_text(out, draft(make_report(answers, Policy()), str(audit), pins))
    console.print_note(f"wrote {out}; read it, change it, then `forgetcheck policy check {out} {audit}`.")


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="POLICY", help="A policy file.", show_default="forgetcheck.toml"),
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Argument(metavar="AUDIT", help="Show what each rule catches in it.", show_default=False),
    ] = None,
) -> None:
    """Lint a policy; with an audit, print which questions each rule catches."""
    path = file or find_policy(Path.cwd())
    if path is None:
        raise InputError(
            "no policy in this folder: name a file, or write one with `forgetcheck policy init`."
        )
    policy = read_policy(path)
    console.print_line(f"{path}: a valid policy.")
    for line in _settings(policy):
        console.print_line(line)
    if audit is None:
        return
    report = make_report(read_audit(audit), policy)
    for number, rule in enumerate(policy.concepts, 1):
        console.print_line(printable(f"rule {number} ({_said(rule)}) catches {_caught(rule, report)}"))
    for line in _too_thin(report):
        console.print_line(printable(line))
    _refuse_blind_rules(path, policy, report)


def _settings(policy: Policy) -> Iterator[str]:
    values = policy.model_dump(exclude_none=True, exclude={"concepts"})
    yield "  " + ", ".join(f"{key} = {value}" for key, value in values.items())


def _said(rule: Rule) -> str:
    values = rule.model_dump(exclude_none=True, exclude_defaults=True)
    return ", ".join(f"{key} = {value}" for key, value in values.items())


def _caught(rule: Rule, report: Report) -> str:
    every = (finding.retention for finding in report.findings)
    rows = [row for row in every if rule.catches(row) or rule.through_task(row)]
    names = list(dict.fromkeys(row.subject for row in rows))
    if not names:
        return "nothing in this audit"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)}: {', '.join(names[:_SHOWN])}{more}"


def _too_thin(report: Report) -> Iterator[str]:
    """Name the limits that these samples can hardly show to be kept."""
    seen = set()
    for finding in report.findings:
        row = finding.retention
        if finding.gated and not finding.must_forget and (row.subject, row.probe) not in seen:
            seen.add((row.subject, row.probe))
            limit = needed(finding, report.policy)
            if limit > finding.limit:
                yield (
                    f"warning: {row.subject} ({row.probe}): {row.n} samples can hardly show a limit of "
                    f"{100 * finding.limit:g} points; {100 * limit:g} is what they can show."
                )


def _refuse_blind_rules(path: Path, policy: Policy, report: Report) -> None:
    """A limit on nothing fails the gate, so it is a mistake of the file."""
    rows = [finding.retention for finding in report.findings]
    caught_none = list(catches_nothing(rows, policy))
    blind = [
        f"concepts[{number}] ({rule.match})"
        for number, rule in enumerate(policy.concepts, 1)
        if rule.gates and rule in caught_none
    ]
    if blind:
        raise InputError(
            f"{path}: {', '.join(blind)} catches no question of this audit, which fails the gate: "
            "correct the pattern, or ask the question."
        )
