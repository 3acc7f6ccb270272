"""A task as a battery states it: the images of its source, with what the file says of them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from PIL import Image

from forgetcheck.batteries.sample_table import Pick, find_picks, picks_in, read_table
from forgetcheck.documents import reason
from forgetcheck.errors import DataError, InputError
from forgetcheck.tasks import base
from forgetcheck.tasks.reading.naming import by_label
from forgetcheck.tasks.reading.reach import Reach, reach_of


@dataclass(frozen=True)
class Stated(base.Task):  # not a source: the catalog goes by the plain name of its base
    """A source with class names, templates or samples of a battery's own."""

    source: base.Task
    name: str
    own_names: tuple[str, ...] | None = None  # in place of the source's
    own_templates: tuple[str, ...] | None = None
    samples: Path | None = None  # the table of those that are asked; None: all
    unset: tuple[str, ...] = ()  # variables of the source that nobody has set
    get: str = ""  # how to get the data
    names_by_label: Mapping[str, str] | None = None  # in place of the source's, by what it calls them

    @property
    def class_names(self) -> tuple[str, ...]:
        if self.own_names is not None:
            return self.own_names
        with self.explained():
            if self.names_by_label is not None:
                return by_label(f"task '{self.name}'", self.source.raw_names, self.names_by_label)
            return self.source.class_names

    @property
    def raw_names(self) -> tuple[str, ...]:
        with self.explained():
            return self.source.raw_names

    @property
    def templates(self) -> tuple[str, ...]:
        if self.own_templates is not None:
            return self.own_templates
        with self.explained():
            return self.source.templates

    @property
    def origin(self) -> base.Task:
        return self.source.origin

    @property
    def notes(self) -> tuple[str, ...]:
        with self.explained():
            return tuple(map(self.reach.masked, self.source.notes))

    @property
    def left_out(self) -> tuple[str, ...]:
        with self.explained():
            return tuple(map(self.reach.masked, self.source.left_out))

    @property
    def labelled_by(self) -> base.Label:
        return self.source.labelled_by

    @property
    def tolerated(self) -> float:
        return self.source.tolerated

    def split(self, name: base.SplitName) -> base.Split:
        with self.explained():
            part = self.shown(self.source.split(name))
        self.refuse_nameless(part)
        listed = self.listed(name)
        if self.samples is None or listed is None:
            return part
        return part.take(find_picks(self.samples, listed, part))

    def listed(self, name: base.SplitName) -> tuple[Pick, ...] | None:
        """Return the samples of a part that are asked; None: all."""
        return None if self.samples is None else picks_in(self.samples, self.picked, self.name, name)

    @cached_property
    def picked(self) -> str:
        """The table of those that are asked. Raises InputError where it can't be read."""
        assert self.samples is not None
        return read_table(self.samples, self.reach)

    @property
    def reach(self) -> Reach:
        return reach_of(self.source.origin)

    def shown(self, part: base.Split) -> base.Split:
        """Name no folder that a variable stands for where an image can't be read."""
        return replace(part, image=partial(_masked, self.reach, part.image)) if self.reach.values else part

    def refuse_nameless(self, part: base.Split) -> None:
        """A label beyond the stated names would be asked under the name of another class, or none."""
        labels = (part.labels, part.captions.kinds) if part.captions else (part.labels,)
        highest = max(int(each.max(initial=-1)) for each in labels)
        if self.own_names is not None and highest >= len(self.own_names):
            raise DataError(
                f"class_names has {len(self.own_names)} names, but the labels go up to {highest}: it needs "
                "one for every label, in their order."
            )

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say with what is missing how to get it."""
        if self.unset:
            names = " and ".join(f"${{{name}}}" for name in self.unset)
            raise DataError(
                f"{names} of its source is not set: set that environment variable to the folder that holds "
                f"the data.{self.advice}"
            )
        try:
            yield
        except InputError as problem:
            raise type(problem)(f"{self.reach.masked(str(problem))}{self.advice}") from None
        except OSError as problem:  # whose file name would be shown
            raise DataError(f"its data can't be read: {reason(problem)}.{self.advice}") from None

    @property
    def advice(self) -> str:
        return f" To get the data: {self.get}" if self.get else ""


def _masked(reach: Reach, image: Callable[[int], Image.Image], i: int) -> Image.Image:
    try:
        return image(i)
    except base.Unreadable as problem:
        raise base.Unreadable(reach.masked(str(problem))) from None
