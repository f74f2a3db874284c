"""The policies that learn nothing, and the pause after a failed poll."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.polling import PollPolicy, PrioritizingPolicy, backoff, failure_delay, fixed_interval

KEY = ("google-flow", "video", "")


def test_every_waits_for_the_same_time_each_time() -> None:
    policy = fixed_interval(10)
    assert [policy.next_poll(KEY, age, 3) for age in (0.0, 5.0, 1000.0)] == [10, 10, 10]


def test_a_fixed_policy_expects_nothing_and_ranks_nothing() -> None:
    policy = fixed_interval(10)
    policy.learn(KEY, 100.0)
    assert policy.expected_duration(KEY, 5.0) is None
    assert not isinstance(policy, PrioritizingPolicy)
    assert isinstance(PollPolicy(), PrioritizingPolicy)


@pytest.mark.parametrize("policy", [fixed_interval(5), PollPolicy(2.5), backoff(5)])
def test_first_polls_fill_one_interval_evenly_however_many_there_are(policy: PollPolicy) -> None:
    for count in (64, 200, 1024):
        points = sorted(policy.first_poll(number) for number in range(count))
        assert points[-1] < 5.0
        in_a_second = [sum(start <= point < start + 1 for point in points) for start in points]
        assert max(in_a_second) <= 1.2 * count / 5 + 10


@pytest.mark.parametrize("policy", [fixed_interval(5), PollPolicy(2.5), backoff(5)])
def test_the_first_few_need_not_wait_for_a_place_in_a_crowd(policy: PollPolicy) -> None:
    assert [policy.first_poll(number) for number in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_backoff_grows_to_its_limit() -> None:
    policy = backoff(2, factor=2, limit=15, jitter=0)
    assert [policy.next_poll(KEY, 0.0, polls) for polls in (0, 1, 2, 3, 4, 5, 10_000)] == [2, 2, 4, 8, 15, 15, 15]


def test_backoff_by_nothing_stays() -> None:
    policy = backoff(2, factor=1, limit=15, jitter=0)
    assert [policy.next_poll(KEY, 0.0, polls) for polls in (1, 5)] == [2, 2]


def test_jitter_takes_off_an_even_share() -> None:
    policy = backoff(10, limit=10, jitter=0.2)
    waits = [policy.next_poll(KEY, 0.0, 1) for _ in range(1000)]
    assert 8.0 < min(waits) < max(waits) <= 10.0
    assert sum(waits) / len(waits) == pytest.approx(9.0, abs=0.01)


@pytest.mark.parametrize("seconds", [0, -1, math.inf, math.nan])
def test_every_refuses_what_is_no_interval(seconds: float) -> None:
    with pytest.raises(ValueError, match="interval"):
        fixed_interval(seconds)


@pytest.mark.parametrize(
    "options", [{"first": 0}, {"first": 40}, {"limit": math.inf}, {"factor": 0.5}, {"jitter": -0.1}, {"jitter": 1.1}]
)
def test_backoff_refuses_what_is_none(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="backoff"):
        backoff(**options)


@given(failures=st.integers(1, 10_000), seed=st.integers(0, 100))
def test_pauses_after_failures_double_up_to_a_minute(failures: int, seed: int) -> None:
    full = min(60.0, 2.0 ** min(failures - 1, 10))
    assert full / 2 <= failure_delay(failures, None, Random(seed)) <= full


@given(failures=st.integers(0, 20), retry_after=st.floats(0, 3600), seed=st.integers(0, 100))
def test_no_pause_is_shorter_than_the_service_asked_for(failures: int, retry_after: float, seed: int) -> None:
    delay = failure_delay(failures, retry_after, Random(seed))
    assert retry_after <= delay <= max(60.0, retry_after + 6.0)


@pytest.mark.parametrize("number", [12, 13, 1023, 1024, 1025, 70_000, 2**20 - 1, 2**20, 2**20 + 5, 3**20])
def test_the_place_of_a_first_poll_is_its_number_mirrored(number: int) -> None:
    digits = f"{number:b}"[::-1]
    assert fixed_interval(8.0).first_poll(number) == 8.0 * int(digits, 2) / 2 ** len(digits)
