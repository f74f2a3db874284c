"""What the tests of faults share: clients with either transport, a watch in words, and files, sockets and threads counted."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
import zlib
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from asyncflow import Abandoned, AsyncClient, AsyncflowError, Changed, Ended, JobWatcher, Unreachable, fixed_interval

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asyncflow import Event

TOKEN = "user:1234-abcdef"
EMAIL = "jo-ann+flow@example.com"
FLOW_ID = f"j1104093012448120573v-u1234-email:{EMAIL}-bot:google-flow"
OTHER_ID = f"j1104093012448120999v-u1234-email:{EMAIL}-bot:google-flow"
MEGABYTE = 2**20

on_each_transport = pytest.mark.parametrize("transport", ["fast", "session"])
TransportName = Literal["fast", "session"]


def record(status: str = "started", job_id: str = FLOW_ID, padding: int = 0) -> bytes:
    """A record of a video, with *padding* bytes in a field that nobody reads."""
    return f'{{"jobid": "{job_id}", "type": "video", "status": "{status}", "padding": "{"x" * padding}"}}'.encode()


@asynccontextmanager
async def client_in(
    transport: TransportName, url: str, *, timeout: float = 10, max_retries: int = 0
) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(
        TOKEN, base_url=url, transport=transport, timeout=timeout, max_retries=max_retries, policy=fixed_interval(0.05)
    ) as client:
        assert client.transport == transport
        yield client
        stats = client.pacer.stats()
        assert (stats.in_flight, stats.waiting) == (0, 0)


async def watched(watcher: JobWatcher, most: int = 100) -> list[str]:
    """Return what a watch reports, as words, until its end or the first *most* events; an error that ends it is its last word."""
    seen: list[str] = []
    try:
        async with watcher:
            async for event in watcher:
                seen.append(word(event))
                if len(seen) == most:
                    break
    except AsyncflowError as error:
        seen.append(f"raises {error.kind}")
    return seen


def word(event: Event) -> str:
    match event:
        case Changed(job):
            return f"changed {job.status}"
        case Ended(job):
            return f"ended {job.outcome.value}"
        case Abandoned(_, error):
            return f"abandoned {error.kind}"
        case Unreachable(_, _, error):
            return f"unreachable {error.kind}"
        case _:
            return "expiring"


@cache
def bomb(megabytes: int) -> bytes:
    """A gzip of so many megabytes of zeros, in a thousandth of that; its checksum is wrong, since nobody must come that far."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeezer.compress(bytes(MEGABYTE)) + squeezer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08" + bytes(7) + block * megabytes + squeezer.flush() + bytes(8)


@contextmanager
def peak_below(megabytes: float) -> Iterator[None]:
    """At no moment of the block was more memory in use than so many megabytes beyond what was in use at its start."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (peak - before) / MEGABYTE < megabytes


def open_files() -> int:
    """How many files and sockets the process has open; 0 where the system does not tell."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


@asynccontextmanager
async def leaves_nothing() -> AsyncIterator[None]:
    """Soon after the block there are the tasks, threads, files and sockets of before; warnings are errors anyway."""
    before = belongings()
    yield
    # Whoever is cancelled twice does not wait for what it closes: a thread, say, that commits what was noted.
    turn = asyncio.get_running_loop().create_future()
    for _ in range(300):
        if belongings() == before:
            return
        await asyncio.wait([turn], timeout=0.01)
    assert belongings() == before


def belongings() -> tuple[set[asyncio.Task[object]], set[threading.Thread], int]:
    return asyncio.all_tasks(), set(threading.enumerate()), open_files()
