"""How a command ends before its time: with a line for the user, and a code.

Pure: no clock, no I/O, no asyncio.
"""

from asyncflow.cli.exits import ExitCode

__all__ = ["BadIdsError", "CommandExit", "Interrupted"]


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
