"""Submits: one POST each, whatever happens to its answer."""

from __future__ import annotations

import asyncio
import json
import pickle

import pytest
from service_kit import EMAIL, FLOW_ID, assert_discreet, client_at, client_of, clock, http, listening, told

from asyncflow import (
    AccountError,
    BadRequestError,
    FlowJob,
    JobFailedError,
    ModeratedError,
    MusicJob,
    OutcomeUnknownError,
    RateLimitedError,
    ServiceError,
    TransportError,
    UsageError,
    WaitTimeoutError,
    fixed_interval,
)
from asyncflow.simulator import Answer, Faults, Simulator

pytestmark = pytest.mark.asyncio

PROMPT = {"prompt": "a red kite over the harbour"}
ASSET = f"user:1234-email:{EMAIL.encode().hex()}-video:c0ffee01"


async def test_a_video_is_submitted_and_waited_for() -> None:
    async with Simulator(speed=1000) as simulator, client_of(simulator, policy=fixed_interval(0.05)) as client:
        job = await client.submit("google-flow/videos", PROMPT)
        assert isinstance(job, FlowJob)
        assert (job.is_terminal, job.kind) == (False, "video")
        assert (await client.wait(job.job_id)).outcome == "succeeded"
        assert simulator.stats().by_kind["submit"] == 1


async def test_images_are_there_at_once() -> None:
    async with Simulator(speed=1000) as simulator, client_of(simulator) as client:
        job = await client.submit("/v1/google-flow/images", {**PROMPT, "count": 2})
        assert (job.is_terminal, job.outcome, job.media_ok) == (True, "succeeded", 2)
        assert (await client.get_job(job.job_id)).outcome == "succeeded"


async def test_a_song_is_submitted_in_both_modes() -> None:
    async with Simulator(speed=1000) as simulator, client_of(simulator) as client:
        later = await client.submit("flowmusic/music", PROMPT)
        assert isinstance(later, MusicJob)
        assert not later.is_terminal
        at_once = await client.submit("flowmusic/music", {**PROMPT, "mode": "sync"})
        assert (at_once.is_terminal, len(at_once.urls)) == (True, 2)


async def test_the_body_goes_onto_the_wire_as_json() -> None:
    async with (
        listening(http(201, json.dumps({"jobid": FLOW_ID, "status": "created"}).encode())) as server,
        client_at(server.url) as client,
    ):
        await client.submit("google-flow/videos/upscale", {"prompt": "ü", "seed": 2**53, "async": False, "replyRef": "r-1"})
        [request] = server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/google-flow/videos/upscale HTTP/1.1\r\n")
        assert b"Content-Type: application/json" in head
        assert json.loads(body) == {"prompt": "ü", "seed": 2**53, "async": False, "replyRef": "r-1"}


@pytest.mark.parametrize(
    ("path", "body", "status", "is_terminal"),
    [
        ("google-flow/videos", PROMPT, "201", False),
        ("google-flow/videos/extend", {**PROMPT, "mediaGenerationId": ASSET}, "201", False),
        ("google-flow/videos/upscale", {"mediaGenerationId": ASSET}, "201", False),
        ("google-flow/images", PROMPT, "200", True),
        ("google-flow/videos/concatenate", {"media": [{"mediaGenerationId": ASSET}] * 2}, "200", True),
        ("flowmusic/music", PROMPT, "201", False),
        ("flowmusic/music/edit", {"operation": "cover", "clip": "any"}, "201", False),
    ],
)
async def test_every_endpoint_of_a_job_gives_one(path: str, body: dict[str, object], status: str, *, is_terminal: bool) -> None:
    async with Simulator(speed=1000) as simulator, client_of(simulator) as client:
        job = await client.submit(path, body)
        assert (job.service, job.is_terminal) == (path.partition("/")[0], is_terminal)
        assert simulator.stats().by_status == {status: 1}
        [truth] = simulator.truth()
        assert truth.job_id == job.job_id
        has_none = path == "google-flow/videos/concatenate"
        assert (truth.reply_ref or "").startswith("asyncflow-") is not has_none


