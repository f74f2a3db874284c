"""The default policy, watched while it works: numbers in, numbers out, no time passes.

The shapes of durations here are not those the policy was made with.
"""

from __future__ import annotations

import heapq
import json
import math
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncflow.polling import EXPECTED, REST, PollPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.polling import Key

    Shape = Callable[[Random], float]

VIDEO: Key = ("google-flow", "video", "veo")
OTHER: Key = ("google-flow", "upscale", "")

# ruff: noqa: E731 - a table of shapes
GAMMA: Shape = lambda random: random.gammavariate(9.0, 8.0)
TWO_KINDS: Shape = lambda random: random.choice([2.0, 60.0]) * random.uniform(0.9, 1.1)
HEAVY_TAIL: Shape = lambda random: 20.0 * random.paretovariate(1.8)
FAILING: Shape = lambda random: random.choice([random.uniform(1, 10)] + 19 * [GAMMA(random)])


class Answer:
    """What a job of a simulation came to."""

    def __init__(self, duration: float, polls: int, delay: float) -> None:
        self.duration = duration
        self.polls = polls
        self.delay = delay


def watch(policy: PollPolicy, durations: list[float], *, spacing: float = 3.0, key: Key = VIDEO) -> list[Answer]:
    """Poll jobs that begin *spacing* seconds apart, each to its end."""
    begins = [spacing * number for number in range(len(durations))]
    queue = [(begin + policy.first_poll(number), number, 1) for number, begin in enumerate(begins)]
    answers: dict[int, Answer] = {}
    while queue:
        now, number, polls = heapq.heappop(queue)
        age = now - begins[number]
        if age >= durations[number]:
            policy.learn(key, durations[number])
            answers[number] = Answer(durations[number], polls, age - durations[number])
        else:
            heapq.heappush(queue, (now + policy.next_poll(key, age, polls), number, polls + 1))
    return [answers[number] for number in range(len(durations))]


def drawn(shape: Shape, count: int, seed: int = 1) -> list[float]:
    random = Random(seed)
    return [shape(random) for _ in range(count)]


def mean_delay(answers: list[Answer]) -> float:
    return sum(answer.delay for answer in answers) / len(answers)


def of_fixed(answers: list[Answer]) -> float:
    """Return the requests in relation to those of fixed polling with the same mean delay."""
    interval = 2.0 * mean_delay(answers)
    return sum(answer.polls for answer in answers) / sum(math.ceil(answer.duration / interval) for answer in answers)


def trained(max_interval: float | None = 15.0) -> PollPolicy:
    policy = PollPolicy(max_interval=max_interval)
    for duration in drawn(GAMMA, 250, seed=99):
        policy.learn(VIDEO, duration)
    return policy


@pytest.mark.parametrize("shape", [GAMMA, TWO_KINDS, HEAVY_TAIL, FAILING])
def test_a_stream_costs_less_than_fixed_polling_from_the_first_job_on(shape: Shape) -> None:
    answers = watch(PollPolicy(), drawn(shape, 500))
    assert of_fixed(answers[:100]) < 1.0
    assert of_fixed(answers[200:]) < 0.9
    assert 1.5 < mean_delay(answers[200:]) < 3.0


@pytest.mark.parametrize(("shape", "count"), [(GAMMA, 150), (lambda random: random.uniform(4, 20), 200), (TWO_KINDS, 400)])
def test_a_cold_batch_costs_no_more_than_fixed_polling(shape: Shape, count: int) -> None:
    answers = watch(PollPolicy(), drawn(shape, count), spacing=0.0)
    assert of_fixed(answers) < 1.02


def test_of_a_large_batch_a_fair_sample_is_kept() -> None:
    policy = PollPolicy()
    durations = drawn(GAMMA, 600)
    watch(policy, durations, spacing=0.0)
    kept = policy.save()["kinds"][0][3]
    assert sum(kept) / len(kept) == pytest.approx(sum(durations) / 600, rel=0.1)


