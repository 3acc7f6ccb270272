"""The functions of the public API: what the commands do, for notebooks and scripts. Prints nothing."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetcheck import catalog
from forgetcheck.errors import InputError
from forgetcheck.progress import Progress, silent

if TYPE_CHECKING:  # torch takes seconds to import, which reading an audit doesn't wait for
    from forgetcheck.batteries.battery import Battery
    from forgetcheck.clip.features.cache import FeatureCache
    from forgetcheck.clip.features.runtime import Precision
    from forgetcheck.clip.model.encoder import Encoder
    from forgetcheck.clip.saving.run_folder import Run
    from forgetcheck.regularizers.base import Regularizer
    from forgetcheck.retention.answers import Audit
    from forgetcheck.retention.policy import Policy
    from forgetcheck.retention.report import Report

_CACHE_SIZE = 4 * 2**30  # bytes, as `forgetcheck audit` keeps


def load(
    name: str | Path,
    device: str = "auto",
    *,
    model: str | None = None,
    weights: str = "",
    allow_download: bool = False,
) -> "Encoder":
    """Load a checkpoint: both towers in float32, ready to embed images and texts.

    `name` is whatever the commands take: `forgetcheck:tiny`, a run folder, a file of weights, a folder of
    open_clip or transformers, `hf-hub:NAME`, or open_clip's `NAME:TAG`. `model` is the architecture of bare
    weights that don't show it, and `weights` the name of one set in a file that holds several.
    Raises InputError for what can't be found, read or identified.
    """
    from forgetcheck.clip.identity.resolve import find_checkpoint
    from forgetcheck.clip.model.load import load_encoder

    checkpoint = find_checkpoint(str(name), model, weights=weights, allow_download=allow_download)
    return load_encoder(checkpoint, device)


def tune(
    base: str | Path,
    on: str,
    regularizer: "str | Regularizer" = "ldifs",
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    model: str | None = None,
    weights: str = "",
    allow_download: bool = False,
    device: str = "auto",
    progress: Progress = silent,
    **schedule: Any,
) -> "Run":
    """Fine-tune a checkpoint on a task while staying near the base, as `forgetcheck tune` does.

    `on` names a task, such as `digits` or `folder:path=photos`. A regularizer is named with its options, as
    in `ldifs:strength=5`, or given as an object. `schedule` sets fields of Schedule: epochs, batch_size,
    learning_rate, weight_decay, warmup_steps, gradient_clip, seed; what is left out comes from the
    checkpoint, then from Schedule. `out` is the run folder to write, for an audit to name.
    Raises InputError for bad input, an `out` that exists (unless `overwrite`), and a loss that is no number.
    """
    from forgetcheck.batteries.paths import typed
    from forgetcheck.clip.identity.resolve import find_checkpoint
    from forgetcheck.clip.saving.run_folder import write_run
    from forgetcheck.files import refuse_existing
    from forgetcheck.tuning.data import Named
    from forgetcheck.tuning.data_warnings import images_of, keyed_parts
    from forgetcheck.tuning.schedule import schedule_for
    from forgetcheck.tuning.tune import tune as run_tuning

    if out is not None:
        refuse_existing(Path(out), overwrite)
    task = Named(on, typed(on, confine=""))
    if isinstance(regularizer, str):
        method = Named(regularizer, catalog.build("regularizers", regularizer))
    else:
        method = Named(regularizer.spec, regularizer)
    start = find_checkpoint(str(base), model, weights=weights, allow_download=allow_download)
    planned = schedule_for(start, **schedule)
    images = images_of(keyed_parts(task, progress))
    run = replace(run_tuning(start, task, method, planned, device, progress), images=images)
    if out is not None:
        write_run(Path(out), run, overwrite)
    return run


def audit(
    base: str | Path,
    tuned: str | Path | Sequence[str | Path],
    battery: "str | Path | Battery" = "drawn",
    *,
    probes: Sequence[str] | None = None,
    target: str = "",
    out: str | Path | None = None,
    overwrite: bool = False,
    model: str | None = None,
    weights: str = "",
    allow_download: bool = False,
    allow_mismatch: bool = False,
    gallery: int = 24,
    device: str = "auto",
    precision: "Precision" = "fp32",
    cache: bool = True,
    progress: Progress = silent,
) -> "Audit":
    """Ask base and tuned checkpoints the same questions, as `forgetcheck audit` does.

    Checkpoints are named as for `load`, a battery by its name or its TOML file. All `probes` that apply are
    asked if none is named. `target` is what the checkpoints were tuned on, where they don't record it.
    `gallery` lost samples per checkpoint are kept to look at. `out` is the folder to write, for `read_audit`.
    What models saw is kept in the user's cache, unless `cache` is off.
    Raises InputError for bad input, checkpoints that can't be compared (unless `allow_mismatch`), an `out`
    that exists (unless `overwrite`), and if nothing could be asked. A single question that couldn't be asked
    is part of the result.
    """
    from forgetcheck.auditing import audit as auditing
    from forgetcheck.auditing.candidates import foresee
    from forgetcheck.clip.features.runtime import Engine
    from forgetcheck.clip.identity.resolve import find_checkpoints
    from forgetcheck.files import refuse_existing
    from forgetcheck.retention.answers import write_audit

    if out is not None:
        refuse_existing(Path(out), overwrite)
    after = [tuned] if isinstance(tuned, str | Path) else list(tuned)
    words = [str(each) for each in (base, *after)]
    tasks = read_battery(battery) if isinstance(battery, str | Path) else battery
    asked = auditing.PROBES if probes is None else tuple(probes)
    engine = Engine(_cache() if cache else None, precision=precision)
    auditing.check(tasks, asked, device, engine, foresee(words[1:], tasks, target))
    shown = tuple(tasks.tasks.values())
    start, *others = find_checkpoints(words, model, shown, progress, weights, allow_download)
    answers = auditing.audit(
        start, others, tasks, asked, device, progress, gallery, allow_mismatch, target, engine
    )
    if out is None:
        return answers
    return replace(answers, digest=write_audit(Path(out), answers, overwrite))


def _cache() -> "FeatureCache | None":
    """Return this user's cache; None where there is no home to put it."""
    from forgetcheck.clip.features.cache import FeatureCache, cache_folder

    folder = cache_folder()
    return None if folder is None else FeatureCache(folder, _CACHE_SIZE)


