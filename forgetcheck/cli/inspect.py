"""`forgetcheck inspect`: the passport of a checkpoint, and where a pair differs."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from forgetcheck.cli import console
from forgetcheck.cli.labels import label_record, named_task, show_labels
from forgetcheck.cli.options import BatterySpec, Model, Quiet, WeightsOf
from forgetcheck.errors import InputError
from forgetcheck.network import closed
from forgetcheck.progress import Progress
from forgetcheck.text import printable

if TYPE_CHECKING:
    from forgetcheck.auditing.label_check import Opinion
    from forgetcheck.clip.identity.model_info import ModelInfo
    from forgetcheck.clip.identity.weight_change import Change, Comparison
    from forgetcheck.clip.model.adapters import Adapter
    from forgetcheck.clip.model.checkpoint import Checkpoint
    from forgetcheck.clip.model.encoder import Encoder
    from forgetcheck.tasks.base import Task

BAR = 24  # characters of the longest bar
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_COMPARED = ("activation", "image size", "mean", "std", "resizing", "tokenizer", "context length")
_SIDES = {"visual": "image", "text": "text"}
_SHORT = 12  # characters of a digest that is shown
_TOWERS = {"visual": "image tower", "text": "text tower", "scale": "logit scale and bias"}


def inspect(
    checkpoint: Annotated[
        str,
        typer.Argument(metavar="CHECKPOINT", help="A checkpoint as `audit` takes it.", show_default=False),
    ],
    other: Annotated[
        str | None,
        typer.Argument(metavar="OTHER", help="Another, to compare it with.", show_default=False),
    ] = None,
    model: Model = None,
    weights: WeightsOf = "",
    battery: BatterySpec = "drawn",
    labels: Annotated[
        str,
        typer.Option(
            metavar="TASK",
            help="Also ask it what it calls the images of each label of this task of the battery.",
            show_default=False,
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything for machines.")] = False,
    quiet: Quiet = False,
) -> None:
    """Say what a checkpoint is and how that is known; for a pair, which layers differ and by how much."""
    with closed():  # looking at a stranger's file asks nobody
        _look(
            [checkpoint, *([] if other is None else [other])], model, weights, battery, labels, as_json, quiet
        )


def _look(
    words: Sequence[str],
    model: str | None,
    weights: str,
    battery: str,
    labels: str,
    as_json: bool,
    quiet: bool,
) -> None:
    from forgetcheck.clip.identity.model_info import issue
    from forgetcheck.clip.identity.resolve import adapter_named, look_at
    from forgetcheck.clip.identity.weight_change import compare
    from forgetcheck.clip.model.load import load_encoder
    from forgetcheck.clip.model.settings import differences

    task = named_task(battery, labels) if labels else None
    adapter = adapter_named(words[0]) if len(words) == 1 else None
    if adapter is not None:
        _show_adapter(words[0], adapter, as_json)
        return
    encoders = []
    with console.progress_shown(quiet) as progress:
        found = look_at(words, model, weights)
        for number, each in enumerate(found):
            progress("reading", number, len(found), each.name)
            encoders.append(load_encoder(each, "cpu", finite=False, words=task is not None))
        said = None if task is None else _opinion_of(labels, task, found[0], encoders[0], progress)
    passports = [issue(each, encoder) for each, encoder in zip(found, encoders, strict=True)]
    odd: tuple[str, ...] = ()
    change = None
    if len(words) > 1:
        odd = differences(found[0].config, found[1].config)
        change = compare(encoders[0].weights, encoders[1].weights)
    if as_json:
        told = None if task is None or said is None else label_record(labels, task, said)
        console.print_document(_as_document(passports, odd, change, told))
        return
    console.show(_passport_table(passports))
    if change is not None:
        _show_change(odd, change)
    if task is not None:
        console.show("")
        show_labels(labels, task, said, found[0].name)


def _opinion_of(
    name: str, task: "Task", checkpoint: "Checkpoint", encoder: "Encoder", progress: Progress
) -> "Opinion":
    """Ask for the class of every test image. Raises InputError while it is open which model this is."""
    from forgetcheck.auditing.label_check import opinion

    if checkpoint.undecided:
        raise InputError(checkpoint.undecided)
    return opinion(name, task, encoder, progress)


def _show_adapter(name: str, adapter: "Adapter", as_json: bool) -> None:
    """Say what an adapter is, as far as that shows without its base."""
    record = adapter.record()
    if as_json:
        console.print_document(json.dumps({"adapter": record}, indent=2, ensure_ascii=False) + "\n")
        return
    count = sum(value.numel() for value in adapter.tensors.values())
    rows = {
        "adapter": record["kind"],
        "alpha": f"{record['alpha']:g}",
        "changes": ", ".join(record["targets"]),
        "holds whole": ", ".join(adapter.settings.saved),
        "numbers": f"{count:,} in {len(adapter.tensors)} tensors of {adapter.path.name}",
        "trained on": f"{record['trained_on']}, as it says" if record["trained_on"] else "it doesn't say",
        "digest": record["digest"][:_SHORT],
        "notes": " ".join(adapter.notes),
        "to audit": f"forgetcheck audit BASE {name}",
        "to merge": f"forgetcheck convert {name} OUT --base BASE",
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for row, value in rows.items():
        if value:
            table.add_row(Text(row, style="dim"), Text(printable(value)))
    console.show(table)


def _as_document(
    passports: Sequence["ModelInfo"],
    odd: Sequence[str],
    change: "Comparison | None",
    labels: Mapping[str, Any] | None,
) -> str:
    record: dict[str, Any] = {"passports": [passport.as_record() for passport in passports]}
    if change is not None:
        record |= {"differences": list(odd), "change": change.as_record()}
    if labels is not None:
        record["labels"] = labels
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _passport_table(passports: Sequence["ModelInfo"]) -> Table:
    """One column per checkpoint, one row per fact."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    table.add_column("")
    for passport in passports:
        table.add_column(printable(passport.name), overflow="fold")
    columns = [facts(passport) for passport in passports]
    for row in columns[0]:
        cells = [column[row] for column in columns]
        if any(cells):
            style = "yellow" if len(set(cells)) > 1 and row in _COMPARED else ""
            table.add_row(Text(row, style="dim"), *(_cell_of(lines, style) for lines in cells))
    return table


