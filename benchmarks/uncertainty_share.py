"""What intervals and the look at labels cost, as a share of a whole audit.

    python benchmarks/uncertainty_share.py --images 600 --classes 20

Audits a pair of checkpoints with random weights on JPEGs (as benchmarks/audit.py makes them), zero-shot and
linear, without a cache and on one thread, and counts the processor seconds spent inside of what exists for
the intervals alone (the spread over templates, the probes on parts of train), and of what doubts labels,
names and brightness. Cross-validation of the strength is not part of it: it chooses the probe.
"""

import argparse
import functools
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from audit import PROBES, make_jpegs, make_pair

from forgetcheck.auditing import audit as auditing
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.probes import linear, zero_shot

PARTS = {
    zero_shot: ("by_template",),
    linear: ("trained_on_parts", "choices"),
    auditing: ("mislabelled", "indistinct", "dark", "passed_over"),
}


def counted(name: str, function: Callable[..., Any], spent: Counter[str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.process_time() - start

    return call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--model", default="ViT-B-32")
    options = parser.parse_args()
    torch.set_num_threads(1)
    spent: Counter[str] = Counter()
    for module, names in PARTS.items():
        for name in names:
            setattr(module, name, counted(name, getattr(module, name), spent))
    with tempfile.TemporaryDirectory() as folder:
        task = make_jpegs(Path(folder), options.images, options.classes)
        base, tuned, *_ = make_pair(Path(folder), options.model, 1)
        start = time.process_time()
        auditing.audit(
            base, [tuned], Battery("made", {"jpegs": task}), PROBES, "cpu", engine=Engine(workers=1)
        )
        whole = time.process_time() - start
    print(f"{options.model}, {options.images} images in {options.classes} classes: {whole:.1f} s")
    for name, seconds in spent.items():
        print(f"  {name:18} {seconds:6.2f} s, {100 * seconds / whole:5.2f} %")
    print(f"  together           {spent.total():6.2f} s, {100 * spent.total() / whole:5.2f} %")


if __name__ == "__main__":
    main()
