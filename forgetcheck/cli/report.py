"""`forgetcheck report`: re-judge an audit, without any model."""

from pathlib import Path
from typing import Annotated

import typer

from forgetcheck.cli.options import As, Languages, PolicyFile, Top, file_path


def report(
    audit: Annotated[
        Path,
        typer.Argument(metavar="AUDIT", help="A folder written by `forgetcheck audit`.", show_default=False),
    ],
    exporters: As = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=file_path,
            metavar="FILE",
            help="File for the --as that names none; stdout if left out.",
            show_default=False,
        ),
    ] = None,
    policy: PolicyFile = None,
    language: Languages = None,
    top: Top = 10,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only the verdict line.")] = False,
) -> None:
    """Judge a saved audit: tables, or documents with --as; the verdict comes last."""
    from forgetcheck.cli.verdict import conclude, prepare, refuse_inputs
    from forgetcheck.retention.answers import read_audit

    judging = prepare(policy, exporters or [], out, language, top, quiet)
    refuse_inputs(judging, audit)
    conclude(read_audit(audit), judging, tabled=not judging.documents)
