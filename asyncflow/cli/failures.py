"""What a command says about an exception that ended it, and its exit code.

Loaded when there is one.
"""

import traceback
from pathlib import Path

import click

from asyncflow import AsyncflowError
from asyncflow.cli.exit_codes import ExitCode, code_of
from asyncflow.cli.service import host
from asyncflow.cli.words import one_line, problem_text_of

__all__ = ["error_text", "told"]

_WRONG_PLACE = "is {host} the service (USEAPI_BASE_URL)?"
_ADVICE = {
    "unauthorized": "is USEAPI_TOKEN right?",
    "payment_required": "see your subscription at useapi.net",
    "insufficient_credits": "see your credits at useapi.net",
    "decode_error": _WRONG_PLACE,
    "redirect": _WRONG_PLACE,
    "edge_blocked": _WRONG_PLACE,
}


def told(error: Exception) -> tuple[str, ExitCode]:
    """Return the line for *error* and the code that goes with it; the line shows no secret whatever the error holds."""
    match error:
        case click.UsageError():
            path = error.ctx.command_path if error.ctx is not None else "asyncflow"
            message = one_line(error.format_message()).rstrip(".")
            return f"{message[:1].lower()}{message[1:]}; see {path} --help", ExitCode.USAGE
        case click.ClickException():
            return one_line(error.format_message()), ExitCode.USAGE
        case AsyncflowError():
            return error_text(error), code_of(error)
        case _:
            return f"internal error: {_place(error)}; ASYNCFLOW_DEBUG=1 shows more, please report it", ExitCode.INTERNAL


def error_text(error: AsyncflowError) -> str:
    """Return the cause of *error*, and what to do about it where that is known."""
    if error.kind == "transport":
        return f"no answer from {host()}: {problem_text_of(error)}; is the address right (USEAPI_BASE_URL)?"
    text, advice = one_line(str(error)), _ADVICE.get(error.kind)
    return f"{text}; {advice.format(host=host())}" if advice else text


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
