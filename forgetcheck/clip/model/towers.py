"""Which weights are of which tower, and what identifies them."""

import hashlib
from collections.abc import Mapping

from torch import Tensor

VISUAL = "visual."  # open_clip's names of the image tower start with this
TOWERS = ("visual", "text")


def digest(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of tensors by name, independent of file format and of storage precision."""
    hashed = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu()
        value = value.float() if value.is_floating_point() else value
        hashed.update(f"{name}{tuple(value.shape)}".encode())
        hashed.update(value.contiguous().numpy().tobytes())
    return hashed.hexdigest()


def tower(weights: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Keep the image tower ("visual"), or everything else (the text tower and the logit scale)."""
    return {name: value for name, value in weights.items() if name.startswith(VISUAL) == (part == "visual")}


def digests(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the digest of each tower of a whole CLIP."""
    return {part: digest(tower(weights, part)) for part in TOWERS}
