"""The executive summary: at most twelve lines, true to the numbers, in two languages."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import full_report, make_answers, make_judged

from forgetcheck.retention.executive import LINES, executive_summary, images_needed
from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.phrases import SAID

GOOD = {"cat": (500, 0, 0, 0), "dog": (500, 0, 0, 0)}
BAD = {"cat": (200, 300, 0, 0), "dog": (500, 0, 0, 0)}
THIN = {"cat": (40, 1, 0, 0), "dog": (40, 0, 0, 0)}
LANGUAGES = ("en", "ja")


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_says_what_was_tried_gained_lost_and_what_to_do(language):
    text = "\n".join(executive_summary(full_report(), language))
    for fact in (
        "naive",
        "ldifs",
        "forgetcheck:tiny",
        "25.5 %",
        "98.5 %",
        "10.1",
        "shape",
        "22.7",
        "texture",
    ):
        assert fact in text, fact
    assert ("Next:" if language == "en" else "次の手順") in text


def test_both_languages_say_the_same_numbers():
    found = [re.findall(r"[\d.,]*\d", " ".join(executive_summary(full_report(), lang))) for lang in LANGUAGES]
    assert sorted(found[0]) == sorted(found[1])


def test_every_line_exists_in_both_languages_with_the_same_facts():
    for key, said in SAID.items():
        facts = [set(re.findall(r"{(\w+)}", said[language])) for language in LANGUAGES]
        assert facts[0] == facts[1], key


@pytest.mark.parametrize("language", LANGUAGES)
@settings(max_examples=20)
@given(st.integers(1, 30), st.booleans())
def test_it_never_has_more_than_twelve_lines(language, checkpoints, strict):
    items = [make_answers(BAD if k % 2 else THIN, f"run {k}", f"task {k}") for k in range(checkpoints)]
    report = make_judged(*items, when_unsure="fail" if strict else "warn")
    lines = executive_summary(replace(report, unasked=full_report().unasked), language)
    assert 4 <= len(lines) <= LINES
    assert all(line.strip() and "\n" not in line for line in lines)


def test_a_clean_result_recommends_a_release_and_a_thin_one_does_not():
    assert "stands against a release" in executive_summary(make_judged(make_answers(GOOD)))[-1]
    thin = executive_summary(make_judged(make_answers(GOOD), make_answers(THIN, task="few")))
    assert not any("release" in line for line in thin)
    assert any("does not suffice" in line and "few" in line for line in thin)


def test_only_a_checkpoint_that_meets_everything_is_recommended():
    lines = executive_summary(make_judged(make_answers(GOOD, "kept"), make_answers(BAD, "lost")))
    assert any("don't release lost" in line for line in lines)
    assert any("kept is the checkpoint that meets the policy" in line for line in lines)
    doubtful = make_judged(
        make_answers(GOOD, "kept"), make_answers(THIN, "kept", "few"), make_answers(BAD, "lost")
    )
    assert not any("that meets the policy" in line for line in executive_summary(doubtful))


def test_nothing_measured_is_said():
    unknown = make_judged(make_answers({"cat": (10, 0, 0, 10), "dog": (10, 0, 0, 10)}))
    assert "nothing was measured" in executive_summary(unknown)[1]
    strict = make_judged(make_answers(THIN), when_unsure="fail")
    assert "could not be decided" in executive_summary(strict)[1]


def test_the_images_that_would_tell_do_tell():
    """With the same shares of lost and gained answers, that many images decide it."""
    item = {"cat": (180, 4, 4, 12), "dog": (190, 3, 3, 4)}
    report = make_judged(make_answers(item), max_drop=0.03)
    check = report.checks[0]
    assert check.outcome is Outcome.MET or check.outcome is Outcome.UNSURE
    needed = images_needed(replace(check, outcome=Outcome.UNSURE), 0.025)
    times = -(-needed // check.n)
    larger = {name: tuple(times * k for k in counts) for name, counts in item.items()}
    assert make_judged(make_answers(larger), max_drop=0.03).checks[0].outcome is Outcome.MET


def test_one_of_many_needs_more_images_to_be_shown_beyond_its_limit():
    item = make_answers({"cat": (560, 28, 12, 0), "dog": (100, 0, 0, 0)}, task="suspect")
    quiet = [make_answers({"cat": (600, 3, 3, 0), "dog": (100, 0, 0, 0)}, task=f"t{k}") for k in range(40)]
    check = make_judged(item, *quiet, max_drop=0.005).checks[0]
    assert check.outcome is Outcome.UNSURE
    assert check.low > check.limit  # alone it would be shown
    assert images_needed(check, 0.025) > check.n
    said = executive_summary(make_judged(item, *quiet, max_drop=0.005))
    assert any("test images for each would tell" in line for line in said)
    assert "no demand failed, but" in said[1]


def test_a_perfect_target_that_has_to_be_perfect_is_no_crash():
    item = make_answers(
        {"0": (50, 0, 150, 0), "1": (50, 0, 150, 0)}, task="digits", probe="head", target=True
    )
    lines = executive_summary(make_judged(item, min_target_accuracy=1.0))
    assert any("may not tell" in line for line in lines)


def test_a_target_shown_to_reach_its_limit_stands_alone():
    """Above its limit a target needs no correction; below it, it does."""
    met = replace(full_report().checks[-2], demand="min_target_accuracy", value=0.92, low=0.9, high=0.94)
    near, far = (replace(met, limit=0.91, n=1000, tried=tried) for tried in (1, 60))
    assert images_needed(near, 0.025) == images_needed(far, 0.025)
    near, far = (replace(met, limit=0.93, n=1000, tried=tried) for tried in (1, 60))
    assert images_needed(near, 0.025) < images_needed(far, 0.025)


def test_a_drop_at_its_limit_is_not_promised_an_answer():
    report = make_judged(make_answers({"cat": (46, 2, 0, 2), "dog": (50, 0, 0, 0)}))
    assert report.checks[0].value == pytest.approx(0.02)
    assert images_needed(report.checks[0], 0.025) is None
    assert any("may not tell" in line for line in executive_summary(report))


def test_names_stay_on_their_line():
    report = make_judged(make_answers(BAD, "two\nlines\x1b[31m"))
    assert all("\n" not in line and "\x1b" not in line for line in executive_summary(report))
