"""`forgetcheck demo`: the phenomenon and its cure on real scans, offline, in about a minute."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from forgetcheck import catalog
from forgetcheck.cli import console
from forgetcheck.cli.options import Overwrite, Quiet, Seed
from forgetcheck.files import refuse_existing, write_text
from forgetcheck.text import points

if TYPE_CHECKING:
    from forgetcheck.batteries.battery import Battery
    from forgetcheck.retention.report import Report
    from forgetcheck.retention.verdict import Finding

BASE = "forgetcheck:tiny"
TARGET = "digits"
NEAR_TARGET = "digit"  # drawn digits: near the target, so not asked about as "other" concepts
_AUDIT = "audit"
_REPORT = "report.html"
_LOST = 24  # samples of each method for the gallery
_METHODS = ("cross-entropy", "ldifs")  # each its own name and spec


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the runs, the answers and the report.")] = Path(
        "forgetcheck-demo"
    ),
    seed: Seed = 0,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Tune a tiny CLIP on real scans of digits, twice, and see what it forgets."""
    for name in (*_METHODS, _AUDIT):
        refuse_existing(out / name, overwrite)
    console.print_note(f"tuning {BASE} on {TARGET} with {' and '.join(_METHODS)}, then auditing both ...")
    report = run(out, seed, overwrite, quiet)
    console.show(_method_table(report))
    console.show("")
    for checkpoint in report.checkpoints:
        lost = _lost_concepts(report, checkpoint)
        listed = ", ".join(f"{f.retention.task} / {f.retention.concept}" for f in lost[:8])
        more = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
        console.print_line(f"{checkpoint} forgot {len(lost)} concepts{': ' if lost else ''}{listed}{more}.")
    console.show("")
    console.print_line(_conclusion(report))
    console.print_line(f"The report to look at: {(out / _REPORT).absolute()}")
    console.print_note(f"everything is in {out}; look closer with `forgetcheck report {out / _AUDIT}`.")


def run(out: Path, seed: int, overwrite: bool, quiet: bool) -> "Report":
    """Tune with every method on one schedule, audit all of them in one folder, judge."""
    from forgetcheck.auditing import audit as auditing
    from forgetcheck.clip.identity.resolve import find_checkpoint
    from forgetcheck.clip.saving.run_folder import write_run
    from forgetcheck.retention.answers import write_audit
    from forgetcheck.retention.policy import Policy
    from forgetcheck.retention.report import make_report
    from forgetcheck.tuning.data import Named
    from forgetcheck.tuning.schedule import schedule_for
    from forgetcheck.tuning.tune import tune

    base = find_checkpoint(BASE)
    task = Named(TARGET, catalog.build("tasks", TARGET))
    schedule = schedule_for(base, seed=seed)
    with console.progress_shown(quiet) as progress:
        for name in _METHODS:
            method = Named(name, catalog.build("regularizers", name))
            write_run(out / name, tune(base, task, method, schedule, progress=progress), overwrite)
        tuned = [find_checkpoint(str(out / name)) for name in _METHODS]
        answers = auditing.audit(base, tuned, others(), progress=progress, pictures=_LOST)
    write_audit(out / _AUDIT, answers, overwrite)
    report = make_report(answers, Policy(), gated=False)
    write_text(out / _REPORT, catalog.build("exporters", "html").render(report))
    return report


def others() -> "Battery":
    """Return the families of drawn concepts but the one near the target: so every report says one number."""
    from forgetcheck.batteries.battery import read_battery

    drawn = read_battery("drawn")
    tasks = {name: task for name, task in drawn.tasks.items() if name != NEAR_TARGET}
    entries = {name: entry for name, entry in drawn.entries.items() if name in tasks}
    return replace(drawn, name=f"{drawn.name} without {NEAR_TARGET}", tasks=tasks, entries=entries)


def facts(report: "Report", checkpoint: str) -> dict[str, Any]:
    """Return target accuracy before and after, and the mean drop of the other concepts per probe."""
    head = next(f.retention for f in report.tasks(checkpoint) if f.retention.probe == "head")
    drops = {mean.probe: mean.drop for mean in report.means_of(checkpoint) if not mean.of_target}
    return {"before": head.base, "after": head.tuned, **drops}


def _method_table(report: "Report") -> Table:
    families = next(mean.tasks for mean in report.means if not mean.of_target)
    table = Table(
        title=f"accuracy on {TARGET} before and after tuning on it; mean drop over {families} families\n"
        "of other concepts, in points",
        title_justify="left", box=None, pad_edge=False,
    )  # fmt: skip
    table.add_column("method", no_wrap=True)
    for name in ("before", "after", "zero-shot drop", "linear drop", "concepts forgot"):
        table.add_column(name, justify="right")
    for checkpoint in report.checkpoints:
        found = facts(report, checkpoint)
        table.add_row(
            Text(checkpoint),
            f"{100 * found['before']:.1f} %",
            f"{100 * found['after']:.1f} %",
            points(found["zero-shot"]),
            points(found["linear"]),
            str(len(_lost_concepts(report, checkpoint))),
        )
    return table


def _lost_concepts(report: "Report", checkpoint: str) -> list["Finding"]:
    """Return the concepts that zero-shot shows to be forgotten, worst first."""
    from forgetcheck.retention.verdict import Verdict

    return [
        finding
        for finding in report.worst_concepts(checkpoint, len(report.findings))
        if finding.verdict is Verdict.FORGOT and finding.retention.probe == "zero-shot"
    ]


def _conclusion(report: "Report") -> str:
    """Say in two sentences what was seen, from the numbers alone."""
    plain, kept = (facts(report, name) for name in _METHODS)
    first = (
        f"Fine-tuning with cross-entropy alone raised {TARGET} from {100 * plain['before']:.1f} % to "
        f"{100 * plain['after']:.1f} % and cost {100 * plain['zero-shot']:.1f} points of zero-shot accuracy "
        "on concepts that have nothing to do with handwriting."
    )
    share = 1 - kept["zero-shot"] / plain["zero-shot"] if plain["zero-shot"] > 0 else 0.0
    second = (
        f"LDIFS on the same schedule reached {100 * kept['after']:.1f} % and cost "
        f"{100 * kept['zero-shot']:.1f} points: {100 * share:.0f} % of the forgetting did not happen."
    )
    return f"{first} {second}"
