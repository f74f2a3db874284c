"""Whoever calls a webhook: an ASGI server in the same process, in as few lines as the protocol allows, and raw sockets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping

JOB_ID = "j1104093012448120573v-u40417-email:marta.olsen@example.com-bot:google-flow"
OTHER_ID = "job:0b1c2d3e-0000-4000-8000-00000000beef-user:7-marta.olsen@example.com-bot:flowmusic"
SECRET = "nQ8~tV3-made.up_of-letters"


def callback(job_id: str = JOB_ID, status: str = "completed") -> bytes:
    return json.dumps({"jobid": job_id, "type": "video", "status": status}).encode()


@dataclass
class Watch:
    """Stands for a watch: it knows some ids, and notes which of them it was nudged about."""

    job_ids: set[str] = field(default_factory=lambda: {JOB_ID})
    nudged: list[str] = field(default_factory=list)

    def nudge(self, job_id: str) -> bool:
        is_watched = job_id in self.job_ids
        if is_watched:
            self.nudged.append(job_id)
        return is_watched


@dataclass
class Heard:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces_read: int = 0


async def ask(
    app: Callable[..., Awaitable[None]],
    method: str,
    target: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Mapping[str, str] | None = None,
    *,
    pause: Callable[[], Awaitable[object]] | None = None,
    is_cut: bool = False,
) -> Heard:
    """Send a request to the ASGI application *app*; *pause* is awaited before each piece, and *is_cut* ends it too early."""
    heard = Heard()
    parts = urlsplit(target)
    pieces = iter([body] if isinstance(body, bytes) else body)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "root_path": "",
        "query_string": parts.query.encode(),
        "headers": [(b"host", b"hooks.example.com")]
        + [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 80),
        "extensions": {},
        "state": {},
    }

    async def receive() -> MutableMapping[str, Any]:
        if pause is not None:
            await pause()
        piece = next(pieces, None)
        if piece is not None:
            heard.pieces_read += 1
            return {"type": "http.request", "body": piece, "more_body": True}
        if is_cut or heard.status:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        if is_cut:
            raise OSError("the caller has gone")
        if message["type"] == "http.response.start":
            heard.status = message["status"]
            heard.headers = {name.decode().lower(): value.decode() for name, value in message.get("headers", [])}
        else:
            heard.body += message.get("body", b"")

    await app(scope, receive, send)
    return heard


async def speak(url: str, *pieces: bytes) -> bytes:
    """Send raw bytes to *url* and return all that comes back until the other side closes."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()
