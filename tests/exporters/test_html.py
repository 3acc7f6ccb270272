"""The HTML report as a document: well formed, sealed, complete, and no name is markup. No browser."""

import base64
import functools
import hashlib
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hostile import HOSTILE, renamed
from planted import RED, full_audit, full_report, make_answers, make_judged
from webpage import Page, Tag, by_id, column, read, render, rows, small_report

from forgetcheck.exporters.page import sections, text
from forgetcheck.retention.answers import LostSample
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import Report, make_report
from forgetcheck.retention.text.summary import executive_summary, main_mean
from forgetcheck.retention.text.wording import sentence
from forgetcheck.text import percent, points, unsigned

pytestmark = pytest.mark.slow

NAMES = (
    "<script>alert(1)</script>",
    '"></svg><img src=x onerror=alert(1)>',
    "</style></title></script><b>",
    "{{ 7*7 }}{% raw %}",
    "caf\udce9 \x00\x1b[31m \u202egpj.exe",
    "javascript:alert(1)",
    *HOSTILE,
)


@pytest.fixture(scope="module")
def report():
    return full_report()


@pytest.fixture(scope="module")
def page(report):
    return read(report)


@pytest.fixture(scope="module")
def small():
    return small_report()


def security(page):
    found = [tag for tag in page.all("meta") if "http-equiv" in tag.attributes]
    assert [tag.attributes["http-equiv"] for tag in found] == ["Content-Security-Policy"]
    return dict(rule.split(" ", 1) for rule in found[0].attributes["content"].split("; "))


