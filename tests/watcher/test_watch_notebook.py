"""How the numbers of a watch show themselves in a notebook."""

from __future__ import annotations

from datetime import UTC, datetime

from notebook_page import NASTY, shown

from asyncflow import WatchStats

START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_the_numbers_of_a_watch() -> None:
    stats = WatchStats(
        watched=1500,
        in_flight=3,
        statuses={"started": 1400, NASTY: 2},
        undelivered=0,
        next_poll=1.6,
        expected_end_at=START,
        polls=12_000,
        failed_polls=7,
        unreachable=2,
        ended={"succeeded": 40, "failed": 2},
        abandoned=1,
    )
    assert shown(stats) == [
        *("43 of 1,543 jobs are over", "succeeded", "40", "failed", "2", "given up", "1", f"still {NASTY}", "2"),
        *("still started", "1,400", "not read yet", "98", "no answer, so far", "2"),
        *("polls", "12,000, 7 without an answer", "next poll", "in 2 s", "expected end", "12:00:00 UTC"),
    ]
    empty = WatchStats(0, 0, {}, 0, None, None, 0, 0, 0, {}, 0)
    assert shown(empty) == ["0 of 0 jobs are over", "polls", "0"]
