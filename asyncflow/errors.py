"""Every exception of asyncflow: one tree, one class for each decision that a caller can take.

Pure: no clock, no I/O, no asyncio. No exception of aiohttp or msgspec leaves the package; it stands behind ours as its cause.
The text of an error is fit for a log: ids appear as digests, and tokens, addresses and signatures do not appear.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from asyncflow.redaction import digest, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from asyncflow.records import FlowStats, Job, MusicStats

__all__ = [
    "AccountError",
    "AsyncflowError",
    "AuthenticationError",
    "BadRequestError",
    "DecodeError",
    "DownloadError",
    "EdgeBlockedError",
    "JobExpiredError",
    "JobFailedError",
    "JobNotFoundError",
    "JournalError",
    "LinkExpiredError",
    "ModeratedError",
    "OutcomeUnknownError",
    "PaymentError",
    "PermissionDeniedError",
    "RateLimitedError",
    "RedirectError",
    "ServiceError",
    "StallTimeoutError",
    "StartTimeoutError",
    "StoreError",
    "TransportError",
    "UsageError",
    "WaitTimeoutError",
    "category_of",
    "error_class",
]

_FAMILIES = {
    "captcha": ("UNUSUAL_ACTIVITY", "CAPTCHA"),
    "account_cooldown": ("QUOTA", "THROTTLED", "NO_ELIGIBLE_ACCOUNT"),
    "capacity": ("HIGH_TRAFFIC", "OVERLOADED", "CONCURRENT"),
    "policy": ("UNSAFE", "MINOR", "PROMINENT_PEOPLE", "SEXUAL", "VIOLEN", "FILTER", "PROHIBITED", "HARM", "MODERAT", "_IP_"),
}


class AsyncflowError(Exception):
    """What every error of asyncflow is.

    *message* is the cause in words, as the service gave it where it did; it may hold personal data, and `str(error)` does not.
    *kind* names the cause (the words are those of https://useapi.net's answers: "not_found", "rate_limited", ...). *transient*
    says whether the same request may get a better answer later. *retry_after* is the pause that the service asked for, in
    seconds, or None. *status* is the HTTP status, *code* and *reason* are the service's own words for the cause. *job_id* is the
    job in question and *job* its last record, where they are known; *details* are the service's reasons for each of its
    accounts. `hint` is what the caller can do about it, "" where that is plain; `shows_reason` is whether the text of the error
    ends with the reason, as far as the message does not hold it.
    """

    default_kind: ClassVar[str] = "error"
    hint: ClassVar[str] = ""
    shows_reason: ClassVar[bool] = True

    def __init__(
        self,
        message: str = "",
        *,
        kind: str | None = None,
        transient: bool = False,
        retry_after: float | None = None,
        status: int | None = None,
        code: int | str | None = None,
        reason: str | None = None,
        job_id: str | None = None,
        job: Job | None = None,
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.message = message
        self.kind: str = kind or self.default_kind
        self.transient = transient
        self.retry_after = retry_after
        self.status = status
        self.code = code
        self.reason = reason
        self.job_id = job_id
        self.job = job
        self.details = details

    @property
    def category(self) -> str | None:
        """The family of the cause as far as it is known: "policy", "captcha", "account_cooldown" or "capacity"."""
        return category_of(self.reason) or ("capacity" if self.kind in {"rate_limited", "unavailable"} else None)

    def __str__(self) -> str:
        text = one_line(self.message) or self.kind.replace("_", " ")
        reason = one_line(self.reason or "") if self.shows_reason else ""
        if reason not in text:
            text = f"{text} ({reason})"
        if self.status is not None:
            text = f"{text} [HTTP {self.status}]"
        if self.job_id is None or digest(self.job_id) in text:
            return text
        return f"job {digest(self.job_id)}: {text}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r}, kind={self.kind!r})"

    def __reduce__(self) -> tuple[Callable[..., AsyncflowError], tuple[type[AsyncflowError], dict[str, Any]]]:
        return _rebuild, (type(self), vars(self).copy())


def _rebuild(cls: type[AsyncflowError], fields: dict[str, Any]) -> AsyncflowError:
    error = cls.__new__(cls)
    error.__dict__.update(fields)
    return error


class UsageError(AsyncflowError):
    """The call cannot work as it stands, and no request was made: no token, an empty id, a closed client, another event loop.

    *reason* says which argument is meant, where a caller can tell the user more: "token", "base_url", "duplicate_key" or
    "percent_encoded". It is not part of the text.
    """

    default_kind = "usage"
    shows_reason = False


class BadRequestError(AsyncflowError):
    """The service does not accept this request: mend it (400, 413 and every 4xx that has no class of its own)."""

    default_kind = "bad_request"


class AuthenticationError(AsyncflowError):
    """The token was refused (401): nothing works until it is replaced."""

    default_kind = "unauthorized"
    hint = "check the token"


class PaymentError(AsyncflowError):
    """The subscription has ended or the credits are spent (402, 412)."""

    default_kind = "payment_required"


class PermissionDeniedError(AsyncflowError):
    """The job or the model belongs to somebody else, or a captcha was refused (403)."""

    default_kind = "forbidden"


class EdgeBlockedError(AsyncflowError):
    """The service's edge refused the client before the API saw the request (403 that is not JSON)."""

    default_kind = "edge_blocked"
    hint = "send a User-Agent of your own, and see whether a firewall or a proxy stands in between"


class JobNotFoundError(AsyncflowError):
    """The service knows no such job (404). Flow Music answers so for expired jobs too."""

    default_kind = "not_found"
    hint = "the id may be mistyped, or the job expired: Flow Music says the same of both"


class JobExpiredError(AsyncflowError):
    """The record is past its retention, 7 days on Google Flow (410)."""

    default_kind = "expired"


class ModeratedError(AsyncflowError):
    """The prompt was refused (422): the same prompt never succeeds."""

    default_kind = "moderated"
    hint = "change the prompt: the same one is refused again"


class RateLimitedError(AsyncflowError):
    """Too many requests (429); `retry_after` says how long to pause, if the service did."""

    default_kind = "rate_limited"


class AccountError(AsyncflowError):
    """The Google account behind the job lost its session (596): its owner must connect it again."""

    default_kind = "account_error"
    hint = "connect the Google account again at useapi.net"


class ServiceError(AsyncflowError):
    """The service or something behind it failed (408, 5xx, or an error inside a 200)."""

    default_kind = "server"


class TransportError(AsyncflowError):
    """No answer, or only a part of one: connection refused, reset, timed out, cut off."""

    default_kind = "transport"


class DecodeError(AsyncflowError):
    """An answer that is no record: empty, cut off, not JSON, or JSON of another kind."""

    default_kind = "decode_error"


class RedirectError(AsyncflowError):
    """The server points elsewhere: the base URL is not that of the service. Redirects are never followed with a token."""

    default_kind = "redirect"
    hint = "check the base URL"


class LinkExpiredError(AsyncflowError):
    """A media link is past its time, about six hours; ask for a fresh one with `get_asset_url`."""

    default_kind = "url_expired"
    hint = "ask for a fresh link with get_asset_url, or read the job again"


class JobFailedError(AsyncflowError):
    """The job that was waited for ended without success; `job` is its last record and `job.failure` the cause."""

    default_kind = "job_failed"


class WaitTimeoutError(AsyncflowError, TimeoutError):
    """A limit of time passed before the job ended. The job itself goes on: wait again with the same id."""

    default_kind = "wait_timeout"


class StartTimeoutError(WaitTimeoutError):
    """The job was not started in time: it is still created or pending."""

    default_kind = "start_timeout"


class StallTimeoutError(WaitTimeoutError):
    """The job's record has not moved for too long."""

    default_kind = "stall_timeout"


class OutcomeUnknownError(AsyncflowError):
    """A job was submitted and the answer was lost: it may run, and it may be paid for. It is never submitted again by itself.

    *requested_at* (aware) is when the request went out, *reply_ref* the replyRef that it carried. *statistics* are what the
    service told of the last minutes right afterwards, () if it did not; *candidates* are the ids of the jobs in them that may
    be this one. If one of those is it for certain, by its replyRef, that is `job_id`, and `job` its record.
    """

    default_kind = "outcome_unknown"
    hint = "poll the job if the error has its id, else look for it with get_stats before you submit again"

    requested_at: datetime | None = None
    reply_ref: str | None = None
    statistics: tuple[FlowStats | MusicStats, ...] = ()
    candidates: tuple[str, ...] = ()


class JournalError(AsyncflowError):
    """The journal of a watch cannot be opened, read or written; `reason` is the cause in one word.

    "locked" (another watch uses it), "full", "unwritable", "unreadable", "missing", "disk_error", "damaged", "foreign" (a file
    of something else), "newer" (written by a newer asyncflow), "old_sqlite" or "refused".
    """

    default_kind = "journal"


class StoreError(AsyncflowError):
    """The store of a shared watch does not do what it was asked; `reason` is the cause in one word.

    Transient: "unreachable" (no answer, starting, failing over) and "full" (no memory, no disk). Else: "refused" (user or
    password), "newer" (the keys were written by a newer asyncflow), "foreign" (keys of something else), "damaged" or "failed".
    """

    default_kind = "store"


class DownloadError(AsyncflowError):
    """A file cannot be had, or not be kept; `reason` is the cause in one word.

    Of the disk, and then no other file fares better: "full", "unwritable", "not_a_folder", "disk_error". Of one file: "locked"
    (another process fetches it), "unsafe_link" (it leads to this machine or network, or away from https), "redirects",
    "not_media" (a page of text, say), "wrong_answer", "too_large", "gone", "not_ended" (its job still runs).
    """

    default_kind = "download"
    shows_reason = False


_CLASSES: Mapping[str, type[AsyncflowError]] = {
    cls.default_kind: cls
    for cls in (
        UsageError,
        BadRequestError,
        AuthenticationError,
        PaymentError,
        PermissionDeniedError,
        EdgeBlockedError,
        JobNotFoundError,
        JobExpiredError,
        ModeratedError,
        RateLimitedError,
        AccountError,
        ServiceError,
        TransportError,
        DecodeError,
        RedirectError,
        LinkExpiredError,
        JobFailedError,
        WaitTimeoutError,
        StartTimeoutError,
        StallTimeoutError,
        OutcomeUnknownError,
        JournalError,
        StoreError,
        DownloadError,
    )
} | {
    "client_error": BadRequestError,
    "payload_too_large": BadRequestError,
    "insufficient_credits": PaymentError,
    "timeout": ServiceError,
    "unavailable": ServiceError,
    "upstream_error": ServiceError,
}


def error_class(kind: str) -> type[AsyncflowError]:
    """Return the class of the errors of this *kind*, `AsyncflowError` itself for an unknown one."""
    return _CLASSES.get(kind, AsyncflowError)


def category_of(reason: str | None) -> str | None:
    """Return the family of a machine-readable *reason*, None for an unknown one: the set is large and open.

    "policy" (the same prompt never succeeds), "captcha" (a solution was refused), "account_cooldown" (quota or throttle of the
    account), "capacity" (the service is busy).
    """
    word = (reason or "").upper()
    return next((family for family, parts in _FAMILIES.items() if any(part in word for part in parts)), None)
