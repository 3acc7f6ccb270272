"""`forgetcheck list`: what can be named on the command line. Reads files, imports nothing heavy."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from forgetcheck import catalog
from forgetcheck.cli import console
from forgetcheck.errors import unknown_name
from forgetcheck.text import printable

_KINDS = (*catalog.BASES, "batteries")


def listing(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help=f"One of: {', '.join(_KINDS)}.", show_default=False)
    ] = None,
) -> None:
    """List regularizers, probes, tasks, exporters and batteries, with their options."""
    if kind is not None and kind not in _KINDS:
        raise unknown_name("kind", kind, _KINDS, "forgetcheck list")
    for each in _KINDS if kind is None else (kind,):
        console.show(_battery_table() if each == "batteries" else _extension_table(each))
        console.show("")


def _extension_table(kind: str) -> Table:
    table = Table(
        title=kind, title_justify="left", title_style="bold", box=None, show_header=False, pad_edge=False
    )
    table.add_column(no_wrap=True, min_width=14)
    table.add_column()
    for entry in catalog.entries(kind):
        table.add_row(Text(printable(entry.name)), Text(printable(_described(entry))))
        for option in entry.options:
            table.add_row("", Text(f"{option.name}={option.default}  ({option.type})", style="dim"))
    return table


def _described(entry: catalog.Entry) -> str:
    """Return the summary of an extension, and where it comes from if it isn't ours."""
    if entry.package == catalog.OURS:
        return entry.summary
    if entry.broken:
        return f"can't be used (package {entry.package}): {entry.broken}."
    return f"{entry.summary} (package {entry.package})"


def _battery_table() -> Table:
    from forgetcheck.batteries.battery import names, task_names

    table = Table(
        title="batteries",
        title_justify="left",
        title_style="bold",
        box=None,
        show_header=False,
        pad_edge=False,
    )
    table.add_column(no_wrap=True, min_width=14)
    table.add_column()
    for name in names():
        table.add_row(Text(name), Text(", ".join(task_names(name))))
    return table
