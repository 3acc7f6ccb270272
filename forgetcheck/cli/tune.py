"""`forgetcheck tune`: fine-tune a checkpoint on a task while staying near the base."""

from pathlib import Path
from typing import Annotated

import typer

from forgetcheck import catalog
from forgetcheck.cli import console
from forgetcheck.cli.options import Base, Device, Model, Overwrite, Quiet, SaveAs, Seed
from forgetcheck.cli.saving import beside, known_kind, refuse_target
from forgetcheck.files import LOCAL_DIR, refuse_existing


def tune(
    base: Base,
    on: Annotated[str, typer.Option("--on", help="The task, such as digits.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The run folder to write.", show_default=False)],
    regularizer: Annotated[
        str,
        typer.Option(
            help="How to stay near the base, such as ldifs:strength=5; see `forgetcheck list regularizers`."
        ),
    ] = "ldifs",
    model: Model = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the task.", show_default="10")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.", show_default="128")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's peak.", show_default="1e-5")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's decay.", show_default="0.1")] = None,
    warmup_steps: Annotated[
        int | None, typer.Option(help="Linear warm-up, at most a tenth of all steps.", show_default="500")
    ] = None,
    seed: Seed = 0,
    save_as: SaveAs = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune the image tower and a zero-shot initialised head; write a run folder.

    The schedule's defaults are the protocol of arXiv:2308.13320, unless the checkpoint recommends its own,
    as forgetcheck:tiny does.
    """
    kinds = sorted({known_kind(name) for name in save_as or []} - {LOCAL_DIR})
    refuse_existing(out, overwrite)
    for kind in kinds:
        refuse_target(beside(out, kind), kind, base, overwrite)
    task = catalog.build("tasks", on)

    from forgetcheck import tuning
    from forgetcheck.clip.finding import find_checkpoint
    from forgetcheck.clip.run_folder import tuned_clip, write_run
    from forgetcheck.clip.writing import write_clip

    method = tuning.Named(regularizer, catalog.build("regularizers", regularizer))
    start = find_checkpoint(base, model)
    asked = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "warmup_steps": warmup_steps,
        "seed": seed,
    }
    schedule = tuning.schedule_for(start, **{key: value for key, value in asked.items() if value is not None})
    with console.progress_shown(quiet) as progress:
        run = tuning.tune(start, tuning.Named(on, task), method, schedule, device, progress)
    write_run(out, run, overwrite)
    reached = 100 * run.facts["validation_accuracy"]
    console.print_line(f"{on} with {regularizer}: {reached:.1f} % on the held-out part of train; wrote {out}")
    for kind in kinds:
        write_clip(beside(out, kind), tuned_clip(run), kind, overwrite)
        console.print_line(f"wrote {beside(out, kind)}")
    console.print_note(f"what did it forget? `forgetcheck audit {base} {out} --battery drawn`")
