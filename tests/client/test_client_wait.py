"""`wait` and `wait_all`: the end of jobs, or the error that keeps it from being known; and the shared sequences."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from service_kit import FLOW_ID, MUSIC_ID, assert_discreet, client_at, client_of, clock, listening, told

from asyncflow import (
    AccountError,
    AsyncflowError,
    AuthenticationError,
    DecodeError,
    Job,
    JobExpiredError,
    JobFailedError,
    JobNotFoundError,
    Outcome,
    PermissionDeniedError,
    ServiceError,
    UsageError,
    WaitTimeoutError,
    fixed_interval,
)
from asyncflow.simulator import Answer, Faults, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncflow import AsyncClient

pytestmark = pytest.mark.asyncio

FIXTURES = Path(__file__).parent.parent / "fixtures"
SEQUENCES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((FIXTURES / "sequences").glob("*.json"))}
QUICK = fixed_interval(0.05)


def record(status: str, job_id: str = FLOW_ID) -> Answer:
    return Answer(body=json.dumps({"jobid": job_id, "type": "video", "status": status}).encode())


# -- one job -------------------------------------------------------------------------------------------------------------------


async def test_a_job_is_waited_for() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK) as client:
        job_id = simulator.script_job([(0, "created"), (0.1, "started"), (0.8, "completed")])
        job = await client.wait(job_id)
        assert (job.job_id, job.outcome) == (job_id, Outcome.SUCCEEDED)
        [truth] = simulator.truth()
        assert 0.8 <= (truth.shown_at or 0) < 1.1
        assert truth.reads >= 4


async def test_a_job_that_ended_long_ago_takes_one_read() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600)
        start = clock()
        await client.wait(job_id)
        assert clock() - start < 0.3
        assert simulator.stats().requests == 1


async def test_a_failed_job_is_raised_with_its_record() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600, fate="failed")
        with pytest.raises(JobFailedError) as failure:
            await client.wait(job_id)
        error = failure.value
        assert error.job is not None
        assert (error.job_id, error.job.outcome, error.transient) == (job_id, Outcome.FAILED, False)
        assert error.job.failure is not None
        assert (error.code, error.reason) == (error.job.failure.code, error.job.failure.reason)
        assert_discreet(told(error))


async def test_a_failed_job_may_be_returned_instead() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600, fate="failed")
        assert (await client.wait(job_id, raise_on_failure=False)).outcome is Outcome.FAILED


@pytest.mark.parametrize(("fate", "outcome"), [("partial", "partial"), ("no_media", "no_output"), ("refused", "no_output")])
async def test_a_completed_job_without_all_files_is_returned(fate: str, outcome: str) -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(age=600, fate=fate, media=2)
        assert (await client.wait(job_id)).outcome == outcome


async def test_a_wait_that_is_too_long_ends_with_the_last_record() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK) as client:
        [job_id] = simulator.seed_jobs(fate="endless", age=60)
        start = clock()
        with pytest.raises(WaitTimeoutError) as failure:
            await client.wait(job_id, timeout=0.3)
        assert 0.3 <= clock() - start < 0.6
        assert isinstance(failure.value, TimeoutError)
        assert failure.value.job is not None
        assert (failure.value.job_id, failure.value.job.status) == (job_id, "started")


async def test_the_timeout_of_a_wait_counts_a_request_that_hangs() -> None:
    async with listening() as server, client_at(server.url) as client:
        start = clock()
        with pytest.raises(WaitTimeoutError) as failure:
            await client.wait(FLOW_ID, timeout=1)
        assert 1 <= clock() - start < 1.3
        assert (failure.value.job_id, failure.value.job) == (FLOW_ID, None)
        assert len(server.requests) == 1


async def test_a_wait_without_time_ends_at_once() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        [job_id] = simulator.seed_jobs(fate="endless")
        for seconds in (0, -3.0):
            with pytest.raises(WaitTimeoutError):
                await client.wait(job_id, timeout=seconds)


async def test_a_number_of_failures_in_a_row_ends_a_wait_with_the_last_record() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK, max_retries=0) as client:
        simulator.play(FLOW_ID, [record("started"), Answer(503)])
        with pytest.raises(ServiceError) as failure:
            await client.wait(FLOW_ID, max_failures=2)
        assert failure.value.job is not None
        assert (failure.value.status, failure.value.job_id, failure.value.job.status) == (503, FLOW_ID, "started")
        assert simulator.stats().requests == 3


async def test_failures_that_are_not_in_a_row_end_nothing() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK, max_retries=0) as client:
        simulator.play(FLOW_ID, [Answer(503), record("started"), Answer(503), record("started"), record("completed")])
        assert (await client.wait(FLOW_ID, max_failures=2)).outcome is Outcome.NO_OUTPUT


async def test_a_refused_token_names_the_job_and_its_last_record() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK) as client:
        simulator.play(FLOW_ID, [record("started"), Answer(401, body=b'{"error": "Unauthorized"}')])
        with pytest.raises(AuthenticationError) as failure:
            await client.wait(FLOW_ID)
        assert failure.value.job is not None
        assert (failure.value.job_id, failure.value.job.status) == (FLOW_ID, "started")


async def test_the_end_of_another_job_ends_no_wait() -> None:
    other = FLOW_ID.replace("j11", "j12")
    async with Simulator() as simulator, client_of(simulator, policy=QUICK, max_retries=0) as client:
        simulator.play(FLOW_ID, [record("completed", other)])
        with pytest.raises(DecodeError, match="another job"):
            await client.wait(FLOW_ID, max_failures=1)
        assert (await client.get_job(FLOW_ID)).answered_id == other


async def test_errors_can_be_pickled() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK) as client:
        [failed] = simulator.seed_jobs(age=600, fate="failed")
        results = await client.wait_all([failed, FLOW_ID, "nonsense"])
        with pytest.raises(JobFailedError) as failure:
            await client.wait(failed)
        for error in [failure.value, results[FLOW_ID], results["nonsense"]]:
            assert isinstance(error, AsyncflowError)
            again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
            assert type(again) is type(error)
            assert (str(again), again.job_id, again.job, again.kind) == (str(error), error.job_id, error.job, error.kind)


# -- many jobs -----------------------------------------------------------------------------------------------------------------


async def test_many_jobs_are_waited_for_and_none_raises() -> None:
    faults = Faults(broken_accounts=["r_khan@mail.example.com"])
    async with Simulator(retention=3600, faults=faults) as simulator, client_of(simulator, policy=QUICK) as client:
        mine = "ada.lind@example.com"
        expected: dict[str, Outcome | type[AsyncflowError]] = {
            simulator.seed_jobs(age=600, email=mine, fate="success")[0]: Outcome.SUCCEEDED,
            simulator.seed_jobs(duration=0.5, email=mine, fate="success")[0]: Outcome.SUCCEEDED,
            simulator.seed_jobs(age=600, kind="image", email=mine, fate="partial", media=2)[0]: Outcome.PARTIAL,
            simulator.seed_jobs(age=600, kind="music", email=mine, fate="failed")[0]: Outcome.FAILED,
            simulator.seed_jobs(age=600, email="r_khan@mail.example.com")[0]: AccountError,
            simulator.seed_jobs(age=7200, email=mine)[0]: JobExpiredError,
            simulator.seed_jobs(foreign=True, email=mine)[0]: PermissionDeniedError,
            simulator.seed_jobs(fate="endless", email=mine)[0]: WaitTimeoutError,
            FLOW_ID: JobNotFoundError,
            MUSIC_ID: JobNotFoundError,
            "nonsense": UsageError,
        }
        ids = [*expected, *expected]
        results = await client.wait_all(ids, timeout=1.2)
        assert {job_id: summary(result) for job_id, result in results.items()} == expected
        for job_id, result in results.items():
            assert result.job_id == job_id
            assert_discreet(repr(result) + (told(result) if isinstance(result, AsyncflowError) else ""))


def summary(result: Job | AsyncflowError) -> Outcome | type[AsyncflowError]:
    return result.outcome if isinstance(result, Job) else type(result)


async def test_ids_may_come_one_by_one() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK) as client:
        ids = simulator.seed_jobs(5, age=600)

        async def source() -> AsyncIterator[str]:
            for job_id in ids:
                yield job_id

        assert list(await client.wait_all(source())) == ids
        assert await client.wait_all([]) == {}


@pytest.mark.parametrize("empty", ["", "  "])
async def test_an_empty_id_costs_the_others_nothing(empty: str) -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK) as client:
        ids = [*simulator.seed_jobs(age=600, fate="success"), empty, *simulator.seed_jobs(age=600, fate="success")]

        async def source() -> AsyncIterator[str]:
            for job_id in ids:
                yield job_id

        for results in (await client.wait_all(ids), await client.wait_all(source())):
            assert list(results) == ids
            assert [summary(result) for result in results.values()] == [Outcome.SUCCEEDED, UsageError, Outcome.SUCCEEDED]
        [refusal] = (await client.wait_all([empty])).values()
        assert "id" in str(refusal)


async def test_results_come_in_the_order_of_the_ids() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK) as client:
        ids = [simulator.seed_jobs(duration=seconds)[0] for seconds in (0.4, 0.1, 0.3, 0.2)]
        assert list(await client.wait_all([*ids, *ids])) == ids


async def test_a_refused_token_is_raised_for_all() -> None:
    async with Simulator(faults=Faults(refuse_with=401)) as simulator, client_of(simulator) as client:
        with pytest.raises(AuthenticationError):
            await client.wait_all(simulator.seed_jobs(50))
        assert simulator.stats().requests < 20


async def test_a_timeout_tells_what_was_known() -> None:
    async with Simulator() as simulator, client_of(simulator, policy=QUICK) as client:
        ids = simulator.seed_jobs(10, fate="endless", age=60)
        results = await client.wait_all(ids, timeout=1)
        assert set(results) == set(ids)
        for result in results.values():
            assert isinstance(result, WaitTimeoutError)
            assert result.job is not None


# -- the shared sequences ------------------------------------------------------------------------------------------------------


def answer(name: str) -> tuple[str, str, Answer]:
    """Return method, job id and answer of a fixture."""
    case = json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))
    raw = case.get("raw_body")
    if raw is not None:
        body = base64.b64decode(raw) if case.get("raw_body_encoding") == "base64" else raw.encode()
    else:
        body = json.dumps(case["body"]).encode() if case.get("body") is not None else b""
    job_id = case["request"]["path"].rpartition("/jobs/")[2].replace("%3A", ":").replace("%40", "@")
    return case["request"]["method"], job_id, Answer(case["http_status"], case["headers"], body)


@pytest.mark.parametrize("name", SEQUENCES)
async def test_a_sequence_ends_as_it_should(name: str) -> None:
    sequence = SEQUENCES[name]
    steps = [answer(name) for name in sequence["steps"]]
    # The steps are answers about one job, though the files that they come from were written about several.
    job_id = steps[0][1]
    is_music = job_id.endswith("flowmusic")
    async with Simulator() as simulator, client_of(simulator, policy=QUICK, max_retries=0) as client:
        segment = job_id.replace(":", "%3A").replace("@", "%40") if is_music else job_id
        target = f"/v1/{'flowmusic' if is_music else 'google-flow'}/jobs/{segment}"
        for method in ("GET", "DELETE"):
            simulator.play(f"{method} {target}", [spelt(step[2], job_id) for step in steps if step[0] == method])
        await play_out(client, job_id, sequence["expect"])
        reads = simulator.stats().by_kind["read"]
        assert reads == sequence["expect"].get("gets", reads)
        assert reads < 10


def spelt(step: Answer, job_id: str) -> Answer:
    """Return *step* about *job_id*."""
    if step.status != 200:
        return step
    return Answer(step.status, step.headers, json.dumps(json.loads(step.body) | {"jobid": job_id}).encode())


async def play_out(client: AsyncClient, job_id: str, expect: dict[str, Any]) -> None:
    if expect.get("cancelled"):
        assert not (await client.get_job(job_id)).is_terminal
        await client.cancel(job_id)
    if "raises" in expect:
        with pytest.raises(AsyncflowError) as failure:
            await client.wait(job_id, max_failures=3 if expect.get("bounded") else 20)
        assert (failure.value.kind, failure.value.job_id) == (expect["raises"], job_id)
        assert not isinstance(failure.value, JobFailedError)
        return
    job = await client.wait(job_id, raise_on_failure=False)
    assert job.outcome == expect["result"]
    if expect.get("cancelled"):
        assert job.failure is not None
        assert job.failure.is_cancelled


async def test_all_sequences_are_played() -> None:
    assert len(SEQUENCES) == 6
