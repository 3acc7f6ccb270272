"""Peak memory and time of inputs that a stranger may have made to exhaust them: a child process each.

    python benchmarks/hostile_inputs.py [--only WORD]

A child imports what it needs, then reads the input; its peak resident memory, minus what it had before, is
what the input took. Linux tells it: `ru_maxrss` would begin at the peak of whoever started the child. The
files are made in a temporary folder, sparse where they may be; a few GB of disk are needed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

CHILD = """
import json, sys, time
from pathlib import Path
import numpy as np
if "encode" in sys.argv[2]:  # torch takes half a minute where others compute
    from forgetcheck.clip.features.image_pass import batches
    from forgetcheck.clip.features.preprocess import Preparation
from forgetcheck.documents import read_toml
from forgetcheck.retention.answers import read_audit
from forgetcheck.tasks.captions import Captions
from forgetcheck.tasks.csv import Csv
from forgetcheck.tasks.webdataset import Webdataset
def encode(task, threads=8):
    ways = {"x": Preparation(lambda image: np.array(image.resize((32, 32))), None)}
    read = [len(batch.kept) for batch in batches(task.split("test"), ways, threads, 16)]
    return f"{sum(read)} images are read"
here = Path(sys.argv[1])
def resident(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which))
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
before = resident("VmRSS")
start, worked = time.perf_counter(), time.process_time()
try:
    said = str(eval(sys.argv[2]))
except Exception as problem:
    said = f"{type(problem).__name__}: {problem}"
peak = resident("VmHWM")
seconds = time.perf_counter() - start, time.process_time() - worked
print(json.dumps([(peak - before) / 1024, *seconds, said]))
"""
MIB = 2**20
AUDIT = 'len(read_audit(here / "a").answers)'
Case = tuple[str, Callable[[Path], object], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="")
    only = parser.parse_args().only
    print("| input | peak, MB | seconds | of the processor | answer |\n|---|---|---|---|---|")
    for name, make, code in CASES:
        if only in name:
            with tempfile.TemporaryDirectory(prefix="forgetcheck-") as folder:
                make(Path(folder))
                peak, seconds, worked, said = measure(Path(folder), code)
            print(f"| {name} | {peak:.0f} | {seconds:.1f} | {worked:.1f} | {said} |", flush=True)


def measure(folder: Path, code: str) -> tuple[float, float, float, str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hostile) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = code.replace("URL", f"http://127.0.0.1:{server.server_port}")
        run = subprocess.run(
            [sys.executable, "-c", CHILD, folder, code],
            capture_output=True, text=True, check=True, env=environment(folder),
        )  # fmt: skip
        server.shutdown()
    peak, seconds, worked, said = json.loads(run.stdout)
    where = said.replace(str(folder), "").replace("InputError: ", "")
    return peak, seconds, worked, where[:160] + (" ..." if len(where) > 160 else "")


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "FORGETCHECK_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}


class Hostile(BaseHTTPRequestHandler):
    """Serves data sets whose tars have no end, or say that they have none."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        texts = {"classnames.txt": b"a\nb\n", "nshards.txt": b"1\n"}
        data = texts.get(self.path.rsplit("/", 1)[-1])
        if data is None and not self.path.endswith(".tar"):
            return self.send_error(404)
        self.send_response(200)
        if data is not None or "huge" in self.path:
            self.send_header("Content-Length", str(10**15 if data is None else len(data)))
        self.end_headers()
        try:
            self.wfile.write(data or b"")
            while data is None:
                self.wfile.write(bytes(MIB))
        except OSError:
            self.close_connection = True
        return None


def nothing(_: Path) -> None:
    """Make no file: a server has it."""


def sparse(name: str, size: int, folder: Path) -> None:
    place = folder / name
    place.parent.mkdir(exist_ok=True)
    with place.open("wb") as file:
        file.truncate(size)


