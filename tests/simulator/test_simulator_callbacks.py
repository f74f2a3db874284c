import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from asyncflow.simulator import Faults, ManualClock, Simulator
from asyncflow.simulator.webhooks import is_allowed

Json = Any  # what a service says has any shape
Call = Any  # the fixtures `call` and `read` of conftest.py


class Receiver:
    """A web server that keeps what is posted to it."""

    def __init__(self) -> None:
        self.bodies: asyncio.Queue[Any] = asyncio.Queue()
        self.status = 204
        self.url = ""

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        self.bodies.put_nowait(json.loads(await request.read()))
        return web.Response(status=self.status)

    async def next(self) -> Json:
        return await asyncio.wait_for(self.bodies.get(), 5)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    runner = web.ServerRunner(web.Server(receiver))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield receiver
    await runner.cleanup()


@pytest.mark.asyncio
@pytest.mark.parametrize(("fate", "last"), [("success", "completed"), ("failed", "failed")])
async def test_a_video_calls_back_at_each_transition(
    simulator: Simulator, clock: ManualClock, receiver: Receiver, call: Call, read: Call, fate: str, last: str
) -> None:
    fields = {"prompt": f"a #{fate}", "async": True, "replyUrl": receiver.url, "replyRef": "r-1"}
    job_id = (await call("POST", "/v1/google-flow/videos", json=fields))[1]["jobid"]
    assert (await receiver.next())["status"] == "created"
    clock.advance(5)
    assert (await receiver.next())["status"] == "started"
    clock.advance(500)
    body = await receiver.next()
    assert body == (await read(job_id))[1]
    assert (body["status"], body["request"]["replyRef"]) == (last, "r-1")
    assert receiver.bodies.empty()
    await _counted(simulator, {"sent": 3})


@pytest.mark.asyncio
async def test_a_song_calls_back_once_at_its_end(simulator: Simulator, clock: ManualClock, receiver: Receiver) -> None:
    simulator.seed_jobs(kind="music", reply_url=receiver.url, reply_ref="r-2")
    clock.advance(500)
    body = await receiver.next()
    assert (body["status"], body["request"]["replyRef"]) == ("completed", "r-2")
    await _counted(simulator, {"sent": 1})


@pytest.mark.asyncio
async def test_a_cancelled_song_calls_back_at_once_and_never_again(
    simulator: Simulator, clock: ManualClock, receiver: Receiver, call: Call
) -> None:
    (job_id,) = simulator.seed_jobs(kind="music", reply_url=receiver.url)
    clock.advance(1)
    await call("DELETE", f"/v1/flowmusic/jobs/{job_id}")
    assert (await receiver.next())["error"]["code"] == "user_cancelled"
    clock.advance(500)
    assert receiver.bodies.empty()


@pytest.mark.asyncio
async def test_an_older_job_tells_only_what_is_still_to_come(
    simulator: Simulator, clock: ManualClock, receiver: Receiver
) -> None:
    simulator.seed_jobs(age=50, duration=100, reply_url=receiver.url)
    clock.advance(50)
    assert (await receiver.next())["status"] == "completed"


@pytest.mark.asyncio
async def test_callbacks_get_lost_doubled_and_late(simulator: Simulator, clock: ManualClock, receiver: Receiver) -> None:
    simulator.faults = Faults(callback_lost=1.0)
    simulator.seed_jobs(kind="music", duration=1, reply_url=receiver.url)
    clock.advance(1)
    assert simulator.stats().callbacks == {"lost": 1}
    simulator.faults = Faults(callback_twice=1.0, callback_delay=(1.0, 2.0))
    job_id = simulator.seed_jobs(kind="music", age=5, duration=6, reply_url=receiver.url)[0]
    clock.advance(1)
    await _settle(simulator)
    assert receiver.bodies.empty()
    clock.advance(2)
    assert [(await receiver.next())["jobid"] for _ in range(2)] == [job_id, job_id]


async def _settle(simulator: Simulator) -> None:
    """Give tasks that were started a turn, by a request that has nothing to do with them."""
    async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/_simulator/stats") as answer:
        await answer.read()


async def _counted(simulator: Simulator, callbacks: dict[str, int]) -> None:
    """Return when the simulator has counted *callbacks*; it does so once their receiver has answered."""
    async with asyncio.timeout(5):
        while simulator.stats().callbacks != callbacks:
            await _settle(simulator)


@pytest.mark.asyncio
async def test_receivers_may_refuse_or_be_gone(simulator: Simulator, clock: ManualClock, receiver: Receiver) -> None:
    receiver.status = 500
    simulator.seed_jobs(1, kind="music", duration=1, reply_url=receiver.url)
    clock.advance(1)
    await receiver.next()
    simulator.seed_jobs(kind="music", duration=1, reply_url="http://127.0.0.1:9/")
    clock.advance(1)
    await _counted(simulator, {"refused_by_receiver": 1, "failed": 1})


@pytest.mark.asyncio
async def test_no_callback_leaves_the_machine(simulator: Simulator, clock: ManualClock) -> None:
    simulator.seed_jobs(reply_url="http://198.51.100.7/hook")
    clock.advance(500)
    assert simulator.stats().callbacks == {"refused": 1}


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8000/hook", True),
        ("https://127.9.9.9/", True),
        ("http://[::1]/", True),
        ("http://localhost/", True),
        ("http://hooks.example.com/", True),
        ("http://example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://localhost@example.com/", False),
        ("http://10.0.0.1/", False),
        ("ftp://127.0.0.1/", False),
        ("http://[::1/", False),
        ("", False),
    ],
)
def test_only_loopback_and_named_hosts_are_allowed(url: str, *, allowed: bool) -> None:
    assert is_allowed(url, frozenset({"hooks.example.com"})) is allowed


@pytest.mark.asyncio
async def test_closing_drops_callbacks_that_are_under_way(receiver: Receiver) -> None:
    async with Simulator(faults=Faults(callback_delay=60.0)) as simulator:
        simulator.seed_jobs(3, reply_url=receiver.url)
    assert receiver.bodies.empty()
