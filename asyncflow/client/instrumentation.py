"""What a client tells its hooks."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from yarl import URL

from asyncflow.errors import AsyncflowError
from asyncflow.telemetry import RequestMade, digest, route_of

if TYPE_CHECKING:
    from asyncflow.client.wire import WireReply
    from asyncflow.pacing import Pacer
    from asyncflow.protocol import Request
    from asyncflow.telemetry import Hooks

__all__ = ["RequestInstrumentation"]


class RequestInstrumentation:
    """Tells *hooks* of the requests to *base_url*, and of the budget that they are paid from."""

    def __init__(self, hooks: Hooks, pacer: Pacer, base_url: str) -> None:
        self.hooks = hooks
        self._pacer = pacer
        url = URL(base_url)
        self._prefix = url.raw_path.rstrip("/")
        self._scheme, self._server, self._port = url.scheme, url.host or "", url.port or 0

    def made(self, request: Request, reply: WireReply | None, outcome: object, *, resends: int, start: float, now: float) -> None:
        """Tell of one attempt; called while its exception, if any, is on its way. *outcome* is None for one that is not ours."""
        error = outcome.kind if isinstance(outcome, AsyncflowError) else None
        if outcome is None:
            # Neither answered nor refused: its caller has left, or the connection turned out to be a dead one.
            error = "cancelled" if isinstance(sys.exception(), asyncio.CancelledError) else "stale"
        self.hooks.emit(
            RequestMade(
                method=request.method,
                route=self._prefix + route_of(request),
                scheme=self._scheme,
                server=self._server,
                port=self._port,
                service=request.service,
                job=digest(request.job_id) if request.job_id else "",
                status=None if reply is None else reply.status,
                error=error,
                resends=resends,
                seconds=now - start,
            )
        )
        self.hooks.check_budget(self._pacer, now)
