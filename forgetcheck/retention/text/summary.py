"""The executive summary: at most twelve plain lines from the numbers, in English or Japanese."""

from collections.abc import Iterator, Sequence

from forgetcheck.retention.gate import ASKED, CALIBRATION, IDENTICAL, Check, Mean, Outcome, tally
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.phrases import COMMA, JOIN, MORE, SAID, STOP, Language
from forgetcheck.retention.text.wording import opened
from forgetcheck.text import MINUS, percent, printable

LINES = 12
_NAMED = 3  # names in a list
REMARKS, LOSSES = 2, 4  # lines, at most

_FAILURES = {
    "forgot": ("max_drop", "max_target_drop", "max_mean_drop", "max_lost"),
    "known": ("must_forget",),
    "short": ("min_target_accuracy",),
    "uncalibrated": (CALIBRATION,),
}


def executive_summary(report: Report, language: Language = "en") -> list[str]:
    """Say what was tried, gained and lost, whether the evidence suffices, and what to do next."""
    remarks = [_say("remark", language, remark=remark) for remark in _doubts(report)]
    first = [*remarks[:REMARKS], tried(report, language), _result(report, language)]
    found = [*list(lost(report, language))[:LOSSES], *_evidence(report, language)]
    last = [*found, *list(_following(report, language))[: LINES - len(first) - len(found) - 1]]
    room = LINES - len(first) - len(last)
    return [*first, *told(report, language, room), *last]


def _say(key: str, language: Language, **facts: object) -> str:
    return SAID[key][language].format(**facts)


def _doubts(report: Report) -> Iterator[str]:
    """Say what makes the comparison itself doubtful, before anything that was found by it."""
    yield from (printable(opened(remark)) for remark in report.remarks)


def tried(report: Report, language: Language) -> str:
    tasks = report.tasks()
    images: dict[str, int] = {}
    for row in (finding.retention for finding in tasks):
        images[row.task] = max(row.n, images.get(row.task, 0))
    base = report.provenance.get("base", {})
    name = base.get("name") if isinstance(base, dict) else None
    return _say(
        "tried",
        language,
        tuned=listed(report.checkpoints, language),
        base=printable(str(name or "base")),
        questions=len(tasks),
        tasks=len(images),
        images=f"{sum(images.values()):,}",
    )


def _result(report: Report, language: Language) -> str:
    counts = tally(report.checks)
    facts = {
        "total": sum(counts.values()),
        "met": counts.get(Outcome.MET, 0),
        "failed": counts.get(Outcome.FAILED, 0),
        "unsure": counts.get(Outcome.UNSURE, 0),
    }
    if not report.gated:
        return _say("ungated", language, **facts, limit=f"{100 * report.policy.max_drop:g}")
    if report.passed:
        return _say("passed-unsure" if facts["unsure"] else "passed", language, **facts)
    if facts["failed"]:
        return _say("failed", language, **facts)
    return _say("doubted" if facts["unsure"] else "nothing", language, **facts)


def told(report: Report, language: Language, room: int) -> Iterator[str]:
    """Tell of each checkpoint what it gained and lost, as far as there is room."""
    named = report.checkpoints if len(report.checkpoints) <= room else report.checkpoints[: room - 1]
    for checkpoint in named:
        facts = list(_of_checkpoint(report, checkpoint, language))
        if facts:
            yield printable(checkpoint) + ": " + JOIN[language].join(facts) + STOP[language]
    if len(named) < len(report.checkpoints):
        yield _say("more", language, count=len(report.checkpoints) - len(named))


def _of_checkpoint(report: Report, checkpoint: str, language: Language) -> Iterator[str]:
    target = report.target(checkpoint)
    if target is not None:
        row = target.retention
        base, tuned = percent(row.base), percent(row.tuned)
        yield _say("target", language, task=printable(row.task), base=base, tuned=tuned)
    mean = main_mean(report, checkpoint)
    if mean is not None:
        fell = mean.drop > 0 and _signless(mean.drop) != "0.0"
        yield _say(
            "lost" if fell else "kept",
            language,
            which=_say("all" if target is None else "others", language),
            tasks=mean.tasks,
            drop=_signless(mean.drop),
            low=_signless(mean.low),
            high=_signless(mean.high),
            probe=printable(mean.probe),
            worst=printable(mean.worst.task),
            worst_drop=_signless(mean.worst.drop),
        )
        if mean.unknown:
            yield _say("of-all", language, tasks=mean.every, drop=_signless(mean.every_drop))


def main_mean(report: Report, checkpoint: str) -> Mean | None:
    """Return the mean drop to tell of: zero-shot where it was asked, else the first of other tasks."""
    means = [mean for mean in report.means_of(checkpoint) if not mean.of_target]
    zero_shot = [mean for mean in means if mean.probe == "zero-shot"]
    return next(iter(zero_shot or means), None)