@pytest.mark.parametrize("path", ["google-flow/videos/gif", "google-flow/images/upscale"])
async def test_work_that_comes_without_a_job_is_a_job_without_an_id(path: str) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        job = await client.submit(path, {"mediaGenerationId": ASSET})
        assert (job.job_id, job.outcome, len(job.media)) == ("", "succeeded", 1)
        assert job.media[0].content
        assert simulator.truth() == []


async def test_the_voices_of_a_song_are_a_job_without_an_id() -> None:
    async with Simulator(speed=10_000) as simulator, client_of(simulator, policy=fixed_interval(0.05)) as client:
        song = await client.run("flowmusic/music", PROMPT)
        job = await client.submit("flowmusic/music/edit", {"operation": "stems", "clip": song.media[0].asset_id})
        assert (job.job_id, job.outcome, job.media_total) == ("", "succeeded", 4)
        assert job.media[0].title == "vocals"


async def test_each_submit_has_a_reply_ref_of_its_own() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        jobs = [await client.submit("google-flow/videos", body) for body in (PROMPT, PROMPT, {**PROMPT, "replyRef": "mine"})]
        refs = [job.reply_ref for job in jobs]
        assert len(set(refs)) == 3
        assert refs[2] == "mine"
        assert refs == [truth.reply_ref for truth in simulator.truth()]


async def test_an_answer_without_an_id_of_a_job_that_runs_is_no_answer() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/google-flow/videos", [Answer(201, body=b'{"status": "created"}')])
        with pytest.raises(OutcomeUnknownError, match="names no job"):
            await client.submit("google-flow/videos", PROMPT)


@pytest.mark.parametrize("fault", ["lost_answer", "reset", "reset_midway", "truncate", "garble"])
async def test_a_lost_answer_is_an_unknown_outcome_and_one_post(fault: str) -> None:
    async with (
        Simulator(faults=Faults(kinds=("submit",), **{fault: 1.0})) as simulator,  # type: ignore[arg-type] # a parameter
        client_of(simulator, max_retries=5) as client,
    ):
        with pytest.raises(OutcomeUnknownError) as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert not failure.value.transient
        assert failure.value.__cause__ is not None
        assert "kite" not in told(failure.value)
        assert_discreet(told(failure.value))
        assert simulator.stats().by_kind["submit"] == 1
        assert len(simulator.truth()) == (0 if fault == "reset" else 1)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 522, 524])
async def test_a_gateway_that_gave_up_leaves_the_outcome_unknown(status: int) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/google-flow/videos", [Answer(status, body=b"<html><title>Bad gateway</title></html>")])
        with pytest.raises(OutcomeUnknownError) as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert failure.value.status == status
        assert simulator.stats().by_kind["submit"] == 1


async def test_a_refused_connection_is_no_unknown_outcome() -> None:
    async with listening() as server:
        url = server.url
    async with client_at(url) as client:
        with pytest.raises(TransportError, match=r"127\.0\.0\.1") as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert not isinstance(failure.value, OutcomeUnknownError)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequestError),
        (422, ModeratedError),
        (429, RateLimitedError),
        (503, ServiceError),
        (596, AccountError),
    ],
)
async def test_a_refusal_is_an_answer(status: int, error: type[Exception]) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/google-flow/videos", [Answer(status, body=b'{"error": "no", "code": 1}')])
        with pytest.raises(error) as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert type(failure.value) is error
        assert simulator.stats().by_kind == {"submit": 1}


async def test_a_wait_that_ended_at_the_service_names_the_job() -> None:
    body = json.dumps({"jobId": FLOW_ID, "error": "Polling timeout", "code": 408}).encode()
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/google-flow/videos", [Answer(408, body=body)])
        with pytest.raises(ServiceError) as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert failure.value.job_id == FLOW_ID


