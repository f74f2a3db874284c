"""What a watch has shown, from events with fixed data."""

from __future__ import annotations

from random import Random

import pytest
from cli_jobs import FAILED, NOON, OK, job

from asyncflow import Abandoned, Changed, Ended, ErrorInfo, Event, TransportError, Unreachable
from asyncflow.cli.exits import ExitCode
from asyncflow.cli.output.progress import RateMeter, WatchProgress


def tally_of(*events: Event, ids: tuple[str, ...] = ("a", "b", "c")) -> WatchProgress:
    tally = WatchProgress(ids)
    for event in events:
        tally.apply(event, 100.0, NOON)
    return tally


def test_at_first_nothing_is_read() -> None:
    tally = tally_of()
    assert (tally.total, tally.done, list(tally.unread), tally.open_ids) == (3, 0, ["a", "b", "c"], ["a", "b", "c"])


def test_the_longest_running_come_first() -> None:
    tally = tally_of(Changed(job("a", age=5)), Changed(job("b", age=60)), Changed(job("c", age=30)))
    assert [(running.job_id, running.born) for running in tally.oldest(2)] == [("b", 40.0), ("c", 70.0)]
    assert tally.open_ids == ["b", "c", "a"]


def test_the_oldest_are_found_among_thousands_that_come_and_go() -> None:
    random, tally = Random(1), WatchProgress()
    for number in range(5000):
        tally.apply(Changed(job(f"{number}", age=random.randrange(1, 500))), 1000.0, NOON)
        if number % 3:
            tally.apply(Ended(job(random.choice(list(tally.running)), "completed", OK)), 1000.0, NOON)
        if number % 500 == 0:
            oldest = sorted(tally.running.values(), key=lambda running: running.born)[:20]
            assert [running.born for running in tally.oldest(20)] == [running.born for running in oldest]
            assert len(set(map(id, tally.oldest(20)))) == len(oldest)
    assert len(tally._by_age) <= 2 * len(tally.running) + 1000
    assert len(tally.oldest(10_000)) == len(tally.running)


def test_a_job_that_was_given_up_still_has_a_kind_for_a_while() -> None:
    tally = tally_of(Changed(job("a")), given_up("a", "not_found"), given_up("b", "not_found"))
    assert (tally.kind_of("a"), tally.kind_of("b"), tally.kind_of("c")) == ("video", "", "")
    for number in range(1001):
        tally.apply(given_up(f"{number}", "not_found"), 100.0, NOON)
    assert tally.kind_of("a") == ""
    assert len(tally._given_up) == 1000


@pytest.mark.parametrize("age", [-3600, 30 * 86400])
def test_an_age_that_cannot_be_is_not_believed(age: float) -> None:
    assert tally_of(Changed(job("a", age=age))).running["a"].born == 100.0


def test_a_status_moves_and_its_age_stays() -> None:
    tally = tally_of(Changed(job("a", "created", age=5)))
    tally.apply(Changed(job("a", "started", age=5), "created"), 200.0, NOON)
    assert (tally.running["a"].status, tally.running["a"].born) == ("started", 95.0)


def test_endings_are_counted_by_outcome_and_kind() -> None:
    tally = tally_of(
        Ended(job("a", "completed", OK, age=43)), Ended(job("b", "completed", OK, FAILED, age=50)), Ended(job("c", "failed"))
    )
    assert tally.ended == {"succeeded": 1, "partial": 1, "failed": 1}
    assert (tally.done, tally.open_ids, tally.kinds["video"].durations) == (3, [], [43.0, 50.0, 0.0])
    assert tally.reasons == {"PUBLIC_ERROR_UNSAFE_GENERATION": 1, "no reason given": 1}


def given_up(job_id: str, kind: str) -> Abandoned:
    return Abandoned(job_id, ErrorInfo(kind, "gone"))


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ((Ended(job("a", "completed", OK)),), ExitCode.SUCCEEDED),
        ((Ended(job("a", "completed", OK)), Ended(job("b", "completed"))), ExitCode.BAD_OUTCOME),
        ((Ended(job("a", "failed")), given_up("b", "not_found")), ExitCode.LOST),
        ((given_up("a", "not_found"), given_up("b", "wait_timeout")), ExitCode.TIMEOUT),
    ],
)
def test_the_exit_code_follows_the_endings(events: tuple[Event, ...], code: ExitCode) -> None:
    assert tally_of(*events).code is code


def test_a_job_that_was_unreachable_when_its_time_was_up_is_lost() -> None:
    tally = WatchProgress(["a"])
    tally.failed("a", TransportError("connection reset", transient=True))
    tally.apply(Unreachable("a", NOON, ErrorInfo("transport")), 1.0, NOON)
    tally.apply(given_up("a", "wait_timeout"), 2.0, NOON)
    assert (tally.code, tally.reasons) == (ExitCode.LOST, {"connection reset": 1})


def test_a_job_that_answers_again_is_silent_no_longer() -> None:
    tally = WatchProgress(["a"])
    tally.failed("a", TransportError("connection reset", transient=True))
    tally.answered("a")
    tally.apply(given_up("a", "wait_timeout"), 2.0, NOON)
    assert (tally.silent, tally.code) == ({}, ExitCode.TIMEOUT)


def test_a_given_up_job_keeps_its_kind() -> None:
    tally = tally_of(Changed(job("a")), given_up("a", "not_found"))
    assert tally.kinds["video"].ended == {"given up": 1}


def test_jobs_may_come_later() -> None:
    tally = WatchProgress(expected=5)
    tally.added("a")
    assert (tally.total, tally.open_ids) == (5, ["a"])


def test_speed_is_that_of_the_last_seconds() -> None:
    speed = RateMeter(window=3.0)
    speed.start(0.0)
    assert speed.note(0.0, 0) == 0.0
    assert speed.note(1.0, 10) == 10.0
    assert [speed.note(float(second), 10) for second in (2, 3, 4, 5, 6)][-1] == 0.0
