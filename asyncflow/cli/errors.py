"""What a command says about an exception that ended it, and its exit code.

Loaded when there is one.
"""

import errno
import os
import ssl
import traceback
from pathlib import Path

import click

from asyncflow import AsyncflowError, ErrorInfo
from asyncflow.cli.client import host
from asyncflow.cli.exits import ExitCode, code_of
from asyncflow.cli.formatting import one_line

__all__ = ["error_text", "told"]

_ADVICE = {
    "unauthorized": "is USEAPI_TOKEN right?",
    "payment_required": "see your subscription at useapi.net",
    "insufficient_credits": "see your credits at useapi.net",
}
# What a help text meets on its way into a file; everything else is written by an `OutputStream`.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT})
_STRANGE = {
    "decode_error": "no record in its answer",
    "redirect": "it redirects elsewhere",
    "edge_blocked": "refused before the API",
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
        case OSError(errno=number) if number in _NO_ROOM:
            return f"standard output cannot be written: {os.strerror(number).lower()}", ExitCode.OUTPUT_CLOSED
        case _:
            return f"internal error: {_place(error)}; ASYNCFLOW_DEBUG=1 shows more, please report it", ExitCode.INTERNAL


def error_text(error: AsyncflowError) -> str:
    """Return the cause of *error*, and what to do about it where that is known."""
    # Without its job: most of these concern every job alike, and not the one that happened to be asked about.
    text = one_line(str(ErrorInfo.of(error).exception()))
    if error.kind == "transport":
        return f"{text}{_system_words(error.__cause__)}; is USEAPI_BASE_URL right?"
    if error.kind in _STRANGE:
        status = f" [HTTP {error.status}]" if error.status is not None else ""
        return f"{host()} does not answer like the service: {_STRANGE[error.kind]}{status}; is USEAPI_BASE_URL right?"
    if error.kind in _ADVICE:
        return f"{text}; {_ADVICE[error.kind]}"
    text = one_line(str(error))
    # Any web server says this of paths that are not its own.
    return f"{text}; is USEAPI_BASE_URL right?" if error.kind == "not_found" and os.environ.get("USEAPI_BASE_URL") else text


def _system_words(cause: BaseException | None) -> str:
    if not isinstance(cause, OSError):
        return ""
    # Python's own words for TLS stand behind aiohttp's, and its numbers are none of the system's.
    tls = cause.__cause__ or cause
    if isinstance(tls, ssl.SSLError):
        return f" (no TLS: {one_line(_tls_words(tls))})"
    # Failed look-ups have negative numbers, and a TimeoutError has none.
    number = cause.errno or 0
    words = os.strerror(number) if number > 0 else cause.strerror or ""
    return f" ({one_line(words.lower())})" if words else ""


def _tls_words(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (getattr(error, "reason", None) or "it failed").replace("_", " ").lower()


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
