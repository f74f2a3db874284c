"""Submits: one POST each, whatever happens to its answer."""

from __future__ import annotations

import asyncio
import json

import pytest
from service_kit import FLOW_ID, assert_discreet, client_at, client_of, http, listening, told

from asyncflow import (
    AccountError,
    BadRequestError,
    FlowJob,
    ModeratedError,
    MusicJob,
    OutcomeUnknownError,
    RateLimitedError,
    ServiceError,
    TransportError,
    UsageError,
    every,
)
from asyncflow.simulator import Answer, Faults, Simulator

pytestmark = pytest.mark.asyncio

PROMPT = {"prompt": "a red kite over the harbour"}


async def test_a_video_is_submitted_and_waited_for() -> None:
    async with Simulator(speed=1000) as simulator, client_of(simulator, policy=every(0.05)) as client:
        job = await client.submit("google-flow/videos", {**PROMPT, "async": True})
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
        later = await client.submit("flowmusic/music", {**PROMPT, "mode": "async"})
        assert isinstance(later, MusicJob)
        assert not later.is_terminal
        at_once = await client.submit("flowmusic/music", PROMPT)
        assert (at_once.is_terminal, len(at_once.urls)) == (True, 2)


async def test_the_body_goes_onto_the_wire_as_json() -> None:
    async with (
        listening(http(201, json.dumps({"jobid": FLOW_ID, "status": "created"}).encode())) as server,
        client_at(server.url) as client,
    ):
        await client.submit("google-flow/videos/upscale", {"prompt": "ü", "seed": 2**53})
        [request] = server.requests
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/google-flow/videos/upscale HTTP/1.1\r\n")
        assert b"Content-Type: application/json" in head
        assert json.loads(body) == {"prompt": "ü", "seed": 2**53}


@pytest.mark.parametrize("fault", ["lost_answer", "reset", "reset_midway", "truncate", "garble"])
async def test_a_lost_answer_is_an_unknown_outcome_and_one_post(fault: str) -> None:
    async with (
        Simulator(faults=Faults(kinds=("submit",), **{fault: 1.0})) as simulator,  # type: ignore[arg-type] # a parameter
        client_of(simulator, max_retries=5) as client,
    ):
        with pytest.raises(OutcomeUnknownError, match="get_stats") as failure:
            await client.submit("google-flow/videos", {**PROMPT, "async": True})
        assert not failure.value.transient
        assert failure.value.__cause__ is not None
        assert "kite" not in told(failure.value)
        assert_discreet(told(failure.value))
        stats = simulator.stats()
        assert stats.by_kind == {"submit": 1}
        assert len(simulator.truth()) == (0 if fault == "reset" else 1)


@pytest.mark.parametrize("status", [502, 504, 520, 522, 524])
async def test_a_gateway_that_gave_up_leaves_the_outcome_unknown(status: int) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        simulator.play("POST /v1/google-flow/videos", [Answer(status, body=b"<html><title>Bad gateway</title></html>")])
        with pytest.raises(OutcomeUnknownError) as failure:
            await client.submit("google-flow/videos", PROMPT)
        assert failure.value.status == status
        assert simulator.stats().by_kind == {"submit": 1}


async def test_the_other_lost_job_is_found_in_the_statistics() -> None:
    async with Simulator(faults=Faults(kinds=("submit",), lost_answer=1.0)) as simulator, client_of(simulator) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.submit("google-flow/videos", {**PROMPT, "async": True})
        [truth] = simulator.truth()
        assert (await client.get_stats("google-flow", "executing")).executing_jobs == (truth.job_id,)


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
        (500, ServiceError),
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


async def test_a_cancelled_submit_is_not_repeated() -> None:
    async with listening() as server, client_at(server.url) as client:
        submitting = asyncio.create_task(client.submit("google-flow/videos", PROMPT))
        while not server.requests:
            await asyncio.wait({submitting}, timeout=0.01)
        submitting.cancel()
        await asyncio.wait({submitting})
        assert submitting.cancelled()
        assert len(server.requests) == 1
