"""Prepare images for a model: exactly its own transform, in a step per image and a step per batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, Normalize, ToTensor

_Transform = Callable[[Image.Image], Tensor]


@dataclass(frozen=True)
class Preparation:
    """A transform in two steps. What `pixels` returns is a quarter of what `finish` makes of it."""

    first: Callable[[Image.Image], Any]
    last: Normalize | None  # None: `first` is the whole transform

    def pixels(self, image: Image.Image) -> Tensor:  # (h, w, 3) uint8, or the finished (3, h, w) float
        found = self.first(image)
        if self.last is None:
            return torch.as_tensor(found)
        return torch.from_numpy(np.array(found))  # copied: PIL's own memory is read-only

    def finish(self, pixels: Tensor, device: torch.device) -> Tensor:  # (n, ...) -> (n, 3, h, w)
        """Do for a batch what ToTensor and Normalize do for an image: the same operations in one order."""
        images = pixels.to(device)
        if self.last is None:
            return images
        # stays channels-last, as it was decoded: what convolutions are fastest with
        fractions = images.permute(0, 3, 1, 2).to(torch.get_default_dtype()).div(255)
        finished: Tensor = self.last(fractions)
        return finished


def preparation(transform: Any) -> Preparation:
    """Split open_clip's own transforms before ToTensor; any other is taken whole."""
    steps = transform.transforms if isinstance(transform, Compose) else []
    if len(steps) >= 2 and isinstance(steps[-2], ToTensor) and isinstance(steps[-1], Normalize):
        split = Preparation(Compose(steps[:-2]), steps[-1])
        blank = split.first(Image.new("RGB", (8, 8)))
        if isinstance(blank, Image.Image) and blank.mode == "RGB":  # ToTensor scales other modes otherwise
            return split
    return Preparation(transform, None)


def prepare(images: Sequence[Image.Image], preprocess: _Transform) -> Tensor:  # (n, 3, h, w)
    return torch.stack([preprocess(image) for image in images])
