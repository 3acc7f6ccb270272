"""The labels of a task on the terminal: its name, an image, and what a checkpoint says of it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from forgetcheck.cli import console
from forgetcheck.errors import InputError, unknown_name
from forgetcheck.progress import Progress
from forgetcheck.text import printable

if TYPE_CHECKING:
    from forgetcheck.auditing.label_check import Opinion
    from forgetcheck.batteries.battery import Battery
    from forgetcheck.batteries.image_checks import Issue
    from forgetcheck.batteries.label_rows import Label
    from forgetcheck.tasks.base import Task

COLUMNS = ("of the source", "asked for as", "a test image")


def named_task(spec: str, name: str) -> "Task":
    """Return a task of a battery. Raises InputError for one that it doesn't have."""
    from forgetcheck.batteries.battery import read_battery

    return task_of(read_battery(spec), name)


def task_of(battery: "Battery", name: str) -> "Task":
    if name not in battery.tasks:
        raise unknown_name("task", name, battery.tasks, f"forgetcheck battery show {battery.path}")
    return battery.tasks[name]


def show_labels(name: str, task: "Task", found: "Opinion | None" = None, asked: str = "") -> None:
    """Print for each label what the source calls it, what a model is asked for, and one image to look at.

    With the opinion of a checkpoint, which is called `asked`, also what that says most often.
    """
    console.show(_label_table(name, _rows_of(task, found), asked))
    if found is not None and found.doubt:
        console.print_line(printable(f"{name}: {found.doubt}: check names and labels."))


def label_record(name: str, task: "Task", found: "Opinion") -> dict[str, Any]:
    """Return the same for machines."""
    return {"task": name, "labels": [asdict(row) for row in _rows_of(task, found)], "doubt": found.doubt}


def _rows_of(task: "Task", found: "Opinion | None") -> "list[Label]":
    from forgetcheck.batteries.label_rows import label_rows

    return label_rows(task) if found is None else label_rows(task, found.said, found.labels)


def _label_table(name: str, labels: "Sequence[Label]", asked: str = "") -> Table:
    table = Table(title=Text(printable(name), style="bold"), title_justify="left", box=None, pad_edge=False)
    table.add_column("label", justify="right", no_wrap=True)
    for column in (*COLUMNS, *([f"{printable(asked)} says most often"] if asked else [])):
        table.add_column(Text(column), overflow="fold")
    for label in labels:
        row = [str(label.number), label.raw, label.name, label.sample]
        style = "yellow" if label.answer and label.answer != label.name else ""
        said = f"{label.answer} ({100 * label.share:.0f} %)" if label.answer else "(nothing)"
        cells = [Text(printable(cell)) for cell in row]
        table.add_row(*cells, *([Text(printable(said), style=style)] if asked else []))
    return table


def asked_of(spec: str, model: str | None, name: str, task: "Task", quiet: bool) -> "tuple[Opinion, str]":
    """Ask a checkpoint what it calls the images of a task; also returns what it is called itself."""
    from forgetcheck.auditing.label_check import opinion
    from forgetcheck.clip.identity.resolve import find_checkpoint
    from forgetcheck.clip.model.load import load_encoder

    checkpoint = find_checkpoint(spec, model, tasks=[task])
    with console.progress_shown(quiet) as progress:
        return opinion(name, task, load_encoder(checkpoint), progress), checkpoint.name


def doubted(battery: "Battery", spec: str, model: str | None, progress: Progress) -> Iterator["Issue"]:
    """Yield the tasks whose labels look wrong to a checkpoint, as another numbering fits clearly better."""
    from forgetcheck.auditing.label_check import opinion
    from forgetcheck.batteries.image_checks import Issue
    from forgetcheck.clip.identity.resolve import find_checkpoint
    from forgetcheck.clip.model.load import load_encoder

    encoder = load_encoder(find_checkpoint(spec, model, tasks=tuple(battery.tasks.values())))
    for name, task in battery.tasks.items():
        try:
            doubt = opinion(name, task, encoder, progress).doubt
        except InputError:  # what can't be asked has a line of its own already
            continue
        if doubt:
            yield Issue(name, f"{doubt}; check names and labels")
