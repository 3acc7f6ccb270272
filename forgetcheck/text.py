"""Numbers and names as text, each on one line. Imports nothing: whatever prints may use it."""

MINUS = "−"
_MOST = 6  # decimals
JOINERS = "\u200c\u200d"  # invisible, but part of how Persian and emoji are written


def points(fraction: float, decimals: int = 1) -> str:
    """Write a signed difference in percentage points, with a real minus and no negative zero."""
    text = f"{100 * fraction:+.{decimals}f}".replace("-", MINUS)
    return text[1:] if not text.strip(f"+{MINUS}0.") else text


def counted(count: int, one: str, many: str = "") -> str:
    """Write a number with its noun: 1 task, 2,000 tasks."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def percent(fraction: float, decimals: int = 1) -> str:
    return f"{100 * fraction:.{decimals}f} %"


def beside(fraction: float, limit: float) -> str:
    """Write a value in points with as many digits as tell it from its limit: 2.04 is not 2."""
    return unsigned(fraction, digits(limit, fraction))


def digits(limit: float, *values: float) -> int:
    """Return how many decimals, in points, tell the values from a limit that they aren't."""
    return next(
        (number for number in range(1, _MOST) if all(told_apart(value, limit, number) for value in values)),
        _MOST,
    )


def told_apart(value: float, limit: float, decimals: int) -> bool:
    return value == limit or f"{100 * value:.{decimals}f}" != f"{100 * limit:.{decimals}f}"


def unsigned(fraction: float, decimals: int = 1) -> str:
    """Write points without a plus; a gain keeps its minus."""
    return points(fraction, decimals).removeprefix("+")


def printable(text: str) -> str:
    """Return a name as one line: gaps become spaces, control and bidirectional characters a �.

    Surrogates stay: a file name that isn't UTF-8 is written with a backslash when it is saved.
    """
    return "".join(" " if mark.isspace() else mark if shows(mark) else "�" for mark in text)


def shows(mark: str) -> bool:
    return mark.isprintable() or mark in JOINERS or "\ud800" <= mark <= "\udfff"
