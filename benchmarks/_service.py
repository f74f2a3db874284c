"""A stand-in for the service, in a process of its own: python -m benchmarks._service (its orders come as JSON on stdin).

Bare asyncio, since the simulator takes half a millisecond a request and would be what is measured. It holds no opinion about the
client: it answers, breaks down as it was told, and counts what it saw. Times are seconds since the start of the jobs.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import re
import socket
import struct
import sys
from collections import Counter, deque
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER = re.compile(rb"(\d{7})\D*$")
_RESET = struct.pack("ii", 1, 0)
# A request that crossed a 429 on the wire could not yet know of it.
_CROSSING = 0.05
_REASONS = {200: b"OK", 429: b"Too Many Requests", 500: b"Internal Server Error", 503: b"Service Unavailable"}


@dataclass
class Orders:
    """What is served: *jobs* that end evenly between *first_end* and *last_end*, in the form that *shape* names, and the weather.

    *outages*: (begin, end, "503" or "reset"). *rate*: requests a second that a token bucket lets pass, the others get 429 with
    *retry_after*. *faults*: chances of reset, server_error, garble, truncate and throttle.
    """

    jobs: int = 200
    first_end: float = 4.0
    last_end: float = 20.0
    shape: str = "flow"
    outages: list[tuple[float, float, str]] = field(default_factory=list)
    rate: float | None = None
    retry_after: float = 5.0
    faults: dict[str, float] = field(default_factory=dict)
    seed: int = 1
    core: int | None = None

    def durations(self) -> list[float]:
        dice = random.Random(self.seed)
        return [dice.uniform(self.first_end, self.last_end) for _ in range(self.jobs)]


def job_id(number: int) -> str:
    """Return an id in the form of Google Flow's."""
    return f"j110409301{number:07d}4812v-u40417-email:marta.olsen@example.com-bot:google-flow"


def iso(moment: datetime) -> bytes:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.").encode() + b"%03dZ" % (moment.microsecond // 1000)


class Flow:
    """Records as Google Flow gives them; the completed one is as long as a real one."""

    pattern = re.compile(rb"/v1/google-flow/jobs/(j110409301(\d{7})[^ ]*)")
    started = (
        b'{"jobid":"%b","type":"video","status":"started","created":"%b","request":{"email":"ma***@example.com","prompt":"A paper'
        b' kite over the harbour","model":"veo-3.1-fast","count":1},"updated":"%b"}'
    )

    def __init__(self) -> None:
        self.created = datetime.now(UTC)
        self._born = iso(self.created)
        url = f"https://storage.example.com/video/0f1e?Expires=1790021610&KeyName=k1&Signature={'5' * 256}"
        name = "00000000-c206-429f-9bef-d82c07cd0000"
        media = {
            "name": name,
            "mediaMetadata": {
                "mediaTitle": "A paper kite over the harbour",
                "requestData": {"videoGenerationRequestData": {"videoModelControlInput": {}}, "clientPlatform": "WEB"},
                "mediaStatus": {"mediaGenerationStatus": "MEDIA_GENERATION_STATUS_SUCCESSFUL"},
            },
            "video": {"generatedVideo": {"seed": 7, "prompt": "A paper kite over the harbour", "model": "veo_3_1_fast"}},
            "mediaGenerationId": f"user:40417-email:6d61-video:{name}",
            "videoUrl": url,
            "thumbnailUrl": url,
        }
        attempts = [{"service": "2Captcha", "taskId": f"tsk-{n}", "durationMs": 4254, "success": n == 4} for n in range(5)]
        response = {"media": [media], "remainingCredits": 9000, "captcha": {"attempts": attempts}}
        text = json.dumps(response, separators=(",", ":")).encode()
        self._completed = self.started.replace(b'"started"', b'"completed"')[:-1] + b',"response":' + text + b"}"

    def answer(self, job: bytes, duration: float, *, ended: bool) -> bytes:
        if not ended:
            return self.started % (job, self._born, self._born)
        return self._completed % (job, self._born, iso(self.created + timedelta(seconds=duration)))


class Shaped:
    """Records in the form that a rival expects: its adapter makes them."""

    def __init__(self, name: str) -> None:
        self._adapter = importlib.import_module(f"benchmarks.rivals.{name}")

    def answer(self, target: bytes, number: int, base: str, *, ended: bool) -> bytes:
        return json.dumps(self._adapter.record(number, base, target.decode(), ended=ended)).encode()


