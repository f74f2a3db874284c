"""The simulator's own books about submits: what came, what was made of it, and what its sender was told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from asyncflow.simulator import Faults, Simulator, SimulatorThread, SubmitTruth

if TYPE_CHECKING:
    from asyncflow.simulator import ManualClock

pytestmark = pytest.mark.asyncio

Call = Callable[..., Awaitable[tuple[int, Any]]]
VIDEO = {"prompt": "a kite", "async": True, "replyRef": "r-1"}
ASSET = "user:1234-email:00-video:c0ffee01"


async def test_every_submit_is_in_the_books(simulator: Simulator, clock: ManualClock, call: Call) -> None:
    await call("POST", "/v1/google-flow/videos", json=VIDEO)
    clock.advance(5)
    await call("POST", "/v1/google-flow/videos", json={"count": 9, "prompt": "x"})
    await call("POST", "/v1/flowmusic/music", json={"prompt": "brass", "mode": "async"})
    await call("POST", "/v1/google-flow/videos/concatenate", json={"media": [{}, {}]})
    await call("POST", "/v1/google-flow/videos/gif", json={"mediaGenerationId": ASSET})
    await call("POST", "/v1/flowmusic/music", data=b"no JSON")
    await call("GET", "/v1/google-flow/jobs/")
    video, refused, music, joined, gif, broken = simulator.submits()
    jobs = [truth.job_id for truth in simulator.truth()]
    assert [video.job_id, music.job_id, joined.job_id] == jobs
    assert [each.job_id for each in (refused, gif, broken)] == [None] * 3
    assert [each.ended for each in simulator.submits()] == ["201", "400", "201", "200", "200", "400"]
    assert (video.path, video.reply_ref, video.request) == ("/v1/google-flow/videos", "r-1", VIDEO)
    assert refused.at - video.at >= 5
    assert (broken.request, broken.reply_ref) == ({}, None)
    assert (await call("GET", "/_simulator/submits"))[1][0]["reply_ref"] == "r-1"
    await simulator.reset()
    assert simulator.submits() == []


async def test_the_books_have_what_its_sender_was_not_told(simulator: Simulator, call: Call) -> None:
    for fault, error in (("lost_answer", aiohttp.ClientError), ("reset", aiohttp.ClientError)):
        simulator.faults = Faults(kinds=("submit",), **{fault: 1.0})  # type: ignore[arg-type] # a parameter
        with pytest.raises(error):
            await call("POST", "/v1/google-flow/videos", json=VIDEO)
    simulator.faults = Faults(kinds=("submit",), throttle=1.0)
    assert (await call("POST", "/v1/google-flow/videos", json=VIDEO))[0] == 429
    assert [(each.ended, each.job_id is not None) for each in simulator.submits()] == [
        ("lost_answer", True),
        ("reset", False),
        ("429", False),
    ]


async def test_a_gateway_may_give_up_after_the_job_was_made(simulator: Simulator, call: Call) -> None:
    simulator.faults = Faults(kinds=("submit",), lost_to_gateway=1.0)
    statuses = [(await call("POST", "/v1/google-flow/videos", json=VIDEO))[0] for _ in range(12)]
    assert set(statuses) <= {502, 504, 524}
    assert len(simulator.truth()) == 12
    assert {each.ended for each in simulator.submits()} == {"lost_to_gateway"}
    assert simulator.stats().faults == {"lost_to_gateway": 12}


async def test_a_thread_has_the_same_books() -> None:
    with SimulatorThread() as service:
        assert service.submits() == []
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {service.token}"}) as http:
            await http.post(f"{service.url}/v1/google-flow/videos", json=VIDEO)
        [submit] = service.submits()
        assert isinstance(submit, SubmitTruth)
        assert submit.job_id == service.truth()[0].job_id
