"""How answers leave the simulator: whole through aiohttp, broken or hand-made straight onto the connection."""

import socket
import struct
import sys
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from aiohttp import web

from asyncflow.simulator.clock import Clock, wait_until

__all__ = ["HTML", "JSON", "SimulatedResponse", "abort", "dribble", "flood", "json_reply", "refusal", "throttled", "write_raw"]

JSON = {"Content-Type": "application/json; charset=utf-8"}
HTML = {"Content-Type": "text/html; charset=UTF-8", "Server": "cloudflare"}
_DRIBBLES = 8
_FLOOD = 65_536
# On, zero seconds: closing then sends RST. Windows has shorter members than everybody else.
_NO_LINGERING = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class SimulatedResponse(NamedTuple):
    """An answer before it is sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = JSON

    def response(self) -> web.Response:
        """Return it in the form that aiohttp sends."""
        return web.Response(status=self.status, body=self.body, headers=self.headers)


def json_reply(status: int, value: object, headers: Mapping[str, str] = JSON) -> SimulatedResponse:
    """Return an answer whose body is *value* as JSON."""
    return SimulatedResponse(status, msgspec.json.encode(value), headers)


_REFUSALS = {
    400: json_reply(400, {"error": "Invalid job ID format", "code": 400}),
    401: json_reply(401, {"error": "Unauthorized"}),
    402: json_reply(402, {"error": "Account has no subscription or subscription expired"}),
    403: SimulatedResponse(403, b"error code: 1010", {"Content-Type": "text/plain; charset=UTF-8", "Server": "cloudflare"}),
    404: json_reply(404, {"error": "Job not found"}),
    408: json_reply(408, {"error": "Request timeout"}),
    410: json_reply(410, {"error": "Job has expired"}),
    413: SimulatedResponse(413, b"<html><body>413 Request Entity Too Large</body></html>", HTML),
    500: json_reply(500, {"error": "Internal Server Error", "code": 500}),
    502: SimulatedResponse(
        502, b"<!DOCTYPE html>\n<html><head><title>502</title></head><body><h1>Bad gateway</h1></body></html>", HTML
    ),
    503: json_reply(503, {"error": {"code": 503, "message": "The service is currently unavailable.", "status": "UNAVAILABLE"}}),
    504: SimulatedResponse(504, b"<html><head><title>504</title></head><body>Gateway time-out</body></html>", HTML),
    524: SimulatedResponse(524, b"<html><head><title>524: A timeout occurred</title></head></html>", HTML),
    596: json_reply(596, {"error": "Failed to refresh session/refresh token", "code": 596}),
}


def refusal(status: int) -> SimulatedResponse:
    """Return the service's answer of *status* in the form documented or seen for it (API.md 3.3)."""
    return _REFUSALS.get(status) or json_reply(status, {"error": f"API error: {status}", "code": status})


def throttled(headers: Mapping[str, str], retry_at: str | None) -> SimulatedResponse:
    """Return a 429; *retry_at* is the body's `retryAfter`."""
    detail = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "PUBLIC_ERROR_USER_REQUESTS_THROTTLED"}
    error = {"code": 429, "message": "Too many requests.", "status": "RESOURCE_EXHAUSTED", "details": [detail]}
    return json_reply(429, {"error": error} | ({} if retry_at is None else {"retryAfter": retry_at}), {**JSON, **headers})


def abort(request: web.BaseRequest) -> None:
    """Reset the connection: the client sees RST, not an end."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
        transport.abort()


def write_raw(request: web.BaseRequest, reply: SimulatedResponse, *, share: float = 1.0, close: bool = True) -> None:
    """Write *reply* as it is, only the first *share* of its body, and close the connection unless it is to be broken otherwise.

    The headers announce the whole body's length unless they say a length themselves. Nothing happens if the client is gone.
    """
    transport = request.transport
    if transport is not None:
        transport.write(_head(reply) + reply.body[: int(len(reply.body) * share)])
        if close:
            transport.close()


async def dribble(request: web.BaseRequest, reply: SimulatedResponse, clock: Clock, seconds: float) -> None:
    """Write *reply* in small pieces over *seconds*, then close the connection; a client that leaves cancels it."""
    transport = request.transport
    if transport is None:
        return
    write_raw(request, reply, share=0.0, close=False)
    size = -(-len(reply.body) // _DRIBBLES) or 1
    for start in range(0, len(reply.body), size):
        await wait_until(clock, clock.now() + seconds / _DRIBBLES)
        transport.write(reply.body[start : start + size])
    transport.close()


async def flood(request: web.BaseRequest, reply: SimulatedResponse, clock: Clock) -> None:
    """Write the body of *reply* and then zeros without end, in chunks, until the client leaves."""
    transport = request.transport
    if transport is None:
        return
    headers = {**reply.headers, "Transfer-Encoding": "chunked"}
    write_raw(request, SimulatedResponse(reply.status, b"", headers), close=False)
    piece = reply.body
    while not transport.is_closing():
        if transport.get_write_buffer_size() < 4 * _FLOOD:
            transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            piece = bytes(_FLOOD)
        await wait_until(clock, clock.now() + 0.001)


def _head(reply: SimulatedResponse) -> bytes:
    try:
        reason = HTTPStatus(reply.status).phrase
    except ValueError:
        reason = "Unknown"
    lines = [f"HTTP/1.1 {reply.status} {reason}", *(f"{name}: {value}" for name, value in reply.headers.items())]
    names = {name.lower() for name in reply.headers}
    if reply.status != HTTPStatus.NO_CONTENT and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(reply.body)}")
    if "connection" not in names:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
