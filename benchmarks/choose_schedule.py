"""How the demo's schedule and strengths were chosen: on validation parts, never on test answers.

Every third scan of the digits' train part (about 400) is held out to measure target accuracy; forgetting
is the mean zero-shot drop on the *train* parts of the ten drawn families other than digit, which no
tuning sees. Prints one line per setting:

    python benchmarks/choose_schedule.py --rates 5e-4 1e-3 --epochs 12 --methods cross-entropy ldifs
"""

import argparse
import itertools
import statistics
from dataclasses import dataclass

import numpy as np

from forgetcheck import catalog
from forgetcheck.batteries.battery import read_battery
from forgetcheck.clip.features.encoded_task import encode_task
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.clip.model.load import load_encoder
from forgetcheck.tasks.base import Split, SplitName, dealt
from forgetcheck.tasks.digits import Digits
from forgetcheck.tuning.data import Named
from forgetcheck.tuning.schedule import schedule_for
from forgetcheck.tuning.tune import tune

BASE = "forgetcheck:tiny"
HELD_OUT = 3


@dataclass(frozen=True)
class ValidationDigits(Digits):
    """The train part of digits, split once more."""

    def split(self, name: SplitName) -> Split:
        train = super().split("train")
        held = dealt(train.labels, HELD_OUT)
        return train.take(np.flatnonzero(held if name == "test" else ~held))


def zero_shot(encoder: Encoder) -> float:
    """Mean zero-shot accuracy on the train parts of the families other than digit."""
    accuracies = []
    for name, task in read_battery("drawn").tasks.items():
        if name != "digit":
            (seen,) = encode_task(name, task, [encoder], ("train",))
            part = seen.splits["train"]
            guesses = (part.embeddings @ seen.prompts.T).argmax(dim=1)
            accuracies.append((guesses == part.labels).double().mean().item())
    return statistics.fmean(accuracies)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4])
    parser.add_argument("--epochs", type=int, nargs="+", default=[10])
    parser.add_argument("--methods", nargs="+", default=["cross-entropy", "ldifs"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    checkpoint = find_checkpoint(BASE)
    before = zero_shot(load_encoder(checkpoint))
    task = Named("digits", ValidationDigits())
    for rate, epochs, spec, seed in itertools.product(
        options.rates, options.epochs, options.methods, options.seeds
    ):
        schedule = schedule_for(checkpoint, learning_rate=rate, epochs=epochs, seed=seed)
        run = tune(checkpoint, task, Named(spec, catalog.build("regularizers", spec)), schedule)
        tuned = load_encoder(checkpoint)
        tuned.model.load_state_dict(dict(run.weights))
        drop = 100 * (before - zero_shot(tuned))
        (seen,) = encode_task("digits", task.thing, [tuned], ("test",))
        part = seen.splits["test"]
        reached = 100 * ((part.embeddings @ run.head.T).argmax(1) == part.labels).double().mean().item()
        print(
            f"rate {rate:g} epochs {epochs} seed {seed} {spec}: validation {reached:.1f} % "
            f"drop {drop:+.1f} points, {run.facts['seconds']:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
