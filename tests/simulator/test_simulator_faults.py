import asyncio
import io
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
from yarl import URL

from asyncflow.simulator import Answer, Faults, ManualClock, Outage, Simulator

pytestmark = pytest.mark.asyncio
Json = Any  # what a service says has any shape
Call = Any  # the fixtures `call` and `read` of conftest.py


@pytest.mark.parametrize("fault", ["reset", "lost_answer"])
async def test_a_reset_leaves_no_answer(simulator: Simulator, read: Call, fault: str) -> None:
    (job_id,) = simulator.seed_jobs(age=1000)
    setattr(simulator.faults, fault, 1.0)
    with pytest.raises((ConnectionResetError, aiohttp.ClientOSError, aiohttp.ServerDisconnectedError)):
        await read(job_id)
    stats = simulator.stats()
    assert stats.faults[fault] >= 1
    assert stats.by_status[fault] == stats.faults[fault]
    assert simulator.truth()[0].shown_at is None


@pytest.mark.parametrize("fault", ["reset_midway", "truncate"])
async def test_a_body_may_end_in_the_middle(simulator: Simulator, read: Call, fault: str) -> None:
    (job_id,) = simulator.seed_jobs(age=1000)
    setattr(simulator.faults, fault, 1.0)
    with pytest.raises(aiohttp.ClientError):
        await read(job_id)
    assert simulator.stats().faults[fault] >= 1
    assert simulator.truth()[0].shown_at is None


async def test_a_body_may_be_garbled(simulator: Simulator, http: aiohttp.ClientSession) -> None:
    (job_id,) = simulator.seed_jobs(age=1000)
    simulator.faults.garble = 1.0
    async with http.get(URL(f"{simulator.url}/v1/google-flow/jobs/{job_id}", encoded=True)) as answer:
        assert (answer.status, answer.content_type) == (200, "application/json")
        with pytest.raises(ValueError, match=r"codec|Expecting"):
            await answer.json()


async def test_a_slow_body_arrives_whole_in_the_end(
    simulator: Simulator, clock: ManualClock, http: aiohttp.ClientSession
) -> None:
    (job_id,) = simulator.seed_jobs(age=1000)
    simulator.faults.slow = 1.0
    async with http.get(URL(f"{simulator.url}/v1/google-flow/jobs/{job_id}", encoded=True)) as answer:
        received = b""
        clock.advance(0.5)  # one eighth of a second a piece; each one arms the timer of the next
        while not answer.content.at_eof():
            clock.advance(0.125)
            received += await answer.content.readany()
    assert received.startswith(b'{"jobid"')
    assert received.endswith(b"}")


async def test_slow_and_hanging_answers_end_when_their_reader_leaves(simulator: Simulator, read: Call) -> None:
    (job_id,) = simulator.seed_jobs()
    for fault in ("hang", "slow"):
        simulator.faults = Faults(hang=float(fault == "hang"), slow=float(fault == "slow"))
        with pytest.raises(TimeoutError):
            await read(job_id, timeout=aiohttp.ClientTimeout(total=0.05))
    simulator.faults = Faults()
    await read(job_id)
    assert simulator.stats().in_flight == 0


async def test_a_hanging_answer_does_not_keep_the_simulator_from_closing() -> None:
    async with Simulator(faults=Faults(hang=1.0)) as simulator, aiohttp.ClientSession() as session:
        url = URL(f"{simulator.url}/v1/google-flow/jobs/x-bot:google-flow", encoded=True)
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(_failure(session, url))
            async with asyncio.timeout(5):
                while simulator.stats().in_flight == 0:
                    async with session.get(f"{simulator.url}/_simulator/stats") as answer:
                        await answer.read()
            await simulator.aclose()
    assert isinstance(reading.result(), aiohttp.ClientError)


async def _failure(session: aiohttp.ClientSession, url: URL) -> aiohttp.ClientError | None:
    try:
        async with session.get(url):
            return None
    except aiohttp.ClientError as error:
        return error


@pytest.mark.parametrize("status", [400, 401, 402, 404, 408, 410, 500, 502, 503, 504, 524, 596, 598])
async def test_every_documented_refusal_can_be_asked_for(simulator: Simulator, read: Call, status: int) -> None:
    (job_id,) = simulator.seed_jobs()
    simulator.faults.refuse_with = status
    answered, body = await read(job_id)
    assert answered == status
    assert isinstance(body, bytes) == (status in {502, 504, 524})


async def test_an_outage_lasts_its_time(simulator: Simulator, clock: ManualClock, read: Call) -> None:
    (job_id,) = simulator.seed_jobs()
    simulator.faults.outages = [Outage(9, 12)]
    statuses = []
    for _ in range(5):
        statuses.append((await read(job_id))[0])
        clock.advance(4)
    assert statuses == [200, 200, 200, 200, 200]
    simulator.faults.outages = [Outage(simulator.now())]
    assert (await read(job_id))[0] == 503
    assert simulator.stats().faults == {"outage": 1}


async def test_server_errors_are_the_named_ones(simulator: Simulator, read: Call) -> None:
    (job_id,) = simulator.seed_jobs()
    simulator.faults.server_error, simulator.faults.server_errors = 1.0, (524,)
    assert (await read(job_id))[0] == 524


