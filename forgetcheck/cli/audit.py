"""`forgetcheck audit`: ask base and tuned checkpoints the same questions and judge the answers."""

from pathlib import Path
from typing import Annotated

import typer

from forgetcheck.cli import console
from forgetcheck.cli.judging import gate, policy_of, show_audit
from forgetcheck.files import refuse_existing
from forgetcheck.tasks.battery import read_battery


def audit(
    base: Annotated[str, typer.Argument(help="The checkpoint before tuning: forgetcheck:tiny, a run folder, a "
                                             ".safetensors or .pt file, or NAME:TAG of open_clip.", show_default=False)],
    tuned: Annotated[list[str], typer.Argument(help="One or more checkpoints after tuning.", show_default=False)],
    battery: Annotated[str, typer.Option(help="A shipped battery or a TOML file.")] = "drawn",
    out: Annotated[Path, typer.Option(help="Folder for the answers.")] = Path("audit"),
    probe: Annotated[
        list[str] | None, typer.Option(help="Ask only this way; repeatable. Default: all.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Architecture of bare weight files, as open_clip names it.", show_default=False)
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="TOML file with a [policy] table; failing it exits 1.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, mps ...")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace --out if it exists.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    top: Annotated[int, typer.Option(min=0, help="How many of the worst concepts to show.")] = 10,
) -> None:  # fmt: skip
    """Ask base and tuned checkpoints the same questions, keep the answers and judge them."""
    limits, tasks = policy_of(policy), read_battery(battery)
    refuse_existing(out, overwrite)

    from forgetcheck import auditing
    from forgetcheck.clip.checkpoint import find_checkpoint
    from forgetcheck.retention.answers import write_audit

    before = find_checkpoint(base, model)
    after = [find_checkpoint(name, model, like=before) for name in tuned]
    with console.progress_shown(quiet) as progress:
        answers = auditing.audit(before, after, tasks, probe or auditing.PROBES, device, progress)
    write_audit(out, answers, overwrite)
    judged = show_audit(answers, limits, None, None, top)
    console.print_note(f"the answers are in {out}; judge them again with `forgetcheck report {out}`.")
    gate(judged, policy)
