"""The HTML report in a browser: it loads nothing, sorts, filters, fits, prints and can be read by all."""

import os
import shutil
from dataclasses import replace

import pytest
from planted import full_audit, full_report
from playwright.sync_api import sync_playwright

from forgetcheck import catalog
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report

pytestmark = pytest.mark.slow

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"
LONG = "a-name-that-does-not-end-" * 12
WIDTHS = (400, 1280)
SCHEMES = ("light", "dark")

CONTRASTS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((v) => v / 255).map(
      (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (part) => {
    if (part.matches('.cell text')) return getComputedStyle(part.parentElement.querySelector('rect')).fill;
    for (let at = part; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor, alpha = parts(colour)[3] ?? 1;
      if (alpha > 0) return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const part of document.body.querySelectorAll('*')) {
    const own = [...part.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !part.checkVisibility() || part.matches('title, desc, script, .unseen')) continue;
    const style = getComputedStyle(part);
    const front = part.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [dark, bright] = [light(front), light(ground(part))].sort((a, b) => a - b);
    found.push([(bright + 0.05) / (dark + 0.05), part.textContent.trim().slice(0, 40), front, ground(part)]);
  }
  return found;
}"""
TOO_WIDE = """() => [...document.querySelectorAll('body *')]
  .filter((part) => !part.closest('.scroll > *') && !part.matches('.skip, .unseen'))
  .filter((part) => part.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((part) => `${part.tagName} ${part.className} ${part.textContent.slice(0, 30)}`)"""


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        if os.environ.get("FORGETCHECK_NO_SKIPS"):
            pytest.fail(f"none of {', '.join(BROWSERS)} is installed")
        pytest.skip("no Chromium is installed")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield found
        found.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A report in which one class of each task has a hostile name, and one a very long one."""
    audit = full_audit()
    answers = tuple(
        replace(item, class_names=(HOSTILE, LONG, *item.class_names[2:])) for item in audit.answers
    )
    policy = full_report().policy.model_copy(update={"concepts": []})
    report = make_report(replace(audit, answers=answers), policy)
    return written(tmp_path_factory, report)


def written(tmp_path_factory, report):
    path = tmp_path_factory.mktemp("html") / "report.html"
    path.write_text(catalog.build("exporters", "html").render(report), encoding="utf-8", newline="\n")
    return path.as_uri()


@pytest.fixture
def visit(browser, address):
    """Open the report; what it asks for, complains of or pops up is kept, and must be nothing."""
    contexts, trouble = [], []

    def opened(script=True, width=1280, scheme="light"):
        context = browser.new_context(
            java_script_enabled=script, viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: trouble.append(request.url) if fetched(request.url) else None)
        page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        page.goto(address)
        return page

    def fetched(url):
        return url.split("#")[0] != address and not url.startswith("data:")

    yield opened
    for context in contexts:
        context.close()
    assert trouble == []


def cells(page, table, number):
    """Return the visible cells of a column."""
    return page.locator(f"#{table} tbody tr:not([hidden])").evaluate_all(
        "(rows, number) => rows.map((row) => row.cells[number].textContent)", number
    )


def place(page, table, name):
    return page.locator(f"#{table} thead th").all_inner_texts().index(name)


def head(page, table, name):
    return page.locator(f"#{table} thead th").nth(place(page, table, name))


def numbers(texts):
    return [float(text.replace("−", "-").strip("[<").split(",")[0].split()[0]) for text in texts]


def test_clicking_a_heading_sorts_numbers_as_numbers(visit):
    page = visit()
    table, name = "demands-table", "Found"
    at = place(page, table, name)
    before = cells(page, table, at)
    button = head(page, table, name).locator("button")
    assert head(page, table, name).get_attribute("aria-sort") is None
    button.click()
    assert head(page, table, name).get_attribute("aria-sort") == "descending"
    found = [text for text in cells(page, table, at) if text != "–"]
    assert numbers(found) == sorted(numbers(found), reverse=True)
    assert found != [text for text in before if text != "–"]
    assert cells(page, table, at)[-1] == "–"  # what was not measured is last either way
    button.click()
    assert head(page, table, name).get_attribute("aria-sort") == "ascending"
    found = [text for text in cells(page, table, at) if text != "–"]
    assert numbers(found) == sorted(numbers(found))
    assert cells(page, table, at)[-1] == "–"
    assert sorted(cells(page, table, at)) == sorted(before)


def test_the_keyboard_sorts_too_and_one_column_at_a_time(visit):
    page = visit()
    table = "demands-table"
    head(page, table, "Outcome").locator("button").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Subject"
    page.keyboard.press("Enter")
    subjects = cells(page, table, place(page, table, "Subject"))
    assert subjects == sorted(subjects, key=str.lower)
    assert head(page, table, "Subject").get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert head(page, table, "Checkpoint").get_attribute("aria-sort") == "ascending"
    assert head(page, table, "Subject").get_attribute("aria-sort") is None
    spoken = page.locator("#demands [role=status]").first
    assert spoken.text_content() == "sorted by Checkpoint, ascending"


def test_the_filter_keeps_what_holds_every_word_and_counts_it(visit):
    page = visit()
    rows = page.locator("#demands-table tbody tr")
    total = rows.count()
    box = page.locator("#demands").get_by_label("Filter rows")
    count = page.locator("#demands output")
    assert count.get_attribute("aria-live") == "polite"
    assert count.text_content() == f"{total} of {total} rows"
    box.fill("SHAPE failed")
    kept = page.locator("#demands-table tbody tr:visible")
    assert 0 < kept.count() < total
    assert all("shape" in text and "failed" in text for text in kept.all_text_contents())
    assert count.text_content() == f"{kept.count()} of {total} rows"
    box.fill("no such row")
    assert count.text_content() == f"0 of {total} rows"
    box.fill("")
    assert page.locator("#demands-table tbody tr:visible").count() == total


def test_every_heading_of_a_table_worth_sorting_is_a_button(visit):
    page = visit()
    for table in page.locator("table").all():
        worth = table.locator("tbody tr").count() > 1
        assert table.locator("thead button").count() == (table.locator("thead th").count() if worth else 0)


def test_pictures_of_the_gallery_are_shown(visit):
    images = visit().locator("#gallery img")
    sizes = images.evaluate_all("(images) => images.map((image) => [image.complete, image.naturalWidth])")
    assert sizes == [[True, 8], [True, 8]]


def test_a_hostile_name_is_read_and_not_obeyed(visit):
    page = visit()
    concept = page.locator("#worst-1 tbody th").get_by_text(HOSTILE).first
    assert concept.is_visible()
    assert concept.inner_text() == f"shape / {HOSTILE}"
    assert page.locator("img").count() == 2
    assert page.locator("script").count() == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_without_script_everything_is_there(visit, scheme):
    page = visit(script=False, scheme=scheme)
    for part in page.locator(
        "h1, h2:not(.unseen), h3, main table:not(details table), svg, #gallery img"
    ).all():
        assert part.is_visible() or part.evaluate("(part) => !!part.closest('details')")
    assert page.locator("button").count() == page.locator("input").count() == 0
    for summary in page.locator("main details > summary").all():
        if summary.is_visible():
            summary.click()
    for table in page.locator("table").all():
        assert table.is_visible()


def test_both_colour_schemes_are_drawn(visit):
    grounds = [
        visit(scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor") for scheme in SCHEMES
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(18, 22, 27)"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_all_text_has_enough_contrast(visit, scheme):
    page = visit(scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 500
    assert [pair for pair in found if pair[0] < 4.5] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_no_wider_than_the_window(visit, width):
    page = visit(width=width)
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(TOO_WIDE) == []


def test_the_first_thing_the_keyboard_finds_skips_to_the_verdict(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_regions_that_scroll_can_be_reached_and_have_a_name(visit):
    page = visit(width=400)
    scrolled = page.locator(".scroll").evaluate_all(
        "(parts) => parts.filter((part) => part.scrollWidth > part.clientWidth).map((part) => part.tabIndex)"
    )
    assert scrolled
    assert set(scrolled) == {0}
    named = page.get_by_role("region", name="Every demand and what was found, the failed ones first")
    assert named.count() == 1
    assert (
        page.get_by_role("img", name="naive, zero-shot: accuracy of base and tuned, task by task").count()
        == 1
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_prints_in_light_with_the_tables_unfolded(visit, scheme):
    page = visit(scheme=scheme, width=700)
    assert page.pdf().startswith(b"%PDF-")
    page.emulate_media(media="print", color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#tasks-table").is_visible()
    assert not page.locator("nav").is_visible()
    assert not page.get_by_label("Filter rows").first.is_visible()


def test_a_passed_report_says_so_in_its_title(browser, tmp_path_factory):
    report = make_report(full_audit(), Policy(max_drop=0.9))
    page = browser.new_page()
    page.goto(written(tmp_path_factory, report))
    assert "passed" in page.title()
    page.close()
