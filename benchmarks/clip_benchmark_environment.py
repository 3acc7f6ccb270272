"""Makes a virtual environment for CLIP_benchmark, which wants another NumPy than forgetcheck's.

    export FORGETCHECK_CLIP_BENCHMARK=$(python benchmarks/clip_benchmark_environment.py .clip-benchmark)

Prints the path of its python. What is installed beside this python and fits, torch and open_clip above all,
is used from where it is and not downloaded again, so that both evaluators run the same code below them.
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

PINS = (
    "clip-benchmark==1.6.2",
    "numpy==2.3.5",  # with 2.4, the float() of an array that its accuracy() takes is an error
    "pycocoevalcap==1.2",
    "pycocotools==2.0.11",
    "requests==2.34.2",  # imported, but not among its requirements
)
CHECK = "import numpy; from clip_benchmark import cli; assert numpy.__version__ == '2.3.5', numpy.__file__"


def make(folder: Path) -> Path:
    """Make the environment, or complete one that was interrupted; return its python."""
    venv.create(folder, with_pip=True)
    python = folder.absolute() / "bin" / "python"
    own = Path(said_by(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    # read after its own packages are on the path: what it has itself wins
    (own / "beside.pth").write_text("".join(f"{path}\n" for path in packages_here()), encoding="utf-8")
    # pip says that other packages here want a newer NumPy: none of them is used there
    options = ("--quiet", "--disable-pip-version-check", "--no-warn-conflicts")
    subprocess.run([python, "-m", "pip", "install", *options, *PINS], check=True, stdout=sys.stderr)
    said_by(python, CHECK)
    return python


def packages_here() -> list[str]:
    """Return the folders that this python takes its packages from."""
    return [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]


def said_by(python: Path, code: str) -> str:
    done = subprocess.run([python, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    print(make(parser.parse_args().folder))


if __name__ == "__main__":
    main()
