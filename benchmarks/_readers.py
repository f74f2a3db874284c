"""The ways of reading a job that `benchmarks.read` compares: each makes *polls* reads, *in_flight* of them at once.

The certificate of the server must be in the environment (SSL_CERT_FILE) when this is imported: aiohttp makes its TLS contexts
then.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import process_time
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from asyncflow import AsyncClient, Pacer, fixed_interval
from asyncflow.pacing import Priority
from asyncflow.services.google_flow import records as google_flow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOKEN = "user:1-benchmark"  # noqa: S105 - there is nobody to tell it to
MANY_IDS = [f"j{number:06d}3012448120573v-u40417-email:marta.olsen@example.com-bot:google-flow" for number in range(10_000)]
IDS = MANY_IDS[:2000]
PATH = "/v1/google-flow/jobs/"

# Imported once the certificate is known, and only where they are installed.
RIVALS = {name: importlib.import_module(name) for name in ("requests", "httpx", "niquests") if importlib.util.find_spec(name)}


@dataclass
class Reader:
    """A way to read; *polls* is how many reads make a measurement."""

    name: str
    polls: int
    read: Callable[[int, int], Awaitable[int]]
    is_rival: bool = False
    watched: Watched | None = None


class Transports:
    """Everything that stays open between measurements against one server, for one number of reads at once."""

    def __init__(self, url: str, in_flight: int) -> None:
        self.url = url + PATH
        self._base_url = url
        self._in_flight = in_flight
        self._stack = AsyncExitStack()
        self.readers: list[Reader] = []

    async def __aenter__(self) -> Self:
        enter = self._stack.enter_async_context
        self.bare = await enter(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        self.readers = [
            Reader("bare aiohttp, r.json()", 4000, self._bare),
            Reader("one asyncio task per poll, bare aiohttp", 3000, self._task_per_poll),
            Reader("bare aiohttp, typed decode", 4000, self._typed),
        ]
        for transport in ("session", "fast"):
            client = await enter(
                AsyncClient(TOKEN, base_url=self._base_url, transport=transport, pacer=taught(4 * self._in_flight))
            )
            self.readers.append(Reader(f"get_job, {transport} transport", 4000, Single(client).read))
            watched = Watched(client, self._in_flight, IDS)
            self.readers.append(Reader(f"the whole watcher, {transport} transport", 6000, watched.read, watched=watched))
            if transport == "fast":
                # More than records are remembered of.
                many = Watched(client, self._in_flight, MANY_IDS)
                self.readers.append(
                    Reader(f"the whole watcher, {transport} transport, 10,000 jobs", 6000, many.read, watched=many)
                )
        if "requests" in RIVALS:
            self.readers.append(Reader("requests.get, one after another", 300, self._requests, is_rival=True))
            self.readers.append(Reader("requests.Session in 32 threads", 600, self._threads, is_rival=True))
        if "httpx" in RIVALS:
            httpx = RIVALS["httpx"]
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
            self._httpx = await enter(httpx.AsyncClient(limits=limits, timeout=60))
            self.readers.append(Reader("httpx.AsyncClient", 300, self._through_httpx, is_rival=True))
        if "niquests" in RIVALS:
            session = RIVALS["niquests"].AsyncSession(pool_maxsize=self._in_flight)
            session.verify = os.environ["SSL_CERT_FILE"]
            self._niquests = await enter(session)
            self.readers.append(Reader("niquests.AsyncSession", 600, self._through_niquests, is_rival=True))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def _spread(self, polls: int, in_flight: int, read: Callable[[str], Awaitable[object]]) -> int:
        async def worker(number: int) -> int:
            ids = [IDS[at % len(IDS)] for at in range(number, polls, in_flight)]
            for job_id in ids:
                await read(job_id)
            return len(ids)

        return sum(await asyncio.gather(*map(worker, range(in_flight))))

    async def _bare(self, polls: int, in_flight: int) -> int:
        async def read(job_id: str) -> None:
            async with self.bare.get(self.url + job_id) as response:
                await response.json()

        return await self._spread(polls, in_flight, read)

    async def _typed(self, polls: int, in_flight: int) -> int:
        async def read(job_id: str) -> None:
            async with self.bare.get(self.url + job_id) as response:
                google_flow.decode(await response.read(), job_id)

        return await self._spread(polls, in_flight, read)

    async def _task_per_poll(self, polls: int, in_flight: int) -> int:
        places = asyncio.Semaphore(in_flight)

        async def read(job_id: str) -> None:
            async with places, self.bare.get(self.url + job_id) as response:
                await response.json()

        async with asyncio.TaskGroup() as group:
            for at in range(polls):
                group.create_task(read(IDS[at % len(IDS)]))
        return polls

    # -- rivals ----------------------------------------------------------------------------------------------------------

    async def _requests(self, polls: int, _in_flight: int) -> int:
        requests: Any = RIVALS["requests"]
        for at in range(polls):
            requests.get(self.url + IDS[at], verify=os.environ["SSL_CERT_FILE"], timeout=60).json()
        return polls

    async def _threads(self, polls: int, _in_flight: int) -> int:
        requests: Any = RIVALS["requests"]
        local = threading.local()

        def read(at: int) -> None:
            if not hasattr(local, "session"):
                local.session = requests.Session()
            # Said each time, since what a session has is overruled by the environment.
            local.session.get(self.url + IDS[at % len(IDS)], verify=os.environ["SSL_CERT_FILE"], timeout=60).json()

        with ThreadPoolExecutor(32) as pool:
            list(pool.map(read, range(polls)))
        return polls

    async def _through_httpx(self, polls: int, in_flight: int) -> int:
        async def read(job_id: str) -> None:
            (await self._httpx.get(self.url + job_id)).json()

        return await self._spread(max(polls, 2 * in_flight), in_flight, read)

    async def _through_niquests(self, polls: int, in_flight: int) -> int:
        async def read(job_id: str) -> None:
            (await self._niquests.get(self.url + job_id)).json()

        return await self._spread(max(polls, 2 * in_flight), in_flight, read)


class Single:
    """Reads through `get_job`: the client with its budget, no watch."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def read(self, polls: int, in_flight: int) -> int:
        async def worker(number: int) -> int:
            ids = [IDS[at % len(IDS)] for at in range(number, polls, in_flight)]
            for job_id in ids:
                await self._client.get_job(job_id)
            return len(ids)

        return sum(await asyncio.gather(*map(worker, range(in_flight))))