@pytest.mark.parametrize(
    "path", ["", "videos", "google-flow", "google-flow/", "runway/videos", "google-flow/a b", "/v1/v1/google-flow/x"]
)
async def test_a_path_that_is_no_endpoint_is_refused_before_a_request(path: str) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        with pytest.raises(UsageError):
            await client.submit(path, PROMPT)
        with pytest.raises(UsageError):
            await client.submit("google-flow/videos", {"prompt": object()})
        assert simulator.stats().requests == 0


# -- what is known of a lost one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["google-flow/videos", "flowmusic/music"])
async def test_a_lost_job_is_found_by_its_reply_ref(path: str) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.seed_jobs(3, kind="mix", reply_ref="another")
        simulator.faults = Faults(kinds=("submit",), lost_answer=1.0)
        with pytest.raises(OutcomeUnknownError, match="its job is there") as failure:
            await client.submit(path, PROMPT)
        error, truth = failure.value, simulator.truth()[-1]
        assert (error.job_id, error.candidates, error.reply_ref) == (truth.job_id, (truth.job_id,), truth.reply_ref)
        assert error.job is not None
        assert error.requested_at is not None
        assert error.job.created_at is not None
        assert abs((error.requested_at - error.job.created_at).total_seconds()) < 5
        assert len(error.statistics) == (2 if path == "google-flow/videos" else 1)
        assert truth.job_id in error.statistics[0].executing_jobs
        again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
        assert (again.candidates, again.reply_ref) == (error.candidates, error.reply_ref)
        assert_discreet(told(error))
        assert simulator.stats().by_kind["submit"] == 1


async def test_a_job_that_was_never_made_is_not_found() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.seed_jobs(2, reply_ref="another")
        nameless = simulator.seed_jobs(1)
        old = simulator.seed_jobs(1, age=1000, duration=2000)
        mine = await client.submit("google-flow/videos", PROMPT)
        simulator.faults = Faults(kinds=("submit",), reset=1.0)
        with pytest.raises(OutcomeUnknownError, match="get_stats") as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert failure.value.job_id is None
        # Jobs of another replyRef, of long ago and of this client's other submits are not it; one that names none may be.
        assert failure.value.candidates == tuple(nameless)
        assert {*nameless, *old, mine.job_id} <= set(failure.value.statistics[0].executing_jobs)


async def test_a_reply_ref_that_stands_in_two_jobs_names_none() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.seed_jobs(1, reply_ref="cart-12")
        simulator.faults = Faults(kinds=("submit",), lost_answer=1.0)
        with pytest.raises(OutcomeUnknownError) as failure:
            await client.submit("google-flow/videos", {**PROMPT, "replyRef": "cart-12"})
        assert failure.value.job_id is None
        assert set(failure.value.candidates) == {truth.job_id for truth in simulator.truth()}


async def test_a_search_that_fails_masks_nothing() -> None:
    faults = Faults(kinds=("submit", "stats", "read"), truncate=1.0)
    async with Simulator(faults=faults) as simulator, client_of(simulator) as client:
        with pytest.raises(OutcomeUnknownError) as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert (failure.value.statistics, failure.value.candidates) == ((), ())
        simulator.faults = Faults(kinds=("submit", "read"), truncate=1.0)
        with pytest.raises(OutcomeUnknownError) as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert set(failure.value.candidates) == {truth.job_id for truth in simulator.truth()}


# -- waiting for capacity ------------------------------------------------------------------------------------------------------


async def test_too_many_requests_are_an_error_at_once_unless_there_is_time() -> None:
    busy = Answer(429, {"Retry-After": "1"}, b'{"error": "busy"}')
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/google-flow/videos", [busy])
        for patience in (None, 0.5):
            with pytest.raises(RateLimitedError) as failure:
                await client.submit("google-flow/videos", PROMPT, wait_for_capacity=patience)
            assert failure.value.retry_after == 1
        assert simulator.stats().by_kind == {"submit": 2}


