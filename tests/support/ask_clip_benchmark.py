"""CLIP_benchmark's own command, run by its own python; the logits it computes are kept beside its metrics.

    python ask_clip_benchmark.py KEPT.npz eval --dataset ...

KEPT.npz gets, of classification, `logits0` (n, c) and `labels0` (n,) of the first model, `logits1` and so on;
of retrieval, whether each was right: `image_retrieval@K:0` (m,), `text_retrieval@K:0` (n,).
"""

import sys

import numpy as np
from clip_benchmark import cli
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval


def keep(kept, classify):
    """Wrap the function that asks the images: what it returns is also put into `kept`."""

    def classify_and_keep(*arguments, **options):
        logits, labels = classify(*arguments, **options)
        number = len(kept) // 2
        kept.update({f"logits{number}": logits.numpy(), f"labels{number}": labels.numpy()})
        return logits, labels

    return classify_and_keep


def keep_ranks(kept, batchify):
    """Wrap the function that ranks, for images and then for texts: what it returns is kept too."""

    def batchify_and_keep(*arguments, k, **options):
        found = batchify(*arguments, k=k, **options)
        names = [f"{way}_retrieval@{k}:{number}" for number in range(9) for way in ("image", "text")]
        kept[next(name for name in names if name not in kept)] = (found > 0).numpy()
        return found

    return batchify_and_keep


def main():
    _, path, *words = sys.argv
    kept = {}
    zeroshot_classification.run_classification = keep(kept, zeroshot_classification.run_classification)
    zeroshot_retrieval.batchify = keep_ranks(kept, zeroshot_retrieval.batchify)
    sys.argv = ["clip_benchmark", *words]
    cli.main()
    np.savez(path, **kept)


if __name__ == "__main__":
    main()
