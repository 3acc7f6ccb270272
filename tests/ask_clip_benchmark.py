"""CLIP_benchmark's own command, run by its own python; the logits it computes are kept beside its metrics.

    python ask_clip_benchmark.py KEPT.npz eval --dataset ...

KEPT.npz gets `logits0` (n, c) and `labels0` (n,) of the first model, `logits1` and so on.
"""

import sys

import numpy as np
from clip_benchmark import cli
from clip_benchmark.metrics import zeroshot_classification


def keep(kept, classify):
    """Wrap the function that asks the images: what it returns is also put into `kept`."""

    def classify_and_keep(*arguments, **options):
        logits, labels = classify(*arguments, **options)
        number = len(kept) // 2
        kept.update({f"logits{number}": logits.numpy(), f"labels{number}": labels.numpy()})
        return logits, labels

    return classify_and_keep


def main():
    _, path, *words = sys.argv
    kept = {}
    zeroshot_classification.run_classification = keep(kept, zeroshot_classification.run_classification)
    sys.argv = ["clip_benchmark", *words]
    cli.main()
    np.savez(path, **kept)


if __name__ == "__main__":
    main()