def test_the_policy_allows_the_inline_style_and_script_by_their_hash_and_nothing_else(page):
    def digest(tag):
        return base64.b64encode(hashlib.sha256(page.one(tag).text.encode()).digest()).decode()

    hashes = {f"{tag}-src": f"'sha256-{digest(tag)}'" for tag in ("style", "script")}
    closed = {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    assert security(page) == closed | hashes


def test_nothing_is_fetched_and_nothing_runs_but_the_one_script(page):
    sources = [tag.attributes["src"] for tag in page.all() if "src" in tag.attributes]
    assert len(sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    links = [tag.attributes["href"] for tag in page.all() if "href" in tag.attributes]
    assert all(link.startswith("#") for link in links)
    loose = {"style", "srcset", "action", "formaction", "background", "xlink:href", "poster", "data"}
    for tag in page.all():
        assert not loose & set(tag.attributes)
        assert not any(key.startswith("on") for key in tag.attributes)
        assert tag.name not in {"link", "iframe", "object", "embed", "form", "base", "audio", "video"}
    style, script = page.one("style").text, page.one("script").text
    assert not re.search(r"url\(|@import|//", style)
    assert not re.search(r"//|fetch|XMLHttp|WebSocket|import|eval|innerHTML|Function\(", script)


def test_every_picture_has_a_title_a_description_and_the_same_in_a_table(page):
    pictures, ids = list(page.all("svg")), by_id(page)
    assert {tag.attributes["class"].split()[0] for tag in pictures} == {
        *("dumbbell", "scatter", "heat", "sketch"),
    }
    for tag in pictures:
        title, told = tag.attributes["aria-labelledby"].split()
        assert tag.attributes["role"] == "img"
        assert (ids[title].name, ids[told].name) == ("title", "desc")
        assert ids[title].parent is tag
        assert ids[told].parent is tag
        assert ids[title].text.strip()
        assert ids[told].text.strip()
        twin = tag.attributes.get("aria-details")
        assert tag.within("td") if twin is None else ids[twin].name == "table"


def test_what_refers_to_something_finds_it(page):
    ids = by_id(page)
    for tag in page.all():
        for key in ("aria-labelledby", "aria-details", "href"):
            for name in tag.attributes.get(key, "").removeprefix("#").split():
                assert name in ids
    assert [tag for tag in page.all("nav") if tag.attributes["aria-label"] == "Contents"]


def test_headings_are_in_order_and_every_table_says_what_it_is(page):
    levels = [int(tag.name[1]) for tag in page.all() if re.fullmatch("h[1-6]", tag.name)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for table in page.all("table"):
        assert table.one("caption").text.strip()
        assert all(head.attributes["scope"] == "col" for head in table.one("thead").all("th"))
        for row in table.one("tbody").all("tr"):
            assert [head.attributes["scope"] for head in row.all("th")] == ["row"]
        assert table.parent.attributes["role"] == "region"
        assert table.parent.attributes["tabindex"] == "0"
    assert all(image.attributes["alt"] for image in page.all("img"))


@functools.cache
def named(name):
    """Return the report in which everything that a stranger may name has this name."""
    rules = [rule.model_copy(update={"match": name or "*", "reason": name}) for rule in full_rules()]
    told = renamed(full_report(), name)
    facts = {**told.provenance, name or "key": {name: [name, None, True, 1.5, {name: name}]}}
    policy = told.policy.model_copy(update={"concepts": rules, "target": name})
    return read(replace(told, provenance=facts, policy=policy))


def full_rules():
    return full_report().policy.concepts


def shape_of(tag):
    return [(part.name, shape_of(part)) for part in tag.inside if isinstance(part, Tag)]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_wherever_it_stands(name):
    page, plain = named(name), named("plain")
    assert {tag.name for tag in page.all()} == {tag.name for tag in plain.all()}
    for part in ("verdict", "tasks", "demands", "provenance", "gallery", "concepts"):
        assert shape_of(by_id(page)[part]) == shape_of(by_id(plain)[part])
    assert {tag.name for tag in by_id(page)["heat"].all()} == {tag.name for tag in by_id(plain)["heat"].all()}
    visible = text.shown(text.named(name))
    assert visible.isprintable() or "\u200d" in name
    assert set(column(page, "concepts-table", "Checkpoint")) == {visible}
    assert set(column(page, "demands-table", "Subject")) == {visible}
    assert all(visible in image.attributes["alt"] for image in page.all("img"))
    assert page.one("h1").text == "forgetcheck Retention report"
    assert not any("49" in head.text for head in page.all("h3"))


@pytest.mark.parametrize("name", NAMES[:6])
def test_a_name_from_an_audit_is_text_too(name):
    """Here two checkpoints stay two, and the sentences are made from the names."""
    audit = full_audit()
    names = {"naive": name, "ldifs": f"{name} 2"}
    answers = tuple(
        replace(item, checkpoint=names[item.checkpoint], task=name + item.task, probe=name + item.probe)
        for item in audit.answers
    )
    page = read(make_report(replace(audit, answers=answers), Policy()))
    visible = text.shown(name)
    assert len(list(page.all("script"))) == 1
    assert len(list(page.all("img"))) == len(audit.gallery)
    assert column(page, "methods-table", "Checkpoint") == [visible, f"{visible} 2"]
    assert visible in by_id(page)["verdict"].text
    assert visible in by_id(page)["methods-d"].text


def test_a_long_name_is_cut_on_the_first_screen_and_whole_in_the_tables():
    name = "a name that does not end " * 12
    some = {"a": (40, 10, 0, 0), "b": (45, 5, 0, 0)}
    page = read(make_judged(make_answers(some, name)))
    first = by_id(page)["verdict"]
    (heading,) = first.all("h3")
    assert heading.text.startswith("a name that does not end a name")
    assert heading.text.endswith("…")
    assert column(page, "tasks-table", "Checkpoint") == [name]


def test_what_does_not_print_is_made_visible():
    assert text.shown("caf\udce9\x1b\n\u202e\u3000é") == "caf\\udce9� � é"
    assert text.shown("👩\u200d🔬") == "👩\u200d🔬"
    assert text.named("  ") == "(no name)"


def test_the_first_screen_is_the_verdict_what_was_gained_what_was_lost_and_the_picture(page, report):
    main = page.one("main")
    first, second = [tag for tag in main.inside if isinstance(tag, Tag)][:2]
    assert (first.attributes["id"], second.attributes["id"]) == ("verdict", "tasks")
    said = first.words
    assert sentence(report).replace(":", " :", 1) in said
    row = report.target("naive").retention
    assert f"On its target, digits gained {unsigned(-row.drop)} points" in said
    assert f"{percent(row.base)} → {percent(row.tuned)} by head, n = {row.n}" in said
    mean = main_mean(report, "naive")
    interval = f"[{points(mean.low)}, {points(mean.high)}]"
    assert f"On {mean.tasks} other tasks lost {unsigned(mean.drop)} points" in said
    assert f"mean drop {points(mean.drop)} {interval} by zero-shot; most on {mean.worst.task}" in said
    assert "On 1 other task nothing lost" in said
    assert len(list(second.all("svg"))) == 2


def test_the_page_is_complete_without_its_script(page, report):
    assert not any("hidden" in tag.attributes for tag in page.all())
    concepts = [finding for finding in report.findings if finding.retention.concept is not None]
    assert len(rows(page, "concepts-table")) == len(concepts)
    assert len(rows(page, "demands-table")) == len(report.checks)
    tables = [name for name in by_id(page) if name == "tasks-table" or name.startswith("probe-")]
    twins = [rows(page, name) for name in tables if by_id(page)[name].name == "table"]
    assert sum(map(len, twins)) == len(report.tasks())
    assert rows(page, "unasked-table") == [
        ["texture", "naive", "linear", "class 'lines' has no train images."]
    ]
    warnings = by_id(page)["warnings"].parent.words
    assert "the tuned probe stopped early shape (naive, linear)" in warnings
    assert "only 20 samples: no small drop can be shown shape / disc (naive, zero-shot)" in warnings


def test_every_demand_says_what_was_found_and_what_would_have_been(small, page):
    known, (first, *_) = read(small), small.checks
    tried, detectable = first.tried, unsigned(first.detectable)
    assert (first.subject, first.demand) == ("shape", "max_drop")
    found = dict(zip(column(known, "demands-table", "Subject"), rows(known, "demands-table"), strict=True))
    assert found["face / ann"] == [
        *("failed", "face / ann", "tuned", "zero-shot", "forgotten: accuracy at most", "60 %"),
        *("90.0 %", "[82.4, 95.1]", "100", f"<0.001 ({tried})", "–", "–"),
    ]
    assert found["shape"] == [
        *("failed", "shape", "tuned", "zero-shot", "drop at most", "2"),
        *("+22.7", "[+17.3, +28.9]", "220", f"<0.001 ({tried})", detectable, "–"),
    ]
    outcomes = column(page, "demands-table", "Outcome")
    assert outcomes == sorted(outcomes, key=["failed", "unsure", "never knew", "met"].index)
    assert set(outcomes) == {"failed", "unsure", "never knew", "met"}


def test_concepts_say_what_is_answered_now_and_how_many_were_tried(small):
    page, tried = read(small), small.checks[0].tried
    assert column(page, "worst-1", "Concept") == ["shape / circle", "shape / disc"]
    first, second = rows(page, "worst-1")
    disc = small.worst_concepts("tuned", 2)[1]
    assert first[9:] == ["star ×50", f"<0.001 ({tried})", "the logo is a circle"]
    assert second[9:11] == ["circle ×2", f"{disc.p_adjusted:.3f} ({disc.tried})"]
    assert second[11] == "only 20 samples: no small drop can be shown"
    caption = by_id(page)["worst-1-caption"].text
    assert caption == "The 2 surest drops of 5 tried (5 by zero-shot), p adjusted for them"


@pytest.mark.parametrize(("top", "count"), [(0, None), (1, 1), (99, 2)])
def test_as_many_worst_concepts_as_asked(small, top, count):
    page = read(small, f"html:top={top}")
    if count is None:
        assert "worst-1" not in by_id(page)
        assert "None was asked for" in by_id(page)["concepts"].text
    else:
        assert len(rows(page, "worst-1")) == count


def test_a_long_table_is_cut_and_says_so(small, monkeypatch):
    monkeypatch.setattr(sections, "CONCEPTS", 3)
    page = read(small)
    concepts = by_id(page)["concepts"].text
    assert column(page, "concepts-table", "Concept") == ["bob", "circle", "ann"]
    assert "All concepts: 3 rows of 5, the worst first" in concepts
    assert "forgetcheck report AUDIT --as csv writes all of them" in concepts


def test_the_gallery_shows_both_answers(page):
    image, other = page.all("img")
    assert image.attributes["alt"] == (
        "Sample shape/0007 of shape: base said circle (right), tuned said star"
    )
    data = base64.b64decode(image.attributes["src"].removeprefix("data:image/png;base64,"))
    assert data == RED
    assert "base circle tuned star shape/0007" in image.parent.words
    assert "tuned said circle" in other.attributes["alt"]


def test_the_gallery_keeps_within_its_room_and_is_fair_to_every_question(monkeypatch):
    def lost(task, number, image):
        return LostSample("tuned", task, "zero-shot", f"{task}/{number}", "cat", "dog", image)

    many = [lost("a", number, RED) for number in range(100)] + [lost("b", 0, b"\xff\xd8\xff")]
    hung = [item.lost for item in sections.gallery(many)[0].pictures]
    assert len(hung) == sections.PICTURES
    assert hung[1].task == "b"
    assert sections.data_uri(b"\xff\xd8\xff") == "data:image/jpeg;base64,/9j/"
    monkeypatch.setattr(sections, "PICTURE_BYTES", 3 * len(RED))
    assert len(sections.gallery(many)[0].pictures) == 3
    page = read(replace(full_report(), gallery=tuple(many)))
    assert "3 of 101 are shown" in by_id(page)["gallery"].text


def test_provenance_and_policy_are_lists_of_facts(page, small):
    told = by_id(page)["provenance"].words
    assert "base name forgetcheck:tiny digest visual ab12 text cd34" in told
    assert "naive run regularizer cross-entropy ldifs run –" in told
    known = read(small)
    assert (
        "max_drop 0.02 gate_concepts True max_lost not set max_mean_drop not set"
        in by_id(known)["provenance"].words
    )
    assert rows(known, "rules-table") == [
        ["shape/circle", "*", "max_drop = 0.1", "the logo is a circle"],
        ["face/*", "*", "must_forget = true, max_accuracy = 0.6", "–"],
        ["noise", "*", "ignore = true", "–"],
    ]


def test_provenance_of_any_depth_is_written_down(report):
    deep = {"leaf": 1}
    for _ in range(5000):
        deep = {"inner": deep}
    odd = {"none": None, "list": [1, "a", None], "flag": False, "empty": {}, "deep": deep}
    told = by_id(read(replace(report, provenance=odd)))["provenance"].words
    assert "none none list 1, a, None flag no empty – deep inner inner inner inner inner inner" in told
    assert "inner … (1 further inside)" in told


def test_the_summary_is_in_the_language_asked_for(report):
    for language in ("en", "ja"):
        page = read(report, f"html:language={language}")
        (summary,) = (tag for tag in page.all("ul") if tag.attributes.get("class") == "summary")
        assert summary.attributes["lang"] == language
        assert [line.text for line in summary.all("li")] == executive_summary(report, language)
    assert "結果" in summary.text
    assert page.one("html").attributes["lang"] == "en"


def test_a_hundred_tasks_fit_into_three_megabytes_and_a_readable_picture():
    answers = [
        make_answers(
            {f"class {c}": (40 + task % 9, (task + 3 * c) % 12, c % 3, 5) for c in range(10)},
            checkpoint,
            f"task {task:03d}",
        )
        for checkpoint in ("one", "two")
        for task in range(100)
    ]
    document = render(make_judged(*answers))
    assert len(document.encode()) < 3_000_000
    page = Page(document).root
    assert len(rows(page, "concepts-table")) == 2000
    assert len(rows(page, "tasks-table")) == 200
    assert "The 30 tasks that dropped most are drawn; all 100 are in the table." in by_id(page)["tasks"].text
    assert "The 40 tasks that dropped most are drawn; all 100 are in the table." in by_id(page)["heat"].text
    drawn = next(tag for tag in page.all("svg") if tag.attributes["class"].startswith("dumbbell"))
    assert float(drawn.attributes["height"]) < 900


def test_one_checkpoint_has_no_rivals():
    page = read(make_judged(make_answers({"a": (40, 10, 0, 0), "b": (45, 5, 0, 0)})))
    assert "methods" not in by_id(page)
    assert "not recorded" in by_id(page)["verdict"].text


def test_a_report_of_nothing_is_a_page():
    page = read(Report((), (), (), Policy(), {}))
    assert "nothing was measured" in by_id(page)["verdict"].text


def test_a_value_never_looks_like_its_limit():
    page = read(make_judged(make_answers({"a": (4898, 102, 0, 0), "b": (4898, 102, 0, 0)})))
    for table, value in (("tasks-table", "Drop"), ("demands-table", "Found"), ("concepts-table", "Drop")):
        assert set(column(page, table, value)) - {"–"} == {"+2.04"}
        ends = set(column(page, table, "Interval")) - {"–"}
        assert all(re.fullmatch(r"\[\+1\.\d\d, \+2\.\d\d]", each) for each in ends)
    rule = {"match": "shape", "must_forget": True, "max_accuracy": 0.5}
    page = read(make_judged(make_answers({"a": (51, 49, 0, 0), "b": (4953, 4947, 0, 0)}), concepts=[rule]))
    assert set(column(page, "demands-table", "Found")) - {"–"} == {"50.04 %"}
    assert column(page, "tasks-table", "Tuned %") == ["50.04"]


@pytest.mark.parametrize(
    ("p", "level", "written"),
    [
        *((0.0249999, 0.025, "0.0249999"), (0.025001, 0.025, "0.025001"), (0.0004, 0.025, "<0.001")),
        *((1.0, 0.025, "1.000"), (0.3, 0.025, "0.300"), (float("nan"), 0.025, "–"), (0.0, 0.0005, "0.000")),
    ],
)
def test_a_p_value_never_looks_like_its_level(p, level, written):
    assert text.probability(p, level) == written


def test_calibration_is_told_per_probe_and_task(page, report):
    assert len(rows(page, "calibration-table")) == len(report.means)
    assert len(rows(page, "calibration-tasks")) == len(report.tasks())
    naive = rows(page, "calibration-table")[0]
    errors = [f.retention.calibration for f in report.tasks("naive", "zero-shot")]
    assert naive[:3] == ["naive", "zero-shot", str(len(errors))]
    assert naive[3] == f"{100 * np.mean([error.base for error in errors]):.1f}"
    assert naive[4] == f"{100 * np.mean([error.tuned for error in errors]):.1f}"


def test_the_policy_decides_the_numbers_on_the_page():
    strict = make_report(full_audit(), Policy(confidence=0.99))
    told = by_id(read(strict))["reading"].words
    assert "99 % two-sided" in told
    assert "adjusted p below 0.005" in told
    assert "once in 200" in told
