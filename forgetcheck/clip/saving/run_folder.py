"""A run folder: the tuned CLIP as open_clip reads it, its head, its history and how it came about."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from forgetcheck.clip.model.checkpoint import HEAD, IMAGES, RUN_SCHEMA
from forgetcheck.clip.model.read import FLOATS
from forgetcheck.clip.saving.write import Clip, fill_folder, separate
from forgetcheck.documents import reason
from forgetcheck.errors import CheckpointError
from forgetcheck.files import RUN_MANIFEST, whole_folder


@dataclass(frozen=True)
class Run:
    """What tuning left behind."""

    config: Mapping[str, Any]  # as open_clip's local-dir: holds it
    weights: Mapping[str, Tensor]  # the whole CLIP under open_clip's names, fp32
    head: Tensor  # (c, d)
    history: Sequence[Mapping[str, Any]]  # one row per step
    facts: Mapping[str, Any]  # base, task, options, seed, versions: everything tune.json says
    tokenizer: Any = None  # that of the base
    images: NDArray[np.uint64] | None = None  # (n,) sorted: see batteries.repeats.brief; None: nobody looked


def write_run(folder: Path, run: Run, overwrite: bool = False) -> None:
    """Write a run; the folder appears complete or not at all.

    `open_clip.create_model_and_transforms("local-dir:FOLDER")` loads it as it is.
    """
    manifest = {"schema": RUN_SCHEMA, "complete": True, **run.facts}
    with whole_folder(folder, overwrite) as temporary:
        fill_folder(temporary, tuned_clip(run))
        save_file(separate({"weight": run.head}), temporary / HEAD, {"format": "pt"})
        if run.images is not None:
            save_arrays({"sha256": run.images}, temporary / IMAGES)
        pd.DataFrame(run.history).to_csv(temporary / "history.csv", index=False, lineterminator="\n")
        text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
        (temporary / RUN_MANIFEST).write_text(text + "\n", encoding="utf-8")


def tuned_clip(run: Run) -> Clip:
    """Return the tuned CLIP without its head, with what tells it from others in its header."""
    facts = run.facts
    origin = {
        "base": facts["base"],
        "task": facts["task"]["source"],
        "regularizer": facts["regularizer"]["spec"],
        "seed": facts["schedule"]["seed"],
    }
    header = {"base": str(facts["base"]["digest"])}
    return Clip(run.config, run.weights, origin, header, run.tokenizer)


def read_images(folder: Path) -> NDArray[np.uint64] | None:
    """Return which images a run has seen (n,), sorted; None where an earlier version didn't record it."""
    path = folder / IMAGES
    try:
        if not path.exists():
            return None
        path.open("rb").close()  # safetensors calls a file missing that may not be read
        found = load_arrays(path)["sha256"]
    except (OSError, SafetensorError, KeyError) as problem:
        raise CheckpointError(f"cannot read '{path}': {reason(problem)}; tune again.") from None
    if found.dtype != np.uint64 or found.ndim != 1:
        raise CheckpointError(f"'{path}' is damaged: expected a list of 8 bytes an image; tune again.")
    return found


def read_head(path: Path) -> Tensor:
    """Return the head of a run folder (c, d), float32."""
    try:
        path.open("rb").close()  # safetensors calls a file missing that may not be read
        weight = load_file(path)["weight"]
    except (OSError, SafetensorError, KeyError) as problem:
        raise CheckpointError(f"cannot read the head '{path}': {reason(problem)}; tune again.") from None
    if weight.dtype not in FLOATS or weight.ndim != 2 or not bool(torch.isfinite(weight).all()):
        raise CheckpointError(
            f"the head '{path}' is damaged: expected a matrix of finite numbers; tune again."
        )
    return weight.float()
