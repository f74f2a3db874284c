"""What clients and watches tell their hooks, each fact once, in the order of things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from asyncflow import AsyncClient, AuthenticationError, JobWatcher, Pacer, RateLimitedError, fixed_interval
from asyncflow.errors import ServiceError
from asyncflow.records import FlowJob
from asyncflow.simulator import Answer, Outage, Simulator
from asyncflow.telemetry import (
    BudgetChanged,
    EventEmitted,
    PollAnswered,
    RequestMade,
    TelemetryEvent,
    WatchEnded,
    WatchStarted,
    digest,
)
from asyncflow.testing import call_later

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncflow.client.options import TransportName

pytestmark = pytest.mark.virtual_time


def client_of(service: Simulator, facts: list[TelemetryEvent], **options: object) -> AsyncClient:
    return AsyncClient(service.token, base_url=service.url, hooks=[facts.append], **options)  # type: ignore[arg-type] # parameters


def of(facts: list[TelemetryEvent], kind: type[TelemetryEvent]) -> list[TelemetryEvent]:
    return [fact for fact in facts if isinstance(fact, kind)]


@pytest.mark.parametrize("transport", ["fast", "session"])
async def test_a_wait_tells_all_that_it_does(transport: TransportName) -> None:
    facts: list[TelemetryEvent] = []
    async with Simulator() as service, client_of(service, facts, policy=fixed_interval(10), transport=transport) as client:
        job_id = service.script_job([(0, "created"), (12, "completed")])
        await client.wait(job_id)
        number = facts[0].watch  # type: ignore[union-attr] # it is a WatchStarted, as is asserted below
        made = RequestMade(
            "GET", "/v1/google-flow/jobs/{jobid}", "http", "127.0.0.1", service.port, "google-flow", "", 200, None, 0, 0
        )
    name = digest(job_id)
    assert [type(fact).__name__ for fact in facts] == [
        *("WatchStarted", "RequestMade", "PollAnswered", "EventEmitted", "RequestMade", "PollAnswered"),
        *("RequestMade", "PollAnswered", "EventEmitted", "WatchEnded"),
    ][: len(facts)]
    assert facts[0] == WatchStarted(number, 1)
    for fact in of(facts, RequestMade):
        assert isinstance(fact, RequestMade)
        assert (fact.method, fact.route, fact.server, fact.port) == (made.method, made.route, made.server, made.port)
        assert (fact.job, fact.status, fact.error, fact.resends) == (name, 200, None, 0)
        assert 0 <= fact.seconds < 1
    polls = [fact for fact in facts if isinstance(fact, PollAnswered)]
    assert [(poll.job, poll.status, poll.error, poll.polls) for poll in polls][-1] == (name, "completed", None, len(polls))
    assert polls[0].late == 0
    assert of(facts, EventEmitted) == [
        EventEmitted(number, "changed", name, "google-flow", "video", "created", "pending", None),
        EventEmitted(number, "ended", name, "google-flow", "video", "completed", "succeeded", None),
    ]
    [end] = of(facts, WatchEnded)
    assert isinstance(end, WatchEnded)
    assert (end.watch, end.polls, end.ended, end.abandoned, end.left, end.error) == (number, len(polls), 1, 0, 0, None)
    assert end.seconds > 12


async def test_a_retry_tells_how_often_it_was_sent_before() -> None:
    facts: list[TelemetryEvent] = []
    async with Simulator() as service, client_of(service, facts) as client:
        [job_id] = service.seed_jobs(age=600)
        service.play(job_id, [Answer(503), "reset", Answer(404)])
        with pytest.raises(Exception, match="job"):
            await client.get_job(job_id)
    made = [fact for fact in facts if isinstance(fact, RequestMade)]
    assert [(fact.status, fact.error, fact.resends) for fact in made] == [
        (503, "unavailable", 0),
        (None, "transport", 1),
        (404, "not_found", 2),
    ]


async def test_other_requests_are_told_by_their_routes() -> None:
    facts: list[TelemetryEvent] = []
    async with Simulator() as service, client_of(service, facts) as client:
        job = await client.submit("google-flow/images", {"prompt": "a kite"})
        await client.get_stats("google-flow")
        song = await client.submit("flowmusic/music", {"prompt": "a kite"})
        await client.cancel(song.job_id)
    made = [fact for fact in facts if isinstance(fact, RequestMade)]
    assert [(fact.method, fact.route, fact.job) for fact in made] == [
        ("POST", "/v1/google-flow/images", ""),
        ("GET", "/v1/google-flow/jobs/", ""),
        ("POST", "/v1/flowmusic/music", ""),
        ("DELETE", "/v1/flowmusic/jobs/{jobid}", digest(song.job_id)),
    ]
    assert job.job_id
    assert 200 <= min(fact.status or 0 for fact in made) <= max(fact.status or 999 for fact in made) < 300


async def test_a_caller_who_gives_up_is_told_of() -> None:
    facts: list[TelemetryEvent] = []
    async with Simulator() as service, client_of(service, facts) as client:
        [job_id] = service.seed_jobs()
        service.play(job_id, ["hang"])
        reading = asyncio.ensure_future(client.get_job(job_id))
        call_later(5, reading.cancel)
        with pytest.raises(asyncio.CancelledError):
            await reading
    [fact] = facts
    assert isinstance(fact, RequestMade)
    assert (fact.status, fact.error) == (None, "cancelled")
    assert fact.seconds == pytest.approx(5)


async def test_a_429_changes_the_budget_and_so_does_an_outage() -> None:
    facts: list[TelemetryEvent] = []
    async with Simulator() as service, client_of(service, facts, policy=fixed_interval(1), max_retries=0) as client:
        ids = service.seed_jobs(10, duration=200, fate="success")
        service.play(ids[0], [Answer(429, {"Retry-After": "7"}), Answer(503)])
        call_later(20, setattr, service.faults, "outages", [Outage(20, 120)])
        call_later(20, service.play, ids[0], [])
        await client.wait_all(ids, timeout=None, max_failures=None)
    changes = [fact for fact in facts if isinstance(fact, BudgetChanged)]
    assert [(change.reason, change.throttled) for change in changes] == [
        ("throttled", 1),
        ("circuit_opened", 1),
        ("circuit_closed", 1),
    ]
    assert 7 <= changes[0].pause < 7.1
    assert changes[0].ceiling is not None


async def test_a_watch_of_any_function_tells_of_its_polls_and_its_budget() -> None:
    facts: list[TelemetryEvent] = []
    answers: list[FlowJob | Exception] = [
        ServiceError("down", transient=True, status=503),
        RateLimitedError(transient=True),
        FlowJob("a", "completed"),
    ]

    async def fetch(_job_id: str) -> FlowJob:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with JobWatcher(fetch, ["a"], policy=fixed_interval(5), pacer=Pacer(), hooks=[facts.append]) as watcher:
        assert [type(event).__name__ async for event in watcher] == ["Unreachable", "Ended"]
    assert [(fact.status, fact.error, fact.polls) for fact in facts if isinstance(fact, PollAnswered)] == [
        (None, "server", 0),
        (None, "rate_limited", 0),
        ("completed", None, 1),
    ]
    assert [fact.reason for fact in facts if isinstance(fact, BudgetChanged)] == ["throttled"]
    emitted = [fact for fact in facts if isinstance(fact, EventEmitted)]
    assert [(fact.event, fact.job, fact.outcome, fact.error) for fact in emitted] == [
        ("unreachable", digest("a"), "", "server"),
        ("ended", digest("a"), "no_output", None),
    ]


async def test_a_watch_tells_how_it_ended() -> None:
    facts: list[TelemetryEvent] = []

    async def fetch(_job_id: str) -> FlowJob:
        raise AuthenticationError("no")

    async def ids() -> AsyncIterator[str]:
        yield "a"

    with pytest.raises(AuthenticationError):
        async with JobWatcher(fetch, ids(), hooks=[facts.append]) as watcher:
            await anext(watcher)

    async def endless(job_id: str) -> FlowJob:
        return FlowJob(job_id, "started")

    async with JobWatcher(endless, ["b"], hooks=[facts.append]) as watcher:
        await anext(watcher)
    async with JobWatcher(endless, ["b"], job_timeout=60, hooks=[facts.append]) as watcher:
        assert [type(event).__name__ async for event in watcher] == ["Changed", "Abandoned"]
    ends = [fact for fact in facts if isinstance(fact, WatchEnded)]
    assert [(end.error, end.left, end.abandoned) for end in ends] == [("unauthorized", 1, 0), ("closed", 1, 0), (None, 0, 1)]
    assert len({fact.watch for fact in facts if isinstance(fact, WatchStarted)}) == 3


async def test_a_hook_that_raises_harms_neither_the_work_nor_the_others(caplog: pytest.LogCaptureFixture) -> None:
    facts: list[TelemetryEvent] = []

    def spoilt(_fact: TelemetryEvent) -> None:
        raise ZeroDivisionError

    async with Simulator() as service:
        client = AsyncClient(service.token, base_url=service.url, hooks=[spoilt, facts.append])
        async with client:
            results = await client.wait_all(service.seed_jobs(5, age=600))
        assert len(results) == 5
    assert len(of(facts, RequestMade)) == 5
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == ["hook_failed"]


async def test_a_watch_may_have_other_hooks_than_its_client() -> None:
    facts: list[TelemetryEvent] = []
    own: list[TelemetryEvent] = []
    async with (
        Simulator() as service,
        client_of(service, facts) as client,
        client.watch(service.seed_jobs(age=600), hooks=[own.append]) as watcher,
    ):
        _ = [event async for event in watcher]
    assert {type(fact) for fact in facts} == {RequestMade}
    assert {type(fact) for fact in own} == {WatchStarted, PollAnswered, EventEmitted, WatchEnded}