def read_battery(battery: str | Path) -> "Battery":
    """Read a battery that ships, by name, or a TOML file; no data is looked at.

    Raises InputError with every mistake of the file.
    """
    from forgetcheck.batteries import battery as batteries

    return batteries.read_battery(str(battery))


def read_policy(policy: str | Path) -> "Policy":
    """Read a policy from its TOML file, or from a pyproject.toml. Limits are fractions: 0.02 is two points.

    Raises InputError with every mistake of the file.
    """
    from forgetcheck.retention import policy as policies

    return policies.read_policy(Path(policy))


def read_audit(folder: str | Path) -> "Audit":
    """Read an audit folder. Needs no model and no torch. Raises InputError if it is damaged or incomplete."""
    from forgetcheck.retention import answers

    return answers.read_audit(Path(folder))


def judge(audit: "Audit | str | Path", policy: "Policy | str | Path | None" = None) -> "Report":
    """Compare and judge every question of an audit, or of an audit folder. Needs no model and no torch.

    All accuracies, drops and intervals of the report are fractions; drop = base - tuned, so that positive is
    forgetting. Without a policy the default limits inform, and nobody asked for them: `report.gated` is off.
    Raises InputError if the audit or the policy can't be read, or the policy pins another audit.
    """
    from forgetcheck.retention.policy import Policy
    from forgetcheck.retention.report import make_report

    found = read_audit(audit) if isinstance(audit, str | Path) else audit
    limits = read_policy(policy) if isinstance(policy, str | Path) else policy or Policy()
    return make_report(found, limits, gated=policy is not None)


def render(report: "Report", exporter: str) -> str:
    """Write a report as a document: `html`, `markdown:top=3`, `csv` ... as after `--as`; returns its text.

    Raises InputError for an unknown exporter or option.
    """
    text = catalog.build("exporters", exporter).render(report)
    if not isinstance(text, str):
        raise InputError(f"the exporter {exporter} made {type(text).__name__}, not text: correct it.")
    return text
