"""Answers in: bytes to records, or the error that they mean.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec.structs import replace

from asyncflow.errors import DecodeError, TransportError
from asyncflow.protocol.http_errors import embedded_error, refusal_error
from asyncflow.protocol.requests import flaw_of_id
from asyncflow.records import AssetLink, Cancelled, FlowStats, Job, MusicStats
from asyncflow.redaction import redact
from asyncflow.services.flowmusic import records as flowmusic
from asyncflow.services.google_flow import records as google_flow
from asyncflow.services.google_flow import stats
from asyncflow.services.lenient import load_object
from asyncflow.services.links import decode_link

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from asyncflow.protocol.requests import Request

_REMEMBERED = 2048
_SHORT_BYTES = 1024
"""The records of so many running jobs are kept, of jobs that were read last: they cannot change, and their answers seldom do."""

Answer = Job | FlowStats | MusicStats | AssetLink | Cancelled | bytes

_RECORDS: Mapping[str, Callable[..., Job]] = {"google-flow": google_flow.decode, "flowmusic": flowmusic.decode}
_STATS: Mapping[str, Callable[[bytes], FlowStats | MusicStats]] = {
    "google-flow": stats.decode_flow,
    "flowmusic": stats.decode_music,
}


def decode_answer(
    request: Request,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime | None = None,
) -> Answer:
    """Return the record that answers *request*, or raise the `AsyncflowError` that the answer means.

    The names of *headers* may be in any case. *now* (aware) is needed only for a Retry-After that is an instant, if there is no
    Date. A job's record has the id that the service gives it: see `under_asked_id`.
    """
    if not 200 <= status < 300:
        raise refusal_error(
            request.method, status, headers, body, job_id=request.job_id, is_file=request.expects == "file", now=now
        )
    try:
        if request.expects == "job":
            # First what is asked for most, and mostly found unchanged.
            return (_remembered if len(body) <= _SHORT_BYTES else _read_job)(request.service, body, request.job_id)
        return _decode(request, status, body)
    except DecodeError as error:
        embedded = embedded_error(request.method, status, body, request.job_id)
        if embedded is not None:
            raise embedded from None
        error.transient = request.method != "POST"
        error.status = status
        error.job_id = request.job_id
        raise


def _read_job(service: str, body: bytes, job_id: str | None) -> Job:
    return _RECORDS[service](body, job_id)


_remembered = lru_cache(maxsize=_REMEMBERED)(_read_job)


def decode_job(service: str, body: bytes, job_id: str | None = None) -> Job:
    """Return the job that *body* (a callback's, perhaps) describes; *job_id* if it names none. `DecodeError` for no record."""
    return _RECORDS[service](body, job_id)


def under_asked_id(job: Job, job_id: str) -> Job:
    """Return *job* under the id that was asked for; where the service gave another, that one is `job.answered_id`."""
    return job if job.job_id == job_id else replace(job, job_id=job_id, answered_id=job.job_id)


def read_nudge(body: bytes) -> str | None:
    """Return the id of the job that a callback is about, None if it names none. Nothing else in a callback is to be believed."""
    try:
        value = load_object(body)
    except DecodeError:
        return None
    ids = (value.get("jobid"), value.get("jobId"))
    return next((job_id for job_id in ids if isinstance(job_id, str) and flaw_of_id(job_id) is None), None)


def transport_error(request: Request, cause: BaseException | None = None) -> TransportError:
    """Return the error for a *request* without a whole answer. A submit may have been heard all the same: it is not transient."""
    word = "no whole answer" if cause is None else f"no whole answer ({type(cause).__name__})"
    return TransportError(
        f"{request.method} {redact(request.target)}: {word}", transient=request.method != "POST", job_id=request.job_id
    )


def _decode(request: Request, status: int, body: bytes) -> Answer:
    match request.expects:
        case "submission":
            return _RECORDS[request.service](body, None, is_result=status == 200)
        case "cancelled":
            return Cancelled(request.job_id or "")
        case "asset":
            return decode_link(body, request.asset_id or "")
        case "stats":
            return _STATS[request.service](body)
        case _:  # a file
            return body
