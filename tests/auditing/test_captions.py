"""audit() of captions: the truth tests, samples that belong to images, and what can't be put to what."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from captioned import Told
from changed_tiny import TINY, changed, move_text, scramble
from sources import told

from forgetcheck import catalog
from forgetcheck.auditing.audit import audit
from forgetcheck.batteries.battery import Battery
from forgetcheck.clip.features.cache import FeatureCache
from forgetcheck.clip.features.runtime import Engine
from forgetcheck.errors import InputError
from forgetcheck.retention.policy import Policy
from forgetcheck.retention.report import make_report
from forgetcheck.retention.verdict import Verdict
from forgetcheck.tasks.base import Unreadable

pytestmark = pytest.mark.slow

BOTH = Battery(
    "told",
    {
        "words": Told(per_class=4),
        "choice": Told("swap", per_class=8),
        "shape": catalog.build("tasks", "drawn:family=shape"),
    },
)
ASKED = [("words", "retrieval:to=text"), ("words", "retrieval:to=image"), ("choice", "caption-choice")]


def test_a_model_against_itself_forgets_nothing():
    report = make_report(audit(TINY, [TINY], BOTH, device="cpu"), Policy(allow_identical=True))
    assert report.passed
    assert {f.verdict for f in report.findings} == {Verdict.RETAINED}
    put = {(f.retention.task, f.retention.probe) for f in report.tasks()}
    assert put == {*ASKED, ("shape", "zero-shot"), ("shape", "linear")}


@pytest.mark.parametrize("change", [scramble, move_text])
def test_a_tower_that_lost_its_way_is_caught_both_ways(tmp_path, change):
    lost = changed(tmp_path, "lost", change)
    report = make_report(audit(TINY, [lost], BOTH, device="cpu", pictures=30), Policy())
    verdicts = {(f.retention.task, f.retention.probe): f.verdict for f in report.tasks()}
    assert {verdicts[question] for question in ASKED} == {Verdict.FORGOT}
    concepts = {f.retention.concept for f in report.findings if f.retention.task == "choice"}
    assert concepts == {None, "plain", "other"}


def test_lost_samples_are_shown_with_their_image_and_what_was_asked(tmp_path):
    found = audit(TINY, [changed(tmp_path, "lost", move_text)], BOTH, device="cpu", pictures=100)
    (item,) = (answers for answers in found.answers if answers.task == "choice")
    shown = [lost for lost in found.gallery if lost.task == "choice"]
    assert len(shown) >= 10
    assert {lost.said for lost in shown} == {"(the swap)"}
    captions = BOTH.tasks["choice"].split("test").captions
    for lost in shown:
        text, _, swap = lost.sample.partition(", not ")
        pairs = [(repr(t), repr(s)) for t, s in zip(captions.texts, captions.swaps, strict=True)]
        assert (text, swap) in pairs
    assert item.groups.tolist() == captions.places.tolist()


def test_samples_of_one_image_are_one_cluster():
    found = {(a.task, a.probe): a for a in audit(TINY, [TINY], BOTH, device="cpu").answers}
    assert found["words", "retrieval:to=text"].groups is None
    assert found["words", "retrieval:to=image"].groups.tolist() == np.repeat(np.arange(40), 2).tolist()
    assert found["shape", "zero-shot"].groups is None


@dataclass(frozen=True)
class Torn(Told):
    """Two images can't be read."""

    tolerated: float = 0.5

    def split(self, name):
        split = super().split(name)

        def image(i):
            if i in (0, 7):
                raise Unreadable("torn")
            return split.image(i)

        return replace(split, image=image)


def test_captions_of_images_that_cannot_be_read_are_left_out_for_all():
    battery = Battery("torn", {"words": Torn()})
    to_text, to_image = audit(TINY, [TINY], battery, device="cpu").answers
    assert (len(to_text.labels), len(to_image.labels)) == (8, 16)
    assert any("2 can't be read" in warning for warning in to_text.warnings)
    assert to_image.groups.max() == 7


def test_the_cache_spares_reading_too(tmp_path):
    battery = Battery("told", {"words": Told()})
    engine = Engine(FeatureCache(tmp_path / "cache", warn=pytest.fail))
    first = audit(TINY, [TINY], battery, device="cpu", engine=engine)
    assert len(engine.cache.made) == 2  # images and captions
    again = Engine(FeatureCache(tmp_path / "cache", warn=pytest.fail))
    second = audit(TINY, [TINY], battery, device="cpu", engine=again)
    assert (len(again.cache.made), len(again.cache.reused)) == (0, 2)
    for one, other in zip(first.answers, second.answers, strict=True):
        assert np.array_equal(one.base.confidence, other.base.confidence)


def test_what_a_probe_cannot_be_put_to_is_told(tmp_path):
    found = audit(TINY, [TINY], BOTH, ["zero-shot"], device="cpu")
    assert [(u.task, u.probe) for u in found.unasked] == [("words", "zero-shot"), ("choice", "zero-shot")]
    assert "it can't be put to images labelled by caption" in found.unasked[0].why
    with pytest.raises(InputError, match="nothing was measured: it can't be put to images labelled by class"):
        audit(TINY, [TINY], Battery("b", {"shape": BOTH.tasks["shape"]}), ["retrieval"], device="cpu")


def test_where_nothing_is_measured_the_reason_is_that_of_a_task_that_was_asked():
    with pytest.raises(InputError, match="the first 7 of 7 classes are all of them: ask a smaller top"):
        audit(TINY, [TINY], BOTH, ["zero-shot:top=7"], device="cpu")


def test_captions_longer_than_a_text_tower_reads_are_told(tmp_path):
    fits, long = " ".join(["a"] * 14), " ".join(["a"] * 15)  # with the two that begin and end a text: 16, 17
    rows = ["path,caption", f"pictures/blue_jay 0.png,{fits}", f"pictures/blue_jay 1.png,{long}"]
    told(tmp_path)
    (tmp_path / "few.csv").write_text("\n".join([*rows, f"pictures/blue_jay 2.png,{'雪' * 40}"]))
    battery = Battery("long", {"words": catalog.build("tasks", f"captions:path={tmp_path / 'few.csv'}")})
    for answers in audit(TINY, [TINY], battery, device="cpu").answers:
        assert answers.warnings == ("not read: the ends of 2 of 3 captions lie beyond 16 tokens",)


def test_progress_counts_captions(tmp_path):
    battery, seen = Battery("told", {"words": catalog.build("tasks", told(tmp_path / "data"))}), []
    audit(TINY, [TINY], battery, device="cpu", progress=lambda *event: seen.append(event[:3]))
    counted = [(done, total) for stage, done, total in seen if stage == "auditing"]
    assert counted[-1] == (15, 15)  # 12 images, and 24 captions, which take as long as 3
    assert counted == sorted(counted)
