"""The claim of the demo over seeds, on test answers: forgetting and target accuracy per method.

    python benchmarks/forgetting.py --seeds 0 1 2 --out docs/results

The schedule and the strengths are fixed beforehand by benchmarks/choose_schedule.py. Writes one CSV row per
method and seed, and prints the table of docs/results.md.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

from forgetcheck import catalog
from forgetcheck.auditing.audit import audit
from forgetcheck.cli.demo import others
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.saving.run_folder import write_run
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report
from forgetcheck.retention.verdict import Verdict
from forgetcheck.tuning.data import Named
from forgetcheck.tuning.schedule import schedule_for
from forgetcheck.tuning.tune import tune

BASE, TARGET = "forgetcheck:tiny", "digits"


def measure(spec: str, seed: int, folder: Path) -> dict[str, object]:
    """Tune and audit once; drops in points, averaged over the families other than digit."""
    base = find_checkpoint(BASE)
    task = Named(TARGET, catalog.build("tasks", TARGET))
    run = tune(base, task, Named(spec, catalog.build("regularizers", spec)), schedule_for(base, seed=seed))
    write_run(folder / "run", run, overwrite=True)
    report = make_report(audit(base, [find_checkpoint(str(folder / "run"))], others()), Policy())
    rows = report.tasks()
    head = next(f.retention for f in rows if f.retention.probe == "head")
    drops = {mean.probe: mean.drop for mean in report.means if not mean.of_target}
    return {
        "method": spec,
        "seed": seed,
        "digits_before": 100 * head.base,
        "digits_after": 100 * head.tuned,
        "zero_shot_drop": 100 * drops["zero-shot"],
        "linear_drop": 100 * drops["linear"],
        "questions_forgot": sum(f.verdict is Verdict.FORGOT for f in rows),
        "tune_seconds": run.facts["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in options.seeds:
        for spec in options.methods:
            started = time.monotonic()
            rows.append(measure(spec, seed, Path("/tmp/forgetcheck-forgetting")))
            print(rows[-1], f"{time.monotonic() - started:.0f} s", flush=True)
    frame = pd.DataFrame(rows)
    frame.round(3).to_csv(options.out / "forgetting.csv", index=False)
    print(frame.groupby("method", sort=False).mean().drop(columns="seed").round(2).to_string())


if __name__ == "__main__":
    main()
