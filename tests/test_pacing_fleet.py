"""The budget at work: fleets of jobs against services with limits, outages and queues, in plain numbers."""

from __future__ import annotations

import random

import pytest
from pacing_fleet import Fleet, Row, Service, hour, quantile

from asyncflow.pacing import Pacer

SEEDS = [1, 2, 3]


def two_hundred(seed: int, service: Service) -> Fleet:
    """Watch 200 jobs that end 4 to 20 seconds after the start, each polled about every 5 seconds."""
    dice = random.Random(seed)
    fleet = Fleet(Pacer(), service, [(0.0, dice.uniform(4, 20)) for _ in range(200)])
    fleet.run(120)
    assert len(fleet.delays) == 200
    assert service.too_early == 0
    return fleet


def endless(jobs: int, service: Service, until: float, *, concurrency: int = 100, step: float = 10.0) -> list[Row]:
    fleet = Fleet(Pacer(concurrency=concurrency), service, [(0.0, 1e9)] * jobs, step=step)
    fleet.run(until)
    assert service.too_early == 0
    return fleet.rows


@pytest.mark.parametrize("seed", SEEDS)
def test_two_hundred_jobs_are_not_hindered(seed: int) -> None:
    service = Service()
    fleet = two_hundred(seed, service)
    assert service.throttled == 0
    assert service.peak() <= 60
    assert quantile(fleet.delays, 0.95) < 5.2


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("latency", [0.002, 0.05])
def test_a_limit_of_twenty_a_second_is_learned_from_a_few_answers_429(seed: int, latency: float) -> None:
    service = Service(rate=20, latency=lambda _: latency)
    fleet = two_hundred(seed, service)
    assert service.throttled <= 3
    assert quantile(fleet.delays, 0.95) < 12


@pytest.mark.parametrize("retry_after", [None, 0.0, 1.0])
def test_a_limit_that_names_no_good_time_is_learned_too(retry_after: float | None) -> None:
    service = Service(rate=20, retry_after=retry_after)
    fleet = two_hundred(1, service)
    assert service.throttled <= 5
    assert quantile(fleet.delays, 0.95) < 12


@pytest.mark.parametrize("seed", SEEDS)
def test_after_an_outage_of_three_seconds_every_outcome_is_seen_within_ten(seed: int) -> None:
    service = Service(outages=((9, 12),))
    fleet = two_hundred(seed, service)
    assert all(seen_at - 12 <= 10 or delay < 5.1 for seen_at, delay in zip(fleet.seen_at, fleet.delays, strict=True))
    during = [at for at in service.starts if 9 <= at < 12]
    assert len(during) < 20
    assert any(12 <= at < 13 for at in service.starts)


def test_a_hundred_thousand_jobs_get_thousands_of_polls_a_second_in_ten_seconds() -> None:
    rows = endless(100_000, Service(), 10, concurrency=500, step=1)
    assert [row.requests for row in rows][9] > 3000


def test_a_limit_is_used_well_for_long() -> None:
    service = Service(rate=40)
    endless(1000, service, 1200)
    assert service.throttled < 1200 / 40
    assert len(service.starts) > 0.8 * 40 * 1200


def test_a_limit_that_is_lifted_is_found_in_two_minutes() -> None:
    service = Service(rate=20)
    fleet = Fleet(Pacer(), service, [(0.0, 1e9)] * 2000)
    fleet.run(200)
    assert fleet.rows[-1].rate < 25
    service.rate = None
    fleet.run(320)
    assert fleet.rows[-1].rate > 300


def test_a_queue_at_the_service_narrows_what_is_in_flight_and_loses_no_throughput() -> None:
    service = Service(serves=100, latency=lambda _: 0.02)
    rows = endless(2000, service, 60)
    assert max(row.limit for row in rows[1:]) < 40
    assert all(row.requests > 950 for row in rows[1:])


def test_a_slower_pace_that_is_not_our_doing_costs_no_more_than_it_must() -> None:
    rows = endless(10_000, Service(latency=lambda now: 0.05 if now < 20 else 0.3), 60)
    assert rows[-1].limit == 98
    assert rows[-1].requests > 0.9 * 10 * 98 / 0.3


def test_an_hour_with_an_outage_a_long_pause_and_a_slow_down_passes_without_harm() -> None:
    rows, service, fleet = hour()
    assert service.too_early == 0
    assert service.throttled < 60
    outage = [row for row in rows if 320 < row.at <= 900]
    assert sum(row.requests for row in outage) < 60
    assert {row.circuit for row in outage} == {"open"}
    paused = [row for row in rows if 1620 < row.at <= 3400]
    assert sum(row.requests for row in paused) == 0
    assert rows[-1].open_jobs < 400
    assert max(row.limit for row in rows) <= 100
    assert len(fleet.delays) > 6000
    assert quantile([row.mean_delay for row in rows if row.at < 300], 0.9) < 5
