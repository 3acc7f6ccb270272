"""A run of a second: a few scans of digits, and tune() on them with whatever is put in."""

from dataclasses import dataclass

import numpy as np

from forgetcheck import catalog
from forgetcheck.clip.identity.resolve import find_checkpoint
from forgetcheck.tasks.base import Task
from forgetcheck.tasks.digits import Digits
from forgetcheck.tuning.data import Named
from forgetcheck.tuning.schedule import Schedule
from forgetcheck.tuning.tune import tune

TINY = find_checkpoint("forgetcheck:tiny")
SHORT = Schedule(epochs=2, batch_size=32, learning_rate=1e-3)


@dataclass(frozen=True)
class FewDigits(Task):
    """The first scans of each part: enough to learn something in a second."""

    count: int = 150

    class_names = Digits().class_names
    templates = Digits().templates

    def split(self, name):
        return Digits().split(name).take(np.arange(self.count))


def run(spec="cross-entropy", schedule=SHORT, task=None, **options):
    method = Named(spec, catalog.build("regularizers", spec))
    return tune(TINY, Named("digits", task or FewDigits()), method, schedule, device="cpu", **options)