class Watched:
    """One watch, all of whose jobs are always due: as many polls in flight as there may be. Its first polls are not counted.

    Its jobs are to be read every 0.05 s, more often than they can be: what is measured is a poll and not the pause before it.
    """

    def __init__(self, client: AsyncClient, in_flight: int, job_ids: list[str]) -> None:
        self._client = client
        self._in_flight = in_flight
        self._job_ids = job_ids
        self.before = (0.0, 0)

    async def read(self, polls: int, _in_flight: int) -> int:
        async with self._client.watch(self._job_ids, policy=fixed_interval(0.05), concurrency=self._in_flight) as watcher:
            count = events = 0
            async for _event in watcher:
                events += 1
                if events % 64:
                    continue
                count = watcher.stats().polls
                if count < 2 * len(self._job_ids):
                    self.before = (process_time(), count)
                elif count >= polls + self.before[1]:
                    break
            return count


def taught(concurrency: int) -> Pacer:
    """Return a pacer that has learned that this server bears all we can send: on a clock of its own, in no time.

    Left to learn it here it would take ten seconds more. It has room for more than we have in flight, so that a moment at which
    the machine is slow does not make the number of reads at once another than the one that is measured.
    """
    pacer = Pacer(concurrency=concurrency)
    now = -1000.0
    while pacer.stats().rate < 45_000 and now < -1:
        for _ in range(500):
            delay = pacer.try_acquire(now, Priority.REST)
            if delay:
                now += delay
            else:
                pacer.succeeded(now, 0.05)
    while pacer.stats().limit < concurrency - 2 and now < -0.1:
        # The room too: all of it used, and answered at once.
        while (delay := pacer.try_acquire(now, Priority.REST)) < 0.2:
            now += delay
        now += 0.05
        while pacer.stats().in_flight:
            pacer.succeeded(now, 0.05)
    return pacer


async def microseconds(reader: Reader, share: float, in_flight: int) -> float:
    """Return the CPU of this process for one read, all its threads and both rings; *share* of the usual number are made."""
    begin, uncounted = process_time(), 0
    done = await reader.read(max(int(reader.polls * share), in_flight), in_flight)
    end = process_time()
    if reader.watched is not None:
        begin, uncounted = reader.watched.before
    return (end - begin) / (done - uncounted) * 1e6
