"""`forgetcheck doctor`: examine whether the measurements on a checkpoint can be trusted on this machine."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from forgetcheck.cli import console
from forgetcheck.cli.options import (
    AllowDownload,
    BatterySpec,
    Confine,
    Device,
    Model,
    Offline,
    Quiet,
    TextsFrom,
    WeightsOf,
    reach_of,
)
from forgetcheck.errors import InputError
from forgetcheck.text import printable

if TYPE_CHECKING:
    from forgetcheck.auditing.doctor import Diagnosis, Examination

SAMPLES = 256  # as examining.SAMPLES, which would import torch
_RESULTS = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("note", "dim")}


def doctor(
    checkpoint: Annotated[
        str,
        typer.Argument(
            metavar="CHECKPOINT", help="The checkpoint to examine, named as for audit.", show_default=False
        ),
    ],
    battery: BatterySpec = "drawn",
    model: Model = None,
    weights: WeightsOf = "",
    allow_download: AllowDownload = False,
    offline: Offline = False,
    samples: Annotated[
        int, typer.Option(min=2, help="Images that are computed in several ways and compared.")
    ] = SAMPLES,
    confine: Confine = None,
    texts_from: TextsFrom = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Examine whether what forgetcheck measures on a checkpoint can be trusted on this machine."""
    from forgetcheck.batteries.battery import read_battery

    tasks = read_battery(battery, reach_of(confine, texts_from))

    from forgetcheck.auditing.doctor import examine
    from forgetcheck.clip.identity.resolve import find_checkpoint

    shown = tuple(tasks.tasks.values())
    found = find_checkpoint(checkpoint, model, tasks=shown, weights=weights, allow_download=allow_download)
    with console.progress_shown(quiet) as progress:
        examined = examine(found, tasks, samples, device, progress)
    if not quiet:
        console.show(_diagnosis_table(examined))
        console.show("")
    _conclude(examined)


def _conclude(examined: "Examination") -> None:
    """Say the outcome in a line; raise InputError, naming every check that failed."""
    failed, total = examined.failed, len(examined.checked)
    if failed:
        causes = "; ".join(f"{diagnosis.name} ({diagnosis.measured})" for diagnosis in failed)
        raise InputError(
            f"audits of '{examined.checkpoint}' can't be trusted on this machine: "
            f"{len(failed)} of {total} checks failed: {causes}."
        )
    console.print_line(
        f"passed: {total} of {total} checks; audits of '{printable(examined.checkpoint)}' can be trusted "
        f"on this machine."
    )


def _diagnosis_table(examined: "Examination") -> Table:
    from forgetcheck.cli.tables import titled

    title = f"{examined.checkpoint} on {examined.device}: can what forgetcheck measures be trusted here?"
    table = titled(title)
    table.add_column("check", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("what it means, and what was measured", overflow="fold")
    for diagnosis in examined.diagnoses:
        word, style = _RESULTS[diagnosis.passed]
        table.add_row(diagnosis.name, Text(word, style=style), findings(diagnosis))
    return table


def findings(diagnosis: "Diagnosis") -> Text:
    return Text(diagnosis.meaning).append(f"\n{printable(diagnosis.measured)}", style="dim")