def repeated(name: str, start: str, part: str, end: str, size: int, folder: Path) -> None:
    place, many = folder / name, part.encode() * (MIB // len(part.encode()))
    place.parent.mkdir(exist_ok=True)
    with place.open("wb") as file:
        file.write(start.encode())
        for _ in range(size // MIB):
            file.write(many)
        file.write(end.encode())


def arrays(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "audit.json").write_text('{"schema": "forgetcheck/audit@2", "complete": true}')
    sparse("a/answers.safetensors", 100 * 2**30, folder)


def picture(mode: str, side: int, folder: Path) -> Path:
    Image.new(mode, (side, side), 1).save(folder / "0.png")
    return folder / "0.png"


def listed(folder: Path, names: Iterator[str], head: str, value: str) -> None:
    rows = [f"{name},{value.format(number % 2)}" for number, name in enumerate(names)]
    (folder / "t.csv").write_text("\n".join([f"path,{head}", *rows]) + "\n")


def many(mode: str, side: int, folder: Path) -> None:
    """List 16 links to one large picture."""
    linked(picture(mode, side, folder), 16)


def linked(place: Path, count: int) -> None:
    for number in range(1, count):
        (place.parent / f"{number}.png").symlink_to(place)
    listed(place.parent, (f"{number}.png" for number in range(count)), "label,split", "c{0},test")


def heavy(folder: Path) -> Path:
    """Make a picture of a few pixels in 400 MB: a chunk that nobody reads comes before them."""
    place = picture("RGB", 64, folder)
    data, junk = place.read_bytes(), bytes(400 * MIB)
    end = data.index(b"IDAT") - 4
    chunk = (
        len(junk).to_bytes(4, "big")
        + b"juNk"
        + junk
        + zlib.crc32(junk, zlib.crc32(b"juNk")).to_bytes(4, "big")
    )
    place.write_bytes(data[:end] + chunk + data[end:])
    return place


def named(count: int, head: str, value: str, folder: Path) -> None:
    heavy(folder)
    listed(folder, ("0.png" for _ in range(count)), head, value)


TABLE = 'encode(Csv(str(here / "t.csv")))'
CASES: list[Case] = [
    ("audit.json of 3 GB", partial(sparse, "a/audit.json", 3 * 10**9), AUDIT),
    (
        "audit.json, 128 MiB of empty lists",
        partial(repeated, "a/audit.json", "[", "[],", "1]", 127 * MIB),
        AUDIT,
    ),
    ("audit.json, 96 MiB of text", partial(repeated, "a/audit.json", '["', "x", '"]', 96 * MIB), AUDIT),
    (
        "audit.json, 32 MiB of text and one emoji",
        partial(repeated, "a/audit.json", '["🦊', "x", '"]', 32 * MIB),
        AUDIT,
    ),
    ("answers.safetensors of 100 GB", arrays, AUDIT),
    ("battery, 3 GB", partial(sparse, "b.toml", 3 * 10**9), 'read_toml(here / "b.toml")'),
    (
        "battery, 3 MiB of empty lists",
        partial(repeated, "b.toml", "a = [", "[],", "1]", 3 * MIB),
        'len(read_toml(here / "b.toml"))',
    ),
    (
        "battery, a key of a million parts",
        partial(repeated, "b.toml", "", "a.", "a = 1", 2 * MIB),
        'read_toml(here / "b.toml")',
    ),
    (
        "captions, 1 GB of empty lists",
        partial(repeated, "t.json", "[", "[],", "1]", 1000 * MIB),
        'Captions(str(here / "t.json")).split("test")',
    ),
    ("table, 1 GB of short rows", partial(repeated, "t.csv", "path,label\n", "a,b\n", "", 1000 * MIB), TABLE),
    ("tar that says it has 10^15 bytes", nothing, 'Webdataset("URL/huge").split("test")'),
    ("tar without an end", nothing, 'Webdataset("URL/endless").split("test")'),
    ("picture of 400 MB, 10,000 times in a table", partial(named, 10_000, "label,split", "c{0},test"), TABLE),
    (
        "picture of 400 MB, in 10,000 captions",
        partial(named, 10_000, "caption", "a {0}"),
        'encode(Captions(str(here / "t.csv")))',
    ),
    ("picture of 400 MB, 16 links, 8 threads", lambda folder: linked(heavy(folder), 16), TABLE),
    ("16 RGB pictures of 89 megapixels, 8 threads", partial(many, "RGB", 9430), TABLE),
    ("16 gray pictures of 89 megapixels, 8 threads", partial(many, "L", 9430), TABLE),
    ("16 16-bit pictures of 89 megapixels, 8 threads", partial(many, "I;16", 9430), TABLE),
    ("16 RGBA pictures of 89 megapixels, 8 threads", partial(many, "RGBA", 9430), TABLE),
]


if __name__ == "__main__":
    main()
