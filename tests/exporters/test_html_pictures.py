"""Pictures of the HTML report: marks stand where the numbers are, labels fit and hit nothing."""

import random
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import RED, full_report, make_answers, make_judged
from webpage import by_id, column, read, rows, small_report

from forgetcheck.exporters.page import dumbbell, frontier, heat, sections, text
from forgetcheck.exporters.page.axis import axis_over
from forgetcheck.retention.answers import LostSample
from forgetcheck.retention.verdict import Verdict
from forgetcheck.text import JOINERS


@pytest.fixture(scope="module")
def small():
    return small_report()


@pytest.fixture(scope="module")
def page(small):
    return read(small)


def test_probes_are_drawn_zero_shot_first():
    some = {"a": (5, 5, 0, 0), "b": (9, 1, 0, 0)}
    order = ("linear", "head", "zero-shot", "zero-shot:text=base")
    report = make_judged(*(make_answers(some, probe=probe) for probe in order))
    found = [figure.probe for figure in dumbbell.figures(report)]
    assert found == ["zero-shot", "linear", "head", "zero-shot:text=base"]


def test_dumbbells_stand_where_their_numbers_are(small):
    panel = dumbbell.figures(small)[0].panels[0]
    assert [row.label for row in panel.rows] == ["face", "shape"]
    shape, facts = panel.rows[1], small.tasks()[0].retention
    at = panel.axis.at
    assert (shape.base, shape.tuned) == (at(facts.base), at(facts.tuned))
    assert (shape.low, shape.high) == (at(facts.base - facts.high), at(facts.base - facts.low))
    assert shape.limit == at(facts.base - 0.02)
    assert shape.low < shape.tuned < shape.high < shape.limit < shape.base
    assert shape.told == (
        "shape: base 85.5 %, tuned 62.7 %, drop +22.7 points [+17.3, +28.9], n = 220: forgot"
    )
    assert "forgot: face, shape" in panel.described


def test_what_must_be_forgotten_is_held_against_its_accuracy():
    rule = {"match": "face", "must_forget": True, "max_accuracy": 0.6}
    report = make_judged(make_answers({"a": (9, 40, 0, 1), "b": (5, 40, 0, 5)}, task="face"), concepts=[rule])
    (finding,) = report.tasks()
    low, high = dumbbell.interval_of_tuned(finding, report.policy)
    assert dumbbell.limit_of_tuned(finding) == 0.6
    assert low < finding.retention.tuned < high < 0.6
    page = read(report)
    assert column(page, "tasks-table", "Limit") == ["≤ 60 %"]
    assert column(page, "tasks-table", "Verdict") == ["unlearned"]


@given(st.text(max_size=80), st.floats(3, 20))
def test_a_label_is_cut_to_its_room(name, room):
    label = text.clipped(name, room)
    assert label
    assert text.width(label) <= room or label == "…"
    assert label.isprintable() or set(label) & set(JOINERS)


def test_cutting_a_label_looks_at_each_character_but_once(monkeypatch):
    looked_at, em = [], text.em
    monkeypatch.setattr(text, "em", lambda mark: looked_at.append(mark) or em(mark))
    assert text.clipped("ab" * 5000, 3) == "aba…"
    assert len(looked_at) < 11_000


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.integers(2, 10))
def test_an_axis_holds_its_values_between_round_ends(values, ticks):
    axis = axis_over(values, 100, 500, ticks, (-1.0, 1.0))
    assert axis.low < axis.high
    assert -1 <= axis.low <= min(values) + 1e-6
    assert max(values) - 1e-6 <= axis.high <= 1
    places = [axis.at(tick) for tick in axis.ticks]
    assert places == sorted(places)
    assert len(places) <= ticks + 3
    assert all(100 <= place <= 500 for place in (*places, axis.at(-9.0), axis.at(9.0)))


def test_shades_change_where_the_legend_says():
    def shade(lost, gained):
        counts = (500 - lost, lost, gained, 500 - gained)
        report = make_judged(make_answers({"a": counts, "b": counts}))
        return heat.heat_map(report).lines[0].cells[0].shade

    assert len(heat.SHADES) == len(heat.EDGES) + 1
    assert [shade(0, 150), shade(0, 50), shade(9, 0), shade(30, 0)] == [0, 1, 2, 3]
    assert [shade(70, 0), shade(150, 0), shade(400, 0)] == [4, 5, 6]


def test_the_heat_map_has_a_gap_where_nothing_was_asked():
    some = {"a": (40, 10, 0, 0), "b": (45, 5, 0, 0)}
    asked = (("one", "x", "zero-shot"), ("one", "y", "linear"), ("two", "x", "zero-shot"))
    answers = (make_answers(some, name, task, probe) for name, task, probe in asked)
    found = heat.heat_map(make_judged(*answers))
    columns = [(column.checkpoint, column.probe) for column in found.columns]
    assert columns == [("one", "zero-shot"), ("one", "linear"), ("two", "zero-shot")]
    cells = {line.task: line.cells for line in found.lines}
    assert [cell is None for cell in cells["x"]] == [False, True, False]
    assert [cell is None for cell in cells["y"]] == [True, False, True]
    assert cells["x"][0].text == "+15.0"
    assert cells["x"][0].loud
    assert [group.checkpoint for group in found.groups] == ["one", "two"]


