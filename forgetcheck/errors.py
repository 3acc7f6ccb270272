"""Everything forgetcheck may refuse, what to do about it, and its exit code."""

from collections.abc import Iterable
from difflib import get_close_matches


class ForgetcheckError(Exception):
    """A refusal a user can act on; the message is one line: asked, found, way out."""

    exit_code = 2

    def __str__(self) -> str:
        return " ".join(super().__str__().split())


class InputError(ForgetcheckError):
    """The question could not be asked: usage, unreadable or mismatched input, no room to write."""


class DataError(InputError):
    """Images, labels, class names, captions or a battery that can't be what was meant."""


class CheckpointError(InputError):
    """Weights, configs or tokenizers that are damaged, incomplete, or of no model that is known."""


class PolicyError(InputError):
    """A policy that demands nothing, contradicts itself, or asks what can't be measured."""


class OutputError(InputError):
    """A file or folder that can't be written, or is there already."""


class NoPart(InputError):
    """A task has no part of this name, as many have no train: what doesn't need it can still be asked."""


class PolicyFailed(ForgetcheckError):
    """The audit was complete and the policy was not met. The only cause of exit code 1."""

    exit_code = 1


class Terminated(SystemExit):
    """Somebody asked the program to end (SIGTERM): it leaves through the cleanups."""


def unknown_name(kind: str, asked: str, known: Iterable[str], see: str) -> InputError:
    """Build the refusal for a name that is not in `known`, with the nearest known name."""
    options = sorted(known)
    folded = {option.casefold(): option for option in options}
    near = get_close_matches(asked.casefold(), folded, n=1, cutoff=0.5)
    hint = f"did you mean '{folded[near[0]]}'?" if near else f"known: {', '.join(options) or 'none'}."
    return InputError(f"unknown {kind} '{asked}': {hint} See `{see}`.")
