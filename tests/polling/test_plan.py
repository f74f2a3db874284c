"""Distributions and plans: against exact sums, and against a search of all plans."""

from __future__ import annotations

import math
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncflow.polling.planner import Distribution, PauseBounds, Plan, plan_for

ANY = PauseBounds(0.0, math.inf)


def video(count: int, seed: int = 0) -> list[float]:
    rng = Random(seed)
    return [rng.lognormvariate(math.log(100), 0.28) for _ in range(count)]


def cost(jobs: Distribution, polls: list[float], price: float) -> float:
    """Return what a plan costs for the jobs that end by its last poll, added up cell by cell."""
    total = price
    for before, after, share_before, share in zip(jobs.ages, jobs.ages[1:], jobs.share, jobs.share[1:], strict=False):
        following = min(poll for poll in polls if poll >= after)
        total += (share - share_before) * (following - (before + after) / 2)
    return total + sum(price * (1 - jobs.ended(poll)) for poll in polls[:-1])


@given(st.lists(st.floats(0, 5000), min_size=1, max_size=60), st.lists(st.floats(0, 8000), max_size=20), st.floats(0, 10))
def test_shares_grow_from_zero_and_never_reach_one(ended: list[float], alive: list[float], worth: float) -> None:
    jobs = Distribution(ended, 0.5, alive, worth)
    assert jobs.share[0] == 0.0
    assert all(before <= after < 1.0 for before, after in zip(jobs.share, jobs.share[1:], strict=False))
    assert jobs.tail > 0.0
    for age in (0.0, 1.0, 70.0, 1e5):
        assert jobs.expected(age) >= age
        assert 0.0 <= jobs.chance(age, age + 10.0) <= 1.0


def test_the_distribution_is_that_of_the_sample() -> None:
    known = video(200)
    jobs = Distribution(known, 0.5)
    assert jobs.mean == pytest.approx(sum(known) / 200)
    assert jobs.expected(0.0) == pytest.approx(jobs.mean, rel=0.02)
    for age in (70.0, 100.0, 130.0):
        assert jobs.ended(age) == pytest.approx(sum(duration <= age for duration in known) / 200, abs=0.05)
    older = [duration for duration in known if duration > 110.0]
    assert jobs.expected(110.0) == pytest.approx(sum(older) / len(older), rel=0.05)


def test_jobs_that_live_on_speak_against_an_early_end() -> None:
    alone = Distribution([4.0, 5.0, 6.0, 7.0], 0.5)
    among_many = Distribution([4.0, 5.0, 6.0, 7.0], 0.5, [8.0] * 20, 2.0)
    assert alone.ended(8.0) > 0.7
    assert among_many.ended(8.0) < 0.3
    assert among_many.mean > 3 * alone.mean
    assert alone.chance(0.0, 7.0) > among_many.chance(0.0, 7.0)


def test_beyond_all_experience_jobs_end_at_a_constant_rate() -> None:
    jobs = Distribution(video(50), 0.5)
    assert jobs.chance(9000.0, 9000.0 + jobs.tail) == pytest.approx(1 - math.exp(-1))
    assert jobs.expected(9000.0) == 9000.0 + jobs.tail


@pytest.mark.parametrize("price", [0.05, 0.5, 2.0])
@pytest.mark.parametrize("durations", [[3.0, 3.5, 4.0, 4.5], [1.0, 1.0, 1.0, 6.0, 6.0, 6.0], [2.0]])
def test_no_other_choice_of_ages_costs_less(durations: list[float], price: float) -> None:
    jobs = Distribution(durations, 0.6)
    last = len(jobs.ages) - 1
    assert last < 20
    plan = Plan(jobs, price, ANY)
    polls = [0.0]
    while polls[-1] < jobs.ages[-1]:
        polls.append(polls[-1] + plan.wait(polls[-1]))
    others = (
        [*(jobs.ages[cell] for cell in chosen), jobs.ages[last]]
        for count in range(min(last, 6))
        for chosen in combinations(range(1, last), count)
    )
    least = min(cost(jobs, other, price) for other in others)
    # What happens after the last age is the same for all but for the price of getting there.
    assert cost(jobs, polls[1:], price) <= least + 1e-9


@settings(max_examples=50)
@given(
    st.lists(st.floats(0.5, 400), min_size=1, max_size=40),
    st.floats(0.01, 50),
    st.floats(0.5, 3),
    st.floats(4, 60),
    st.floats(0, 2000),
)
def test_pauses_keep_their_limits(durations: list[float], price: float, shortest: float, longest: float, age: float) -> None:
    plan = Plan(Distribution(durations, 0.5), price, PauseBounds(shortest, longest))
    # A grid of ages is what the plan is made of, so a pause may fall short of its limit by a step, but never exceeds it.
    assert shortest <= plan.wait(age) <= longest + 1e-9


def test_a_hardly_known_kind_is_asked_about_at_growing_pauses() -> None:
    limits = PauseBounds(1.0, 15.0, 5.0, 0.5)
    assert [limits.latest(age) - age for age in (0.0, 8.0, 20.0, 40.0)] == [5.0, 5.0, 10.0, 15.0]


def test_a_dearer_request_makes_fewer_of_them_and_later_news() -> None:
    jobs = Distribution(video(200), 0.5)
    plans = [Plan(jobs, price, ANY) for price in (0.1, 0.4, 1.6, 6.4)]
    assert [plan.requests for plan in plans] == sorted([plan.requests for plan in plans], reverse=True)
    assert [plan.lateness for plan in plans] == sorted(plan.lateness for plan in plans)


def test_the_plan_for_a_delay_has_that_delay() -> None:
    plan, price = plan_for(Distribution(video(200), 0.5), 2.5, ANY, 30.0, 10)
    assert plan.lateness == pytest.approx(2.5, rel=0.05)
    assert plan.requests < 12.0
    again, same = plan_for(Distribution(video(200), 0.5), 2.5, ANY, price, 0)
    assert (again.lateness, same) == (plan.lateness, price)


def test_a_delay_that_cannot_be_had_ends_the_search() -> None:
    plan, price = plan_for(Distribution([2.0] * 100, 0.5), 50.0, PauseBounds(1.0, 4.0), 1.0, 10)
    assert plan.lateness < 5.0
    assert price <= 50_000.0
