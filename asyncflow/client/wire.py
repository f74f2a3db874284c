"""What both transports say on the wire and take from it, so that a service cannot tell them apart."""

from __future__ import annotations

from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from asyncflow.errors import DecodeError

if TYPE_CHECKING:
    from asyncio import BaseTransport
    from collections.abc import Mapping

    from asyncflow.protocol import Request

__all__ = [
    "NO_HEADERS",
    "RECEIVE_BYTES",
    "StaleConnection",
    "WireReply",
    "headers",
    "plain_reply",
    "receive_less",
    "whole_body",
    "without_total",
]

_LONGEST_ANSWER_BYTES = 128 * 2**20
"""More than any answer has; ten videos joined into one come as some ninety megabytes of base64."""

_LONGEST_REFUSAL_BYTES = 2**20
"""Of an error no more than this is read: what it means is in its status and its first lines."""

RECEIVE_BYTES = 65536
"""asyncio asks the system for 256 KiB at each read of a socket; to provide them costs more than to read a record."""


class StaleConnection(Exception):  # noqa: N818 - no error of anybody's: a reason to ask once more
    """A connection that was kept has turned out dead: the service has heard nothing of the request, or will not mind another."""


class WireReply(NamedTuple):
    """An answer as it came; *headers* of a 200 may be left out, as nothing in them says more than the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


NO_HEADERS: Mapping[str, str] = {}


def plain_reply(body: bytes) -> WireReply:
    """Return the answer 200 with this body, whose headers nobody has read."""
    return WireReply(200, NO_HEADERS, body)


@lru_cache(maxsize=16)
def headers(token: str, *, has_body: bool) -> Mapping[str, str]:
    """Return the headers of a request, one mapping for all that are alike: it is not to be changed."""
    fields = {"Authorization": f"Bearer {token}", "User-Agent": _user_agent(), "Accept": "application/json"}
    if has_body:
        fields["Content-Type"] = "application/json"
    else:
        # The record of a running job is a few hundred bytes: to unpack them would take longer than to receive them.
        fields["Accept-Encoding"] = "identity"
    return fields


@cache
def _user_agent() -> str:
    # Without a name of its own a client is refused at the edge: https://useapi.net/docs/api-google-flow-v1 (error code 1010).
    with suppress(PackageNotFoundError):
        return f"asyncflow-useapi/{version('asyncflow-useapi')}"
    return "asyncflow-useapi"


@lru_cache(maxsize=16)
def without_total(connect: float) -> aiohttp.ClientTimeout:
    """Return the timeouts that aiohttp is to keep: only that of making a connection, *connect* seconds; the rest is ours."""
    return aiohttp.ClientTimeout(total=None, sock_connect=connect)


def receive_less(transport: BaseTransport | None) -> None:
    """Have *transport* read `RECEIVE_BYTES` at once, if it is one of asyncio's own; others are left as they are."""
    # With TLS it is another object that reads, and the transport has no public way to it.
    for reader in (transport, getattr(transport, "_ssl_protocol", None)):
        if getattr(reader, "max_size", 0) > RECEIVE_BYTES:
            reader.max_size = RECEIVE_BYTES  # type: ignore[union-attr] # has been looked for


async def whole_body(request: Request, status: int, fields: Mapping[str, str], content: aiohttp.StreamReader) -> bytes:
    """Return all of *content*, or as much of a refusal as is read of one; a server that never stops is none of the service's."""
    longest = _LONGEST_ANSWER_BYTES if status < 300 else _LONGEST_REFUSAL_BYTES
    pieces: list[bytes] = []
    size = 0
    is_too_long = status < 300 and int(fields.get("Content-Length", 0)) > longest
    while not is_too_long and (piece := await content.readany()):
        pieces.append(piece)
        size += len(piece)
        is_too_long = size > longest
    if is_too_long and status < 300:
        pieces.clear()  # the error holds this frame, and whoever keeps the error would keep the body
        raise DecodeError(
            "the answer is longer than any record", transient=request.method != "POST", status=status, job_id=request.job_id
        )
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
