"""A request and its answer, whichever server carries them.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PATIENCE", "Answer", "Flow", "ResponseWriter", "WebRequest", "WebResponse", "told"]

PATIENCE = 60.0
"""Seconds for which a browser may take nothing of what it is sent, or send nothing of what it promised."""


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request: *path* is decoded and begins where the dashboard is mounted, the names of *headers* are in lower case.

    *read* returns the body, or None if it is longer than anything that is expected here. *whole_path* begins at the host.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    read: Callable[[], Awaitable[bytes | None]]
    whole_path: str


@dataclass(frozen=True, slots=True)
class WebResponse:
    """An answer that is at hand."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class ResponseWriter(Protocol):
    """The way to a browser."""

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin the answer; once, and first."""

    async def write(self, piece: bytes) -> None:
        """Send *piece*; waits while the browser takes nothing, and raises `OSError` when it has gone or takes too long."""

    async def wait(self, seconds: float, *, for_news: bool) -> bool:
        """Wait, or until there is news; return whether the browser is still there."""
        ...


Flow = Callable[[ResponseWriter], Awaitable[None]]
"""An answer that comes in pieces: it starts the pipe and sends them."""


Answer = Callable[[WebRequest], Awaitable[WebResponse | Flow]]


def told(status: int, text: str, **members: Any) -> WebResponse:  # noqa: ANN401 - whatever goes into JSON
    """Return an answer for the page's own scripts: *text* is a sentence for people."""
    return WebResponse(status, msgspec.json.encode({"text": text, **members}), {"content-type": "application/json"})
