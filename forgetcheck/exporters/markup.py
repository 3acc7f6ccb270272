"""What exporters write alike: names that stay names, evidence in words, Markdown cut to fit."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from forgetcheck.retention.answers import SkippedQuestion
from forgetcheck.retention.compare import Retention
from forgetcheck.retention.gate import UNMEASURED, Check, Outcome
from forgetcheck.retention.report import Report
from forgetcheck.retention.text.wording import advised, demand
from forgetcheck.retention.verdict import Finding
from forgetcheck.text import beside, points, printable, unsigned

NAME, SENTENCE = 120, 600  # characters; a longer one is cut, so that no document is one long name
NAMED = 5  # questions named with a warning; the others are counted
_GAPS = re.compile(r"([\s、。（）〜]+)")
_PLAIN = re.compile(r"(?:[^\W_]|[’'\"(),.;:!?%=+/…−–\[\]-])*")
_LINKED = re.compile(  # a link, an address, an emoji, an issue or a commit, where GitHub or others see one
    r"\]\(|//|www\.|[^\W\d_]\.[^\W\d_]|:[^\s:]+:|\bgh-\d|\b[0-9a-f]{7,40}\b", re.IGNORECASE
)
_BLOCK = re.compile(r"[-+=]+|\d{1,9}[.)]|\[.*")  # as the first word: a list, a rule, a box to tick
_NOT_ALL = "{count} more; all are in `forgetcheck report AUDIT --as csv`."


def cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def code(name: str) -> str:
    """Write a name as a code span, in which nothing is markup, a link or a mention.

    A backslash isn't enough: GitHub looks for addresses and @mentions after it has removed those.
    """
    text = printable(cut(name, NAME))
    if not text:
        return "(no name)"
    fence = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    pad = " " if text.strip() and (text[0] in " `" or text[-1] in " `") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def prose(sentence: str) -> str:
    """Write a sentence that holds names: every word that could mean more than itself becomes code."""
    words = _GAPS.split(printable(cut(sentence.strip(), SENTENCE)))
    return "".join(word if number % 2 else _spoken(word, number == 0) for number, word in enumerate(words))


def _spoken(word: str, first: bool) -> str:
    odd = not _PLAIN.fullmatch(word) or _LINKED.search(word) or (first and _BLOCK.fullmatch(word))
    name = word.lstrip("('\"").rstrip(")'\".,;:!?")
    if not (odd and name):
        return word
    before, _, after = word.partition(name)
    return before + code(name) + after


def line(cells: Iterable[str]) -> str:
    """Write a row of a table. A bar is escaped even within code: tables are split before that is read."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


@dataclass(frozen=True)
class Section:
    """A list or a table under a title; of no rows nothing is written."""

    title: str
    rows: tuple[str, ...]
    head: tuple[str, ...] = ()
    folded: bool = False


def table(title: str, columns: str, rows: Iterable[Sequence[str]], folded: bool = False) -> Section:
    """Make a table; `columns` are names with a bar between, `>` before those of numbers."""
    names = columns.split("|")
    rule = "|" + "|".join("---:" if name.startswith(">") else "---" for name in names) + "|"
    head = (line(name.removeprefix(">") for name in names), rule)
    return Section(title, tuple(map(line, rows)), head, folded)


def document(opening: Sequence[str], sections: Iterable[Section], closing: Sequence[str], limit: int) -> str:
    """Join paragraphs and sections; where they'd take more bytes than `limit`, cut the longest sections."""
    kept = [section for section in sections if section.rows]
    frame = [*opening, *closing, *(_written(section, 0) for section in kept)]
    shares = shared_out([_size(section.rows) for section in kept], limit - _size(frame))
    parts = (_written(section, _fitting(section, share)) for section, share in zip(kept, shares, strict=True))
    return "\n\n".join([*opening, *parts, *closing]) + "\n"


