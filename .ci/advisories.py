"""Look up known vulnerabilities of what is installed; those that were accepted are in advisories.toml.

    python .ci/advisories.py PIP_AUDIT PYTHON

PIP_AUDIT is the program, PYTHON that of the environment whose exact versions are looked up. Exits 1 for a
vulnerability that nobody has accepted, or an acceptance that has run out. A service that doesn't answer, or
doesn't know the packages, is said so: nothing was checked then, and nothing is claimed.
"""

import datetime
import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ACCEPTED = Path(__file__).with_name("advisories.toml")


def main(program: str, python: str) -> int:
    """Return the exit code."""
    versions = subprocess.run(
        [python, "-m", "pip", "freeze", "--exclude-editable"], capture_output=True, text=True, check=True
    ).stdout
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listed:
        listed.write("".join(f"{line}\n" for line in versions.splitlines() if "==" in line))
        listed.flush()
        asked = [
            program,
            "-r",
            listed.name,
            "--no-deps",
            "--disable-pip",
            "-f",
            "json",
            "--progress-spinner",
            "off",
        ]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        why = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"advisories: NOT CHECKED, the service could not be asked: {why[:200]}")
        return 0
    return report(packages, tomllib.loads(ACCEPTED.read_text(encoding="utf-8")))


def report(packages: list[dict[str, Any]], accepted: dict[str, Any], today: str = "") -> int:
    """Print what was found of `packages`, as pip-audit lists them, and return the exit code."""
    today = today or datetime.datetime.now(datetime.UTC).date().isoformat()
    known = [package for package in packages if "vulns" in package]
    print(f"advisories: {len(known)} of {len(packages)} packages checked"
          f"{'' if known else ': NOTHING WAS CHECKED, the service knows none of them'}")  # fmt: skip
    open_ones = 0
    for package in known:
        for found in package["vulns"]:
            reason = accepted.get(found["id"], {})
            until = str(reason.get("until", ""))
            if until >= today and reason.get("why"):
                print(f"  accepted until {until}: {package['name']} {found['id']}: {reason['why']}")
                continue
            open_ones += 1
            mended = ", ".join(found.get("fix_versions", [])) or "no release"
            print(f"  {package['name']} {package['version']}: {found['id']}, mended in {mended}")
    return 1 if open_ones else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
