"""What tools of annotation export: images with any number of labels each, of which a task asks one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from forgetcheck.errors import DataError
from forgetcheck.tasks.indexed import Index, index_by_part
from forgetcheck.tasks.reading import naming
from forgetcheck.tasks.reading.prefixes import advice, refuse_lost, stripped
from forgetcheck.tasks.reading.reach import ANYWHERE, Reach
from forgetcheck.tasks.reading.samples import file_samples
from forgetcheck.tasks.reading.splitting import EVERY, short
from forgetcheck.tasks.reading.table import below

Several = Literal["refuse", "leave-out"]


@dataclass(frozen=True, slots=True)
class Annotated:
    """One image as it was annotated."""

    where: str  # for messages
    path: str  # as written
    labels: tuple[str, ...]  # each once
    part: str = ""
    folder: str = ""  # of the part, where the path begins, below the root


@dataclass(frozen=True)
class Reading:
    """How the annotations of a source are read."""

    where: str  # the source, for messages
    label: str  # what its labels are called there
    root: Path
    strip: str = ""
    several: Several | None = "refuse"  # None: there is no such option
    follow: bool = False
    reach: Reach = ANYWHERE

    def index(self, found: Sequence[Annotated], classes: Sequence[str]) -> Index:
        """List the images that have exactly one label; `classes` (c,) are all labels, in their order."""
        images, left = self.with_one(found)
        names = naming.checked(self.where, classes)
        places = {name: place for place, name in enumerate(names)}
        paths = [self.place(image) for image in images]
        self.refuse_twice(images, paths)
        for folder in dict.fromkeys(image.folder for image in images):
            inside = [
                (image.path, path.removeprefix(f"{folder}/"))
                for image, path in zip(images, paths, strict=True)
                if image.folder == folder
            ]
            refuse_lost(self.where, self.root / folder, self.strip, inside)
        labels = [places[image.labels[0]] for image in images]
        samples = file_samples(self.root, paths, labels, None, self.follow, advice, self.reach)
        parts = [short(image.part) for image in images]
        alone = parts.count("") if any(parts) else 0
        stray = (f"{alone:,} images that are in no part",) if alone else ()
        return index_by_part(self.where, names, parts, samples).leaving_out((*left, *stray))

    def place(self, image: Annotated) -> str:
        name = below(image.where, self.root / image.folder, image.path, self.strip)
        return f"{image.folder}/{name}" if image.folder else name

    def with_one(self, found: Sequence[Annotated]) -> tuple[list[Annotated], tuple[str, ...]]:
        """Keep the images with exactly one label. Raises InputError for others, with their number."""
        images = [image for image in found if len(image.labels) == 1]
        others = [image for image in found if len(image.labels) != 1]
        if not others:
            return images, ()
        many = sum(len(image.labels) > 1 for image in others)
        told = (
            f"{len(others):,} of {len(found):,} images, which don't have exactly one {self.label} "
            f"({many:,} have several, {len(others) - many:,} none), such as '{others[0].path}'"
        )
        if self.several == "leave-out":
            return images, (told,)
        way_out = " pass several=leave-out to ask the others, or" if self.several else ""
        raise DataError(f"{self.where} lists {told}:{way_out} give each one, or take them out.")

    def refuse_twice(self, images: Sequence[Annotated], paths: Sequence[str]) -> None:
        first: dict[str, Annotated] = {}
        for image, path in zip(images, paths, strict=True):
            if first.setdefault(path, image) is not image:
                raise DataError(f"{image.where} lists '{path}' again, as {first[path].where} does: keep one.")


def refuse_strange(reach: Reach, file: Path, root: Path, strip: str, found: Iterable[Annotated]) -> None:
    """Refuse a list of none of whose images is there, before anything of it is shown."""
    reach.refuse_no_list(file, root, (str(Path(each.folder, stripped(each.path, strip))) for each in found))


def named_part(text: str) -> str:
    """Return the name of a part where it is one; annotators have other subsets, such as 'default'."""
    return text if text.casefold() in EVERY else ""
