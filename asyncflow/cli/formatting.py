"""The command's vocabulary: what is shown of an event, an error and of what others wrote.

Everything that came from outside passes `one_line` on its way to a screen.
"""

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
from asyncflow.cli.durations import span
from asyncflow.redaction import digest
from asyncflow.report.formatting import count

__all__ = [
    "OUTCOMES",
    "change_line",
    "count",
    "key_of",
    "one_line",
    "outcome_detail",
    "problem_text",
    "reason_of",
    "some_digests",
]

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
