"""Options that several commands share, said once."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from forgetcheck.errors import InputError
from forgetcheck.network import closed

if TYPE_CHECKING:
    from forgetcheck.tasks.reading.reach import Reach


def file_path(text: Any) -> Path:
    """Read the path of a file; a slash at its end, which Path forgets, says that a folder is meant."""
    if str(text).endswith(("/", os.sep)):
        raise InputError(f"--out {text}: expected a file, found the name of a folder; leave the slash out.")
    return Path(text)


def go_offline(context: typer.Context, asked: bool) -> bool:
    """Let nothing be fetched as long as the command runs."""
    if asked:
        context.with_resource(closed())
    return asked


def reach_of(confine: Path | None, texts: list[Path] | None) -> "Reach":
    """Return what a battery may read beside what every one may. Raises InputError for what is no folder."""
    from forgetcheck.tasks.reading.reach import Reach

    for option, folder in (("--confine", confine), *(("--texts-from", each) for each in texts or ())):
        if folder is not None and not folder.is_dir():
            raise InputError(f"{option} {folder}: there is no such folder; check the path.")
    inside = "" if confine is None else os.path.realpath(confine)
    return Reach(tuple(map(os.path.realpath, texts)) if texts else None, inside)


Base = Annotated[
    str,
    typer.Argument(
        metavar="BASE",
        help="The checkpoint before tuning: forgetcheck:tiny, a run folder, a .safetensors or .pt file, "
        "or NAME:TAG of open_clip.",
        show_default=False,
    ),
]
BatterySpec = Annotated[str, typer.Option("--battery", help="A shipped battery or a TOML file.")]
Model = Annotated[
    str | None,
    typer.Option(help="Architecture of a bare weights file, as open_clip names it.", show_default=False),
]
WeightsOf = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="NAME",
        help="Of a file with several sets of weights, the one under this name, such as ema.",
        show_default=False,
    ),
]
AllowDownload = Annotated[
    bool,
    typer.Option(
        "--allow-download",
        help="Fetch the text tower's config or the tokenizer that a checkpoint names from the hub.",
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        callback=go_offline,
        help="Fetch nothing: what isn't on this machine is refused at once. Also by HF_HUB_OFFLINE=1.",
    ),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        help="TOML file with a [policy] table; failing it exits 1. Left out: forgetcheck.toml or "
        "[tool.forgetcheck.policy] of pyproject.toml in this folder, if there is one.",
        show_default=False,
    ),
]
As = Annotated[
    list[str] | None,
    typer.Option(
        "--as",
        metavar="NAME[=FILE]",
        help="Write a document: html, markdown, json, csv, junit ... (see `list exporters`); repeatable.",
        show_default=False,
    ),
]
Languages = Annotated[
    Literal["en", "ja"] | None,
    typer.Option("--language", help="Of the executive summary; also prints it.", show_default=False),
]
Gallery = Annotated[
    int, typer.Option(min=0, help="Lost samples to keep as thumbnails, per checkpoint; 0 for none.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, mps ...")]
Workers = Annotated[
    int, typer.Option(min=0, help="Threads that decode images; 0 for one per processor, 16 at most.")
]
PrecisionOf = Annotated[
    Literal["fp32", "bf16", "fp16"],
    typer.Option("--precision", help="Of the towers; `doctor` says what it changes. Logits stay fp32."),
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile image towers: pays off from many thousand images on.")
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Compute everything: neither read nor store what models saw.")
]
CacheSize = Annotated[
    str,
    typer.Option(
        metavar="SIZE", help="What the cache may hold, such as 500MB; the least recently used goes first."
    ),
]
MaxDownload = Annotated[
    str,
    typer.Option(
        "--max-download",
        metavar="SIZE",
        envvar="FORGETCHECK_MAX_DOWNLOAD",
        show_default="200GiB",
        help="What the data of one task may take on the disk when it is downloaded.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run or audit that --out holds.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no tables.")]
Top = Annotated[int, typer.Option(min=0, help="How many of the worst concepts and failures to show.")]
Seed = Annotated[int, typer.Option(help="Order of the batches.")]
SaveAs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FORMAT",
        help="Also write the tuned CLIP as one file beside the run folder: safetensors (OUT.safetensors) "
        "or pt (OUT.pt); repeatable. The run folder itself is the local-dir.",
        show_default=False,
    ),
]
Target = Annotated[
    str,
    typer.Option(
        metavar="TASK",
        help="What TUNED files were tuned on that don't record it (run folders do): a source such as "
        "digits, or a task of the battery. It counts as gain, and a head in a file answers for it.",
        show_default=False,
    ),
]
Confine = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Read nothing of the battery and its data outside of DIR, links followed, nor from the network: "
        "for what a stranger proposes. Checkpoints may lie anywhere.",
        show_default=False,
    ),
]
TextsFrom = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="DIR",
        help="Let the battery read class names, prompts and lists in DIR as well; repeatable. Otherwise they "
        "lie in its own folder, or in the data.",
        show_default=False,
    ),
]
AllowMismatch = Annotated[
    bool,
    typer.Option(
        "--allow-mismatch",
        help="Go on where base and tuned differ in activation, preprocessing, ...; the report says so.",
    ),
]
