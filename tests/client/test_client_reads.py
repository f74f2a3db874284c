"""One request each: what goes on the wire, and what comes back."""

from __future__ import annotations

import gzip
import json

import pytest
from service_kit import EMAIL, FLOW_ID, MUSIC_ID, TOKEN, client_at, client_of, http, listening

from asyncflow import (
    FlowJob,
    JobExpiredError,
    JobNotFoundError,
    MusicJob,
    Outcome,
    PermissionDeniedError,
    UsageError,
)
from asyncflow.records import FlowStats, MusicStats
from asyncflow.simulator import Simulator

pytestmark = pytest.mark.asyncio

STARTED = json.dumps({"jobid": FLOW_ID, "type": "video", "status": "started"}).encode()


async def test_a_video_is_read() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600, fate="success")
        job = await client.get_job(job_id)
        assert isinstance(job, FlowJob)
        assert (job.job_id, job.status, job.outcome, len(job.urls)) == (job_id, "completed", Outcome.SUCCEEDED, 1)


async def test_a_song_is_read() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(kind="music", age=600, fate="success")
        job = await client.get_job(job_id)
        assert isinstance(job, MusicJob)
        assert (job.job_id, job.status, job.kind, len(job.urls)) == (job_id, "completed", "music", 2)


async def test_a_failed_job_is_a_record_to_get_job() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600, fate="failed")
        assert (await client.get_job(job_id)).outcome is Outcome.FAILED


async def test_an_id_of_google_flow_goes_onto_the_wire_as_it_is() -> None:
    async with listening(http(200, STARTED)) as server, client_at(server.url) as client:
        await client.get_job(FLOW_ID)
        assert server.request_lines == [f"GET /v1/google-flow/jobs/{FLOW_ID} HTTP/1.1"]


async def test_an_id_of_flow_music_goes_onto_the_wire_percent_encoded() -> None:
    record = json.dumps({"jobid": MUSIC_ID, "status": "pending"}).encode()
    async with listening(http(200, record)) as server, client_at(server.url) as client:
        await client.get_job(MUSIC_ID)
        [line] = server.request_lines
        encoded = MUSIC_ID.replace(":", "%3A").replace("@", "%40").replace("+", "%2B")
        assert line == f"GET /v1/flowmusic/jobs/{encoded} HTTP/1.1"


async def test_what_would_end_the_path_is_escaped_in_either_case() -> None:
    odd = "j1/2?3#4%41-u1-email:a@b.c-bot:google-flow"
    async with listening(http(404, b'{"error": "Job not found"}')) as server, client_at(server.url) as client:
        with pytest.raises(JobNotFoundError):
            await client.get_job(odd)
        assert server.request_lines == ["GET /v1/google-flow/jobs/j1%2F2%3F3%234%2541-u1-email:a@b.c-bot:google-flow HTTP/1.1"]


async def test_every_request_names_client_and_token() -> None:
    async with listening(http(200, STARTED)) as server, client_at(server.url) as client:
        await client.get_job(FLOW_ID)
        assert server.header("Authorization") == [f"Bearer {TOKEN}"]
        [agent] = server.header("User-Agent")
        assert agent is not None
        assert agent.startswith("asyncflow-useapi")
        assert server.header("Cookie") == [None]


async def test_cookies_are_not_kept() -> None:
    async with listening(http(200, STARTED, {"Set-Cookie": "a=b"})) as server, client_at(server.url) as client:
        await client.get_job(FLOW_ID)
        await client.get_job(FLOW_ID)
        assert server.header("Cookie") == [None, None]


async def test_the_service_may_be_given() -> None:
    async with listening(http(200, b'{"status": "pending"}')) as server, client_at(server.url) as client:
        job = await client.get_job("song@1", service="flowmusic")
        assert isinstance(job, MusicJob)
        assert server.request_lines == ["GET /v1/flowmusic/jobs/song%401 HTTP/1.1"]


async def test_an_answer_that_spells_the_id_otherwise_is_about_the_same_job() -> None:
    masked = FLOW_ID.replace(EMAIL, "jo***@example.com")
    body = json.dumps({"jobid": masked, "type": "video", "status": "started"}).encode()
    async with listening(http(200, body)) as server, client_at(server.url) as client:
        job = await client.get_job(FLOW_ID)
        assert (job.job_id, job.answered_id) == (FLOW_ID, masked)


