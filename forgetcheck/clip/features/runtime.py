"""Engine: how models are run. Nothing in it decides what is asked."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from PIL import Image
from torch import nn

from forgetcheck.clip.features.cache import FeatureCache
from forgetcheck.clip.features.onednn import by_onednn, supported
from forgetcheck.clip.features.processes import Team
from forgetcheck.clip.model.encoder import Encoder
from forgetcheck.errors import InputError

Precision = Literal["fp32", "bf16", "fp16"]
KINDS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_MOST_WORKERS = 16  # threads: beyond, Python's own lock is what they wait for


@dataclass(frozen=True)
class Engine:
    """What an audit may use to be fast."""

    cache: FeatureCache | None = None  # None: everything is computed
    workers: int = 0  # threads that decode images; 0: one per processor
    precision: Precision = "fp32"  # of the towers; logits are fp32 in any case
    compiled: bool = False
    team: Team = field(default_factory=Team)

    @property
    def manner(self) -> dict[str, Any]:
        """Everything here that may change an embedding by more than rounding."""
        return {"precision": self.precision, "compiled": self.compiled}

    @property
    def threads(self) -> int:
        return self.workers or min(processors(), _MOST_WORKERS)

    @contextmanager
    def running(self, device: torch.device) -> Iterator[None]:
        """Run models without gradients, in this precision. Raises InputError where a device can't."""
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode())
            try:
                kind = KINDS[self.precision]
                stack.enter_context(computing(device, kind, self.compiled))
            except (RuntimeError, UserWarning) as problem:
                why = " ".join(str(problem).split())[:100]
                raise InputError(
                    f"device '{device}' can't compute in {self.precision} ({why}): leave --precision out."
                ) from None
            yield

    def ready(self, encoder: Encoder) -> Encoder:
        """Lay the image tower out as it runs fastest; the weights stay what they are, and their names.

        Raises InputError where nothing can be compiled.
        """
        visual: Any = encoder.model.visual
        if (
            sum(isinstance(module, nn.Conv2d) for module in visual.modules()) > 1
        ):  # a patch alone gains nothing
            visual.to(memory_format=torch.channels_last)
        if self.compiled:
            visual.compile(dynamic=True)
            self.try_out(encoder)
        return encoder

    def try_out(self, encoder: Encoder) -> None:
        image = encoder.preprocess(Image.new("RGB", (64, 64)))
        try:
            with self.running(encoder.device):
                encoder.see(torch.stack([image, image]))
        except InputError:
            raise
        except Exception as problem:  # whatever a compiler that isn't there makes of it
            why = " ".join(str(problem).split())[:100]
            raise InputError(
                f"'{encoder.name}' can't be compiled here ({why}): leave --compile out."
            ) from None


@contextmanager
def computing(device: torch.device, kind: torch.dtype, compiled: bool = False) -> Iterator[None]:
    """Run models in numbers of this kind, as fast as the device can: logits and norms stay in float32.

    Raises RuntimeError or UserWarning where a device can't. A compiler lays weights out by itself.
    """
    way: AbstractContextManager[None]
    if supported(device, kind) and not compiled:
        way = by_onednn(kind)
    elif kind == torch.float32:
        way = nullcontext()
    else:
        way = half_precision(device, kind)
    with way:
        yield


@contextmanager
def half_precision(device: torch.device, half: torch.dtype) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # where a device can't, torch warns and goes on in fp32
        way = torch.autocast(device.type, dtype=half)
    with way:
        yield


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
