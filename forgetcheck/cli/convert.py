"""`forgetcheck convert`: write a checkpoint of any kind as others load it."""

from pathlib import Path
from typing import Annotated

import typer

from forgetcheck.cli import console
from forgetcheck.cli.options import AllowDownload, Model, Offline, WeightsOf
from forgetcheck.cli.weights_out import kind_of, refuse_overlap, refuse_target
from forgetcheck.text import printable

_LOADING = {  # how to load what was written
    "local-dir": 'load it with open_clip.create_model_and_transforms("local-dir:{out}")',
    "safetensors": "forgetcheck finds the architecture in its header; for open_clip name it: "
    'open_clip.create_model_and_transforms(NAME, pretrained="{out}")',
    "pt": "a plain state dict names no architecture: forgetcheck tells those of open_clip by their shapes, "
    'open_clip needs it: open_clip.create_model_and_transforms(NAME, pretrained="{out}")',
}


def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="The checkpoint to read: a file, a folder, or NAME:TAG of open_clip.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="What to write: a .safetensors or .pt file; without a suffix, a folder for local-dir:.",
            show_default=False,
        ),
    ],
    save_as: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="local-dir, safetensors or pt.", show_default="told by OUT's suffix"
        ),
    ] = None,
    model: Model = None,
    weights: WeightsOf = "",
    allow_download: AllowDownload = False,
    offline: Offline = False,
    base: Annotated[
        str,
        typer.Option(
            metavar="BASE",
            help="The whole model that IN, an adapter, is merged into, or whose text tower IN takes.",
            show_default=False,
        ),
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what OUT is now.")] = False,
) -> None:
    """Write a checkpoint so that open_clip, torch and safetensors load it.

    The tensors keep their values and precision, and get the names of the model that they were tried in.
    """
    kind = kind_of(out, save_as)
    refuse_target(out, kind, source, overwrite)
    refuse_overlap(out, base)

    from forgetcheck.clip.saving.convert import read_clip
    from forgetcheck.clip.saving.write import write_clip

    found = read_clip(source, model, weights, base, allow_download)
    write_clip(out, found.clip, kind, overwrite)
    for note in found.notes:
        console.print_note(note)
    said = f"read {source} ({found.family}, {found.precision}), wrote {out} ({kind}, {_size(out)})"
    console.print_line(printable(said))
    console.print_note(_LOADING[kind].format(out=out))


def _size(path: Path) -> str:
    """Return how large a file is, or all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    total = sum(file.stat().st_size for file in files if file.is_file())
    return f"{total / 1e9:.2f} GB" if total >= 1e9 else f"{total / 1e6:.1f} MB"