async def test_an_answer_about_another_job_is_marked_as_such() -> None:
    other = FLOW_ID.replace("j11", "j12")
    body = json.dumps({"jobid": other, "type": "video", "status": "started"}).encode()
    async with listening(http(200, body)) as server, client_at(server.url) as client:
        job = await client.get_job(FLOW_ID)
        assert (job.job_id, job.answered_id) == (FLOW_ID, other)


async def test_a_compressed_answer_is_read() -> None:
    async with (
        listening(http(200, gzip.compress(STARTED), {"Content-Encoding": "gzip"})) as server,
        client_at(server.url) as client,
    ):
        assert (await client.get_job(FLOW_ID)).status == "started"


async def test_each_refusal_has_its_error() -> None:
    async with Simulator(retention=3600) as simulator, client_of(simulator) as client:
        [foreign] = simulator.seed_jobs(foreign=True)
        [expired] = simulator.seed_jobs(age=7200)
        with pytest.raises(PermissionDeniedError) as forbidden:
            await client.get_job(foreign)
        with pytest.raises(JobExpiredError) as gone:
            await client.get_job(expired)
        with pytest.raises(JobNotFoundError) as missing:
            await client.get_job(FLOW_ID)
        assert [forbidden.value.job_id, gone.value.job_id, missing.value.job_id] == [foreign, expired, FLOW_ID]
        assert simulator.stats().by_kind == {"read": 3}


# -- statistics, links, cancelling ---------------------------------------------------------------------------------------------


async def test_statistics_of_google_flow_are_typed() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        running = simulator.seed_jobs(3, age=10, duration=1000)
        done = simulator.seed_jobs(2, age=200, duration=100, fate="success")
        summary = await client.get_stats("google-flow")
        assert isinstance(summary, FlowStats)
        assert sum(row.executing for row in summary.groups["videos"].summary.values()) == 3
        assert summary.executing_jobs == ()
        executing = await client.get_stats("google-flow", "executing")
        assert set(executing.executing_jobs) == set(running)
        history = await client.get_stats("google-flow", detail="history")
        assert set(done) <= set(history.finished_jobs)


async def test_statistics_of_flow_music_are_typed() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        assert (await client.get_stats("flowmusic")).accounts == {}
        running = simulator.seed_jobs(2, kind="music", age=10, duration=1000)
        stats = await client.get_stats("flowmusic")
        assert isinstance(stats, MusicStats)
        assert set(stats.executing_jobs) == set(running)
        assert sum(stats.running.values()) == 2


async def test_statistics_that_do_not_exist_are_refused_before_a_request() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        with pytest.raises(UsageError):
            await client.get_stats("google-flow", "everything")  # type: ignore[call-overload] # that is the test
        with pytest.raises(UsageError):
            await client.get_stats("runway")  # type: ignore[call-overload] # that is the test
        assert simulator.stats().requests == 0


async def test_a_link_is_renewed() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600, fate="success")
        [media] = (await client.get_job(job_id)).media
        assert media.asset_id is not None
        assert (await client.get_asset_url(media.asset_id)).startswith(simulator.url)
        with pytest.raises(JobNotFoundError):
            await client.get_asset_url(media.asset_id[:-4] + "ffff")
        with pytest.raises(UsageError):
            await client.get_asset_url("user:1-a@example.com-clip:1")


async def test_a_song_is_cancelled() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(kind="music", duration=1000)
        await client.cancel(job_id)
        job = await client.get_job(job_id)
        assert job.outcome is Outcome.FAILED
        assert job.failure is not None
        assert job.failure.is_cancelled
        await client.cancel(job_id)
        assert simulator.stats().by_kind_and_status == {"cancel 204": 2, "read 200": 1}


async def test_a_video_cannot_be_cancelled() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs()
        with pytest.raises(UsageError, match="Google Flow"):
            await client.cancel(job_id)
        assert simulator.stats().requests == 0


async def test_cancelling_a_song_that_is_not_there_says_so() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        with pytest.raises(JobNotFoundError):
            await client.cancel(MUSIC_ID)
