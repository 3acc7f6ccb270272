"""Index: what a source found where it was told to look, from which every split is taken."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forgetcheck.errors import NoPart
from forgetcheck.tasks.base import Split, SplitName
from forgetcheck.tasks.reading.decode import WHITE
from forgetcheck.tasks.reading.naming import FALLBACK, read_templates
from forgetcheck.tasks.reading.reach import reach_of
from forgetcheck.tasks.reading.samples import Samples
from forgetcheck.tasks.reading.splitting import SPLIT_BY_CONTENT, held_out, left_out, parts_among


@dataclass(frozen=True)
class Index:
    """Class names and samples, either in parts of their own or whole, to be split by content."""

    where: str  # the source, for messages
    class_names: tuple[str, ...]
    parts: Mapping[SplitName, Samples]
    whole: Samples | None = None
    remarks: tuple[str, ...] = ()
    left: tuple[str, ...] = ()  # what was passed over, counted
    raw: tuple[str, ...] = ()  # what the source itself calls its classes, if that isn't their names

    @property
    def notes(self) -> tuple[str, ...]:
        said = (*self.remarks, *self.left)
        return said if self.whole is None else (SPLIT_BY_CONTENT, *said)

    def by_white(self, white: int) -> "Index":
        """Return the same samples, with another level of 16-bit gray as white."""
        if white == WHITE:
            return self
        parts = {name: replace(part, white=white) for name, part in self.parts.items()}
        return replace(self, parts=parts, whole=self.whole and replace(self.whole, white=white))

    def leaving_out(self, left: tuple[str, ...]) -> "Index":
        """Return the same samples, saying what else was passed over."""
        return replace(self, left=(*self.left, *left))

    def split(self, name: SplitName) -> Split:
        if self.whole is not None:
            return self.whole.split().take(np.flatnonzero(self.held if name == "test" else ~self.held))
        if name not in self.parts:
            raise NoPart(f"{self.where} has no {name} part: add one, or leave out what needs it.")
        return self.parts[name].split()

    @cached_property
    def held(self) -> NDArray[np.bool_]:  # (n,)
        assert self.whole is not None
        return held_out(self.whole)


def index_by_part(where: str, names: tuple[str, ...], parts: Sequence[str], samples: Samples) -> Index:
    """Deal samples (n,) into the parts (n,) that a table says, spelled one way; "" where it says none."""
    found = dict.fromkeys(filter(None, parts))
    if not found:
        return Index(where, names, {}, samples)
    chosen = parts_among(found)
    spelled = np.array(parts)
    return Index(
        where,
        names,
        {part: samples.take(np.flatnonzero(spelled == name)) for part, name in chosen.items()},
        remarks=left_out(found, chosen),
    )


class Indexed:
    """What every source with an index answers alike; its own part is to make the index."""

    prompts: str  # a file of templates, empty for the general one
    unreadable: float  # the share of images that may be unreadable

    @property
    @abstractmethod
    def index(self) -> Index:
        """Look where it was told to. Raises InputError with the way out where nothing is there."""

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.index.class_names

    @property
    def left_out(self) -> tuple[str, ...]:
        return self.index.left

    @property
    def raw_names(self) -> tuple[str, ...]:
        return self.index.raw or self.index.class_names

    @cached_property
    def templates(self) -> tuple[str, ...]:
        if not self.prompts:
            return FALLBACK
        path, reach = Path(self.prompts), reach_of(self)
        return read_templates(path, reach, () if reach.texts is None else self.around(path))

    def around(self, text: Path) -> Sequence[Path]:
        """Return the folders of the data in which a text file may lie, beside that of the battery."""
        return ()

    def beside_list(self, path: Path, root: Path, text: Path) -> Sequence[Path]:
        """Return those of a source whose images are listed: the folder of the list, and one with images."""
        index = self.index
        every = [*index.parts.values(), *([index.whole] if index.whole else [])]
        images = (root / name for part in every for name in part.ids)
        return (path if path.is_dir() else path.parent, *reach_of(self).around(text, images))

    @property
    def tolerated(self) -> float:
        return self.unreadable

    @property
    def notes(self) -> tuple[str, ...]:
        return self.index.notes

    @cached_property
    def shown(self) -> Index:
        return self.index.by_white(getattr(self, "white", WHITE))

    def split(self, name: SplitName) -> Split:
        return self.shown.split(name)