async def test_capacity_is_waited_for_as_the_service_asks() -> None:
    busy = Answer(429, {"Retry-After": "0.2"}, b'{"error": "busy"}')
    created = Answer(201, body=json.dumps({"jobid": FLOW_ID, "status": "created"}).encode())
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/google-flow/videos", [busy, busy, created])
        start = clock()
        job = await client.submit("google-flow/videos", PROMPT, wait_for_capacity=30)
        assert job.job_id == FLOW_ID
        assert clock() - start >= 0.4
        assert simulator.stats().by_kind == {"submit": 3}


async def test_who_waits_for_an_endpoint_that_is_full_does_not_ask_it() -> None:
    busy = Answer(429, {"Retry-After": "0.5"}, b'{"error": "busy"}')
    created = Answer(201, body=json.dumps({"jobid": FLOW_ID, "status": "created"}).encode())
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/google-flow/videos", [busy, created])
        with pytest.raises(RateLimitedError):
            await client.submit("google-flow/videos", PROMPT)
        await asyncio.gather(*(client.submit("google-flow/videos", PROMPT, wait_for_capacity=5) for _ in range(3)))
        assert simulator.stats().by_kind == {"submit": 4}


async def test_a_refusal_that_names_no_pause_is_not_tried_again_at_once() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/flowmusic/music", [Answer(429, body=b'{"error": "All accounts are busy", "code": 429}')])
        with pytest.raises(RateLimitedError):
            await client.submit("flowmusic/music", PROMPT, wait_for_capacity=4)
        assert simulator.stats().by_kind == {"submit": 1}


# -- submit and wait -----------------------------------------------------------------------------------------------------------


async def test_a_run_is_a_submit_and_a_wait() -> None:
    async with Simulator(speed=1000) as simulator, client_of(simulator, policy=fixed_interval(0.05)) as client:
        assert (await client.run("google-flow/videos", PROMPT)).outcome == "succeeded"
        assert (await client.run("google-flow/images", PROMPT)).outcome == "succeeded"
        with pytest.raises(JobFailedError):
            await client.run("google-flow/videos", {"prompt": "a kite #failed"})
        failed = await client.run("google-flow/videos", {"prompt": "a kite #failed"}, raise_on_failure=False)
        assert failed.outcome == "failed"
        assert simulator.stats().by_kind["submit"] == 4


async def test_a_run_waits_for_a_job_that_was_found() -> None:
    async with Simulator(speed=100) as simulator, client_of(simulator, policy=fixed_interval(0.05)) as client:
        simulator.faults = Faults(kinds=("submit",), lost_answer=1.0)
        assert (await client.run("google-flow/videos", PROMPT, timeout=30)).outcome == "succeeded"
        simulator.faults = Faults(kinds=("submit",), reset=1.0)
        with pytest.raises(OutcomeUnknownError):
            await client.run("google-flow/videos", PROMPT)


async def test_the_time_of_a_run_is_that_of_both() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        with pytest.raises(WaitTimeoutError) as failure:
            await client.run("google-flow/videos", PROMPT, timeout=0.3)
        assert failure.value.job_id == simulator.truth()[0].job_id


async def test_the_timeout_bounds_the_answer() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.faults = Faults(kinds=("submit",), hang=1.0)
        with pytest.raises(OutcomeUnknownError):
            await client.submit("google-flow/videos", PROMPT, timeout=0.2)


async def test_a_cancelled_submit_is_not_repeated() -> None:
    async with listening() as server, client_at(server.url) as client:
        submitting = asyncio.create_task(client.submit("google-flow/videos", PROMPT))
        while not server.requests:
            await asyncio.wait({submitting}, timeout=0.01)
        submitting.cancel()
        await asyncio.wait({submitting})
        assert submitting.cancelled()
        assert len(server.requests) == 1
