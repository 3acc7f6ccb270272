"""The executive summary: at most twelve plain lines from the numbers, in English or Japanese."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Literal

from forgetcheck.retention.gate import ASKED, Check, Mean, Outcome, tally
from forgetcheck.retention.report import Report
from forgetcheck.retention.wording import MINUS, percent

Language = Literal["en", "ja"]
LINES = 12
NAMED = 3  # names in a list
DIGITS = 2  # of a number of images that is a guess

SAID: dict[str, dict[Language, str]] = {
    "tried": {
        "en": "{tuned} compared with {base}: {questions} questions on {tasks} tasks, {images} test images.",
        "ja": "{base} と {tuned} を比較: {tasks} タスク、{questions} 問、テスト画像 {images} 枚。",
    },
    "passed": {
        "en": "Result: the policy is met ({met} of {total} demands shown to be met).",
        "ja": "結果: 基準を満たしています（{total} 項目中 {met} 項目で確認）。",
    },
    "failed": {
        "en": "Result: the policy is NOT met ({failed} of {total} demands failed).",
        "ja": "結果: 基準を満たしていません（{total} 項目中 {failed} 項目が不合格）。",
    },
    "doubted": {
        "en": "Result: the policy is NOT met ({unsure} of {total} demands could not be shown to be met).",
        "ja": "結果: 基準を満たしていません（{total} 項目中 {unsure} 項目は満たすことを確認できず）。",
    },
    "nothing": {
        "en": "Result: NOT met, nothing was measured: the base knew none of what was asked.",
        "ja": "結果: 不合格。元のモデルがどの問いにも答えられず、何も測定できませんでした。",
    },
    "target": {
        "en": "{task}, which it was tuned on, went from {base} to {tuned}",
        "ja": "学習対象の {task} の正解率は {base} から {tuned} に変化",
    },
    "lost": {
        "en": "the other tasks ({tasks}) lost {drop} points on average "
        "[{low} to {high}, {probe}], most of all {worst} ({worst_drop})",
        "ja": "他の {tasks} タスクで平均 {drop} ポイント低下 [{low}〜{high}、{probe}]、"
        "最大は {worst} の {worst_drop}",
    },
    "kept": {
        "en": "the other tasks ({tasks}) lost nothing on average ({drop} points [{low} to {high}], {probe})",
        "ja": "他の {tasks} タスクで平均の低下なし（{drop} ポイント [{low}〜{high}]、{probe}）",
    },
    "more": {
        "en": "{count} further checkpoints are in the tables.",
        "ja": "ほか {count} 個のモデルは表を参照。",
    },
    "forgot": {
        "en": "Shown to be lost: {names}.",
        "ja": "失われたことが確認されたもの: {names}。",
    },
    "known": {
        "en": "Still known although it had to be forgotten: {names}.",
        "ja": "忘れるべきなのに残っているもの: {names}。",
    },
    "enough": {
        "en": "The evidence suffices: every demand could be decided.",
        "ja": "証拠は十分です: すべての項目を判定できました。",
    },
    "scarce": {
        "en": "The evidence does not suffice for {count} of the demands ({names}); {images}.",
        "ja": "証拠が不十分な項目が {count} 件（{names}）。{images}。",
    },
    "images": {
        "en": "about {least} test images of it would tell",
        "ja": "テスト画像がおよそ {least} 枚あれば判定できます",
    },
    "images-each": {
        "en": "about {least} to {most} test images of each would tell",
        "ja": "それぞれテスト画像がおよそ {least}〜{most} 枚あれば判定できます",
    },
    "no-images": {
        "en": "they lie so near their limits that more images may not tell",
        "ja": "基準値に近すぎるため、画像を増やしても判定できない可能性があります",
    },
    "next-unasked": {
        "en": "Next: mend what could not be asked ({names}; the report says why) and audit again.",
        "ja": "次の手順: 測定できなかった項目（{names}。原因はレポートに記載）を直し、再度監査する。",
    },
    "next-failed": {
        "en": "Next: don't release {names}; tune again with a regularizer (--regularizer ldifs) or a "
        "gentler schedule, then audit with the same policy.",
        "ja": "次の手順: {names} は公開せず、正則化（--regularizer ldifs）か弱い学習設定で再学習し、"
        "同じ基準で再監査する。",
    },
    "next-best": {
        "en": "Next: {name} is the checkpoint that meets the policy; release that one.",
        "ja": "次の手順: 基準を満たす {name} を採用する。",
    },
    "next-unsure": {
        "en": "Next: add test images where the evidence is thin before you rely on this result.",
        "ja": "次の手順: この結果に頼る前に、証拠の薄い項目のテスト画像を増やす。",
    },
    "next-fine": {
        "en": "Next: nothing stands against a release by this policy; keep this audit as its record.",
        "ja": "次の手順: この基準では公開に支障なし。この監査を記録として保管する。",
    },
}
JOIN: dict[Language, str] = {"en": "; ", "ja": "。"}
STOP: dict[Language, str] = {"en": ".", "ja": "。"}
COMMA: dict[Language, str] = {"en": ", ", "ja": "、"}
MORE: dict[Language, str] = {"en": "{names} and {count} more", "ja": "{names} ほか {count} 件"}


def executive_summary(report: Report, language: Language = "en") -> list[str]:
    """Say what was tried, gained and lost, whether the evidence suffices, and what to do next."""
    first = [tried(report, language), result(report, language)]
    last = [*lost(report, language), *evidence(report, language), *following(report, language)]
    room = LINES - len(first) - len(last)
    return [*first, *told(report, language, room), *last]


def say(key: str, language: Language, **facts: object) -> str:
    return SAID[key][language].format(**facts)


def tried(report: Report, language: Language) -> str:
    tasks = report.tasks()
    images = {finding.retention.task: finding.retention.n for finding in tasks}
    base = report.provenance.get("base", {})
    name = base.get("name") if isinstance(base, dict) else None
    return say(
        "tried",
        language,
        tuned=listed(report.checkpoints, language),
        base=name or "base",
        questions=len(tasks),
        tasks=len(images),
        images=f"{sum(images.values()):,}",
    )


def result(report: Report, language: Language) -> str:
    counts = tally(report.checks)
    facts = {
        "total": sum(counts.values()),
        "met": counts.get(Outcome.MET, 0),
        "failed": counts.get(Outcome.FAILED, 0),
        "unsure": counts.get(Outcome.UNSURE, 0),
    }
    if report.passed:
        return say("passed", language, **facts)
    if facts["failed"]:
        return say("failed", language, **facts)
    return say("doubted" if facts["unsure"] else "nothing", language, **facts)


def told(report: Report, language: Language, room: int) -> Iterator[str]:
    """Tell of each checkpoint what it gained and lost, as far as there is room."""
    named = report.checkpoints if len(report.checkpoints) <= room else report.checkpoints[: room - 1]
    for checkpoint in named:
        facts = list(of_checkpoint(report, checkpoint, language))
        if facts:
            yield plain(checkpoint) + ": " + JOIN[language].join(facts) + STOP[language]
    if len(named) < len(report.checkpoints):
        yield say("more", language, count=len(report.checkpoints) - len(named))


def of_checkpoint(report: Report, checkpoint: str, language: Language) -> Iterator[str]:
    target = report.target(checkpoint)
    if target is not None:
        row = target.retention
        base, tuned = percent(row.base), percent(row.tuned)
        yield say("target", language, task=plain(row.task), base=base, tuned=tuned)
    mean = main_mean(report, checkpoint)
    if mean is not None:
        yield say(
            "lost" if mean.drop > 0 else "kept",
            language,
            tasks=mean.tasks,
            drop=signless(mean.drop),
            low=signless(mean.low),
            high=signless(mean.high),
            probe=plain(mean.probe),
            worst=plain(mean.worst.task),
            worst_drop=signless(mean.worst.drop),
        )


def main_mean(report: Report, checkpoint: str) -> Mean | None:
    """Return the mean drop to tell of: zero-shot where it was asked, else the first of other tasks."""
    means = [mean for mean in report.means_of(checkpoint) if not mean.of_target]
    zero_shot = [mean for mean in means if mean.probe == "zero-shot"]
    return next(iter(zero_shot or means), None)


def lost(report: Report, language: Language) -> Iterator[str]:
    for key, demand in (("forgot", "max_drop"), ("known", "must_forget")):
        found = [check.subject for check in report.failures() if check.demand == demand]
        if found:
            yield say(key, language, names=listed(found, language))


def evidence(report: Report, language: Language) -> Iterator[str]:
    unsure = report.failures(Outcome.UNSURE)
    if not unsure:
        if any(check.outcome in (Outcome.MET, Outcome.FAILED) for check in report.checks):
            yield say("enough", language)
        return
    needed = [images_needed(check, report.policy.level) for check in unsure]
    known = sorted(images for images in needed if images is not None)
    if not known:
        wanted = say("no-images", language)
    else:
        key = "images" if len(unsure) == 1 else "images-each"
        wanted = say(key, language, least=f"{known[0]:,}", most=f"{known[-1]:,}")
    names = listed([check.subject for check in unsure], language)
    yield say("scarce", language, count=len(unsure), names=names, images=wanted)


def images_needed(check: Check, level: float) -> int | None:
    """Guess how many images would decide it, if the drop stays what it is; None if nearly the limit.

    To be shown within its limit a demand stands alone; to be shown beyond it, among all the others.
    """
    distance = check.limit - check.value
    wide = check.high - check.value
    if distance < 0:
        wide = (check.value - check.low) * normal_end(level / check.tried) / normal_end(level)
    if check.n == 0 or abs(distance) < wide / 10:  # a hundred times as many, and more
        return None
    exact = check.n * (wide / distance) ** 2
    unit = 10 ** max(len(str(int(exact))) - DIGITS, 0)
    return int(-(-exact // unit) * unit)


def normal_end(level: float) -> float:
    return NormalDist().inv_cdf(1 - level)


def following(report: Report, language: Language) -> Iterator[str]:
    """Say what to do next; nothing is recommended that the numbers don't bear."""
    failed = report.failures()
    guilty = {check.checkpoint for check in failed if check.demand != ASKED}
    unasked = [check.subject for check in failed if check.demand == ASKED]
    if unasked:
        yield say("next-unasked", language, names=listed(unasked, language))
    bad = [name for name in report.checkpoints if name in guilty]
    if bad:
        yield say("next-failed", language, names=listed(bad, language))
    unclear = {check.checkpoint for check in report.checks if check.outcome is not Outcome.MET}
    clean = [name for name in report.checkpoints if name not in unclear]
    if bad and len(clean) == 1:
        yield say("next-best", language, name=plain(clean[0]))
    if report.failures(Outcome.UNSURE):
        yield say("next-unsure", language)
    elif report.passed:
        yield say("next-fine", language)


def listed(names: Sequence[str], language: Language) -> str:
    """Name the first few, and say how many there are beyond them."""
    unique = [plain(name) for name in dict.fromkeys(names)]
    text = COMMA[language].join(unique[:NAMED])
    return MORE[language].format(names=text, count=len(unique) - NAMED) if len(unique) > NAMED else text


def plain(name: str) -> str:
    """A name as one line of printable characters."""
    return "".join(mark if mark.isprintable() else " " for mark in name)


def signless(fraction: float) -> str:
    """Write a loss in points: no plus, and no negative zero."""
    text = f"{100 * fraction:.1f}"
    return text.replace("-", MINUS) if text.strip("-0.") else "0.0"