def test_a_heat_map_too_wide_keeps_one_probe():
    some = {"a": (40, 10, 0, 0), "b": (45, 5, 0, 0)}
    report = make_judged(
        *(make_answers(some, f"run {n}", probe=p) for n in range(9) for p in ("linear", "zero-shot"))
    )
    assert {column.probe for column in heat.heat_map(report).columns} == {"zero-shot"}


def tuned_models(places):
    """Return a report in which each model lost and reached so many of a hundred."""
    answers = []
    for number, (lost, right) in enumerate(places):
        name = f"method {number}"
        answers.append(make_answers({"a": (100 - lost, lost, 0, 0), "b": (100, 0, 0, 0)}, name))
        target = {"0": (50, 0, right - 50, 100 - right), "1": (90, 0, 0, 10)}
        answers.append(make_answers(target, name, "digits", "head", target=True))
    return make_judged(*answers)


def test_the_frontier_is_what_no_other_beats():
    found = frontier.methods(tuned_models([(0, 80), (10, 95), (20, 90), (30, 99), (10, 80)]))
    assert [method.best for method in found] == [True, True, False, True, False]
    twins = frontier.methods(tuned_models([(10, 90), (10, 90)]))
    assert [method.best for method in twins] == [True, True]
    drawn = frontier.scatter(found, 0.95)
    assert [dot.method.best for dot in drawn.dots] == [True, True, True, False, False]
    assert drawn.steps.count(" ") == 6
    assert frontier.scatter(found[:1], 0.95) is None


def test_labels_of_the_frontier_hit_nothing():
    draw = random.Random(0)
    report = tuned_models([(draw.randrange(40), draw.randrange(60, 100)) for _ in range(25)])
    dots = frontier.scatter(frontier.methods(report), 0.95).dots
    boxes = []
    for dot in dots:
        long = text.width(dot.label) * frontier.FONT
        left = dot.label_x if dot.anchor == "start" else dot.label_x - long
        if dot.label:
            boxes.append((left, dot.label_y - frontier.FONT, left + long, dot.label_y + 3))
    assert 5 < len(boxes) < len(dots)
    taken = boxes + [frontier.box_of_dot(dot) for dot in dots]
    for place, box in enumerate(boxes):
        assert not any(frontier.hits(box, other) for other in taken[place + 1 :])
    assert "Where a name has no room, the table has it." in by_id(read(report))["methods"].text


def test_targets_that_differ_are_not_compared_silently():
    some = {"a": (40, 10, 0, 0), "b": (45, 5, 0, 0)}
    report = make_judged(
        *(make_answers(some, name) for name in ("one", "two")),
        make_answers(some, "one", "digits", "head", target=True),
        make_answers(some, "two", "letters", "head", target=True),
    )
    assert "were tuned on 2 different tasks" in by_id(read(report))["methods"].text


def test_many_checkpoints_are_cut_in_pictures_and_whole_in_tables():
    some = {"a": (40, 10, 0, 0), "b": (45, 5, 0, 0)}
    report = make_judged(*(make_answers(some, f"run {number}") for number in range(9)))
    page = read(report)
    assert "The first 6 of 9 checkpoints" in by_id(page)["verdict"].text
    assert "The first 6 checkpoints are drawn; all 9 are in the table." in by_id(page)["tasks"].text
    assert len(rows(page, "methods-table")) == len(rows(page, "tasks-table")) == 9


def test_every_verdict_has_its_mark_and_its_word(page):
    told = by_id(page)["reading"]
    words = {tag.text for tag in told.all("dt")}
    assert {verdict.value for verdict in Verdict} <= words
    style = page.one("style").text
    assert all(f".v-{verdict.value.replace(' ', '-')}" in style for verdict in Verdict)


def brightness(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_the_number_in_every_shade_can_be_read(page, scheme):
    style = page.one("style").text
    for number in range(len(heat.SHADES)):
        shade, ink = (re.findall(rf"--{mark}{number}: (#\w{{6}});", style)[scheme] for mark in "st")
        dark, bright = sorted(map(brightness, (shade, ink)))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5


def test_a_picture_beyond_all_room_leaves_neither_a_gap_nor_a_link_to_one():
    large, small = (
        LostSample("naive", "shape", "zero-shot", name, "cat", "dog", RED + b"0" * size)
        for name, size in (("large", sections.PICTURE_BYTES), ("small", 0))
    )
    (wall,) = sections.gallery([large, small])
    assert [picture.lost for picture in wall.pictures] == [small]
    page = read(replace(full_report(), gallery=(large,)))
    links = {tag.attributes["href"] for tag in page.all("a")}
    assert "#gallery" not in links
    assert {link.removeprefix("#") for link in links} <= set(by_id(page))
    assert "#gallery" in {tag.attributes["href"] for tag in read(full_report()).all("a")}
