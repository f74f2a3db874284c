"""What may be said of a job on a page that its owner looks at: the words of others, redacted and cut to size.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from asyncflow import Failure, Outcome
from asyncflow.redaction import one_line

if TYPE_CHECKING:
    from asyncflow import ErrorInfo, Job

__all__ = ["Blame", "blame_of", "given_up", "plain", "sentence_of"]

Blame = tuple[str, str, str]
"""The reason by which failures are grouped, a sentence about this one, and the family of the cause; each may be empty."""

_LONGEST_TEXT = 240
_LONGEST_REASON = 120

_TIMES = {
    "wait_timeout": "the time was up",
    "start_timeout": "did not start in time",
    "stall_timeout": "stood still for too long",
}
_KINDS = {
    "rate_limited": "too many requests",
    "not_found": "the service does not know it",
    "expired": "the service does not have it any more",
    "forbidden": "belongs to somebody else",
    "transport": "no connection",
}
_NO_REASON = "no reason given"


@lru_cache(maxsize=4096)
def plain(text: str | None, longest: int = _LONGEST_TEXT) -> str:
    """Return *text* in one line, without secrets, at most *longest* characters of it."""
    line = one_line(text or "")
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def blame_of(job: Job) -> Blame:
    """Return why an ended *job* failed or lacks files."""
    if job.outcome is Outcome.SUCCEEDED:
        return "", "", ""
    failure = job.failure or Failure()
    reasons = job.failed_reasons
    word = failure.reason or (reasons[-1] if reasons else None)
    sentence = plain(failure.message or failure.details)
    if failure.is_cancelled:
        return "cancelled", sentence, ""
    if word is None:
        code = "" if failure.code is None else str(failure.code)
        return plain(failure.message or code, _LONGEST_REASON) or _NO_REASON, sentence, failure.category or ""
    return plain(word, _LONGEST_REASON), sentence, Failure(reason=word).category or ""


def given_up(problem: ErrorInfo) -> Blame:
    """Return why a job is not asked about any more."""
    word = _TIMES.get(problem.kind) or _KINDS.get(problem.kind) or problem.reason or problem.kind.replace("_", " ")
    return plain(word, _LONGEST_REASON), sentence_of(problem), ""


def sentence_of(problem: ErrorInfo) -> str:
    """Return what went wrong with a read, in a sentence."""
    return plain(str(problem.exception()))
