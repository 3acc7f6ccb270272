"""`forgetcheck report`: re-judge an audit, without any model."""

from pathlib import Path
from typing import Annotated

import typer

from forgetcheck.cli.judging import gate, policy_of, show_audit
from forgetcheck.cli.options import PolicyFile, Top
from forgetcheck.errors import CannotAsk
from forgetcheck.retention.answers import read_audit


def report(
    audit: Annotated[
        Path,
        typer.Argument(metavar="AUDIT", help="A folder written by `forgetcheck audit`.", show_default=False),
    ],
    exporter: Annotated[
        str | None,
        typer.Option("--as", help="Write json, csv or markdown instead of a table.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where --as writes to; stdout if left out.", show_default=False)
    ] = None,
    policy: PolicyFile = None,
    top: Top = 10,
) -> None:
    """Judge a saved audit: a table per checkpoint, or a document with --as."""
    if out is not None and exporter is None:
        raise CannotAsk(f"--out {out} needs --as: add --as json, csv or markdown.")
    limits = policy_of(policy)
    gate(show_audit(read_audit(audit), limits, exporter, out, top), policy)
