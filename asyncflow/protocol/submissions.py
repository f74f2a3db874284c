"""Submits: what each endpoint takes, the body as it goes out, and what an answer leaves open.

Pure: no clock, no I/O, no asyncio. Endpoints: https://useapi.net/docs, the POST pages of both services.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import msgspec
from msgspec import field

from asyncflow.errors import DecodeError, OutcomeUnknownError, ServiceError, TransportError, UsageError
from asyncflow.protocol.requests import Request, submit_request
from asyncflow.redaction import one_line
from asyncflow.services.job import RedactedStruct

if TYPE_CHECKING:
    from collections import Counter

__all__ = ["PreparedSubmit", "SubmitRequest", "is_ambiguous", "order_of"]

_LONGEST_KEY = 200


class _SubmitEndpoint(NamedTuple):
    """How an endpoint is asked to answer before the work is done (a field and its value), and whether it takes a replyRef."""

    later: tuple[str, object] | None
    has_reply_ref: bool


_AFTERWARDS = _SubmitEndpoint(("async", True), has_reply_ref=True)
_IN_MODE = _SubmitEndpoint(("mode", "async"), has_reply_ref=True)
_AT_ONCE = _SubmitEndpoint(None, has_reply_ref=True)
# An endpoint that is not listed below refuses, for all we know, what it does not document.
_UNKNOWN = _SubmitEndpoint(None, has_reply_ref=False)
_ENDPOINTS = {
    "google-flow/videos": _AFTERWARDS,
    "google-flow/videos/extend": _AFTERWARDS,
    "google-flow/videos/upscale": _AFTERWARDS,
    "google-flow/images": _AT_ONCE,
    "flowmusic/music": _IN_MODE,
    "flowmusic/music/edit": _IN_MODE,
}


class PreparedSubmit(NamedTuple):
    """A submit that is ready to go out: its *request*, and the *reply_ref* in its body, None where the endpoint takes none.

    *is_own_ref* says that the replyRef is the caller's, who may have used it before.
    """

    request: Request
    reply_ref: str | None
    is_own_ref: bool


class SubmitRequest(RedactedStruct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A line of a batch: the *body* for the POST to *path*, and the *key* by which the line is known again.

    Without a key of its own a line is known by its content, and by how many lines before it had the same.
    """

    path: str
    body: dict[str, Any] = field(default_factory=dict[str, Any])
    key: str | None = None

    @classmethod
    def of(cls, value: object) -> Self:
        """Return the line that *value*, one already or a mapping with its members, is; `UsageError` says what is wrong with it.

        What is returned can be sent, for all that can be known before.
        """
        try:
            line = value if isinstance(value, cls) else msgspec.convert(value, cls)
        except (msgspec.ValidationError, RecursionError) as error:
            raise UsageError(_flaw(value, error)) from None
        if line.key is not None and (not line.key.strip() or not line.key.isprintable() or len(line.key) > _LONGEST_KEY):
            raise UsageError(f"the key of a line is printable text of at most {_LONGEST_KEY} characters")
        order_of(line.path, line.body, "")
        return line

    @property
    def content(self) -> str:
        """A digest of path and body, the same however their members are ordered. `UsageError` if they cannot be sent."""
        try:
            content = msgspec.json.encode([_name(self.path), self.body], order="deterministic")
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError("the body of a submit cannot be written as JSON") from error
        return sha256(content).hexdigest()

    def known_as(self, seen: Counter[str]) -> str:
        """Return by what the line is known in a journal; *seen* counts the lines of a batch, from its first one on.

        `UsageError` for a key that a line before has.
        """
        name = self.content if self.key is None else f"key {self.key}"
        seen[name] += 1
        if self.key is None:
            return f"{name[:16]}-{seen[name]}"
        if seen[name] > 1:
            raise UsageError("another line has the same key", reason="duplicate_key")
        return self.key

    def __repr__(self) -> str:
        return one_line(f"<SubmitRequest {self.key or self.content[:10]} {self.path}>")


def order_of(path: str, body: Mapping[str, Any], new_ref: str) -> PreparedSubmit:
    """Return the submit of *body* to *path*, with the asynchronous mode and *new_ref* as its replyRef where it says neither.

    Both only where the endpoint is known to take them. `UsageError` for what cannot be sent.
    """
    if not isinstance(cast("object", body), Mapping):
        raise UsageError("the body of a submit is a mapping")
    endpoint = _ENDPOINTS.get(_name(path), _UNKNOWN)
    if _name(path) == "flowmusic/music/edit" and body.get("operation") == "stems":
        endpoint = _UNKNOWN  # always synchronous, and without a job
    extras: dict[str, Any] = {}
    if endpoint.later is not None and endpoint.later[0] not in body:
        extras[endpoint.later[0]] = endpoint.later[1]
    reply_ref = body.get("replyRef")
    if reply_ref is not None and not isinstance(reply_ref, str):
        raise UsageError("the replyRef of a submit is text")
    if reply_ref is None and endpoint.has_reply_ref:
        extras["replyRef"] = new_ref
    request = submit_request(path, {**body, **extras} if extras else body)
    return PreparedSubmit(request, reply_ref or extras.get("replyRef"), is_own_ref=bool(reply_ref))


def is_ambiguous(error: Exception) -> bool:
    """Return whether after *error* a submit may have been accepted, nobody having said so.

    It has not where nothing was sent, or where the service itself refuses. What somebody in between says, or a failure of the
    service that it puts into no words of its own, tells nothing; a wait that ended at the service tells of the job or not.
    """
    match error:
        case OutcomeUnknownError() | DecodeError():
            return True
        case TransportError():
            return not error.transient
        case ServiceError(status=408):
            return error.job_id is None
        case ServiceError(status=503):
            # A page of a gateway has neither a code nor a pause.
            return error.code is None and error.retry_after is None
        case ServiceError(status=int(status)):
            return status >= 500
        case _:
            return False


def _name(path: str) -> str:
    return path.partition("?")[0].strip("/").removeprefix("v1/")


def _flaw(value: object, error: Exception) -> str:
    if not isinstance(value, Mapping):
        return "a line is an object with a path and a body"
    words = str(error)
    return one_line(f"the line is no submit: {words[:1].lower()}{words[1:]} (it has a path, a body, and may have a key)")