def _cell_of(lines: Sequence[str], style: str) -> Text:
    return Text("\n".join(map(printable, lines)), style=style)


def facts(passport: "ModelInfo") -> dict[str, tuple[str, ...]]:
    """Return what the rows say, each in lines."""
    way = passport.preprocessing
    return {
        "architecture": (" or ".join(passport.architectures) or "none of open_clip's own",),
        "read as": (passport.family,),
        "parameters": (parameters(passport),),
        "activation": (passport.activation,),
        "image size": (_listed(passport.image_size),),
        "mean": (_listed(way["mean"]),),
        "std": (_listed(way["std"]),),
        "resizing": (f"{way['interpolation']}, {way['resize_mode']}",),
        "tokenizer": (passport.tokenizer,),
        "context length": (str(passport.context_length),),
        "precision": (", ".join(dict.fromkeys(k for c in passport.census.values() for k in c.precisions)),),
        "numbers": numbers(passport),
        "image digest": (passport.digests["visual"][:_SHORT],),
        "text digest": (passport.digests["text"][:_SHORT],),
        "adapter": _merged_from(passport.adapter),
        "head": () if passport.head is None else (f"{passport.head[0]} classes, width {passport.head[1]}",),
        "known from": tuple(f"{what}: {why}" for what, why in passport.inferred.items()),
        "open": (passport.undecided,) if passport.undecided else (),
        "notes": passport.notes,
    }


def _merged_from(adapter: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what an adapter was merged from: its own digest, and its base's."""
    if not adapter:
        return ()
    base = adapter["base"]
    digests = ", ".join(f"{_SIDES[part]} {found[:_SHORT]}" for part, found in base["digest"].items())
    return f"{adapter['kind']}, digest {adapter['digest'][:_SHORT]}", f"into '{base['name']}' ({digests})"


def parameters(passport: "ModelInfo") -> str:
    parts = [f"{name} {passport.census[part].parameters / 1e6:,.2f} M" for part, name in _SIDES.items()]
    return f"{passport.parameters / 1e6:,.2f} M ({', '.join(parts)})"


def _listed(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    return ", ".join(f"{item:.4g}" for item in value)


def numbers(passport: "ModelInfo") -> tuple[str, ...]:
    """Sum up the census, and say where it is not finite."""
    parts = list(passport.census.values())
    nan, infinite, denormal, zeros = (
        sum(getattr(census, kind) for census in parts) for kind in ("nan", "infinite", "denormal", "zeros")
    )
    share = 100 * zeros / max(passport.parameters, 1)
    said = f"{nan:,} NaN, {infinite:,} Inf, {denormal:,} denormal, {share:.1f} % zero"
    where = [name for census in parts for name in census.not_finite]
    return (said, f"not finite in {', '.join(where)}") if where else (said,)


def _show_change(odd: Sequence[str], change: "Comparison") -> None:
    console.show("")
    if odd:
        console.print_line(f"They differ in more than weights: {'; '.join(map(printable, odd))}.")
    if change.equal:
        console.print_line("All weights are equal, bit for bit.")
        return
    console.show(_change_table(change))
    others: Mapping[str, Sequence[str]] = {
        "only in the first": change.only_base,
        "only in the second": change.only_tuned,
        "of another shape": change.reshaped,
    }
    for words, names in others.items():
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            console.print_line(f"{words}: {', '.join(map(printable, names[:3]))}{more}")


def _change_table(change: "Comparison") -> Table:
    table = Table(
        title="relative change of the weights: |b - a| / |a|",
        title_justify="left", box=None, pad_edge=False, show_header=False,
    )  # fmt: skip
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column(no_wrap=True)
    largest = max((finite(block.relative) for block in change.blocks), default=0.0)
    for tower in change.towers:
        table.add_row(Text(_TOWERS[tower.name], style="bold"), *_measured(tower, largest))
        blocks = [block for block in change.blocks if block.tower == tower.name]
        if tower.equal or tower.name not in ("visual", "text"):
            continue
        for block in blocks:
            table.add_row(f"  {block.name.partition('.')[2].replace('.', ' ')}", *_measured(block, largest))
    return table


def _measured(change: "Change", largest: float) -> tuple[str, Text]:
    if change.equal:
        return "equal", Text("")
    size = finite(change.relative)
    return f"{size:.2e}" if size else "not finite", Text(bar(size, largest), style="cyan")


def finite(value: float) -> float:
    return value if 0 <= value < float("inf") else 0.0


def bar(value: float, largest: float) -> str:
    """Draw a bar in eighths of a character; anything above zero shows."""
    if largest <= 0 or value <= 0:
        return ""
    eighths = max(1, min(round(8 * BAR * value / largest), 8 * BAR))
    return _EIGHTHS[-1] * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
