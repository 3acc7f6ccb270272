"""The executive summary: at most twelve lines, true to the numbers, in two languages."""

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import full_report, make_answers, make_judged

from forgetcheck.retention.answers import Audit
from forgetcheck.retention.gate import Outcome
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report
from forgetcheck.retention.text.phrases import SAID
from forgetcheck.retention.text.summary import LINES, executive_summary
from forgetcheck.retention.text.wording import sentence

pytestmark = pytest.mark.slow

GOOD = {"cat": (499, 1, 0, 0), "dog": (500, 0, 0, 0)}
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
        "16.8",
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
    assert any("of 2 checkpoints kept alone is shown to meet the policy" in line for line in lines)
    assert any("confirm it on images that did not choose it" in line for line in lines)
    doubtful = make_judged(
        make_answers(GOOD, "kept"), make_answers(THIN, "kept", "few"), make_answers(BAD, "lost")
    )
    assert not any("alone is shown" in line for line in executive_summary(doubtful))


def test_several_that_pass_are_no_free_choice():
    lines = executive_summary(make_judged(make_answers(GOOD, "a"), make_answers(GOOD, "b")))
    assert "whichever you choose by these images, confirm it on others" in lines[-1]


def test_without_a_policy_none_is_called_met_or_not_met():
    audit = Audit((make_answers(BAD),), {})
    for language in LANGUAGES:
        text = "\n".join(executive_summary(make_report(audit, Policy(), gated=False), language))
        assert ("no policy was given" if language == "en" else "基準が指定されていない") in text
        assert "policy is NOT met" not in text
        assert "基準を満たしていません" not in text


def test_what_cancels_or_was_guessed_is_named():
    swap = make_answers({"a": (850, 150, 0, 0), "b": (850, 0, 150, 0)})
    lines = executive_summary(make_judged(swap))
    assert any("Shown to be lost: shape / a" in line for line in lines)
    guess = make_answers({"cat": (0, 95, 0, 0), "dog": (0, 0, 5, 0)}, task="guessed")
    lines = executive_summary(make_judged(make_answers(GOOD), guess))
    assert any("known rather than guessed it: guessed" in line for line in lines)
    assert not any("stands against" in line for line in lines)
    small = make_answers({"fox": (0, 25, 0, 0), "cat": (600, 0, 0, 0), "owl": (600, 0, 25, 0)}, task="small")
    lines = executive_summary(make_judged(small))
    assert any("Forgotten as well, though nothing of the policy: small / fox" in line for line in lines)


def test_nothing_measured_is_said():
    unknown = make_judged(make_answers({"cat": (10, 1, 1, 10), "dog": (10, 0, 0, 10)}))
    assert "nothing was measured" in executive_summary(unknown)[1]
    strict = make_judged(make_answers(THIN), when_unsure="fail")
    assert "could not be decided" in executive_summary(strict)[1]


def test_the_images_that_would_tell_do_tell():
    """With the same shares of lost and gained answers, that many images decide it."""
    item = {"cat": (180, 4, 4, 12), "dog": (190, 3, 3, 4)}
    check = make_judged(make_answers(item), max_drop=0.015).checks[0]
    assert check.outcome is Outcome.UNSURE
    times = -(-check.advice.samples // check.n)
    larger = {name: tuple(times * k for k in counts) for name, counts in item.items()}
    assert make_judged(make_answers(larger), max_drop=0.015).checks[0].outcome is Outcome.MET


def test_one_of_many_needs_more_images_to_be_shown_beyond_its_limit():
    item = make_answers({"cat": (560, 28, 12, 0), "dog": (100, 0, 0, 0)}, task="suspect")
    quiet = [make_answers({"cat": (600, 3, 3, 0), "dog": (100, 0, 0, 0)}, task=f"t{k}") for k in range(40)]
    report = make_judged(item, *quiet, max_drop=0.005)
    check = report.checks[0]
    assert check.outcome is Outcome.UNSURE
    assert check.low > check.limit  # alone it would be shown
    assert check.advice.samples > check.n
    said = executive_summary(report)
    assert any("test images for each would tell" in line for line in said)
    assert "no demand failed, but" in said[1]


def test_a_perfect_target_that_has_to_be_perfect_is_no_crash():
    item = make_answers(
        {"0": (50, 0, 150, 0), "1": (50, 0, 150, 0)}, task="digits", probe="head", target=True
    )
    lines = executive_summary(make_judged(item, min_target_accuracy=1.0))
    assert any("exactly at their limits" in line for line in lines)


def test_a_drop_at_its_limit_is_not_promised_an_answer():
    report = make_judged(make_answers({"cat": (46, 2, 0, 2), "dog": (50, 0, 0, 0)}))
    assert report.checks[0].value == pytest.approx(0.02)
    assert report.checks[0].advice.samples is None
    assert any("exactly at their limits" in line for line in executive_summary(report))
    assert "more images would not tell" in sentence(report)


def test_no_images_show_that_a_limit_of_zero_is_kept_where_nothing_changes():
    same = make_answers({"cat": (400, 0, 0, 5), "dog": (400, 0, 0, 5)})
    lines = executive_summary(make_judged(same, max_drop=0))
    assert any("no number of images can decide" in line for line in lines)
    assert not any("add test images" in line for line in lines)


def test_names_stay_on_their_line():
    report = make_judged(make_answers(BAD, "two\nlines\x1b[31m"))
    assert all("\n" not in line and "\x1b" not in line for line in executive_summary(report))
