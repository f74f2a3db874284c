"""What a watch reports adds up with the books of the simulator, which counts by itself."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

import pytest

from asyncflow import Abandoned, AsyncClient, Ended, FlowJob, JobWatcher, RunReport, fixed_interval
from asyncflow.errors import JobNotFoundError
from asyncflow.simulator import Faults, Simulator
from asyncflow.simulator.flowmusic.records import clip_states
from asyncflow.simulator.google_flow.records import captcha, media_states

if TYPE_CHECKING:
    from asyncflow import Event
    from asyncflow.simulator.jobs import SimulatedJob

# No resets: a request on a connection that was found dead is sent again at once, and counts once with us and twice there.
FAULTS = Faults(server_error=0.05, garble=0.05, truncate=0.05, failed=0.15, partial=0.15, no_media=0.1, refused=0.1)


def files_of(job: SimulatedJob) -> list[str]:
    """The state of each file that the job's last record lists."""
    facts = job.facts
    if job.scenario.expected == "failed":
        return media_states(facts) if facts.service == "google-flow" and facts.seed % 5 == 3 else []
    return clip_states(facts) if facts.service == "flowmusic" else media_states(facts)


@pytest.mark.asyncio
@pytest.mark.virtual_time
async def test_a_report_adds_up_with_the_simulators_own_books() -> None:
    events: list[Event] = []
    async with Simulator(seed=7, faults=FAULTS) as service, AsyncClient(service.token, base_url=service.url) as client:
        ids = service.seed_jobs(150, kind="mix")
        async with client.watch(ids) as watcher:
            events = [event async for event in watcher]
        report, stats = watcher.report(captcha_prices={"": 1.0}), service.stats()
        assert service._world is not None
        jobs = service._world.book.jobs
    truth = {job.facts.job_id: job for job in jobs}

    assert report.jobs == len(ids)
    assert report.running == 0
    assert report.outcomes == {"abandoned": 0} | Counter(job.scenario.expected for job in jobs)
    files = Counter(state for job in jobs for state in files_of(job))
    assert (report.files.ok, report.files.total) == (files["ok"], files.total())
    assert report.files.failed == files["failed"]

    solved = [attempt for job in jobs if captcha_is_told(job) for attempt in attempts_of(job)]
    assert report.captchas.attempts == len(solved)
    assert report.captchas.refused == sum(not attempt["success"] for attempt in solved)
    assert report.captchas.providers == Counter(attempt["service"] for attempt in solved)
    assert report.captchas.cost == len(solved)

    for group in report.groups:
        own = [job for job in jobs if job.facts.kind == group.kind]
        lives = [job.scenario.ends_after or 0.0 for job in own]
        assert group.jobs == len(own)
        assert group.durations is not None
        assert group.durations.median == pytest.approx(median(lives), abs=0.002)
        assert group.durations.longest == pytest.approx(max(lives), abs=0.002)
        assert sum(reason.jobs for reason in group.reasons) == group.jobs - group.outcomes["succeeded"]

    balances = [
        truth[event.job.job_id].facts.credits_left
        for event in events
        if isinstance(event, Ended) and event.job.remaining_credits is not None
    ]
    assert max(credit.first for credit in report.credits) == max(balances)
    assert min(credit.last for credit in report.credits) == min(balances)

    assert report.requests == sum(client.pacer.stats().starts.values())
    assert report.requests == stats.by_kind["read"]
    assert report.polls == watcher.stats().polls
    assert RunReport.from_events(events, captcha_prices={"": 1.0}).groups == report.groups


def captcha_is_told(job: SimulatedJob) -> bool:
    return job.facts.service == "google-flow" and job.scenario.expected != "failed"


def attempts_of(job: SimulatedJob) -> list[dict[str, object]]:
    attempts = captcha(job.facts)["attempts"]
    assert isinstance(attempts, list)
    return attempts


@pytest.mark.asyncio
@pytest.mark.virtual_time
async def test_a_report_may_be_asked_for_while_the_watch_goes_on_and_after_it() -> None:
    async def fetch(job_id: str) -> FlowJob:
        if job_id == "gone":
            raise JobNotFoundError("gone", kind="not_found", job_id=job_id)
        return FlowJob(job_id, "completed" if job_id == "a" else "started", kind="video", model="veo")

    async with JobWatcher(fetch, ["a", "b", "gone"], policy=fixed_interval(5), timeout=60) as watcher:
        assert watcher.report().jobs == 0
        async for event in watcher:
            if isinstance(event, Abandoned) and event.job_id == "gone":
                report = watcher.report()
                assert (report.running, report.requests) == (3 - report.jobs, None)
    over = watcher.report()
    assert (over.jobs, over.running, over.outcomes["abandoned"]) == (3, 0, 2)
    assert over.elapsed is not None
    assert watcher.report() == over
    # Of a job that was read before it was given up it is known where it belongs.
    assert [(group.kind, group.model, group.jobs) for group in over.groups] == [("video", "veo", 2), ("", "", 1)]
