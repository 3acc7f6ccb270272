"""`forgetcheck battery`: see what one asks, lint it, write one from a folder, pick a small one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table
from rich.text import Text

from forgetcheck.cli import console
from forgetcheck.cli.labels import asked_of, doubted, show_labels, task_of
from forgetcheck.cli.options import (
    AllowDownload,
    Confine,
    Device,
    Model,
    Offline,
    Quiet,
    TextsFrom,
    WeightsOf,
    file_path,
    reach_of,
)
from forgetcheck.errors import InputError
from forgetcheck.files import followed, refuse_existing_file, write_text
from forgetcheck.text import counted, printable

if TYPE_CHECKING:
    from forgetcheck.batteries.battery import Battery, TaskEntry
    from forgetcheck.batteries.subset import Picked
    from forgetcheck.tasks.base import SplitName, Task

_SHOWN = 2  # templates
_Spec = Annotated[
    str, typer.Argument(metavar="BATTERY", help="A shipped battery or a TOML file.", show_default=False)
]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file.")]
_PerClass = Annotated[int, typer.Option("--per-class", metavar="K", min=1, help="Test images of each class.")]
_PickedOut = Annotated[
    Path, typer.Option(metavar="DIR_OR_TOML", help="A .toml file, or a folder for battery.toml.")
]
_PickingBase = Annotated[
    str, typer.Option(metavar="CHECKPOINT", help="Whose embeddings say what is representative.")
]
_PickingTuned = Annotated[
    str | None,
    typer.Option(
        metavar="CHECKPOINT", help="Also measure the drop of this checkpoint on both.", show_default=False
    ),
]
_TrainPerClass = Annotated[
    int | None,
    typer.Option(
        min=5,
        metavar="K",
        help="Train images of each class, too. A linear probe that learns from few overstates drops.",
        show_default="all",
    ),
]
_Asked = Annotated[
    str | None,
    typer.Option(
        "--base",
        metavar="CHECKPOINT",
        help="Also ask this checkpoint what it calls the images of each label.",
        show_default=False,
    ),
]
_Method = Annotated[
    Literal["herding", "k-center"],
    typer.Option(help="Keep the mean of each class, or cover its extremes."),
]
app = typer.Typer(
    name="battery",
    help="See what a battery asks, lint it, write one from a folder, pick a small one.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def show(
    battery: _Spec,
    labels: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="Print what each label of this task is called, and one of its images.",
            show_default=False,
        ),
    ] = "",
    base: _Asked = None,
    model: Model = None,
    offline: Offline = False,
    quiet: Quiet = False,
    confine: Confine = None,
    texts_from: TextsFrom = None,
) -> None:
    """Print the tasks of a battery: classes, images, templates and sources."""
    from forgetcheck.batteries.battery import read_battery

    found = read_battery(battery, reach_of(confine, texts_from))
    if labels:
        task = task_of(found, labels)
        answered = (None, "") if base is None else asked_of(base, model, labels, task, quiet)
        show_labels(labels, task, *answered)
        return
    if base is not None:
        raise InputError("--base is asked about the labels of one task: add --labels TASK, or use `check`.")
    console.show(_task_table(found))
    console.show("")
    for line in _remarks(found):
        console.print_line(printable(line))


def _task_table(battery: "Battery") -> Table:
    title = Text(printable(f"battery {battery.name}"), style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("task")
    for name in ("classes", "train", "test"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("templates", overflow="fold")
    for name, task in battery.tasks.items():
        row = (name, *numbers(task, battery.entries[name]), _said_templates(task, battery.entries[name]))
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def numbers(task: "Task", entry: "TaskEntry") -> Iterator[str]:
    """Yield classes, train and test images; what is only expected has a question mark.

    Nothing learns from captions: they have no train part.
    """
    found = {"classes": entry.expected.classes, "train": entry.expected.train, "test": entry.expected.test}
    for what, expected in found.items():
        if what == "train" and task.labelled_by != "class":
            yield ""
            continue
        try:
            _refuse_remote(entry)
            here = len(task.class_names if what == "classes" else task.split(what))  # type: ignore[arg-type]
            yield f"{here:,}"
        except InputError:
            yield "?" if expected is None else f"{expected:,}?"


def _refuse_remote(entry: "TaskEntry") -> None:
    """To look at what lies elsewhere is to download it."""
    if "://" in entry.source:
        raise InputError("it is looked at when it is asked, and downloaded then.")


def _said_templates(task: "Task", entry: "TaskEntry") -> str:
    try:
        _refuse_remote(entry)
        templates = task.templates
    except InputError:
        return "?"
    if task.labelled_by != "class":
        return "(captions)"
    more = f" and {len(templates) - _SHOWN} more" if len(templates) > _SHOWN else ""
    return ", ".join(templates[:_SHOWN]) + more


def _remarks(battery: "Battery") -> Iterator[str]:
    """Yield what the file says in words, and what of the data is missing."""
    for name, task in battery.tasks.items():
        entry = battery.entries[name]
        said = {
            "source": entry.source,
            "samples": entry.samples,
            "licence": entry.licence,
            "note": entry.note,
        }
        yield from (f"{name}: {what}: {text}" for what, text in said.items() if text)
        try:
            _refuse_remote(entry)
            yield from (f"{name}: note: {note}" for note in task.notes)
            task.split("test")
        except InputError as problem:
            yield f"{name}: not here (? is what is expected): {problem}"


@app.command()
def check(
    battery: _Spec,
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy",
            help="The limits that the images must be able to show. Left out: as for audit, and without any "
            "the default limit informs.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[bool, typer.Option(help="Open every image.")] = True,
    base: _Asked = None,
    model: Model = None,
    offline: Offline = False,
    confine: Confine = None,
    texts_from: TextsFrom = None,
    quiet: Quiet = False,
) -> None:
    """Lint a battery and its data: every problem in a line, with what to do. Exits 2 if there is any."""
    from forgetcheck.batteries.check import lint
    from forgetcheck.retention.policy import find_policy, read_policy

    source = policy or find_policy(Path.cwd())
    limits = None if source is None else read_policy(source)
    with console.progress_shown(quiet) as progress:
        reach = reach_of(confine, texts_from)
        found = lint(battery, limits, images, progress, reach)
        if base is not None:
            found = replace(found, remarks=(*found.remarks, *doubted(found.battery, base, model, progress)))
    for remark in found.remarks:
        kind = "" if remark.grave else "note: "
        console.print_line(printable(f"{remark.task}: {kind}{remark.text.rstrip('.')}."))
    looked = f"{counted(len(found.battery.entries), 'task')}, {counted(found.images, 'image')} opened"
    if found.problems:
        problems = counted(len(found.problems), "problem")
        places = len({remark.task for remark in found.problems})
        raise InputError(
            f"battery '{found.battery.name}' has {problems} in {places} of its tasks ({looked}): see above."
        )
    console.print_line(printable(f"battery {found.battery.name}: no problem found ({looked})."))


@app.command()
def init(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="Images: a folder for each class, or train and test with those inside.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(parser=file_path, metavar="FILE", help="The file to write.")] = Path(
        "battery.toml"
    ),
    overwrite: _Overwrite = False,
) -> None:
    """Write a commented battery from a folder of images."""
    from forgetcheck.batteries.template import start

    refuse_existing_file(out, overwrite)
    write_text(out, start(folder, out.parent))
    console.print_note(f"wrote {out}; read it, change it, then `forgetcheck battery check {out}`.")


@app.command()
def pick(
    battery: _Spec,
    per_class: _PerClass,
    out: _PickedOut = Path("picked"),
    base: _PickingBase = "forgetcheck:tiny",
    tuned: _PickingTuned = None,
    train_per_class: _TrainPerClass = None,
    method: _Method = "herding",
    model: Model = None,
    weights: WeightsOf = "",
    allow_download: AllowDownload = False,
    offline: Offline = False,
    confine: Confine = None,
    texts_from: TextsFrom = None,
    device: Device = "auto",
    overwrite: _Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a small representative battery, with the audit error that it costs."""
    from forgetcheck.batteries.battery import read_battery
    from forgetcheck.batteries.sample_table import TABLE

    reach = reach_of(confine, texts_from)
    tasks = read_battery(battery, reach)
    file = out if out.suffix == ".toml" else out / "battery.toml"
    table = file.with_suffix(TABLE)
    _refuse_source(tasks, file)
    for path in (file, table):
        reach.refuse_outside(path)
        refuse_existing_file(path, overwrite)

    from forgetcheck.batteries import subset
    from forgetcheck.clip.identity.resolve import find_checkpoints

    specs = [base] if tuned is None else [base, tuned]
    shown = tuple(tasks.tasks.values())
    before, *after = find_checkpoints(specs, model, shown, weights=weights, allow_download=allow_download)
    numbers: dict[SplitName, int] = {"test": per_class}
    if train_per_class is not None:
        numbers["train"] = train_per_class
    rule = subset.Selection(method, numbers)
    with console.progress_shown(quiet) as progress:
        picked = subset.pick(tasks, before, rule, next(iter(after), None), device, progress)
    for copy, text in picked.texts(file).items():
        refuse_existing_file(copy, overwrite)
        write_text(copy, text)
    write_text(table, picked.table)
    write_text(file, picked.text(file))
    if not quiet:
        console.show(_cost_table(picked))
    for line in picked.said:
        console.print_line(printable(line))
    console.print_note(f"wrote {file} and {table}; audit with --battery {file}.")


def _refuse_source(battery: "Battery", file: Path) -> None:
    """What is picked from isn't replaced by what is picked."""
    if battery.path is not None and followed(file) == followed(battery.path):
        raise InputError(f"'{file}' is the battery that is picked from: choose another name.")


def _cost_table(picked: "Picked") -> Table:
    """Show full against picked, in percent and points."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("task")
    table.add_column("probe")
    for name in ("images", "picked", "accuracy", "picked", "drop", "picked"):
        table.add_column(name, justify="right", no_wrap=True)
    for cost in picked.costs:
        table.add_row(*(Text(printable(cell)) for cell in cost.cells))
    return table
