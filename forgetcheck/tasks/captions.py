"""Images with captions, for retrieval: a table, COCO's or Karpathy's JSON, a list, or CLIP_benchmark's tars.

A table (CSV, TSV) has a row per caption: path, caption, and if it has them kind, split and group. Kinds of
captions are concepts of their own. Paths are relative to the file, or to `root`, and stay below it. Where
parts are named, test is asked. A folder or a web address is one of tars: test/nshards.txt, test/0.tar ...
with KEY.jpg beside KEY.txt, a caption a line.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from forgetcheck.catalog import Share, White
from forgetcheck.errors import DataError
from forgetcheck.tasks.base import Captions as Predictions
from forgetcheck.tasks.base import Label, Task
from forgetcheck.tasks.captioned import ASKED, Album, Captioned, make_album
from forgetcheck.tasks.reading.caption_files import TABLES, read_captions, read_table
from forgetcheck.tasks.reading.decode import WHITE
from forgetcheck.tasks.reading.naming import tidied
from forgetcheck.tasks.reading.reach import Reach, reach_of
from forgetcheck.tasks.reading.shard_folder import root_of, shards_of
from forgetcheck.tasks.reading.shards import list_captioned
from forgetcheck.tasks.reading.table import Columns

IMAGE = "path"
_KIND = "caption"  # what captions without a kind are called


@dataclass(frozen=True)
class Captions(Captioned, Task):
    """What is said of images, in whole: which caption belongs to which image is the question."""

    path: str
    root: str = ""  # where the paths begin; the folder of the file if empty
    image: str = IMAGE  # the names of the columns of a table; in tars, the ending of the image that counts
    caption: str = "caption"
    kind: str = "kind"
    part: str = "split"
    group: str = "group"
    others: Literal["refuse", "ignore"] = "refuse"
    strip: str = ""  # what a server or mount wrote before the paths; several between |
    links: Literal["inside", "follow"] = "inside"
    unreadable: Share = 0.0
    white: White = WHITE  # the brightest level of 16-bit gray: 4095 where 12 bits of them are used

    @property
    def labelled_by(self) -> Label:
        return "caption"

    @cached_property
    def album(self) -> Album:
        path, where, reach = Path(self.path), f"'{self.path}'", reach_of(self)
        if "://" in self.path or path.is_dir():
            return _from_tars(self.path, "" if self.image == IMAGE else self.image, reach)
        root = Path(self.root) if self.root else path.parent
        columns = Columns(
            {"image": self.image, "caption": self.caption},
            {"kind": self.kind, "part": self.part, "group": self.group},
            self.others == "ignore",
            once=False,
            strip=self.strip,
        )
        told = (
            read_table(path, root, columns, reach)
            if path.suffix.lower() in TABLES
            else read_captions(path, root, reach, self.strip)
        )
        return make_album(where, root, told, _KIND, self.links == "follow", reach)


def _from_tars(path: str, image: str, reach: Reach) -> Album:
    samples, told = list_captioned(ASKED, shards_of(root_of(path, reach), ASKED), image)
    for name, captions in zip(samples.ids, told, strict=True):
        if not captions:
            raise DataError(f"'{path}': the sample '{name}' has no caption: pack it anew.")
    places = [place for place, captions in enumerate(told) for _ in captions]
    texts = tuple(tidied(text) for captions in told for text in captions)
    kinds = np.zeros(len(texts), dtype=np.int64)
    said = Predictions(np.array(places, dtype=np.int64), kinds, texts, ("",) * len(texts))
    return Album(f"'{path}'", (_KIND,), samples, said)
