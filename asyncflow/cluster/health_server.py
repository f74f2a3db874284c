"""What orchestrators and Prometheus ask a worker, over HTTP: is it well, and how does it go."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from asyncflow.errors import AsyncflowError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asyncflow.cluster.store import StoreStatus, WatchStore, WorkerStats
    from asyncflow.cluster.worker import Worker

__all__ = ["metrics", "serve_health"]

_END = b"\r\n\r\n"
_PATIENCE = 5.0
_MOST_HEAD = 16_384

_GAUGES = {
    "in_hand": "Jobs that this worker has claimed.",
    "in_flight": "Polls under way.",
    "unreported": "Reports that the store has not taken yet.",
    "connected": "Whether the store answers.",
    "claim_time": "Seconds of a claim, smoothed.",
    "report_time": "Seconds of a report, smoothed.",
}
_COUNTERS = {
    "polls": "Polls that were answered, or failed.",
    "failed_polls": "Polls that failed.",
    "counted": "Reports that counted.",
    "stale": "Reports whose lease was lost.",
    "lapsed": "Leases that ran out before their poll.",
    "ended": "Jobs that ended.",
    "abandoned": "Jobs that were given up.",
    "throttled": "Answers 429.",
}
_QUEUE = {
    "watched": "Jobs that have not ended.",
    "leased": "Jobs in the hands of workers.",
    "due": "Jobs that wait for a poll.",
    "lag": "Seconds for which the first of them waits.",
    "kept": "Endings that are kept.",
    "events": "Events that are kept.",
    "pause": "Seconds left of a pause after a 429.",
}


@asynccontextmanager
async def serve_health(worker: Worker, store: WatchStore, host: str, port: int) -> AsyncGenerator[tuple[str, int]]:
    """Answer while the block lasts; give host and port.

    `/healthz` is 200 as long as the store has answered within the length of a lease, else 503; `/readyz` is 503 too while the
    worker is draining; both say how it goes as JSON. `/metrics` is for Prometheus. Nothing of it is secret, and nothing of it
    names a job. An `OSError` if the port cannot be had.
    """
    answering: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answering.add(writer)
        try:
            async with asyncio.timeout(_PATIENCE):
                head = await reader.readuntil(_END)
                answer = await _answer(head, worker, store)
                writer.write(answer.partition(_END)[0] + _END if head.startswith(b"HEAD ") else answer)
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever it was has gone, or does not speak HTTP
        finally:
            answering.discard(writer)
            writer.close()

    server = await asyncio.start_server(serve, host, port, limit=_MOST_HEAD)
    try:
        address = server.sockets[0].getsockname()
        yield address[0], address[1]
    finally:
        server.close()
        for writer in tuple(answering):
            writer.transport.abort()


async def _answer(head: bytes, worker: Worker, store: WatchStore) -> bytes:
    method, _, rest = head.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    path = rest.partition(" ")[0].partition("?")[0]
    stats = worker.stats()
    if method not in {"GET", "HEAD"}:
        return _reply(405, "text/plain", b"")
    if path == "/healthz":
        return _reply(200 if stats.is_healthy else 503, "application/json", msgspec.json.encode(stats))
    if path == "/readyz":
        is_ready = stats.is_healthy and stats.connected and not stats.is_draining
        return _reply(200 if is_ready else 503, "application/json", msgspec.json.encode(stats))
    if path == "/metrics":
        status = None
        with suppress(AsyncflowError, TimeoutError):
            async with asyncio.timeout(_PATIENCE / 2):
                status = await store.status()
        return _reply(200, "text/plain; version=0.0.4", metrics(stats, status).encode())
    return _reply(404, "text/plain", b"/healthz, /readyz and /metrics\n")


def _reply(status: int, kind: str, body: bytes) -> bytes:
    words = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}[status]
    head = f"HTTP/1.1 {status} {words}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def metrics(stats: WorkerStats, status: StoreStatus | None) -> str:
    """Return the figures of a worker, and of its queue if they could be had, in Prometheus' text format."""
    lines: list[str] = []

    def add(name: str, kind: str, words: str, value: float) -> None:
        lines.extend((f"# HELP {name} {words}", f"# TYPE {name} {kind}", f"{name} {float(value):g}"))

    figures = msgspec.to_builtins(stats)
    for name, words in _GAUGES.items():
        add(f"asyncflow_worker_{name}", "gauge", words, figures[name])
    for name, words in _COUNTERS.items():
        add(f"asyncflow_worker_{name}_total", "counter", words, figures[name])
    if status is not None:
        for name, words in _QUEUE.items():
            add(f"asyncflow_queue_{name}", "gauge", words, getattr(status, name))
        add("asyncflow_queue_rate", "gauge", "Polls a second that the budget allows, 0 for no limit.", status.rate or 0.0)
        for name, count in sorted(status.counts.items()):
            add(f"asyncflow_queue_{name}_total", "counter", f"Of the queue since it was made: {name.replace('_', ' ')}.", count)
    return "".join(f"{line}\n" for line in lines)
