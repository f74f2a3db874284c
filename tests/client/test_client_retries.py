"""What is asked again, when, and for how long."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from service_kit import FLOW_ID, client_at, client_of, clock, http, listening

from asyncflow import (
    AuthenticationError,
    DecodeError,
    Ended,
    JobNotFoundError,
    PaymentError,
    RateLimitedError,
    ServiceError,
    TransportError,
)
from asyncflow.simulator import Answer, Faults, Outage, Simulator

if TYPE_CHECKING:
    from asyncflow.simulator.replay import Fault

pytestmark = pytest.mark.asyncio

STARTED = Answer(body=json.dumps({"jobid": FLOW_ID, "type": "video", "status": "started"}).encode())


async def test_what_may_pass_is_asked_again() -> None:
    faults: list[Answer | Fault] = [
        *(Answer(status) for status in (408, 500, 502, 503, 524)),
        *("reset", "reset_midway", "truncate"),
        *(Answer(body=body) for body in (b"", b"<html>", b"{", b'{"error": "upstream", "code": 503}')),
    ]
    async with Simulator() as simulator, client_of(simulator, concurrency=20) as client:
        ids = simulator.seed_jobs(len(faults), age=600)
        for job_id, fault in zip(ids, faults, strict=True):
            simulator.play(job_id, [fault, STARTED])
        jobs = await asyncio.gather(*map(client.get_job, ids))
        assert [job.status for job in jobs] == ["started"] * len(faults)


@pytest.mark.parametrize("status", [400, 402, 403, 404, 410, 413, 422, 596, 301, 405])
async def test_what_will_not_pass_is_asked_once(status: int) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play(FLOW_ID, [Answer(status, body=b'{"error": "no"}')])
        with pytest.raises(Exception, match=rf"HTTP {status}"):
            await client.get_job(FLOW_ID)
        assert simulator.stats().requests == 1


async def test_a_refused_token_and_a_refused_payment_are_told_apart() -> None:
    async with Simulator(faults=Faults(refuse_with=401)) as simulator, client_of(simulator) as client:
        with pytest.raises(AuthenticationError):
            await client.get_job(FLOW_ID)
        simulator.faults.refuse_with = 402
        with pytest.raises(PaymentError):
            await client.get_job(FLOW_ID)


async def test_retries_pause_and_end() -> None:
    async with Simulator(faults=Faults(server_error=1)) as simulator, client_of(simulator, max_retries=1) as client:
        start = clock()
        with pytest.raises(ServiceError) as failure:
            await client.get_job(FLOW_ID)
        assert failure.value.transient
        assert failure.value.job_id == FLOW_ID
        assert simulator.stats().requests == 2
        assert 0.5 <= clock() - start < 1.5


async def test_no_retries_means_one_request() -> None:
    async with Simulator(faults=Faults(garble=1)) as simulator, client_of(simulator, max_retries=0) as client:
        with pytest.raises(DecodeError):
            await client.get_job(FLOW_ID)
        assert simulator.stats().requests == 1


async def test_reads_of_any_kind_are_repeated() -> None:
    faults = Faults(outages=[Outage(0, 0.3, "reset")], kinds=("stats", "cancel"))
    async with Simulator(faults=faults) as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(kind="music", duration=1000)
        await asyncio.gather(client.get_stats("flowmusic"), client.cancel(job_id))
        assert (await client.get_job(job_id)).is_terminal


# -- Retry-After ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "least"), [("seconds", 1.0), ("date", 0.5), ("body", 0.5)])
async def test_retry_after_is_obeyed_in_each_form(form: str, least: float) -> None:
    seconds = 0.5 if form == "body" else 1.0
    faults = Faults(rate_limit=0.01, burst=1, retry_after=seconds, retry_after_form=form)  # type: ignore[arg-type] # a parameter
    async with Simulator(faults=faults) as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600)
        await client.get_job(job_id)
        start = clock()
        reading = asyncio.create_task(client.get_job(job_id))
        while not simulator.stats().throttled:
            await asyncio.wait({reading}, timeout=0.01)
        simulator.faults = Faults()
        await reading
        assert least <= clock() - start + 0.02 < 3
        assert simulator.stats().polls_inside_retry_after == 0


@pytest.mark.parametrize("form", ["seconds", "date", "body"])
async def test_a_retry_after_beyond_the_deadline_fails_now(form: str) -> None:
    faults = Faults(throttle=1, retry_after=600, retry_after_form=form)  # type: ignore[arg-type] # a parameter
    async with Simulator(faults=faults) as simulator, client_of(simulator) as client:
        start = clock()
        with pytest.raises(RateLimitedError) as failure:
            await client.get_job(FLOW_ID, timeout=60)
        assert failure.value.retry_after == pytest.approx(600, abs=2)
        assert clock() - start < 0.5
        assert simulator.stats().requests == 1


async def test_a_spent_budget_fails_now_and_says_for_how_long() -> None:
    async with Simulator(faults=Faults(throttle=1, retry_after=600)) as simulator, client_of(simulator) as client:
        with pytest.raises(RateLimitedError):
            await client.get_job(FLOW_ID)
        start = clock()
        with pytest.raises(RateLimitedError) as failure:
            await client.get_job(FLOW_ID)
        assert failure.value.job_id == FLOW_ID
        assert failure.value.transient
        assert failure.value.retry_after == pytest.approx(600, abs=5)
        with pytest.raises(RateLimitedError):
            await client.submit("google-flow/videos", {"prompt": "a kite"})
        assert clock() - start < 0.5
        assert simulator.stats().requests == 1


async def test_a_spent_budget_fails_now_for_those_who_stand_in_line_too() -> None:
    async with Simulator(faults=Faults(throttle=1, retry_after=600)) as simulator, client_of(simulator) as client:
        with pytest.raises(RateLimitedError):
            await client.get_job(FLOW_ID)
        patient = asyncio.create_task(client.get_job(FLOW_ID, timeout=3600))
        await asyncio.wait({patient}, timeout=0.05)
        start = clock()
        with pytest.raises(RateLimitedError):
            await client.get_job(FLOW_ID, timeout=30)
        assert clock() - start < 0.5
        patient.cancel()
        await asyncio.wait({patient})


# -- deadlines -----------------------------------------------------------------------------------------------------------------


async def test_the_deadline_counts_the_time_of_requests() -> None:
    async with listening() as server, client_at(server.url) as client:
        start = clock()
        with pytest.raises(TransportError) as failure:
            await client.get_job(FLOW_ID, timeout=0.5)
        assert 0.45 < clock() - start < 0.9
        assert failure.value.job_id == FLOW_ID
        assert failure.value.transient


async def test_the_deadline_counts_the_time_of_the_token() -> None:
    async def token() -> str:
        await asyncio.Event().wait()
        return ""

    async with listening(http(404)) as server, client_at(server.url) as client:
        start = clock()
        with pytest.raises(TransportError):
            await client.with_options(token=token).get_job(FLOW_ID, timeout=0.3)
        assert clock() - start < 0.8


async def test_the_timeout_of_a_client_bounds_each_try() -> None:
    async with listening() as server, client_at(server.url, timeout=0.1, max_retries=1) as client:
        start = clock()
        with pytest.raises(TransportError):
            await client.get_job(FLOW_ID, timeout=10)
        # Told by the budget: a server that is slow to accept may not see a request that is given up so soon.
        assert sum(client.pacer.stats().starts.values()) == 2
        assert clock() - start < 2


async def test_a_body_that_dribbles_for_too_long_is_a_lost_answer() -> None:
    async with (
        Simulator(faults=Faults(slow=1, slow_seconds=60)) as simulator,
        client_of(simulator, timeout=0.3, max_retries=0) as client,
    ):
        [job_id] = simulator.seed_jobs(age=600)
        start = clock()
        with pytest.raises(TransportError):
            await client.get_job(job_id)
        assert clock() - start < 0.8


async def test_a_timeout_that_has_passed_makes_no_request_last() -> None:
    async with listening() as server, client_at(server.url) as client:
        start = clock()
        for seconds in (0, -5.0):
            with pytest.raises(TransportError):
                await client.get_job(FLOW_ID, timeout=seconds)
        assert clock() - start < 0.3


async def test_a_retry_does_not_outlive_the_deadline() -> None:
    async with Simulator(faults=Faults(reset=1)) as simulator, client_of(simulator, max_retries=50) as client:
        start = clock()
        with pytest.raises(TransportError):
            await client.get_job(FLOW_ID, timeout=1.2)
        assert clock() - start < 1.3


# -- the budget is told --------------------------------------------------------------------------------------------------------


async def test_an_answer_about_one_job_is_no_failure_of_the_service() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        for _ in range(10):
            with pytest.raises(JobNotFoundError):
                await client.get_job(FLOW_ID)
        stats = client.pacer.stats()
        assert (stats.failures, stats.throttled, stats.circuit) == (0, 0, "closed")


async def test_a_503_with_a_retry_after_pauses_everybody() -> None:
    async with Simulator() as simulator, client_of(simulator, max_retries=0) as client:
        simulator.play(FLOW_ID, [Answer(503, {"Retry-After": "600"}, b'{"error": "overloaded"}')])
        [job_id] = simulator.seed_jobs(age=600)
        with pytest.raises(ServiceError):
            await client.get_job(FLOW_ID)
        with pytest.raises(RateLimitedError):
            await client.get_job(job_id)
        assert simulator.stats().requests == 1


async def test_a_file_that_is_being_prepared_pauses_nobody() -> None:
    asset = "user:1234-email:6164612e6c696e64-video:1"
    async with Simulator() as simulator, client_of(simulator, max_retries=0) as client:
        simulator.play(f"/v1/google-flow/assets/{asset}", [Answer(503, {"Retry-After": "600"}, b'{"error": "preparing"}')])
        [job_id] = simulator.seed_jobs(age=600)
        with pytest.raises(ServiceError) as failure:
            await client.get_asset_url(asset)
        assert failure.value.retry_after == 600
        assert (await client.get_job(job_id)).is_terminal


async def test_a_submit_that_finds_its_quota_spent_pauses_no_read() -> None:
    async with (
        Simulator(faults=Faults(kinds=("submit",), throttle=1, retry_after=1800)) as simulator,
        client_of(simulator) as client,
    ):
        [job_id] = simulator.seed_jobs(age=600)
        with pytest.raises(RateLimitedError) as failure:
            await client.submit("google-flow/videos", {"prompt": "a kite"})
        assert failure.value.retry_after == 1800
        assert (await client.get_job(job_id)).is_terminal
        assert simulator.stats().by_kind == {"submit": 1, "read": 1}


@pytest.mark.parametrize(
    "fault",
    ["reset", "reset_midway", "truncate", "hang", "slow", Answer(429), Answer(500), Answer(404), Answer(596), Answer(body=b"{")],
    ids=str,
)
async def test_every_request_is_ended_once(fault: Answer) -> None:
    async with Simulator() as simulator, client_of(simulator, max_retries=1) as client:
        simulator.play(FLOW_ID, [fault])
        for _ in range(2):
            with pytest.raises((TransportError, ServiceError, DecodeError, RateLimitedError, JobNotFoundError, Exception)):
                await client.get_job(FLOW_ID, timeout=0.2)
        stats = client.pacer.stats()
        assert stats.in_flight == 0


async def test_a_blip_in_a_watch_is_asked_again_at_once() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        blips: list[Answer | Fault] = [Answer(503), "reset", "truncate", Answer(body=b"<html>")]
        ids = simulator.seed_jobs(len(blips), age=600)
        for job_id, blip in zip(ids, blips, strict=True):
            simulator.play(job_id, [blip, Answer(body=completed(job_id))])
        async with client.watch(ids) as watcher:
            assert [type(event) for event in [event async for event in watcher]] == [Ended] * len(ids)
            assert watcher.stats().failed_polls == 0
        starts = client.pacer.stats().starts
        assert (starts["interactive"], starts["rest"]) == (0, 2 * len(ids))


def completed(job_id: str) -> bytes:
    media = [{"videoUrl": "https://storage.example.com/1"}]
    return json.dumps({"jobid": job_id, "type": "video", "status": "completed", "response": {"media": media}}).encode()
