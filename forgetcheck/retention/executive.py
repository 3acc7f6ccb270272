"""The executive summary: at most twelve plain lines from the numbers, in English or Japanese."""

from collections.abc import Iterator, Sequence
from statistics import NormalDist

from forgetcheck.retention.gate import ASKED, Check, Mean, Outcome, tally
from forgetcheck.retention.phrases import COMMA, JOIN, MORE, SAID, STOP, Language
from forgetcheck.retention.report import Report
from forgetcheck.retention.wording import MINUS, percent, printable

LINES = 12
NAMED = 3  # names in a list
DIGITS = 2  # of a number of images that is a guess

FAILURES = {
    "forgot": ("max_drop", "max_target_drop", "max_mean_drop"),
    "known": ("must_forget",),
    "short": ("min_target_accuracy",),
}


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
    images: dict[str, int] = {}
    for row in (finding.retention for finding in tasks):
        images[row.task] = max(row.n, images.get(row.task, 0))
    base = report.provenance.get("base", {})
    name = base.get("name") if isinstance(base, dict) else None
    return say(
        "tried",
        language,
        tuned=listed(report.checkpoints, language),
        base=printable(str(name or "base")),
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
        return say("passed-unsure" if facts["unsure"] else "passed", language, **facts)
    if facts["failed"]:
        return say("failed", language, **facts)
    return say("doubted" if facts["unsure"] else "nothing", language, **facts)


def told(report: Report, language: Language, room: int) -> Iterator[str]:
    """Tell of each checkpoint what it gained and lost, as far as there is room."""
    named = report.checkpoints if len(report.checkpoints) <= room else report.checkpoints[: room - 1]
    for checkpoint in named:
        facts = list(of_checkpoint(report, checkpoint, language))
        if facts:
            yield printable(checkpoint) + ": " + JOIN[language].join(facts) + STOP[language]
    if len(named) < len(report.checkpoints):
        yield say("more", language, count=len(report.checkpoints) - len(named))


def of_checkpoint(report: Report, checkpoint: str, language: Language) -> Iterator[str]:
    target = report.target(checkpoint)
    if target is not None:
        row = target.retention
        base, tuned = percent(row.base), percent(row.tuned)
        yield say("target", language, task=printable(row.task), base=base, tuned=tuned)
    mean = main_mean(report, checkpoint)
    if mean is not None:
        fell = mean.drop > 0 and signless(mean.drop) != "0.0"
        yield say(
            "lost" if fell else "kept",
            language,
            which=say("all" if target is None else "others", language),
            tasks=mean.tasks,
            drop=signless(mean.drop),
            low=signless(mean.low),
            high=signless(mean.high),
            probe=printable(mean.probe),
            worst=printable(mean.worst.task),
            worst_drop=signless(mean.worst.drop),
        )


def main_mean(report: Report, checkpoint: str) -> Mean | None:
    """Return the mean drop to tell of: zero-shot where it was asked, else the first of other tasks."""
    means = [mean for mean in report.means_of(checkpoint) if not mean.of_target]
    zero_shot = [mean for mean in means if mean.probe == "zero-shot"]
    return next(iter(zero_shot or means), None)


def lost(report: Report, language: Language) -> Iterator[str]:
    for key, demands in FAILURES.items():
        found = [check.subject for check in report.failures() if check.demand in demands]
        if found:
            yield say(key, language, names=listed(found, language))


def evidence(report: Report, language: Language) -> Iterator[str]:
    unsure = report.failures(Outcome.UNSURE)
    if not unsure:
        decided = {check.outcome for check in report.checks} & {Outcome.MET, Outcome.FAILED}
        if decided and all(check.demand != ASKED for check in report.checks):
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
    wide = check.high - check.value if distance > 0 else check.value - check.low
    kept = distance < 0 if check.demand == "min_target_accuracy" else distance > 0
    if not kept:
        wide *= normal_end(level / check.tried) / normal_end(level)
    if check.n == 0 or distance == 0 or abs(distance) < wide / 10:  # a hundred times as many, and more
        return None
    exact = max(check.n * (wide / distance) ** 2, check.n + 1)
    unit = 10 ** max(len(str(int(exact))) - DIGITS, 0)
    return int(-(-exact // unit) * unit)


def normal_end(level: float) -> float:
    return NormalDist().inv_cdf(1 - level)


def following(report: Report, language: Language) -> Iterator[str]:
    """Say what to do next; nothing is recommended that the numbers don't bear."""
    failed = report.failures()
    unasked = [check.subject for check in failed if check.demand == ASKED]
    if unasked:
        yield say("next-unasked", language, names=listed(unasked, language))
    known = [check.checkpoint for check in failed if check.demand == "must_forget"]
    bad = [check.checkpoint for check in failed if check.demand not in (ASKED, "must_forget")]
    if bad:
        yield say("next-failed", language, names=listed(in_order(report, bad), language))
    if known:
        yield say("next-known", language, names=listed(in_order(report, known), language))
    best = only_one_that_meets(report)
    if best is not None and (bad or known):
        yield say("next-best", language, name=printable(best))
    if report.failures(Outcome.UNSURE):
        yield say("next-unsure", language)
    elif report.passed:
        yield say("next-fine", language)


def in_order(report: Report, names: Sequence[str]) -> list[str]:
    return [name for name in report.checkpoints if name in names]


def only_one_that_meets(report: Report) -> str | None:
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
    text = COMMA[language].join(unique[:NAMED])
    return MORE[language].format(names=text, count=len(unique) - NAMED) if len(unique) > NAMED else text


def signless(fraction: float) -> str:
    """Write a loss in points: no plus, and no negative zero."""
    text = f"{100 * fraction:.1f}"
    return text.replace("-", MINUS) if text.strip("-0.") else "0.0"