def lost(report: Report, language: Language) -> Iterator[str]:
    for key, demands in _FAILURES.items():
        found = [check.subject for check in report.failures() if check.demand in demands]
        if found:
            yield _say(key, language, names=listed(found, language))
    guessed = [check.subject for check in report.checks if check.guessed]
    if guessed:
        yield _say("guessed", language, names=listed(guessed, language))
    small = [finding.retention.subject for finding in report.small_losses()]
    if small:
        yield _say("small", language, names=listed(small, language))


def _evidence(report: Report, language: Language) -> Iterator[str]:
    unsure = [check for check in report.failures(Outcome.UNSURE) if not check.guessed]
    if not unsure:
        decided = {check.outcome for check in report.checks} & {Outcome.MET, Outcome.FAILED}
        sure = all(check.demand not in (ASKED, IDENTICAL) and not check.guessed for check in report.checks)
        if decided and sure:
            yield _say("enough", language)
        return
    known = sorted(check.advice.samples for check in unsure if check.advice and check.advice.samples)
    names = listed([check.subject for check in unsure], language)
    yield _say("scarce", language, count=len(unsure), names=names, images=wanted(unsure, known, language))


def wanted(unsure: Sequence[Check], known: Sequence[int], language: Language) -> str:
    """Say how many test images would decide what is unsure, or why no number would."""
    if not known:
        why = {check.advice.why for check in unsure if check.advice}
        key = next(iter(why)) if len(why) == 1 else "near the limit"
        return _say(f"none: {key or 'near the limit'}", language)
    wording = "images" if len(unsure) == 1 else "images-same" if known[0] == known[-1] else "images-each"
    text = _say(wording, language, least=f"{known[0]:,}", most=f"{known[-1]:,}")
    left = len(unsure) - len(known)
    return text + _say("images-but", language, count=left) if left else text


def _following(report: Report, language: Language) -> Iterator[str]:
    """Say what to do next; nothing is recommended that the numbers don't bear."""
    failed = report.failures()
    unasked = [check.subject for check in failed if check.demand == ASKED]
    if unasked:
        yield _say("next-unasked", language, names=listed(unasked, language))
    known = [check.checkpoint for check in failed if check.demand == "must_forget"]
    same = [check.checkpoint for check in failed if check.demand == IDENTICAL]
    if same:
        yield _say("next-same", language, names=listed(_in_order(report, same), language))
    bad = [c.checkpoint for c in failed if c.demand not in (ASKED, IDENTICAL, "must_forget")]
    if bad:
        yield _say("next-failed", language, names=listed(_in_order(report, bad), language))
    if known:
        yield _say("next-known", language, names=listed(_in_order(report, known), language))
    best = _only_one_that_meets(report)
    if best is not None and (bad or known):
        yield _say("next-best", language, name=printable(best), count=len(report.checkpoints))
    unsure = report.failures(Outcome.UNSURE)
    if any(check.guessed for check in unsure):
        yield _say("next-guessed", language)
    if any(check.advice is not None and check.advice.samples for check in unsure):
        yield _say("next-unsure", language)
    elif any(not check.guessed for check in unsure):
        yield _say("next-undecided", language)
    elif not unsure and report.passed and not report.remarks:
        if not report.gated:
            yield _say("next-policy", language)
        elif len(report.checkpoints) > 1:
            yield _say("next-several", language, count=len(report.checkpoints))
        else:
            yield _say("next-fine", language)


def _in_order(report: Report, names: Sequence[str]) -> list[str]:
    return [name for name in report.checkpoints if name in names]


def _only_one_that_meets(report: Report) -> str | None:
    """Return the checkpoint of which everything was asked and met, if there is just one."""
    if any(check.demand == ASKED and check.checkpoint not in report.checkpoints for check in report.checks):
        return None  # a rule that caught nothing speaks of all of them
    outcomes = {
        name: {check.outcome for check in report.checks if check.checkpoint == name}
        for name in report.checkpoints
    }
    clean = [name for name, found in outcomes.items() if found == {Outcome.MET}]
    return clean[0] if len(clean) == 1 else None


def listed(names: Sequence[str], language: Language) -> str:
    """Name the first few, and say how many there are beyond them."""
    unique = [printable(name) for name in dict.fromkeys(names)]
    text = COMMA[language].join(unique[:_NAMED])
    return MORE[language].format(names=text, count=len(unique) - _NAMED) if len(unique) > _NAMED else text


def _signless(fraction: float) -> str:
    """Write a loss in points: no plus, and no negative zero."""
    text = f"{100 * fraction:.1f}"
    return text.replace("-", MINUS) if text.strip("-0.") else "0.0"
