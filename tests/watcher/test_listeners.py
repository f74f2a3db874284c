"""Whoever looks on beside the consumer: they hear all, and cost the watch nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from scripted import Service, job

from asyncflow import Changed, Ended, JobWatcher, TransportError, Unreachable, fixed_interval
from asyncflow.testing import call_later, now

if TYPE_CHECKING:
    from asyncflow import AsyncflowError, Event

pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_time]


def watcher_of(service: Service, *job_ids: str) -> JobWatcher:
    return JobWatcher(service.read, job_ids, policy=fixed_interval(1))


async def test_a_listener_hears_what_the_consumer_gets() -> None:
    heard: list[Event] = []
    service = Service([(0, "started"), (2.5, "completed")])
    async with watcher_of(service, "a", "b") as watcher:
        watcher.subscribe(heard.append)
        got = [event async for event in watcher]
    assert heard == got
    assert sum(isinstance(event, Ended) for event in heard) == 2


async def test_one_that_has_had_enough_hears_no_more() -> None:
    heard: list[Event] = []
    service = Service([(0, "started"), (2.5, "completed")])
    async with watcher_of(service, "a") as watcher:
        unsubscribe = watcher.subscribe(heard.append)
        call_later(1.5, unsubscribe)
        call_later(1.6, unsubscribe)
        assert len([event async for event in watcher]) == 2
    assert heard == [Changed(job("a", "started"), None, heard[0].expected_end_at if isinstance(heard[0], Changed) else None)]


async def test_one_that_raises_is_dropped_and_the_watch_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[Event] = []

    def broken(event: Event) -> None:
        calls.append(event)
        raise ValueError("ada.lind@example.com")

    service = Service([(0, "started"), (2.5, "completed")])
    with caplog.at_level(logging.WARNING, "asyncflow.watcher"):
        async with watcher_of(service, "a") as watcher:
            watcher.subscribe(broken)
            assert len([event async for event in watcher]) == 2
    assert len(calls) == 1
    assert [record.getMessage() for record in caplog.records] == ["listener_failed"]
    assert "ada.lind" not in caplog.text


async def test_a_job_is_unreachable_as_long_as_its_reads_fail() -> None:
    def trouble(_job_id: str, at: float) -> AsyncflowError | None:
        return TransportError("no answer", transient=True) if 1 < at < 20 else None

    service = Service([(0, "started"), (900, "completed")], trouble=trouble)
    async with watcher_of(service, "a") as watcher:
        assert not watcher.is_unreachable("a")
        async for event in watcher:
            if isinstance(event, Unreachable):
                assert watcher.is_unreachable("a")
                break
        seen: list[bool] = []
        for at in (15, 890):
            call_later(at - now(), lambda: seen.append(watcher.is_unreachable("a")))
        assert isinstance(await anext(watcher), Ended)
        assert seen == [True, False]
        assert not watcher.is_unreachable("a")
        assert not watcher.is_unreachable("no such job")