@pytest.mark.parametrize("factor", [3.0, 1 / 3])
def test_a_change_of_speed_is_noticed(factor: float) -> None:
    before, after = drawn(GAMMA, 300, seed=2), [factor * duration for duration in drawn(GAMMA, 300, seed=3)]
    answers = watch(PollPolicy(), before + after)
    assert max(answer.delay for answer in answers) <= 15.0
    assert of_fixed(answers[400:]) < 0.9
    assert mean_delay(answers[400:]) < 3.2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.floats(0.1, 30), st.floats(0.1, 1000)), min_size=1, max_size=60), st.sampled_from([0.0, 3.0]))
def test_no_end_is_seen_later_than_the_longest_pause(durations: list[float], spacing: float) -> None:
    answers = watch(PollPolicy(), durations, spacing=spacing)
    assert max(answer.delay for answer in answers) <= 15.0 + 1e-6


def test_the_limit_can_be_lifted() -> None:
    assert trained(max_interval=None).next_poll(VIDEO, 0.0, 1) > 15.0
    assert trained().next_poll(VIDEO, 0.0, 1) <= 15.0


def test_jobs_of_one_age_are_not_polled_all_at_once() -> None:
    policy = trained()
    waits = sorted(policy.next_poll(VIDEO, 60.0, 2) for _ in range(100))
    assert waits[90] - waits[10] > 0.25 * waits[50]


def test_a_clock_that_runs_ahead_is_no_harm() -> None:
    policy = trained()
    assert 1.0 <= policy.next_poll(VIDEO, -30.0, 1) <= 15.0
    assert 1.0 <= policy.next_poll(VIDEO, math.nan, 1) <= 15.0


@pytest.mark.parametrize("duration", [-1.0, math.inf, math.nan, 1e308, 32 * 86_400.0, 10**400])
def test_what_cannot_be_a_duration_is_not_learned(duration: float) -> None:
    policy = PollPolicy()
    policy.learn(VIDEO, duration)
    assert policy.save()["kinds"] == []


def test_jobs_that_end_at_once_can_be_learned() -> None:
    policy = PollPolicy()
    for _ in range(30):
        policy.learn(OTHER, 0.0)
    assert 1.0 <= policy.next_poll(OTHER, 0.0, 1) <= 15.0


def test_an_expected_end_comes_from_the_kind_and_then_from_its_jobs() -> None:
    policy = PollPolicy()
    assert policy.expected_duration(OTHER, 0.0) is None
    assert policy.expected_duration(VIDEO, 0.0) == pytest.approx(110.0, abs=15)
    for _ in range(50):
        policy.learn(VIDEO, 40.0)
        policy.learn(OTHER, 8.0)
    assert policy.expected_duration(VIDEO, 0.0) == pytest.approx(110.0, abs=80)
    policy.next_poll(VIDEO, 1.0, 1)
    policy.next_poll(OTHER, 1.0, 1)
    assert policy.expected_duration(VIDEO, 0.0) == pytest.approx(40.0, abs=5)
    assert policy.expected_duration(OTHER, 0.0) == pytest.approx(8.0, abs=2)
    later = policy.expected_duration(VIDEO, 100.0)
    assert later is not None
    assert later > 100.0


def test_a_new_model_starts_from_what_is_known_of_its_kind() -> None:
    policy = PollPolicy()
    for duration in drawn(lambda random: random.uniform(300, 310), 50):
        policy.learn(VIDEO, duration)
    assert policy.expected_duration(("google-flow", "video", "newer"), 0.0) == pytest.approx(305, rel=0.2)
    assert policy.expected_duration(("flowmusic", "video", "newer"), 0.0) == pytest.approx(110, abs=15)


def test_polls_near_the_expected_end_are_preferred() -> None:
    policy = trained()
    assert policy.priority(VIDEO, 70.0, 20.0) == EXPECTED
    assert policy.priority(VIDEO, 5.0, 5.0) == REST
    assert PollPolicy().priority(VIDEO, 5.0, 5.0) == REST