def _size(parts: Iterable[str]) -> int:
    """Return how many bytes a file of these takes, with room for what joins them."""
    return sum(len(part.encode("utf-8", "backslashreplace")) + 2 for part in parts)


def shared_out(wanted: Sequence[int], room: int) -> list[int]:
    """Give everyone what they want, or the same as the others who want more than there is."""
    given = [0] * len(wanted)
    order = sorted(range(len(wanted)), key=lambda place: wanted[place])
    for turn, place in enumerate(order):
        given[place] = max(min(wanted[place], room // (len(order) - turn)), 0)
        room -= given[place]
    return given


def _fitting(section: Section, share: int) -> int:
    """Return how many rows of a section fit into its share of bytes."""
    for number, row in enumerate(section.rows):
        share -= _size([row])
        if share < 0:
            return number
    return len(section.rows)


def _written(section: Section, rows: int) -> str:
    """Write the first rows of a section, and how many there are beyond them."""
    left = len(section.rows) - rows
    body = "\n".join([*section.head, *section.rows[:rows]])
    title = f"### {section.title}"
    if section.folded:
        title = f"<details><summary>{section.title} ({len(section.rows)})</summary>"
    more = _NOT_ALL.format(count=f"{left:,}") if left else ""
    end = "</details>" if section.folded else ""
    return "\n\n".join(filter(None, [title, body, more, end]))


def gained(report: Report) -> Section:
    """Tell what each checkpoint gained on the task it was tuned on."""
    found = [target for target in map(report.target, report.checkpoints) if target is not None]
    rows = [
        [
            *(code(name) for name in (row.checkpoint, row.task, row.probe)),
            *(f"{100 * share:.1f}" for share in (row.base, row.tuned)),
            points(-row.drop),
            _between(-row.high, -row.low),
            str(row.n),
        ]
        for row in (target.retention for target in found)
    ]
    return table(
        "Gained where it was tuned", "checkpoint|task|probe|>base %|>tuned %|>gain|interval|>n", rows
    )


def lost_on_average(report: Report) -> Section:
    limit = report.policy.max_mean_drop
    rows = [
        [
            code(mean.checkpoint),
            code(mean.probe),
            f"{mean.tasks} of {mean.every}" if mean.unknown else str(mean.tasks),
            unsigned(mean.drop) if limit is None else beside(mean.drop, limit),
            _between(mean.low, mean.high),
            "none" if limit is None else f"{100 * limit:g}",
            f"{code(mean.worst.task)} {unsigned(mean.worst.drop)}",
            unsigned(mean.every_drop) if mean.unknown else "the same",
        ]
        for mean in report.means
        if not mean.of_target
    ]
    columns = "checkpoint|probe|>tasks|>mean drop|interval|>limit|most of all|>with those never known"
    return table("Mean drop", columns, rows)


def demands(report: Report, title: str, *outcomes: Outcome, folded: bool = False) -> Section:
    """List the demands with these outcomes, each with what its evidence could have shown."""
    rows = (
        "- " + "; ".join(map(prose, [demand(check), *basis(check)])) for check in report.failures(*outcomes)
    )
    return Section(title, tuple(rows), folded=folded)


def basis(check: Check) -> Iterator[str]:
    """Say how much evidence a check has, what it could have shown, and why it is demanded."""
    if check.demand in UNMEASURED:  # its reason is the sentence itself
        return
    if check.n:
        yield f"n = {check.n}"
    if check.detectable is not None:
        found = beside(check.detectable, check.limit)
        yield f"smallest drop found 4 times in 5: {found} points"
    elif check.demand in ("max_drop", "max_target_drop"):
        yield "too few images to find any drop 4 times in 5"
    if advised(check):
        yield advised(check)
    if check.reason:
        yield f"reason: {check.reason}"


_TASKS = "checkpoint|{what}|probe|>base %|>tuned %|>drop|interval|by template|>n|limit|>found from|"
_TASKS += ">p (among)|verdict"


def tasks(report: Report, folded: bool = False) -> Section:
    rows = (cells(finding) for finding in report.tasks())
    return table("Tasks", _TASKS.format(what="task"), rows, folded)


def worst_concepts(report: Report, count: int) -> Section:
    """Show of each checkpoint the concepts that surely dropped most, and what is said instead."""
    rows = [
        [*cells(finding), ", ".join(f"{code(said)} {times}" for said, times in finding.retention.confused)]
        for checkpoint in report.checkpoints
        for finding in report.worst_concepts(checkpoint, count)
    ]
    columns = _TASKS.format(what="concept") + "|now taken for"
    return table("Concepts that dropped most", columns, rows, folded=True)


def cells(finding: Finding) -> list[str]:
    row, limit = finding.retention, finding.limit
    held = f"{100 * limit:g}"
    return [
        *(code(name) for name in (row.checkpoint, row.subject, row.probe)),
        f"{100 * row.base:.1f}",
        beside(row.tuned, limit) if finding.must_forget else f"{100 * row.tuned:.1f}",
        unsigned(row.drop) if finding.must_forget else beside(row.drop, limit),
        _between(row.low, row.high),
        "" if row.by_template is None else " to ".join(map(points, row.by_template)),
        str(row.n),
        f"at most {held} % right" if finding.must_forget else held,
        _found_from(finding),
        f"{finding.p_adjusted:.2g} ({finding.tried:,})",
        _judged(finding),
    ]


def _found_from(finding: Finding) -> str:
    """Write the smallest drop that would be found, of what the gate goes by."""
    if finding.detectable is not None:
        return beside(finding.detectable, finding.limit)
    return "none" if finding.gated and not finding.must_forget else ""


def _judged(finding: Finding) -> str:
    """Say the verdict, that the weights are the same, and whether the gate goes by it."""
    same = ", same weights" if finding.retention.identical else ""
    return finding.verdict.value + same + ("" if finding.gated or finding.watched else ", not gated")


def _between(low: float, high: float) -> str:
    return f"[{points(low)}, {points(high)}]"


def unasked(report: Report) -> Section:
    rows = (
        f"- {code(item.task)} ({code(item.checkpoint)}, {code(item.probe)}): "
        f"{optional(item)}{prose(item.why)}"
        for item in report.unasked
    )
    return Section("What could not be asked", tuple(rows), folded=True)


def optional(item: SkippedQuestion) -> str:
    """Say that nobody minds, where the battery says so."""
    return "optional, " if item.role == "optional" else ""


def warned(report: Report) -> dict[str, list[Retention]]:
    """Return each warning with the questions it is about, in the order of the report."""
    found: dict[str, list[Retention]] = {}
    for finding in report.findings:
        for warning in finding.retention.warnings:
            found.setdefault(warning, []).append(finding.retention)
    return found


def warnings(report: Report, folded: bool = False) -> Section:
    rows = []
    for warning, about in warned(report).items():
        named = "; ".join(
            f"{code(row.subject)} ({code(row.checkpoint)}, {code(row.probe)})" for row in about[:NAMED]
        )
        more = f"; and {len(about) - NAMED} more" if len(about) > NAMED else ""
        rows.append(f"- {prose(warning)}: {named}{more}")
    return Section("Warnings", tuple(rows), folded=folded)


def how_to_read(report: Report) -> str:
    """Explain the columns in one paragraph."""
    return (
        "drop = base − tuned, in percentage points: positive is forgetting. "
        f"interval: {100 * report.policy.confidence:g} %, of the paired difference. "
        "found from: the smallest true drop that these images would show to exceed the limit "
        "4 times in 5. p (among): of the limit being kept, adjusted for so many questions. by template: the "
        "drops that single prompt templates give. mean drop: of the tasks that the base knows, but not the "
        "one tuned on. Intervals of trained probes count the choice of their training images."
    )
