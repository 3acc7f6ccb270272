"""`forgetcheck report`: re-judge an audit, without any model."""

from pathlib import Path
from typing import Annotated

import typer

from forgetcheck.cli.judging import gate, policy_of, show_audit
from forgetcheck.retention.answers import read_audit


def report(
    audit: Annotated[Path, typer.Argument(help="A folder written by `forgetcheck audit`.", show_default=False)],
    exporter: Annotated[
        str | None, typer.Option("--as", help="Write json, csv or markdown instead of a table.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where --as writes to; stdout if left out.", show_default=False)
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="TOML file with a [policy] table; failing it exits 1.", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="How many of the worst concepts to show.")] = 10,
) -> None:
    """Judge a saved audit: a table per checkpoint, or a document with --as."""
    limits = policy_of(policy)
    gate(show_audit(read_audit(audit), limits, exporter, out, top), policy)
