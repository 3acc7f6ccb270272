"""The entry point: a broken environment must not look like "the policy failed" either."""

import sys
from traceback import walk_tb
from typing import NoReturn

INTERRUPTED, COULD_NOT_ASK = 130, 2


def main() -> NoReturn:
    """Import the program, then run it; Python itself would exit 1 for whatever goes wrong before."""
    try:
        from forgetcheck.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as problem:
        refuse("start", problem)
    run()


def refuse(what: str, problem: Exception) -> NoReturn:
    said = " ".join(str(problem).split())
    found = f"{type(problem).__name__}: {said}"
    print(f"forgetcheck: cannot {what} ({found}); check installation and environment.", file=sys.stderr)
    sys.exit(COULD_NOT_ASK)


def broken_import(problem: Exception) -> bool:
    """Tell whether a package of others failed while it was imported, which may be long after the start."""
    ours = __name__.partition(".")[0]
    if isinstance(problem, ImportError):
        return (problem.name or "").partition(".")[0] != ours
    return any(
        frame.f_code.co_name == "<module>"
        and frame.f_globals["__name__"].partition(".")[0] not in (ours, "__main__")
        for frame, _ in walk_tb(problem.__traceback__)
    )
