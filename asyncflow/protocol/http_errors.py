"""Which error an answer means that is no record: by its status first, and by its body where that says more.

Pure: no clock, no I/O, no asyncio. Statuses and bodies: https://useapi.net/docs, the answers of each endpoint.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from asyncflow.errors import AsyncflowError, DecodeError, error_class
from asyncflow.services.lenient import Json, deepest_reason, forgive, load_object, number, parse_time, plain_code

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RETRY_AFTER = 86_400.0
_INSTEAD = 3_600.0
"""Seconds to wait where more is asked for: quotas begin anew at midnight, and a slip of the service must not stop us for days."""

_KINDS = {
    400: "bad_request",
    401: "unauthorized",
    402: "payment_required",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    410: "expired",
    412: "insufficient_credits",
    413: "payload_too_large",
    422: "moderated",
    429: "rate_limited",
    503: "unavailable",
    596: "account_error",
}
_TRANSIENT = frozenset({"timeout", "rate_limited", "unavailable", "server"})
_WORD = re.compile(r"[A-Za-z0-9]+(?:[_.][A-Za-z0-9]+)+")
_TITLE = re.compile(r"<title>\s*([^<]{1,200}?)\s*</title>", re.IGNORECASE)
_LONGEST_TEXT = 200


class _Inner(Struct, gc=False):
    code: int | str | None = None
    message: str | None = None
    status: str | None = None


class _Skip(Struct, gc=False):
    reason: str | None = None


class _Refusal(Struct, gc=False, rename="camel"):
    error: _Inner | str | None = None
    message: str | None = None
    code: int | str | None = None
    jobid: str | None = None
    job_id: str | None = None
    retry_after: str | None = None
    skip_reasons: list[_Skip | None] | None = None


class ErrorFacts(Struct, frozen=True, gc=False):
    """What the body of a refusal says. *is_json* is false where it is a page or a text of somebody in between."""

    is_json: bool
    message: str = ""
    code: int | str | None = None
    reason: str | None = None
    job_id: str | None = None
    retry_after: str | None = None
    details: tuple[str, ...] = ()
    is_error: bool = False


def read_refusal(body: bytes) -> ErrorFacts:
    """Return what *body* says of an error, as far as it can be made out; never an error of its own."""
    try:
        value = load_object(body)
        refusal = forgive(value, _Refusal)
    except DecodeError:
        return ErrorFacts(is_json=False, message=_text(body))
    return ErrorFacts(is_json=True, is_error=refusal.error is not None, **_tell(refusal, value))


def refusal_error(
    method: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    job_id: str | None = None,
    is_file: bool = False,
    now: datetime | None = None,
) -> AsyncflowError:
    """Return the error that an answer of this *status* means; *job_id* is the one that was asked for.

    Only a GET or a DELETE can be transient. *is_file* marks the answer to the download of a file. *now* (aware) stands in for a
    missing Date header.
    """
    facts = read_refusal(body)
    kind = _file_kind(status, body) if is_file else _kind(status, is_json=facts.is_json)
    return error_class(kind)(
        facts.message,
        kind=kind,
        transient=kind in _TRANSIENT and method != "POST",
        retry_after=read_retry_after(headers, facts.retry_after, now),
        status=status,
        code=facts.code,
        reason=facts.reason,
        job_id=job_id or facts.job_id,
        details=facts.details,
    )


def embedded_error(method: str, status: int, body: bytes, job_id: str | None = None) -> AsyncflowError | None:
    """Return the error that a body tells of although its *status* is one of success; None if it tells of none."""
    facts = read_refusal(body)
    if not facts.is_error:
        return None
    is_transient = isinstance(facts.code, int) and _kind(facts.code, is_json=True) in _TRANSIENT
    return error_class("upstream_error")(
        facts.message,
        kind="upstream_error",
        transient=is_transient and method != "POST",
        status=status,
        code=facts.code,
        reason=facts.reason,
        job_id=job_id or facts.job_id,
        details=facts.details,
    )


def read_retry_after(headers: Mapping[str, str], text: str | None = None, now: datetime | None = None) -> float | None:
    """Return the seconds that the answer asks us to wait: by its header, seconds or a date, else by *text*, its body's instant.

    Instants count from the Date header, else from *now*. What is past is 0, more than a day is taken for an error and gives
    an hour, and what cannot be a pause is None.
    """
    header = _header(headers, "retry-after")
    seconds = number(header) if header is not None else None
    if seconds is None or seconds < 0:
        when = _http_date(header) or parse_time(text)
        since = _http_date(_header(headers, "date")) or now
        if when is None or since is None:
            return None
        seconds = max((when - since).total_seconds(), 0.0)
    return float(seconds) if seconds <= MAX_RETRY_AFTER else _INSTEAD


def _kind(status: int, *, is_json: bool) -> str:
    if status == 403 and not is_json:
        return "edge_blocked"
    kind = _KINDS.get(status)
    if kind is not None:
        return kind
    if status < 300:
        return "decode_error"
    if status < 400:
        return "redirect"
    return "client_error" if status < 500 else "server"


def _file_kind(status: int, body: bytes) -> str:
    """Return the kind for a file: a link that is over is refused with 403, and by some stores with a 400 that says so."""
    if status in {401, 403, 410} or (status == 400 and b"Expired" in body):
        return "url_expired"
    return _kind(status, is_json=True)


def _tell(refusal: _Refusal, value: Json) -> dict[str, Any]:
    error = refusal.error
    if isinstance(error, _Inner):
        code, message, word = error.code, error.message or refusal.message or error.status, None
    else:
        code, message, word = None, error or refusal.message, error
    if word is not None and refusal.message and _WORD.fullmatch(word):
        message = refusal.message
    else:
        word = None
    return {
        "message": message or "",
        "code": plain_code(refusal.code, code),
        "reason": word or deepest_reason(value),
        "job_id": refusal.jobid or refusal.job_id,
        "retry_after": refusal.retry_after,
        "details": tuple(skip.reason for skip in refusal.skip_reasons or () if skip is not None and skip.reason),
    }


def _text(body: bytes) -> str:
    """Return the title of a page, or a text short enough to be a message."""
    text = body[:65536].decode("utf-8", "replace").strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        return title[1] if title is not None else "a page instead of JSON"
    return text if len(text) <= _LONGEST_TEXT else "a text instead of JSON"


def _header(headers: Mapping[str, str], name: str) -> str | None:
    return next((value for key, value in headers.items() if key.lower() == name), None)


def _http_date(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when
