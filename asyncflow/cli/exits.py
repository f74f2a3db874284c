"""What the command's exit code says, and which of several reasons wins.

Pure: no clock, no I/O, no asyncio. The order, from the strongest: the run was cut short (interrupted, terminated, output closed,
token or payment refused), its time was up, the fate of a job is not known, a job came to a bad end.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncflow import AsyncflowError

__all__ = ["REFUSALS", "TIMEOUTS", "BadIdsError", "CommandExit", "ExitCode", "Interrupted", "code_of", "graver", "verdict"]

TIMEOUTS = frozenset({"wait_timeout", "start_timeout", "stall_timeout"})

_DISK = frozenset({"full", "disk_error"})

REFUSALS = frozenset({"unauthorized", "payment_required", "insufficient_credits"})


class ExitCode(IntEnum):
    """The exit codes of every command."""

    SUCCEEDED = 0
    BAD_OUTCOME = 1
    USAGE = 2
    TIMEOUT = 3
    REFUSED = 4
    LOST = 5
    INTERNAL = 70
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


def verdict(*, timed_out: int, lost: int, bad: int) -> ExitCode:
    """Return the code of a watch that ran to its end.

    *timed_out* jobs still ran when their time was up, *lost* ones were given up or could not be reached, *bad* ones failed
    or lack files.
    """
    if timed_out:
        return ExitCode.TIMEOUT
    if lost:
        return ExitCode.LOST
    return ExitCode.BAD_OUTCOME if bad else ExitCode.SUCCEEDED


_GRAVITY = (ExitCode.SUCCEEDED, ExitCode.BAD_OUTCOME, ExitCode.LOST, ExitCode.TIMEOUT)


def graver(codes: "Iterable[ExitCode]") -> ExitCode:
    """Return the gravest of *codes*; what is none of a watch's own verdicts is graver than those."""
    return max(codes, key=lambda code: _GRAVITY.index(code) if code in _GRAVITY else len(_GRAVITY), default=ExitCode.SUCCEEDED)


def code_of(error: "AsyncflowError") -> ExitCode:
    """Return the code of a command that *error* ended."""
    # A journal or a folder that cannot be opened is a matter of the arguments; one that fails later leaves jobs in the dark.
    if error.kind == "usage" or (error.kind in {"journal", "download"} and error.reason not in _DISK):
        return ExitCode.USAGE
    if error.kind in REFUSALS:
        return ExitCode.REFUSED
    return ExitCode.TIMEOUT if error.kind in TIMEOUTS else ExitCode.LOST


class CommandExit(Exception):  # noqa: N818 - most of them are no errors
    """The command ends with *code*, and *text* says why; it is fit for a screen. Without a text all has been said."""

    def __init__(self, text: str, code: ExitCode) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class BadIdsError(CommandExit):
    """What was handed over is no list of job ids; *text* says where and why."""

    def __init__(self, text: str) -> None:
        super().__init__(text, ExitCode.USAGE)


class Interrupted(CommandExit):
    """The user, or the system, wants the command to end."""

    def __init__(self, code: ExitCode, text: str = "") -> None:
        super().__init__(text or code.name.lower(), code)
