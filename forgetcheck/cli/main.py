"""The program: commands, exit codes and nothing else.

Exit codes: 0 done, and the policy (if any) was met; 1 the policy failed, and nothing else ever exits
1; 2 could not ask or could not write; 3 a bug of ours; 130 and 143 interrupted.
"""

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Annotated, Any, NamedTuple, NoReturn

import typer

from forgetcheck.cli import console
from forgetcheck.cli.start import broken_import, refuse
from forgetcheck.errors import ForgetcheckError, Terminated
from forgetcheck.version import __version__

OUR_BUG = 3
UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # typer doesn't export it
COMPLETION = "_FORGETCHECK_COMPLETE"  # set by the shell that wants to know what a half-typed line may become


class Command(NamedTuple):
    """A command that is imported when it is asked for; the help of the program needs only its summary."""

    module: str  # of forgetcheck.cli
    name: str  # of the function or typer.Typer there
    summary: str


COMMANDS = {  # in the order of the help
    "demo": Command("demo", "demo", "See a tiny CLIP forget, and a cure, in a minute."),
    "tune": Command("tune", "tune", "Fine-tune a checkpoint, staying near the base."),
    "audit": Command("audit", "audit", "Measure what fine-tuned checkpoints forgot."),
    "inspect": Command("inspect", "inspect", "Say what a checkpoint is, or where two differ."),
    "report": Command("report", "report", "Judge a saved audit, print or export it."),
    "convert": Command("convert", "convert", "Write a checkpoint as open_clip loads it."),
    "doctor": Command("doctor", "doctor", "Check that measurements here can be trusted."),
    "policy": Command("policy", "app", "Write a policy, and see what one says."),
    "battery": Command("battery", "app", "Show, check, write or pick what is asked."),
    "cache": Command("cache", "app", "See and empty the cache of features."),
    "list": Command("list", "listing", "List methods, probes, tasks and exporters."),
}
EPILOG = "Exit codes: 0 done, policy met. 1 the policy failed. 2 could not ask or write. 3 our bug."


def program(words: Sequence[str]) -> typer.Typer:
    """Return the program with the command that the words ask for.

    Where they ask for none, as for the help, every command has its name and summary only; a shell
    that completes a line gets all of them whole.
    """
    app = typer.Typer(
        name="forgetcheck",
        help="Did fine-tuning cripple your CLIP model? Measure what it forgot, and help it not to.",
        epilog=EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(root)
    first = [word for word in words if word != "--"][:1]
    asked = first if first and first[0] in COMMANDS else COMMANDS
    whole = asked is not COMMANDS or COMPLETION in os.environ
    for name in asked:
        if whole:
            register(app, name)
        else:
            app.command(name, help=COMMANDS[name].summary)(lambda: None)
    return app


def register(app: typer.Typer, name: str) -> None:
    command = COMMANDS[name]
    found = getattr(import_module(f"forgetcheck.cli.{command.module}"), command.name)
    if isinstance(found, typer.Typer):
        app.add_typer(found)
    else:
        app.command(name)(found)


def print_version(asked: bool) -> None:
    if asked:
        console.print_line(f"forgetcheck {__version__}")
        raise typer.Exit


def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Did fine-tuning cripple your CLIP model? Measure what it forgot, and help it not to."""


def main() -> NoReturn:
    """Run a command and map what it raises to the exit codes above."""
    console.open_streams()
    console.hush_followers()
    signal.signal(signal.SIGTERM, stop)
    try:
        code = program(sys.argv[1:])(standalone_mode=False)
    except UsageError as mistake:
        show_usage(mistake)
        raise SystemExit(2) from None
    except ForgetcheckError as refusal:
        console.print_error(str(refusal))
        raise SystemExit(refusal.exit_code) from None
    except KeyboardInterrupt:  # a second one, while the first is being answered
        raise SystemExit(128 + signal.SIGINT) from None
    except MemoryError:
        console.print_error(
            "out of memory: use a smaller model, --batch-size or battery, or a larger machine."
        )
        raise SystemExit(2) from None
    except OSError as problem:  # of a name, a disk or a terminal: nothing that we could have got right
        where = f" '{problem.filename}'" if problem.filename else ""
        console.print_error(f"the system refused{where}: {problem.strerror or problem}; check the path.")
        raise SystemExit(2) from None
    except SystemExit as leaving:
        # typer itself exits 1 for an aborted prompt; here 1 means "the policy failed" only
        raise SystemExit(2 if leaving.code == 1 else leaving.code) from None
    except Exception as problem:
        if broken_import(problem):
            refuse("go on", problem)
        console.print_error(
            f"this is a bug in forgetcheck ({type(problem).__name__}: {problem}); please report it."
        )
        if os.environ.get("FORGETCHECK_DEBUG"):
            traceback.print_exc()
        else:
            console.print_error("set FORGETCHECK_DEBUG=1 to see where it happened.")
        raise SystemExit(OUR_BUG) from problem
    raise SystemExit(code if isinstance(code, int) else 0)  # typer returns 130 for Ctrl-C


def show_usage(mistake: Any) -> None:
    """Say in one line what typer says in four; without any word, show the help."""
    if len(sys.argv) == 1:
        mistake.show()
        return
    see = f" See `{mistake.ctx.command_path} --help`." if mistake.ctx else ""
    console.print_error(" ".join(mistake.format_message().split()) + see)


def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Leave through the cleanups: nothing half-written stays behind."""
    raise Terminated(128 + signal.SIGTERM)
