"""Architecture from the weights: which of open_clip's models has exactly these names and shapes."""

from collections.abc import Mapping
from dataclasses import dataclass

from forgetcheck.clip.identity.architecture_index import index
from forgetcheck.clip.model.tensor_names import Shapes, canonical, canonical_name
from forgetcheck.clip.model.towers import VISUAL

SHOWN = 3  # mismatches told; a wrong architecture has hundreds


@dataclass(frozen=True)
class Nearest:
    """The architecture that misses the fewest entries, and which."""

    name: str
    mismatches: tuple[str, ...]  # the first three, in words
    count: int  # of all mismatches


def matching(shapes: Shapes) -> tuple[str, ...]:
    """Return every architecture whose state dict has exactly these names and shapes, sorted.

    Differences that change no prediction are tolerated (see `canonical`); another resolution of a tower
    with positional embeddings is another shape and doesn't match. Empty where none fits.
    """
    wanted = canonical(shapes)
    known = index()
    return tuple(sorted(name for name, key in known.fits.items() if known.layouts[key] == wanted))


def nearest(shapes: Shapes) -> Nearest:
    """Name the architecture with the fewest mismatches; for an image tower alone, by its image tower."""
    wanted = canonical(shapes)
    alone = all(name.startswith(VISUAL) for name in wanted)
    known = index()
    layouts = {key: visual_part(layout) if alone else layout for key, layout in known.layouts.items()}
    misses = {key: _count_mismatches(wanted, layout) for key, layout in layouts.items()}
    # of equally near ones the plainest name, such as ViT-B-32 before ViT-B-32-quickgelu
    name = min(known.fits, key=lambda name: (misses[known.fits[name]], len(name), name))
    found = mismatches(shapes, layouts[known.fits[name]])
    return Nearest(name, tuple(found[:SHOWN]), len(found))


def mismatches(shapes: Shapes, layout: Shapes, visual_only: bool = False) -> list[str]:
    """Say in words where names and shapes differ from a canonical layout, or from its image tower."""
    spelled = {canonical_name(name): name for name in shapes}
    wanted = canonical(shapes)
    if visual_only:
        wanted, layout = visual_part(wanted), visual_part(layout)
    return [
        *_different(wanted, layout, spelled),
        *(f"'{key}' is missing" for key in layout if key not in wanted),
        *(f"'{spelled[key]}' is unknown" for key in wanted if key not in layout),
    ]


def _different(wanted: Shapes, layout: Shapes, spelled: Mapping[str, str]) -> list[str]:
    return [
        f"'{spelled[key]}' is {wanted[key]}, not {shape}"
        for key, shape in layout.items()
        if key in wanted and wanted[key] != shape
    ]


def _count_mismatches(wanted: Shapes, layout: Shapes) -> int:
    equal = sum(layout.get(name) == shape for name, shape in wanted.items())
    shared = sum(name in layout for name in wanted)
    return (shared - equal) + (len(wanted) - shared) + (len(layout) - shared)


def visual_part(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    return {name: shape for name, shape in shapes.items() if name.startswith(VISUAL)}
