"""Take pictures of an HTML report: light and dark, wide and narrow, the first screen and the whole page.

    python benchmarks/screenshot.py report.html docs/screenshots

Needs the `playwright` package and a Chromium of the system; nothing is downloaded.
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE = (1280, 900)
NARROW = (400, 860)
SHOTS = {  # name -> (viewport, colour scheme, whole page)
    "light": (WIDE, "light", False),
    "dark": (WIDE, "dark", False),
    "narrow": (NARROW, "light", False),
    "whole-light": (WIDE, "light", True),
    "whole-dark": (WIDE, "dark", True),
    "whole-narrow": (NARROW, "light", True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", choices=SHOTS, default=list(SHOTS), help="which pictures")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        parser.error(f"none of {', '.join(BROWSERS)} is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        for name in asked.only:
            take(browser, asked.report, asked.folder / f"{name}.png", name)
        browser.close()


def take(browser: Browser, report: Path, picture: Path, name: str) -> None:
    (width, height), scheme, whole = SHOTS[name]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(report.resolve().as_uri())
    page.screenshot(path=picture, full_page=whole)
    page.close()
    print(picture)


if __name__ == "__main__":
    main()
