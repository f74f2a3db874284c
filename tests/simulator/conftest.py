"""A running simulator, and plain aiohttp to talk to it: nothing of asyncflow's own client."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest_asyncio
from yarl import URL

from asyncflow.simulator import ManualClock, Simulator

Json = Any  # what a service says has any shape
Read = Callable[..., Awaitable[tuple[int, Json]]]


@pytest_asyncio.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def simulator(clock: ManualClock) -> AsyncIterator[Simulator]:
    async with Simulator(seed=7, clock=clock, inline_images=0.0) as simulator:
        yield simulator


@pytest_asyncio.fixture
async def http(simulator: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {simulator.token}", "User-Agent": "tests"}) as session:
        yield session


@pytest_asyncio.fixture
async def call(simulator: Simulator, http: aiohttp.ClientSession) -> Read:
    """Return a function that sends a request to a raw path below the simulator and returns status and decoded body."""

    async def send(method: str, path: str, **options: Json) -> tuple[int, Json]:
        async with http.request(method, URL(simulator.url + path, encoded=True), **options) as answer:
            if answer.content_type == "application/json":
                return answer.status, await answer.json()
            return answer.status, await answer.read()

    return send


@pytest_asyncio.fixture
async def read(call: Read) -> Read:
    """Return a function that reads a job as its service wants it and returns status and body."""

    async def send(job_id: str, **options: Json) -> tuple[int, Json]:
        music = job_id.endswith("flowmusic")
        path = f"/v1/flowmusic/jobs/{quote(job_id, safe='')}" if music else f"/v1/google-flow/jobs/{job_id}"
        return await call("GET", path, **options)

    return send
