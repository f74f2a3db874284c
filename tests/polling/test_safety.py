"""The policy beside callbacks: rare polls, and everything else as the policy behind it has it."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from asyncflow.polling import EXPECTED, REST, PollPolicy, PrioritizingPolicy, fixed_interval, webhook_fallback

KEY = ("google-flow", "video", "")


def test_a_short_pause_becomes_the_interval_and_a_long_one_stays() -> None:
    assert [webhook_fallback(fixed_interval(5), 60).next_poll(KEY, 20.0, polls) for polls in (2, 3)] == [60, 60]
    assert webhook_fallback(fixed_interval(300), 60).next_poll(KEY, 20.0, 2) == 300


def test_jobs_that_were_first_read_together_drift_apart() -> None:
    policy = webhook_fallback(fixed_interval(5), 60)
    waits = sorted(policy.next_poll(KEY, 0.0, 1) for _ in range(100))
    assert 30 <= waits[0] < 32
    assert 58 < waits[-1] <= 60
    assert max(after - before for before, after in pairwise(waits)) < 1.0


def test_first_polls_are_those_of_the_policy() -> None:
    policy = fixed_interval(5)
    assert [webhook_fallback(policy).first_poll(number) for number in range(9)] == [
        policy.first_poll(number) for number in range(9)
    ]


def test_the_policy_behind_it_learns_and_is_asked() -> None:
    policy = PollPolicy()
    net = webhook_fallback(policy)
    for _ in range(200):
        net.learn(KEY, 100.0)
    assert net.expected_duration(KEY, 20.0) == policy.expected_duration(KEY, 20.0) == pytest.approx(100.0, rel=0.1)
    assert webhook_fallback(fixed_interval(5)).expected_duration(KEY, 20.0) is None


def test_polls_are_ranked_as_the_policy_ranks_them() -> None:
    policy = PollPolicy()
    for _ in range(200):
        policy.learn(KEY, 100.0)
    net, plain = webhook_fallback(policy), webhook_fallback(fixed_interval(5))
    assert isinstance(net, PrioritizingPolicy)
    assert isinstance(plain, PrioritizingPolicy)
    assert net.priority(KEY, 90.0, 60.0) == policy.priority(KEY, 90.0, 60.0) == EXPECTED
    assert plain.priority(KEY, 90.0, 60.0) == REST


@pytest.mark.parametrize("interval", [0, -1, math.inf, math.nan])
def test_what_is_no_interval_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        webhook_fallback(fixed_interval(5), interval)