def test_dear_requests_are_fewer_and_the_price_can_fall_again() -> None:
    policy, ages = trained(), [float(age) for age in range(150)]

    def waits() -> float:
        return sum(policy.next_poll(VIDEO, age, 2) for age in ages)

    cheap = waits()
    policy.price = 8.0
    assert policy.price == 8.0
    assert waits() > 1.5 * cheap
    assert max(policy.next_poll(VIDEO, age, 2) for age in ages) > 15.0
    policy.price = 0.0
    assert policy.price == 1.0
    policy.price = 1.1
    assert policy.price == 1.0
    assert waits() == pytest.approx(cheap, rel=0.1)


def test_one_job_just_submitted_of_a_kind_unknown_has_a_second_look_soon() -> None:
    policy = PollPolicy()
    policy.first_poll(0)
    assert policy.next_poll(OTHER, 0.2, 1) == 1.0
    assert policy.next_poll(OTHER, 1.2, 2) > 2.0
    assert policy.next_poll(OTHER, 30.0, 1) > 2.0


def test_one_of_many_jobs_has_no_second_look_and_nor_has_a_kind_that_is_known() -> None:
    policy = PollPolicy()
    for number in range(10):
        policy.first_poll(number)
    assert policy.next_poll(OTHER, 0.2, 1) > 2.0
    policy.first_poll(0)
    for _ in range(8):
        policy.learn(OTHER, 100.0)
    assert policy.next_poll(OTHER, 0.2, 1) > 2.0


def test_two_far_too_early_count_for_four() -> None:
    policy = trained()
    policy.next_poll(VIDEO, 0.0, 2)
    known = policy.save()["kinds"][0][3]
    for _ in range(2):
        policy.learn(VIDEO, min(known) / 2)
    assert len(policy.save()["kinds"][0][3]) < 20


def test_the_price_counts_for_kinds_hardly_known_too() -> None:
    policy = PollPolicy()
    cheap = policy.next_poll(OTHER, 0.0, 1)
    policy.price = 16.0
    assert policy.next_poll(OTHER, 0.0, 1) > 2 * cheap


def test_what_was_learned_can_be_saved_and_loaded() -> None:
    policy = trained()
    state = json.loads(json.dumps(policy.save()))
    other = PollPolicy()
    other.load(state)
    assert other.save() == policy.save()
    assert len(policy.save()["kinds"][0][3]) == 200
    expected = policy.expected_duration(VIDEO, 0.0), other.expected_duration(VIDEO, 0.0)
    assert expected[0] == pytest.approx(expected[1], rel=0.05)


@pytest.mark.parametrize(
    "state",
    [
        {},
        [],
        None,
        {"format": 2, "kinds": [["a", "b", "c", [1.0]]]},
        {"format": 1},
        {"format": 1, "kinds": 7},
        {
            "format": 1,
            "kinds": [
                ["a", "b", [1.0]],
                "x",
                ["a", "b", 3, [1.0]],
                ["a", "b", "c", 4.0],
                ["a", "b", "c", ["x", -1, True, 10**400]],
            ],
        },
    ],
)
def test_a_state_that_is_not_understood_is_passed_over(state: dict[str, Any]) -> None:
    policy = PollPolicy()
    policy.load(state)
    assert policy.save()["kinds"] == []


def test_the_number_of_kinds_is_bounded() -> None:
    policy = PollPolicy()
    for number in range(1000):
        policy.learn(("s", f"kind {number}", ""), 10.0)
    assert len(policy.save()["kinds"]) == 256
    assert policy.save()["kinds"][-1][1] == "kind 999"


@pytest.mark.parametrize("options", [{"delay": 0.0}, {"delay": math.inf}, {"min_interval": 0.0}, {"max_interval": 0.5}])
def test_impossible_limits_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="policy"):
        PollPolicy(**options)
