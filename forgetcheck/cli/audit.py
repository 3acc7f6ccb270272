"""`forgetcheck audit`: ask base and tuned checkpoints the same questions and judge the answers."""

from pathlib import Path
from typing import Annotated

import typer

from forgetcheck.cli import console
from forgetcheck.cli.cache import open_cache
from forgetcheck.cli.judging import Judging, conclude, prepare, refuse_inputs
from forgetcheck.cli.options import (
    AllowMismatch,
    As,
    Base,
    BatterySpec,
    CacheSize,
    Compile,
    Device,
    Gallery,
    Languages,
    Model,
    NoCache,
    Overwrite,
    PolicyFile,
    PrecisionOf,
    Quiet,
    Target,
    Top,
    Workers,
)
from forgetcheck.clip.feature_cache import FeatureCache
from forgetcheck.errors import CannotAsk
from forgetcheck.files import refuse_existing
from forgetcheck.tasks.battery import read_battery


def audit(
    base: Base,
    tuned: Annotated[
        list[str], typer.Argument(metavar="TUNED", help="Checkpoints after tuning.", show_default=False)
    ],
    battery: BatterySpec = "drawn",
    out: Annotated[Path, typer.Option(help="Folder for the answers.")] = Path("audit"),
    probe: Annotated[
        list[str] | None, typer.Option(help="Ask only this way; repeatable.", show_default="all")
    ] = None,
    model: Model = None,
    target: Target = "",
    allow_mismatch: AllowMismatch = False,
    policy: PolicyFile = None,
    exporters: As = None,
    language: Languages = None,
    gallery: Gallery = 24,
    device: Device = "auto",
    workers: Workers = 0,
    precision: PrecisionOf = "fp32",
    compiled: Compile = False,
    no_cache: NoCache = False,
    cache_size: CacheSize = "4 GiB",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    top: Top = 10,
) -> None:
    """Ask base and tuned checkpoints the same questions, keep the answers and judge them."""
    judging = prepare(policy, exporters or [], None, language, top, quiet)
    refuse_homeless(judging)
    refuse_inputs(judging, out)
    tasks = read_battery(battery)
    refuse_existing(out, overwrite)
    cache = None if no_cache else open_cache(cache_size)

    from forgetcheck import auditing
    from forgetcheck.clip.engine import Engine
    from forgetcheck.clip.finding import find_checkpoints
    from forgetcheck.clip.team import joined
    from forgetcheck.retention.answers import write_audit

    with joined() as team:
        engine = Engine(cache, workers, precision, compiled, team)
        with console.progress_shown(quiet) as progress:
            with team.agreed():
                words, shown = [base, *tuned], tuple(tasks.tasks.values())
                before, *after = find_checkpoints(words, model, shown, progress)
            asked = (before, after, tasks, probe or auditing.PROBES, device, progress, gallery)
            answers = auditing.audit(*asked, allow_mismatch, target, engine)
        write_audit(out, answers, overwrite)
        say_spared(cache)
        console.print_note(f"the answers are in {out}; judge them again with `forgetcheck report {out}`.")
        conclude(answers, judging, tabled=True)


def refuse_homeless(judging: Judging) -> None:
    if any(document.path is None for document in judging.documents):
        raise CannotAsk("--as needs a file here, because the tables go to stdout: write --as NAME=FILE.")


def say_spared(cache: FeatureCache | None) -> None:
    if cache is not None and cache.reused:
        made = len(cache.reused) + len(cache.made)
        console.print_note(f"the cache spared {len(cache.reused)} of {made} passes of a model.")
