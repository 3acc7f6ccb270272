"""`forgetcheck tune`: fine-tune a checkpoint on a task while staying near the base."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from forgetcheck.cli import console
from forgetcheck.cli.options import (
    AllowDownload,
    Base,
    Confine,
    Device,
    Model,
    Offline,
    Overwrite,
    Quiet,
    SaveAs,
    Seed,
    WeightsOf,
    reach_of,
)
from forgetcheck.cli.weights_out import beside, known_kind, refuse_target
from forgetcheck.files import LOCAL_DIR, refuse_existing

_REGULARIZER = "ldifs"  # unless one is asked for


def tune(
    base: Base,
    on: Annotated[str, typer.Option("--on", help="The task, such as digits.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The run folder to write.", show_default=False)],
    regularizer: Annotated[
        list[str] | None,
        typer.Option(
            help="How to stay near the base, such as ldifs:strength=5; see `forgetcheck list regularizers`. "
            "Several may be given: their penalties add.",
            show_default="ldifs",
        ),
    ] = None,
    model: Model = None,
    weights: WeightsOf = "",
    allow_download: AllowDownload = False,
    offline: Offline = False,
    epochs: Annotated[int | None, typer.Option(help="Passes over the task.", show_default="10")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step.", show_default="128")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="AdamW's peak.", show_default="1e-5")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's decay.", show_default="0.1")] = None,
    warmup_steps: Annotated[
        int | None, typer.Option(help="Linear warm-up, at most a tenth of all steps.", show_default="500")
    ] = None,
    seed: Seed = 0,
    save_as: SaveAs = None,
    confine: Confine = None,
    device: Device = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Fine-tune the image tower and a zero-shot initialised head; write a run folder.

    AdamW's rate and decay, the batch size and the gradient clip are by default those of arXiv:2308.13320;
    docs/methods.md lists where the rest differs from its protocol. A checkpoint may recommend a schedule of
    its own, as forgetcheck:tiny does.

    A tenth of the train images is held out: the accuracy on them comes with its 95 % interval.
    """
    kinds = sorted({known_kind(name) for name in save_as or []} - {LOCAL_DIR})
    refuse_existing(out, overwrite)
    for kind in kinds:
        refuse_target(beside(out, kind), kind, base, overwrite)
    from forgetcheck.batteries.paths import typed

    task = typed(on, reach_of(confine, None).confine)

    from forgetcheck.clip.identity.resolve import find_checkpoint
    from forgetcheck.clip.saving.run_folder import tuned_clip, write_run
    from forgetcheck.clip.saving.write import write_clip
    from forgetcheck.tuning import tune as tuning
    from forgetcheck.tuning.data import Named
    from forgetcheck.tuning.data_warnings import images_of, keyed_parts, repeats_of, thin_classes
    from forgetcheck.tuning.schedule import schedule_for
    from forgetcheck.tuning.together import named_together

    method = named_together(regularizer or [_REGULARIZER])
    start = find_checkpoint(base, model, weights=weights, allow_download=allow_download)
    asked = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "warmup_steps": warmup_steps,
        "seed": seed,
    }
    schedule = schedule_for(start, **{key: value for key, value in asked.items() if value is not None})
    target = Named(on, task)
    with console.progress_shown(quiet) as progress:
        parts = keyed_parts(target, progress)
    for warning in (*thin_classes(target), *repeats_of(target, parts)):
        console.print_note(warning)
    with console.progress_shown(quiet) as progress:
        run = tuning.tune(start, target, method, schedule, device, progress)
    write_run(out, replace(run, images=images_of(parts)), overwrite)
    console.print_line(f"{on} with {method.spec}: {_reached(run.facts)}; wrote {out}")
    for kind in kinds:
        write_clip(beside(out, kind), tuned_clip(run), kind, overwrite)
        console.print_line(f"wrote {beside(out, kind)}")
    console.print_note(f"what did it forget? `forgetcheck audit {base} {out} --battery drawn`")


def _reached(facts: Mapping[str, Any]) -> str:
    """Say the held-out accuracy, its interval, and where the images are too few to mean much."""
    from forgetcheck.retention.compare import FEW
    from forgetcheck.retention.statistics.paired import share_interval
    from forgetcheck.text import counted, percent

    accuracy, count = facts["validation_accuracy"], facts["samples"]["validation"]
    low, high = (100 * float(end) for end in share_interval(round(accuracy * count), count, 0.95))
    doubt = ", and so few say little" if count < FEW else ""
    return f"{percent(accuracy)} [{low:.1f}, {high:.1f}] of {counted(count, 'held-out train image')}{doubt}"
