"""Build the shipped index of architectures, and the table of what their shapes alone decide.

Run once per release of open_clip: `python benchmarks/build_architecture_index.py`. Builds every config on
torch's meta device, without memory or network (about a minute), and checks each against the index.
"""

import argparse
import csv
import math
import time
from collections.abc import Iterator
from pathlib import Path

import open_clip

from forgetcheck.clip.identity.activation import BY_SHAPES, decide, differ_in
from forgetcheck.clip.identity.architecture import matching
from forgetcheck.clip.identity.architecture_index import (
    SHIPPED,
    build_index,
    index,
    installed_configs,
    shapes_of,
    write_index,
)
from forgetcheck.clip.model.tensor_names import harmless

TABLE = Path(__file__).parent.parent / "docs" / "results" / "architectures.csv"
BUFFERS = ("running_mean", "running_var", "relative_position_index", "relative_coords_table")


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    started = time.perf_counter()
    configs = installed_configs()
    write_index(build_index(configs), SHIPPED)
    seconds = time.perf_counter() - started
    print(
        f"open_clip {open_clip.__version__}: {SHIPPED.name}, {SHIPPED.stat().st_size} bytes, {seconds:.0f} s"
    )
    rows = [row for name in configs for row in examine(name)]
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    built = [row for row in rows if row["parameters"]]
    alone = sum(row["decided_alone"] == "yes" for row in built)
    found = sum(row["found"] == "yes" for row in built)
    print(f"{len(rows)} configs, {len(built)} built, {found} found by their shapes, {alone} decided alone")


def examine(name: str) -> Iterator[dict[str, object]]:
    """Build one architecture afresh and look its shapes up."""
    known = index()
    row = {"architecture": name, "parameters": "", "candidates": "", "found": "", "decided_alone": ""}
    if name in known.unbuildable:
        yield {**row, "differ_in": "", "not_built": known.unbuildable[name]}
        return
    shapes = shapes_of(name, {"model_cfg": installed_configs()[name]})
    weights = [s for key, s in shapes.items() if not harmless(key) and not key.endswith(BUFFERS)]
    candidates = matching(shapes)
    yield {
        "architecture": name,
        "parameters": sum(math.prod(shape) for shape in weights),
        "candidates": len(candidates),
        "found": "yes" if name in candidates else "no",
        "decided_alone": "yes" if decide(candidates).by == BY_SHAPES else "no",
        "differ_in": " ".join(differ_in(candidates)),
        "not_built": "",
    }


if __name__ == "__main__":
    main()