@pytest.mark.parametrize("form", ["seconds", "date", "body", "none"])
async def test_a_429_says_when_to_come_back(simulator: Simulator, http: aiohttp.ClientSession, form: Json) -> None:
    (job_id,) = simulator.seed_jobs()
    simulator.faults = Faults(rate_limit=1, retry_after=2.5, retry_after_form=form)
    url = URL(f"{simulator.url}/v1/google-flow/jobs/{job_id}", encoded=True)
    async with http.get(url) as answer:
        assert answer.status == 200
    async with http.get(url) as answer:
        body = await answer.json()
        header = answer.headers.get("Retry-After")
        assert answer.status == 429
    assert body["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert ("retryAfter" in body) == (form == "body")
    if form == "seconds":
        assert header == "3"
    elif form == "date":
        assert header is not None
        assert parsedate_to_datetime(header).tzinfo is not None
    else:
        assert header is None


async def test_polls_inside_a_retry_after_are_seen(simulator: Simulator, clock: ManualClock, read: Call) -> None:
    (job_id,) = simulator.seed_jobs()
    simulator.faults = Faults(rate_limit=0.1, burst=1, retry_after=5)
    assert [(await read(job_id))[0] for _ in range(2)] == [200, 429]
    clock.advance(4)
    await read(job_id)
    clock.advance(10)
    assert (await read(job_id))[0] == 200
    stats = simulator.stats()
    assert (stats.polls_inside_retry_after, stats.throttled) == (1, 2)


async def test_latency_shows_how_many_requests_are_in_flight(simulator: Simulator, clock: ManualClock, read: Call) -> None:
    ids = simulator.seed_jobs(5)
    simulator.faults.latency = (0.5, 1.0)
    async with asyncio.TaskGroup() as group:
        reads = [group.create_task(read(job_id)) for job_id in ids]
        while simulator.stats().in_flight < 5:
            async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/_simulator/stats") as answer:
                await answer.read()
        clock.advance(1)
    assert {task.result()[0] for task in reads} == {200}
    assert simulator.stats().peak_in_flight == 5


async def test_creations_are_spared_unless_named(simulator: Simulator, call: Call) -> None:
    simulator.faults.refuse_with = 500
    fields = {"prompt": "a", "async": True}
    assert (await call("POST", "/v1/google-flow/videos", json=fields))[0] == 201
    simulator.faults.kinds = ("submit",)
    assert (await call("POST", "/v1/google-flow/videos", json=fields))[0] == 500


async def test_an_answer_may_be_lost_after_the_job_was_made(simulator: Simulator, call: Call) -> None:
    simulator.faults = Faults(kinds=("submit",), lost_answer=1.0)
    with pytest.raises(aiohttp.ClientError):
        await call("POST", "/v1/google-flow/videos", json={"prompt": "a", "async": True, "replyRef": "r"})
    assert [(truth.reply_ref, truth.submitted) for truth in simulator.truth()] == [("r", True)]


async def test_new_jobs_meet_the_fates_of_the_day(simulator: Simulator) -> None:
    simulator.faults.refused = 1.0
    simulator.seed_jobs()
    assert simulator.truth()[0].expected == "no_output"


async def test_answers_are_played_as_written(simulator: Simulator, http: aiohttp.ClientSession, read: Call) -> None:
    (job_id,) = simulator.seed_jobs(kind="music")
    simulator.play(
        job_id,
        [
            Answer(598, {"Content-Type": "text/plain", "X-Odd": "1"}, b"odd"),
            Answer(204, {"Connection": "close"}),
            Answer(200, {"Content-Type": "application/json", "Content-Length": "99"}, b'{"status": "pen'),
            "reset",
            Answer(200, {"Content-Type": "application/json"}, b"[]", fault="truncate"),
            Answer(429, {"Content-Type": "application/json", "Retry-After": "-5"}, b"{}"),
        ],
    )
    async with http.get(URL(f"{simulator.url}/v1/flowmusic/jobs/{job_id}", encoded=True)) as answer:
        assert (answer.status, answer.headers["X-Odd"], await answer.text()) == (598, "1", "odd")
    assert (await read(job_id))[0] == 204
    for _ in range(2):  # aiohttp asks again by itself after the reset, and gets the truncated answer
        with pytest.raises(aiohttp.ClientPayloadError):
            await read(job_id)
    assert [await read(job_id) for _ in range(2)] == [(429, {})] * 2
    simulator.play(job_id, [])
    assert (await read(job_id))[0] == 200


async def test_a_path_may_be_played_too(simulator: Simulator, call: Call) -> None:
    simulator.play("GET /elsewhere", [Answer(302, {"Location": "http://example.com/"})])
    assert (await call("GET", "/elsewhere?x=1", allow_redirects=False))[0] == 302


async def test_a_body_too_large_is_413(simulator: Simulator, call: Call) -> None:
    assert (await call("POST", "/v1/google-flow/videos", data=io.BytesIO(bytes(2**20 + 1))))[0] == 413
    assert simulator.stats().by_status == {"413": 1}