class Service:
    """The jobs, the weather, and what was seen."""

    def __init__(self, orders: Orders) -> None:
        self.orders = orders
        self.durations = orders.durations()
        self.started_at: float | None = None
        self.seen: dict[int, float] = {}
        self.counts: Counter[str] = Counter()
        self.connections = self.open = self.peak_open = self.peak = 0
        self.base = ""
        self._loop = asyncio.get_running_loop()
        self._recent: deque[float] = deque()
        self._silence = (0.0, 0.0)
        self._tokens, self._tokens_at = orders.rate or 0.0, 0.0
        self._dice = random.Random(orders.seed)
        self._flow = Flow()
        self._shaped = None if orders.shape == "flow" else Shaped(orders.shape)

    def now(self) -> float:
        return self._loop.time() - (self.started_at or 0.0)

    def control(self, target: bytes) -> bytes:
        if target == b"/control/start":
            # What came before was the client's rehearsal.
            self.started_at = self._loop.time()
            self._flow = Flow()
            self.seen.clear()
            self.counts.clear()
            self._recent.clear()
            self.connections = self.peak_open = self.open
            self.peak = 0
            return b"{}"
        return json.dumps(self.stats()).encode()

    def judge(self, now: float) -> str | None:
        """Return what befalls a request that arrives *now*, None if it is answered."""
        if self.started_at is None:
            return None
        self.counts["requests"] += 1
        recent = self._recent
        recent.append(now)
        while recent[0] <= now - 1.0:
            recent.popleft()
        self.peak = max(self.peak, len(recent))
        begin, end = self._silence
        self.counts["inside"] += begin < now < end
        for begin, end, mode in self.orders.outages:
            if begin <= now < end:
                return mode
        if self.orders.rate is not None:
            self._tokens = min(self.orders.rate, self._tokens + (now - self._tokens_at) * self.orders.rate)
            self._tokens_at = now
            if self._tokens < 1:
                return "throttle"
            self._tokens -= 1
        if self.orders.faults:
            dice = self._dice.random()
            for name, chance in self.orders.faults.items():
                dice -= chance
                if dice < 0:
                    return name
        return None

    def throttled(self, now: float) -> bytes:
        begin, end = self._silence
        self._silence = (now + _CROSSING if now >= end else begin, max(end, now + self.orders.retry_after))
        return http(429, b'{"error":"Too many requests"}', b"Retry-After: %d\r\n" % self.orders.retry_after)

    def reply(self, target: bytes, connection: Connection) -> None:
        """Answer a request, or do to its connection what the weather has in store."""
        now = self.now()
        fault = self.judge(now)
        if fault is not None:
            self.counts[fault] += 1
        match fault:
            case "reset":
                connection.reset()
            case "503" | "server_error":
                connection.write(http(503, b'{"error":"The service is currently unavailable."}'))
            case "throttle":
                connection.write(self.throttled(now))
            case "garble":
                connection.write(http(200, b'\x1f\x8b{"jobid": "j11, \xff\xfe <html>'))
            case _:
                self._answer(target, connection, now, truncate=fault == "truncate")

    def _answer(self, target: bytes, connection: Connection, now: float, *, truncate: bool) -> None:
        if self._shaped is None:
            match = Flow.pattern.match(target)
            assert match is not None, target
            number = int(match[2])
            ended = now >= self.durations[number]
            body = self._flow.answer(match[1], self.durations[number], ended=ended)
        else:
            found = _NUMBER.search(target.partition(b"?")[0])
            assert found is not None, target
            number = int(found[1])
            ended = now >= self.durations[number]
            body = self._shaped.answer(target, number, self.base, ended=ended)
        if truncate:
            connection.write(http(200, body)[: -len(body) // 2])
            connection.close()
            return
        if ended:
            self.seen.setdefault(number, now)
            self.counts["ended"] += 1
        connection.write(http(200, body))

    def stats(self) -> dict[str, Any]:
        lags = sorted(at - self.durations[number] for number, at in self.seen.items())
        back = max((end for _, end, _ in self.orders.outages), default=None)
        waited = [at - back for number, at in self.seen.items() if back is not None and self.durations[number] < back]
        return {
            **{name: self.counts[name] for name in ("requests", "inside", "throttle", "ended")},
            "faults": dict(self.counts),
            "peak": self.peak,
            "connections": self.connections,
            "peak_open": self.peak_open,
            "seen": len(lags),
            "lag_mean": sum(lags) / len(lags) if lags else None,
            "lag_p95": lags[int(0.95 * len(lags))] if lags else None,
            "lag_max": lags[-1] if lags else None,
            "after_back": max(waited, default=None),
        }


class Connection(asyncio.Protocol):
    """One connection: as many requests as its client likes, one after another."""

    transport: asyncio.Transport

    def __init__(self, service: Service) -> None:
        self._service = service
        self._unread = b""
        self._is_control = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        service = self._service
        service.connections += 1
        service.open += 1
        service.peak_open = max(service.peak_open, service.open)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's parameter
        self._service.open -= not self._is_control

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0:
            head, self._unread = self._unread[:end], self._unread[end + 4 :]
            target = head.split(b" ", 2)[1]
            if target.startswith(b"/control/"):
                if not self._is_control:
                    self._is_control = True
                    self._service.connections -= 1
                    self._service.open -= 1
                self.write(http(200, self._service.control(target)))
            else:
                self._service.reply(target, self)

    def write(self, answer: bytes) -> None:
        self.transport.write(answer)

    def close(self) -> None:
        self.transport.close()

    def reset(self) -> None:
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()


def http(status: int, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%b\r\n%b" % (
        status,
        _REASONS[status],
        len(body),
        headers,
        body,
    )


async def serve(orders: Orders) -> None:
    service = Service(orders)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=4096)
    service.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(service.base, flush=True)
    async with server:
        # Whoever started this process closes its standard input to end it.
        await loop.run_in_executor(None, sys.stdin.read)


def pin(core: int | None) -> None:
    """Keep this process on one core, where there are two at least and the system can do it."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, {core})


@contextmanager
def running(orders: Orders) -> Iterator[str]:
    """Serve *orders* in another process while the block lasts; gives the base URL."""
    with Popen([sys.executable, "-m", "benchmarks._service"], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            print(json.dumps(asdict(orders)), file=process.stdin, flush=True)
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def command(base: str, word: str) -> dict[str, Any]:
    """Tell the service *word*, "start" or "stats", and return its answer."""
    with urlopen(f"{base}/control/{word}") as answer:  # noqa: S310 - our own server
        return dict(json.load(answer))


if __name__ == "__main__":
    given = Orders(**json.loads(sys.stdin.readline()))
    pin(given.core)
    asyncio.run(serve(given))
