"""Text in and out: sizes and durations, and how events, errors and text from outside are shown.

Everything that came from outside passes `one_line` on its way to a screen.
"""

import re
from functools import lru_cache

from asyncflow import (
    Abandoned,
    Changed,
    Ended,
    ErrorInfo,
    Event,
    Expiring,
    Job,
    Outcome,
    Unreachable,
    UsageError,
    redaction,
    report,
    service_of,
)
from asyncflow.redaction import digest
from asyncflow.report.formatting import count, span

__all__ = [
    "OUTCOMES",
    "change_line",
    "clock",
    "count",
    "key_of",
    "one_line",
    "outcome_detail",
    "parse_duration",
    "parse_size",
    "problem_text",
    "reason_of",
    "size",
    "some_digests",
    "span",
]

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}

_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmg]i?|)b?(?:/s)?")


def parse_size(text: str) -> float:
    """Return the bytes that *text* stands for. `ValueError` for anything else, and for less than one."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError("a size looks like 500k, 5MB or 1GiB")
    value = float(match[1]) * _FACTORS[match[2]]
    if not value >= 1:
        raise ValueError("a size is one byte at least")
    return value


def size(number: float) -> str:
    """Return *number* of bytes in words: `512 B`, `4.2 MB`."""
    if number < 1000:
        return f"{number:.0f} B"
    for unit in ("kB", "MB", "GB"):
        number /= 1000
        if number < 999.5:
            return f"{number:.1f} {unit}" if number < 9.95 else f"{number:.0f} {unit}"
    return f"{number / 1000:.1f} TB"


_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)\s*")

_PLAIN = re.compile(r"\d+(?:\.\d+)?")

_LONGEST_DURATION = 366 * 86400.0


def parse_duration(text: str) -> float:
    """Return *text* in seconds: a number with its unit (ms, s, m, h, d), several of them, or a number of seconds.

    `ValueError` for anything else, for nothing and for more than a year.
    """
    word = text.strip().lower()
    if _PLAIN.fullmatch(word):
        seconds = float(word)
    else:
        parts = list(_PART.finditer(word))
        if not parts or "".join(part[0] for part in parts) != word:
            raise ValueError("a duration looks like 90s, 30m, 2h or 1h30m")
        seconds = sum(float(part[1]) * _SECONDS[part[2]] for part in parts)
    if not 0 < seconds <= _LONGEST_DURATION:
        raise ValueError("a duration is more than nothing and at most a year")
    return seconds


def clock(seconds: float) -> str:
    """Return *seconds* as on a stopwatch, `0:07` or `1:02:03`; fractions are dropped."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


OUTCOMES: dict[str, str] = {
    Outcome.SUCCEEDED: "succeeded",
    Outcome.PARTIAL: "partial",
    Outcome.NO_OUTPUT: "no output",
    Outcome.FAILED: "failed",
}

_LONGEST = 160


@lru_cache(maxsize=4096)
def one_line(text: str, longest: int = _LONGEST) -> str:
    """Return *text* fit for a screen and without secrets, at most *longest* characters of it."""
    clean = redaction.one_line(text)
    return clean if len(clean) <= longest else f"{clean[: longest - 3]}..."


def some_digests(job_ids: list[str], most: int = 5) -> str:
    """Return the first digests of *job_ids* and how many there are besides."""
    shown = ", ".join(digest(job_id) for job_id in job_ids[:most])
    return f"{shown} and {len(job_ids) - most:,} more" if len(job_ids) > most else shown


def key_of(job_id: str) -> tuple[str, str, str]:
    """Return the service of a job that was never read, by its id, and that its kind and its model are not known."""
    try:
        return service_of(job_id), "", ""
    except UsageError:
        return "", "", ""


def change_line(event: Event, kind: str = "") -> str:
    """Return what *event* says in one line; *kind* is the job's where the event does not tell."""
    match event:
        case Changed(job, previous):
            name, kind = digest(job.job_id), job.kind
            what = f"{one_line(previous)} -> {one_line(job.status)}" if previous else one_line(job.status)
        case Ended(job):
            name, kind, detail = digest(job.job_id), job.kind, outcome_detail(job)
            what = f"{OUTCOMES[job.outcome]}: {detail}" if detail else OUTCOMES[job.outcome]
        case Abandoned(job_id, problem, job):
            name, kind = digest(job_id), kind if job is None else job.kind
            what = f"given up: {problem_text(problem)}"
        case Expiring(job, at, what):
            name, kind, what = digest(job.job_id), job.kind, f"its {what} will be gone at {at:%H:%M:%S} UTC"
        case Unreachable(job_id, _, problem):
            name, what = digest(job_id), f"no answer, still trying: {problem_text(problem)}"
    return f"{name}  {one_line(kind, 8) or '-':<6}  {what}"


def outcome_detail(job: Job) -> str:
    """Return what there is to say of an ended *job* besides its outcome: files, time, reason."""
    parts: list[str] = []
    if job.media_ok:
        files = count(job.media_total, "file")
        parts.append(files if job.media_ok == job.media_total else f"{job.media_ok} of {files}")
    if job.duration is not None:
        parts.append(span(job.duration))
    if job.outcome is not Outcome.SUCCEEDED:
        parts.append(reason_of(job))
    return ", ".join(part for part in parts if part)


def reason_of(job: Job) -> str:
    """Return why *job* failed or lacks files, as far as its record tells."""
    return one_line(report.reason_of(job))


def problem_text(problem: ErrorInfo) -> str:
    """Return a cause in a few words, with its HTTP status where there is one."""
    if problem.kind == "rate_limited":
        return "too many requests [HTTP 429]"
    return one_line(str(problem.exception()))
