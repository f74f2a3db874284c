"""The request budget over time: every request is counted once, however long the watch and however rare the samples."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from asyncflow import Pacer
from asyncflow.dashboard.time_series import TimeSeries, Totals


def test_what_happens_in_a_step_is_that_steps() -> None:
    history = TimeSeries(100.0, step=2.0)
    assert not history.note(101.0, Totals(3))
    assert history.note(102.0, Totals(4, 1))
    assert history.note(104.5, Totals(4, 1, 2))
    assert (history.requests, history.throttled, history.failed) == ([4, 0], [1, 0], [0, 2])


def test_a_gap_is_shared_out() -> None:
    history = TimeSeries(0.0, step=2.0)
    history.note(6.0, Totals(7))
    assert history.requests == [2, 2, 3]


def test_when_the_steps_are_used_up_two_become_one() -> None:
    history = TimeSeries(0.0, step=1.0, most=4)
    for second in range(1, 6):
        history.note(float(second), Totals(second * 10))
    assert (history.step, history.requests) == (2.0, [20, 20, 10])
    history.note(6.0, Totals(60))
    history.note(8.0, Totals(90))
    assert history.requests == [20, 20, 10, 40]


@given(
    st.lists(st.tuples(st.floats(0.1, 900), st.integers(0, 50)), min_size=1, max_size=60),
    st.integers(2, 20),
)
def test_nothing_is_lost_and_nothing_grows(samples: list[tuple[float, int]], most: int) -> None:
    history = TimeSeries(0.0, step=1.0, most=most)
    now, total, noted = 0.0, 0, 0
    for pause, count in samples:
        now, total = now + pause, total + count
        if history.note(now, Totals(total)):
            noted = total
        assert len(history) <= most
    assert sum(history.requests) == noted
    assert all(value >= 0 for value in history.requests)


def test_a_counter_that_falls_back_counts_nothing() -> None:
    history = TimeSeries(0.0, Totals(10), step=1.0)
    history.note(1.0, Totals(4))
    assert history.requests == [0]
    assert all(first <= second for first, second in pairwise([0, *history.requests]))


def test_totals_are_those_of_the_budget() -> None:
    assert Totals.of(Pacer().stats()) == Totals(0, 0, 0)
