"""The entry point: a broken environment must not look like "the policy failed" either."""

import sys
from typing import NoReturn

INTERRUPTED, COULD_NOT_ASK = 130, 2


def main() -> NoReturn:
    """Import the program, then run it; Python itself would exit 1 for whatever goes wrong before."""
    try:
        from forgetcheck.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as problem:
        said = " ".join(str(problem).split())
        found = f"{type(problem).__name__}: {said}"
        print(f"forgetcheck: cannot start ({found}); check installation and environment.", file=sys.stderr)
        sys.exit(COULD_NOT_ASK)
    run()
