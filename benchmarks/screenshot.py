"""Take pictures of an HTML report: light and dark, wide and narrow, the first screen and parts of the page.

    forgetcheck demo --out demo
    python benchmarks/screenshot.py demo/report.html docs/screenshots

`--only whole-light whole-dark whole-narrow` takes the whole page, to check a change by eye.
Needs the `playwright` package and a Chromium of the system; nothing is downloaded.
"""

import argparse
import shutil
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, FloatRect, Page, sync_playwright

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
MARGIN = 24
SCREEN, WHOLE = "", "the whole page"  # else the part of the page that a selector names
Shot = tuple[tuple[int, int], Literal["light", "dark"], str]  # window, colour scheme, what of the page
SHOTS: dict[str, Shot] = {
    "light": (WIDE, "light", SCREEN),
    "dark": (WIDE, "dark", SCREEN),
    "narrow": (NARROW, "light", SCREEN),
    "methods": (WIDE, "light", "#methods"),
    "heat": (WIDE, "dark", "#heat"),
    "concepts": (WIDE, "light", "#concepts"),
    "gallery": (WIDE, "dark", "#gallery"),
    "whole-light": (WIDE, "light", WHOLE),
    "whole-dark": (WIDE, "dark", WHOLE),
    "whole-narrow": (NARROW, "light", WHOLE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("folder", type=Path)
    usual = [name for name, (_, _, what) in SHOTS.items() if what != WHOLE]
    parser.add_argument("--only", nargs="+", choices=SHOTS, default=usual, help="which pictures")
    asked = parser.parse_args()
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        parser.error(f"none of {', '.join(BROWSERS)} is installed")
    asked.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(QUIET))
        for name in asked.only:
            take(browser, asked.report, asked.folder / f"{name}.png", name)
        browser.close()


def take(browser: Browser, report: Path, picture: Path, name: str) -> None:
    """Write one picture; a part that this report doesn't have is left out."""
    (width, height), scheme, what = SHOTS[name]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(report.resolve().as_uri())
    if what in (SCREEN, WHOLE):
        page.screenshot(path=picture, full_page=what == WHOLE)
        print(picture)
    elif page.locator(what).count():
        page.screenshot(path=picture, full_page=True, clip=frame(page, what))
        print(picture)
    page.close()


def frame(page: Page, selector: str) -> FloatRect:
    """Return where a part of the page stands, and some margin round it."""
    box = page.locator(selector).bounding_box()
    assert box is not None
    width, height = box["width"] + 2 * MARGIN, box["height"] + 2 * MARGIN
    return {"x": box["x"] - MARGIN, "y": box["y"] - MARGIN, "width": width, "height": height}


if __name__ == "__main__":
    main()
