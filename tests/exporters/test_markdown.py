"""Markdown: what a reader sees of any name, what GitHub makes of it, and that a comment always fits."""

import functools
import re
from dataclasses import replace

import pytest
from hostile import HOSTILE, renamed, shown
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from planted import full_report, make_answers, make_judged

from forgetcheck import catalog
from forgetcheck.exporters import markup
from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.text.summary import executive_summary
from forgetcheck.text import points, printable

pytestmark = pytest.mark.slow

LIMIT = 65_536  # characters of a GitHub comment
MARKDOWN = ("markdown", "github:part=summary", "model-card")
LINKS = re.compile(  # what GitHub makes links and emoji of after the Markdown is read
    r"@\w|#\d|\bgh-\d|https?:|ftp:|www\.|\w\.\w+@|:\w+:|\$\S|\b[0-9a-f]{40}\b|\w\.example", re.IGNORECASE
)
TEXT = st.text(st.characters(), max_size=30)


full = functools.cache(full_report)


@functools.cache
def plain_tokens(spec):
    return inline(render(renamed(full(), "plain"), spec))[0]


def render(report, spec="markdown"):
    document = catalog.build("exporters", spec).render(report)
    return document.partition("\n---\n")[2] if spec == "model-card" else document


def inline(document):
    """What a reader sees: the tokens of every paragraph, heading and table cell."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(document)
    return tokens, [token for token in tokens if token.type == "inline"]


def cells(document):
    _, lines = inline(document)
    return [cell_of(line) for line in lines]


def cell_of(line):
    return " ".join("".join(child.content for child in line.children).split())


@pytest.mark.parametrize("spec", MARKDOWN)
@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_shown_and_none_obeyed(name, spec):
    tokens, lines = inline(render(renamed(full(), name), spec))
    plain = plain_tokens(spec)
    assert [token.type for token in tokens] == [token.type for token in plain]
    assert [t.content for t in tokens if t.type == "html_block"] == [
        t.content for t in plain if t.type == "html_block"
    ]
    children = [child for line in lines for child in line.children]
    kinds = {child.type for child in children}
    assert kinds <= {"text", "softbreak", "strong_open", "strong_close", "code_inline"}
    assert not [child.content for child in children if child.type == "text" and LINKS.search(child.content)]
    found = [cell_of(line) for line in lines]
    assert (shown(name) if name else "(no name)") in found
    assert " ".join(f"{shown(name)} / {shown(name)}".split()) in found or spec == "model-card"


@pytest.mark.parametrize("name", ["@octocat", "#123", "a@b.example", "http://evil.example", ":tada:"])
def test_the_search_for_links_finds_them(name):
    assert LINKS.search(f"see {name} there")


@settings(deadline=None, derandomize=True, max_examples=300)
@given(TEXT)
@example("`")
@example(" `` ")
@example("\\")
def test_a_code_span_holds_exactly_the_name(name):
    (line,) = inline(markup.code(name))[1]
    (child,) = line.children
    wanted = ("text", "(no name)") if not name else ("code_inline", printable(name))
    assert (child.type, child.content) == wanted


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.lists(TEXT, min_size=3, max_size=3))
def test_a_table_has_as_many_cells_as_it_was_given(names):
    section = markup.table("t", "a|b|>c", [[markup.code(name) for name in names]])
    found = cells("\n".join([*section.head, *section.rows]))
    assert found[:3] == ["a", "b", "c"]
    assert found[3:] == [shown(name) if name else "(no name)" for name in names]


@settings(deadline=None, derandomize=True, max_examples=300)
@given(TEXT)
@example("- x")
@example("[x] y")
@example("[x]: y")
@example("1. x")
def test_a_sentence_is_one_paragraph_of_text_and_code(said):
    tokens, lines = inline("- said:\n\n  " + markup.prose("x" + said) + "\n- " + markup.prose(said) + " end")
    kinds = [token.type for token in tokens]
    block = ["list_item_open", "paragraph_open", "inline", "paragraph_close"]
    assert kinds[1:5] == block
    assert kinds[5:8] == block[1:]
    assert kinds[9:13] == block
    for line in lines:
        assert {child.type for child in line.children} <= {"text", "code_inline"}
    first = "".join(child.content for child in lines[1].children)
    assert first.split() == printable("x" + said).split()


def test_the_verdict_comes_first_then_the_summary():
    report = full()
    title, verdict, *summary = cells(render(report))[: 2 + len(executive_summary(report))]
    assert title == "forgetcheck"
    assert verdict.startswith("NOT passed: 5 of 23 demands failed; first: ")
    assert summary == executive_summary(report)


def test_the_summary_speaks_the_language_asked_for():
    report = full()
    found = cells(render(report, "markdown:language=ja"))
    assert found[2 : 2 + len(executive_summary(report, "ja"))] == executive_summary(report, "ja")


def test_concepts_are_listed_with_what_they_are_taken_for():
    found = cells(render(full()))
    place = found.index("shape / circle")
    row = found[place - 1 : place + 13]
    assert row[0] == "naive"
    assert row[5:7] == ["50.0", "[+40.4, +59.6]"]
    assert row[-1] == "star 50"


def test_only_as_many_concepts_as_asked_are_listed():
    report = full()
    assert "shape / circle`" in render(report, "markdown:top=1")
    assert "animal / cat` |" not in render(report, "markdown:top=1")
    assert "Concepts that dropped most" not in render(report, "markdown:top=0")


def test_every_failed_demand_is_listed_with_its_evidence():
    document = render(full())
    failed = document.partition("### Failed demands")[2].partition("<details>")[0]
    assert failed.count("\n- ") == 5
    assert "- shape / circle (naive, zero-shot): drop 50.0 points [40.4, 59.6], limit 10; n = 100; " in failed
    assert "; smallest drop found 4 times in 5: " in failed
    assert "; reason: the logo is a circle\n" in failed
    assert "texture (naive, linear) could not be asked: class 'lines' has no train images\n" in failed


def test_too_few_images_to_find_anything_are_said_to_be():
    """Six lost of six would not show that the drop exceeds 60 points."""
    document = render(make_judged(make_answers({"a": (1, 2, 0, 0), "b": (2, 1, 0, 0)}), max_drop=0.6))
    assert "too few images to find any drop 4 times in 5" in document
    assert "| 60 | none | 1 (0) | unsure |" in document


def test_what_is_unsure_is_open_where_it_fails_the_policy():
    report = full()
    strict = replace(report, policy=report.policy.model_copy(update={"when_unsure": "fail"}))
    assert "<details><summary>Unsure demands (1)</summary>" in render(report)
    assert "### Unsure demands\n" in render(strict)


def test_what_the_gate_does_not_go_by_is_said():
    rows = [make_answers({"a": (50, 1, 0, 0), "b": (50, 0, 1, 0)}, task=task) for task in ("shape", "noise")]
    document = render(make_judged(*rows, concepts=[{"match": "noise", "ignore": True}]))
    (line,) = [line for line in document.splitlines() if line.startswith("| `tuned` | `noise` |")]
    assert line.endswith(", not gated |")


def test_without_a_limit_on_the_mean_there_is_none():
    report = make_judged(make_answers({"a": (50, 1, 0, 0), "b": (50, 0, 1, 0)}))
    row = report.tasks()[0].retention  # the mean of one task is that task
    ends = f"[{points(row.low)}, {points(row.high)}]"
    assert f"| 1 | 0.0 | {ends} | none | `shape` 0.0 |" in render(report)


def test_a_value_is_told_from_the_limit_it_fails():
    """2.04 is not 2."""
    document = render(make_judged(make_answers({"a": (97_960, 2040, 0, 0), "b": (97_960, 2040, 0, 0)})))
    assert "| 2.04 |" in document


def test_a_warning_of_many_questions_names_some_and_counts_the_rest():
    tasks = [make_answers({"a": (3, 0, 0, 0), "b": (3, 0, 0, 0)}, task=f"t{number}") for number in range(4)]
    warnings = render(make_judged(*tasks)).partition("<summary>Warnings")[2]
    assert "- only 3 samples: no small drop can be shown: `t0 / a` (`tuned`, `zero-shot`); " in warnings
    assert "; and 3 more\n" in warnings


def large(report, times, name="class"):
    """Return a report with many times as much in it, under names of their own."""

    def copies(items, change):
        return tuple(change(item, f"{name} {number}") for number in range(times) for item in items)

    def relabelled(finding, label):
        row = finding.retention
        concept = None if row.concept is None else label
        new = replace(row, checkpoint=label, task=label, concept=concept, warnings=(label,))
        return replace(finding, retention=new, reason=label)

    return replace(
        report,
        findings=copies(report.findings, relabelled),
        means=copies(report.means, lambda mean, label: replace(mean, checkpoint=label)),
        checks=copies(report.checks, lambda check, label: replace(check, checkpoint=label, subject=label)),
        unasked=copies(report.unasked, lambda item, label: replace(item, checkpoint=label, why=label)),
    )


@pytest.mark.parametrize("name", ["class", "x" * 5000, "漢" * 300, "\udce9 ` " * 300, "🦊" * 400])
def test_a_comment_fits_whatever_the_size_of_the_audit(name):
    document = render(large(full(), 150, name))
    assert len(document.encode("utf-8", "backslashreplace")) < LIMIT
    assert len(document) > LIMIT / 4  # and the room is used
    plain = [token.type for token in inline(document)[0] if token.type in ("table_open", "html_block")]
    assert plain.count("table_open") == 4
    assert document.count("<details>") == document.count("</details>") == 5
    assert re.search(r"\n\n[0-9,]+ more; all are in `forgetcheck report AUDIT --as csv`\.\n\n", document)


def test_what_is_cut_is_counted():
    report = large(full(), 150)
    document = render(report)
    failed = document.partition("### Failed demands")[2].partition("<details>")[0]
    listed = failed.count("\n- ")
    assert 0 < listed < 6 * 150
    assert f"\n\n{5 * 150 - listed} more; " in failed


def test_a_page_of_a_job_fits_too():
    page = render(large(full(), 350, "漢" * 100), "github:part=summary")
    assert len(page.encode()) < 1024 * 1024
    assert len(page.encode()) > 1024 * 512


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 1000), max_size=8), st.integers(-10, 3000))
def test_room_is_shared_fairly(wanted, room):
    given_out = markup.shared_out(wanted, room)
    assert all(0 <= got <= want for got, want in zip(given_out, wanted, strict=True))
    assert sum(given_out) <= max(room, 0)
    if sum(wanted) <= room:
        assert given_out == wanted
    short = [got for got, want in zip(given_out, wanted, strict=True) if got < want]
    assert not short or max(given_out) - min(short) <= len(wanted)  # nobody gets more than who went short


def test_failed_demands_come_before_everything_that_is_folded():
    document = render(full())
    assert document.index("### Failed demands") < document.index("<details>")
    assert Outcome.FAILED.value in document
