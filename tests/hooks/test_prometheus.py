"""The page that Prometheus reads, through its own parser."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from secret_watch import leaks

from asyncflow import AsyncClient, Pacer, fixed_interval
from asyncflow.contrib.prometheus import Metrics
from asyncflow.simulator import Answer, Faults, Simulator
from asyncflow.telemetry import BudgetChanged, WatchEnded, WatchStarted
from asyncflow.testing import now

if TYPE_CHECKING:
    from asyncflow.watcher import WatchStats

virtual = pytest.mark.virtual_time


ORDER = ("service", "watch", "budget", "type", "outcome", "kind", "result", "error", "method", "status_class", "status", "le")


def scrape(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    """The samples by name and the values of their labels, in the order above."""
    page = generate_latest(registry).decode()
    assert leaks(page) == []
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return {
        (sample.name, *(sample.labels[label] for label in ORDER if label in sample.labels)): sample.value for sample in samples
    }


def registered() -> tuple[Metrics, CollectorRegistry]:
    metrics, registry = Metrics(), CollectorRegistry(auto_describe=True)
    registry.register(metrics)
    return metrics, registry


@virtual
async def test_requests_polls_events_and_ends_are_counted() -> None:
    metrics, registry = registered()
    async with Simulator() as service, AsyncClient(service.token, base_url=service.url, hooks=[metrics]) as client:
        metrics.follow(client, "all")
        jobs = service.seed_jobs(4, age=600, fate="success") + service.seed_jobs(2, age=600, fate="failed")
        songs = service.seed_jobs(2, kind="music", age=600, fate="success")
        service.play(jobs[0], [Answer(429, {"Retry-After": "2"}), Answer(404)])
        await client.wait_all([*jobs, *songs])
        page = scrape(registry)
    assert page["asyncflow_requests_total", "google-flow", "GET", "2xx"] == 5
    assert page["asyncflow_requests_total", "google-flow", "GET", "4xx"] == 2
    assert page["asyncflow_requests_total", "flowmusic", "GET", "2xx"] == 2
    assert page["asyncflow_throttled_total", "google-flow"] == 1
    assert page["asyncflow_polls_total", "answered", ""] == 7
    assert page["asyncflow_polls_total", "failed", "rate_limited"] == 1
    assert page["asyncflow_polls_total", "failed", "not_found"] == 1
    assert page["asyncflow_events_total", "ended"] == 7
    assert page["asyncflow_events_total", "abandoned"] == 1
    assert page["asyncflow_jobs_ended_total", "succeeded", "video"] == 3
    assert page["asyncflow_jobs_ended_total", "succeeded", "music"] == 2
    assert page["asyncflow_jobs_ended_total", "failed", "video"] == 2
    assert page["asyncflow_jobs_ended_total", "abandoned", ""] == 1
    assert page["asyncflow_budget_pauses_total", "all"] == 1
    assert page["asyncflow_budget_ceiling", "all"] > 0
    assert page["asyncflow_budget_circuit_open", "all"] == 0
    assert page["asyncflow_watches",] == 0


@virtual
async def test_two_watches_are_told_apart_by_status_and_either_can_leave() -> None:
    metrics, registry = registered()
    async with Simulator() as service, AsyncClient(service.token, base_url=service.url, hooks=[metrics]) as client:
        videos = client.watch(service.seed_jobs(3, duration=600), keep_open=True)
        songs = client.watch(service.seed_jobs(2, kind="music", duration=600))
        metrics.follow(videos, "videos")
        unfollow = metrics.follow(songs, "songs")
        metrics.follow(client, "budget")
        assert scrape(registry)["asyncflow_jobs", "videos", "unread"] == 3
        async with videos, songs:
            for _ in range(2):
                await anext(songs)
            page = scrape(registry)
            assert page["asyncflow_jobs", "songs", "pending"] == 2
            assert page["asyncflow_watches",] == 2
            assert page["asyncflow_budget_rate", "budget"] > 0
            assert page["asyncflow_undelivered_events", "songs"] == 0
            unfollow()
            unfollow()
            assert {key[1] for key in scrape(registry) if key[0] == "asyncflow_jobs"} == {"videos"}
            other = metrics.follow(songs, "videos")
            assert ("asyncflow_jobs", "videos", "pending") in scrape(registry)
            other()
        assert scrape(registry)["asyncflow_watches",] == 0
    registry.unregister(metrics)
    assert scrape(registry) == {}


@virtual
async def test_what_is_dropped_disappears() -> None:
    metrics, registry = registered()
    async with Simulator() as service, AsyncClient(service.token, base_url=service.url) as client:
        metrics.follow(client.watch(service.seed_jobs()), "gone")
        gc.collect()
        assert not [key for key in scrape(registry) if "gone" in key]


@virtual
async def test_durations_are_a_histogram() -> None:
    metrics, registry = registered()
    async with (
        Simulator(faults=Faults(latency=0.2)) as service,
        AsyncClient(service.token, base_url=service.url, hooks=[metrics]) as client,
    ):
        await client.wait_all(service.seed_jobs(3, age=600))
    page = scrape(registry)
    assert page["asyncflow_request_seconds_bucket", "google-flow", "0.1"] == 0
    assert page["asyncflow_request_seconds_bucket", "google-flow", "0.25"] == 3
    assert page["asyncflow_request_seconds_bucket", "google-flow", "+Inf"] == 3
    assert page["asyncflow_request_seconds_sum", "google-flow"] == pytest.approx(0.6)
    text = openmetrics.generate_latest(registry).decode()  # type: ignore[no-untyped-call] # theirs
    assert list(read_openmetrics(text)) != []  # type: ignore[no-untyped-call] # theirs


@virtual
async def test_the_lag_of_the_schedule_is_that_since_the_last_look() -> None:
    metrics, registry = registered()
    async with (
        Simulator() as service,
        AsyncClient(service.token, base_url=service.url, hooks=[metrics], rate=1, policy=fixed_interval(5)) as client,
    ):
        await client.wait_all(service.seed_jobs(20, duration=20), timeout=None)
        assert now() > 20
    assert scrape(registry)["asyncflow_schedule_lag_seconds",] > 1
    assert scrape(registry)["asyncflow_schedule_lag_seconds",] == 0


def block(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_stall_of_the_event_loop_is_seen() -> None:
    metrics, registry = registered()

    async def main() -> None:
        metrics(WatchStarted(1, 1))
        metrics(WatchStarted(2, 1))
        metrics(WatchEnded(2, 0, 0, 0, 0, None, 0.0))
        loop = asyncio.get_running_loop()
        looked = loop.create_future()
        loop.call_later(0.2, block, 0.3)
        loop.call_later(0.7, looked.set_result, None)
        await looked
        metrics(WatchEnded(1, 0, 0, 0, 0, None, 1.0))
        metrics(BudgetChanged("throttled", 1.0, None, 1, 1.0, 1))
        assert [handle for handle in loop._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined] # asyncio's own

    asyncio.run(main())
    assert 0.15 < scrape(registry)["asyncflow_loop_stall_seconds",] < 30
    assert scrape(registry)["asyncflow_loop_stall_seconds",] == 0


def test_what_changes_while_it_is_read_is_read_again() -> None:
    class Watch:
        tries = 0

        def stats(self) -> WatchStats:
            self.tries += 1
            raise RuntimeError("dictionary changed size during iteration")

    metrics, registry = registered()
    watch = Watch()
    metrics.follow(watch, "busy")  # type: ignore[arg-type] # as much of a watch as is needed
    assert not [key for key in scrape(registry) if "busy" in key]
    assert watch.tries > 1


def test_the_dashboard_of_the_examples_asks_for_metrics_that_there_are() -> None:
    metrics, registry = registered()
    pacer = Pacer()
    metrics.follow(pacer, "budget")
    known = {family.name for family in registry.collect()}
    known |= {f"{name}{ending}" for name in known for ending in ("_total", "_bucket")}
    board = json.loads((Path(__file__).parents[2] / "examples" / "grafana.json").read_text("utf-8"))
    asked = {
        name for panel in board["panels"] for target in panel["targets"] for name in re.findall(r"asyncflow_\w+", target["expr"])
    }
    assert len(asked) > 15
    assert asked <= known
    assert {panel["id"] for panel in board["panels"]} == {*range(1, len(board["panels"]) + 1)}
