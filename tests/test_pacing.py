"""The promises of the budget, one by one, in numbers."""

from __future__ import annotations

import gc
import itertools
import json
import random
import weakref
from dataclasses import asdict
from functools import partial
from math import inf, nan
from typing import TYPE_CHECKING

import pytest

from asyncflow.pacing import Pacer, Priority, prepaid
from asyncflow.pacing.adaptive_concurrency import AdaptiveConcurrency
from asyncflow.pacing.adaptive_rate import AdaptiveRate

if TYPE_CHECKING:
    from collections.abc import Callable

INTERACTIVE, NUDGED, EXPECTED, REST = Priority
START = 1000.0


def take_when_due(pacer: Pacer, now: float, priority: Priority = REST) -> float:
    """Return when a request of *priority* went out that was ready at *now*."""
    while delay := pacer.try_acquire(now, priority):
        assert delay < inf
        now += delay
    return now


def serve(pacer: Pacer, now: float, until: float, latency: float = 0.0) -> float:
    """Send one request after another until then, each answered at once, and return when the last went out."""
    while now < until:
        now = take_when_due(pacer, now)
        pacer.succeeded(now, latency)
    return now


def fail(pacer: Pacer, now: float, times: int = 8) -> float:
    for _ in range(times):
        now = take_when_due(pacer, now)
        pacer.failed(now)
    return now


# Spacing


def test_a_fresh_budget_lets_the_first_request_go_and_spaces_the_second() -> None:
    pacer = Pacer()
    assert pacer.delay(START, REST) == 0.0
    assert pacer.try_acquire(START, REST) == 0.0
    assert pacer.try_acquire(START, REST) == pytest.approx(0.005)
    assert pacer.try_acquire(START + 0.005, REST) == 0.0
    assert pacer.try_acquire(START + 0.005, REST) == pytest.approx(0.025)


def test_peek_pays_for_nothing() -> None:
    pacer = Pacer()
    assert [pacer.delay(START, REST) for _ in range(3)] == [0.0] * 3
    assert pacer.stats().in_flight == 0


def test_slots_missed_by_a_coarse_timer_are_made_up_for_and_others_are_lost() -> None:
    pacer = Pacer(rate=1000)
    now = serve(pacer, START, START + 20)
    assert pacer.stats().rate == pytest.approx(1000 / 1.01)
    late = now + 0.005
    assert sum(pacer.try_acquire(late, REST) == 0.0 for _ in range(100)) in {4, 5}
    suspended, caught_up = now + 3600, 0
    pacer.cancelled()
    while not pacer.try_acquire(suspended, REST):
        pacer.cancelled()
        caught_up += 1
    assert caught_up == 10


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.5, 20.0, 333.3, 2000.0])
@pytest.mark.parametrize("lag", [0.0, 0.001, 0.02])
def test_no_second_holds_more_starts_than_the_hard_rate_and_one(rate: float, lag: float) -> None:
    pacer = Pacer(rate=rate)
    starts: list[float] = []
    now = START
    while len(starts) < min(rate * 30, 10_000) and now < START + 40:
        for _ in range(50):
            if delay := pacer.try_acquire(now, INTERACTIVE):
                now += delay + lag
            else:
                starts.append(now)
                pacer.succeeded(now, 0.01)
    first = 0
    for last, at in enumerate(starts):
        while starts[first] < at - 1:
            first += 1
        assert last - first + 1 <= rate + 1
    if not lag:
        assert len(starts) > rate * 0.95 * (now - START - 8)


def test_the_hard_rate_is_a_spacing_when_it_is_low() -> None:
    pacer = Pacer(rate=0.5)
    starts = [START]
    pacer.try_acquire(START, REST)
    for _ in range(4):
        starts.append(take_when_due(pacer, starts[-1]))
    assert [b - a for a, b in itertools.pairwise(starts)] == pytest.approx([2.01, 2.02, 2.02, 2.02])


def test_a_caller_who_looks_on_goes_one_slot_early_but_not_two() -> None:
    pacer = Pacer()
    pacer.try_acquire(START, REST)
    assert pacer.delay(START, REST) > 0
    assert pacer.try_acquire(START, INTERACTIVE) == 0.0
    assert pacer.try_acquire(START, INTERACTIVE) == pytest.approx(0.005)
    assert pacer.try_acquire(START, REST) == pytest.approx(0.03)


def test_the_slot_on_credit_stays_under_the_hard_rate() -> None:
    pacer = Pacer(rate=2)
    pacer.try_acquire(START, REST)
    assert pacer.try_acquire(START, INTERACTIVE) == pytest.approx(0.495)


def test_the_rate_doubles_each_second_while_it_is_the_bottleneck() -> None:
    pacer = Pacer()
    now, rates = serve(pacer, START, START + 3), []
    assert pacer.stats().rate < 90
    for _ in range(7):
        now = serve(pacer, now, now + 1)
        rates.append(pacer.stats().rate)
    assert all(1.8 < b / a < 2.2 for a, b in itertools.pairwise(rates))
    assert rates[-1] > 4000


def test_the_rate_learned_ends_at_the_hard_one() -> None:
    pacer = Pacer(rate=100)
    serve(pacer, START, START + 5)
    assert pacer.stats().rate == pytest.approx(100 / 1.01)


def test_the_rate_does_not_grow_without_demand() -> None:
    pacer = Pacer()
    for second in range(100):
        pacer.delay(START + second, REST)
        assert pacer.try_acquire(START + second, REST) == 0.0
        pacer.delay(START + second, REST)
        pacer.succeeded(START + second, 0.0)
    assert pacer.stats().rate == 40


def test_who_looks_without_need_does_not_drive_the_rate_far_beyond_the_demand() -> None:
    pacer = Pacer()
    for number in range(4000):
        now = START + number / 40
        assert pacer.try_acquire(now, REST) == 0.0 or number < 80
        pacer.delay(now, REST)
        pacer.succeeded(now, 0.0)
    assert pacer.stats().rate < 100


def test_the_rate_does_not_grow_on_failures() -> None:
    pacer = Pacer()
    now = START
    for number in range(100):
        now = take_when_due(pacer, now)
        if number % 5:
            pacer.failed(now)
        else:
            pacer.cancelled()
            pacer.throttled(now, 0.001) if number == 0 else pacer.succeeded(now, 0.0)
    assert pacer.stats().rate < 21


def test_late_answers_do_not_make_the_rate_leap() -> None:
    pacer = Pacer()
    now = START
    for number in range(160):
        now = take_when_due(pacer, now)
        if number < 152:
            pacer.cancelled()
    pacer.succeeded(now, 2.0)
    assert pacer.stats().rate == pytest.approx(41)
    for _ in range(7):
        pacer.succeeded(now, 2.0)
    assert pacer.stats().rate == pytest.approx(48)


# 429


def test_a_429_halves_the_rate_and_pauses_everybody() -> None:
    pacer = Pacer()
    now = serve(pacer, START, START + 2)
    rate = pacer.stats().rate
    now = take_when_due(pacer, now)
    pacer.throttled(now, 5)
    stats = pacer.stats()
    assert 0.3 * rate < stats.rate < 0.51 * rate
    assert stats.ceiling == pytest.approx(2 * stats.rate)
    assert stats.paused_until == pytest.approx(now + 5, abs=0.02)
    assert (stats.throttled, stats.pauses) == (1, 1)
    for priority in Priority:
        assert pacer.delay(now, priority) == pytest.approx(5, abs=0.02)
        assert pacer.try_acquire(now + 4.999, priority) > 0
    assert take_when_due(pacer, now) >= now + 5


def test_answers_to_requests_under_way_do_not_halve_again() -> None:
    pacer = Pacer()
    now = START
    for _ in range(6):
        now = take_when_due(pacer, now)
    for number in range(3):
        pacer.throttled(now + number, 5)
    pacer.succeeded(now + 3, 3.0)
    pacer.throttled(now + 3)
    pacer.throttled(now + 3, 1)
    stats = pacer.stats()
    assert (stats.throttled, stats.pauses, stats.rate) == (5, 1, 20)
    assert stats.paused_until == pytest.approx(now + 7, abs=0.02)
    now = take_when_due(pacer, now + 3)
    pacer.throttled(now, 5)
    assert (pacer.stats().pauses, pacer.stats().rate) == (2, 10)


def test_the_rate_never_falls_to_nothing() -> None:
    pacer = Pacer()
    now = START
    for _ in range(20):
        now = take_when_due(pacer, now)
        pacer.throttled(now, 1)
    assert pacer.stats().rate == 0.1


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [(None, 1), (0, 1), (-30, 1), (nan, 1), (0.25, 0.25), (5, 5), (1800, 1800), (86400, 86400), (1.7e9, 3600), (inf, 3600)],
)
def test_what_is_believed_of_a_retry_after(retry_after: float | None, pause: float) -> None:
    pacer = Pacer()
    pacer.try_acquire(START, REST)
    pacer.throttled(START, retry_after)
    assert pause < pacer.delay(START, REST) < pause * 1.002 + 0.02


def test_pauses_grow_while_the_service_names_none_and_start_over_after_an_answer() -> None:
    pacer = Pacer()
    now, pauses = START, []
    for _ in range(7):
        now = take_when_due(pacer, now)
        pacer.throttled(now)
        pauses.append(round(pacer.delay(now, REST)))
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    now = take_when_due(pacer, now)
    pacer.succeeded(now, 0.1)
    now = take_when_due(pacer, now)
    pacer.throttled(now)
    assert round((pacer.stats().paused_until or 0) - now) == 1


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    pacer = Pacer()
    pacer.try_acquire(START, REST)
    pacer.try_acquire(START, INTERACTIVE)
    pacer.throttled(START, 1800)
    pacer.throttled(START, 1)
    assert pacer.delay(START, REST) > 1800


def test_the_rate_creeps_up_after_a_429_and_faster_the_longer_it_goes_well() -> None:
    pacer = Pacer()
    now = serve(pacer, START, START + 3)
    now = take_when_due(pacer, now)
    pacer.throttled(now, 5)
    now += 6
    after, rates = now, []
    for minute in range(1, 4):
        now = serve(pacer, now, after + minute * 30)
        rates.append(pacer.stats().rate)
    half = (pacer.stats().ceiling or 0) / 2
    assert half < rates[0] < 1.1 * half
    assert rates[1] - rates[0] > rates[0] - half
    assert rates[2] > 1.3 * half


def test_the_rate_comes_back_below_a_ceiling_found_by_creeping_and_is_careful_above() -> None:
    pacer = Pacer()
    now = START
    for _ in range(2):
        now = serve(pacer, now, now + 3)
        now = take_when_due(pacer, now)
        pacer.throttled(now, 5)
        now += 6
    ceiling = pacer.stats().ceiling or 0
    assert pacer.stats().rate == pytest.approx(ceiling / 2)
    now = serve(pacer, now, now + 12)
    assert 0.85 * ceiling < pacer.stats().rate < 0.95 * ceiling
    serve(pacer, now, now + 20)
    assert 0.9 * ceiling < pacer.stats().rate < ceiling


def test_the_longer_the_pause_the_slower_the_way_back() -> None:
    rates = []
    for pause in (5, 60, 1800):
        pacer = Pacer()
        now = serve(pacer, START, START + 3)
        now = take_when_due(pacer, now)
        pacer.throttled(now, pause)
        serve(pacer, now + pause + 3, now + pause + 63)
        rates.append(pacer.stats().rate)
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("retry_after", [0.5, 1.0])
def test_a_429_on_one_request_in_a_hundred_does_not_bring_the_rate_down_for_good(retry_after: float) -> None:
    dice, pacer, now = random.Random(5), Pacer(), START
    answers = []
    for minute in range(5):
        count = 0
        while now < START + 60 * (minute + 1):
            now = take_when_due(pacer, now)
            if dice.random() < 0.01:
                pacer.throttled(now, retry_after)
            else:
                pacer.succeeded(now, 0.01)
                count += 1
        answers.append(count)
    possible = 60 * 100 / retry_after
    assert max(answers[1:]) > 0.4 * min(possible, 6000)
    assert sum(answers[1:]) > 0.2 * 4 * min(possible, 6000)


def test_where_429s_come_at_any_rate_pauses_may_take_half_of_the_time_and_no_more() -> None:
    dice, pacer, now, paused = random.Random(5), Pacer(), START, 0.0
    while now < START + 600:
        now = take_when_due(pacer, now)
        if dice.random() < 0.01:
            pacer.throttled(now, 5.0)
            paused += 5.0
        else:
            pacer.succeeded(now, 0.01)
    assert paused < 0.7 * 600


@pytest.mark.parametrize(("limit", "burst"), [(12, 12), (40, 20), (20, 200)])
@pytest.mark.parametrize("retry_after", [1.0, 5.0])
def test_a_true_limit_is_soon_told_from_429s_that_come_at_any_rate(limit: float, burst: float, retry_after: float) -> None:
    pacer, now, throttled, tokens, at = Pacer(), START, 0, burst, START
    while now < START + 600:
        now = take_when_due(pacer, now)
        tokens, at = min(burst, tokens + (now - at) * limit), now
        if tokens < 1:
            pacer.throttled(now, retry_after)
            throttled += now > START + 300
        else:
            tokens -= 1
            pacer.succeeded(now, 0.01)
    assert throttled < 30


# Circuit


def test_the_circuit_opens_after_eight_failures_in_a_row() -> None:
    pacer = Pacer()
    now = fail(pacer, START, 7)
    assert pacer.stats().circuit == "closed"
    now = fail(pacer, now, 1)
    assert pacer.stats().circuit == "open"
    assert 0.4 <= pacer.delay(now, INTERACTIVE) <= 0.5


def test_two_failures_in_a_hundred_never_open_the_circuit() -> None:
    pacer = Pacer()
    dice = random.Random(7)
    now = START
    for _ in range(20_000):
        now = take_when_due(pacer, now)
        if dice.random() < 0.02:
            pacer.failed(now)
        else:
            pacer.succeeded(now, 0.05)
        assert pacer.stats().circuit == "closed"


def test_probes_go_out_one_at_a_time_at_a_growing_pause() -> None:
    pacer = Pacer()
    down = now = START
    now = fail(pacer, now)
    probes = []
    while now < down + 600:
        now = take_when_due(pacer, now)
        probes.append(now)
        pacer.failed(now)
    gaps = [b - a for a, b in itertools.pairwise(probes)]
    assert all(0.4 <= gap <= max(0.5, (at - down) / 3) for at, gap in zip(probes, gaps, strict=False))
    assert all(24 <= gap <= 30 for gap in gaps[-10:])
    assert len(probes) < 50


def test_a_probe_that_hangs_does_not_hold_up_the_next() -> None:
    pacer = Pacer(concurrency=3)
    now = fail(pacer, START)
    for _ in range(3):
        now = take_when_due(pacer, now)
    assert now < START + 3


def test_an_answer_closes_the_circuit_and_the_rate_starts_over_from_an_eighth() -> None:
    pacer = Pacer()
    now = serve(pacer, START, START + 9)
    rate = pacer.stats().rate
    now = fail(pacer, now)
    told: list[float] = []
    pacer.subscribe(lambda: told.append(now))
    now = take_when_due(pacer, now)
    pacer.succeeded(now, 0.1)
    assert told == [now]
    assert pacer.stats().circuit == "closed"
    assert pacer.stats().rate == pytest.approx(rate / 8, rel=0.02)
    assert pacer.delay(now, REST) < 0.06
    serve(pacer, now, now + 3.1)
    assert 0.7 * rate < pacer.stats().rate < 1.1 * rate


def test_after_an_outage_the_rate_is_quick_only_up_to_what_was_known_good() -> None:
    pacer = Pacer()
    now = serve(pacer, START, START + 4)
    now = take_when_due(pacer, now)
    pacer.throttled(now, 1)
    now = serve(pacer, now + 2, now + 4)
    rate = pacer.stats().rate
    now = serve(pacer, fail(pacer, now), now + 4)
    quick = pacer.stats().rate
    assert 0.75 * rate < quick < 0.85 * rate
    serve(pacer, now, now + 1)
    assert quick < pacer.stats().rate < 1.1 * quick


def test_a_429_closes_the_circuit_too_and_its_pause_holds() -> None:
    pacer = Pacer()
    now = fail(pacer, START)
    now = take_when_due(pacer, now)
    pacer.throttled(now, 60)
    assert pacer.stats().circuit == "closed"
    assert pacer.delay(now, INTERACTIVE) > 60


def test_an_answer_does_not_end_a_pause() -> None:
    pacer = Pacer()
    pacer.try_acquire(START, REST)
    pacer.try_acquire(START, INTERACTIVE)
    pacer.throttled(START, 60)
    pacer.succeeded(START + 1, 1.0)
    assert pacer.delay(START + 1, REST) > 59


def test_an_answer_that_closes_the_circuit_does_not_end_a_pause() -> None:
    pacer = Pacer()
    now = START
    for _ in range(10):
        now = take_when_due(pacer, now)
    pacer.throttled(now, 60)
    for _ in range(8):
        pacer.failed(now)
    assert pacer.stats().circuit == "open"
    pacer.succeeded(now, 0.1)
    assert pacer.stats().circuit == "closed"
    assert pacer.delay(now, REST) > 60


def test_a_probe_finds_a_place_though_those_under_the_learned_limit_are_held() -> None:
    pacer = Pacer(concurrency=16)
    now = narrow_to_the_floor(pacer)
    for _ in range(3):
        now = take_when_due(pacer, now)
    now = fail(pacer, now)
    for _ in range(3):
        now = take_when_due(pacer, now)
    assert pacer.stats().in_flight == 6 > pacer.stats().limit


def test_phases_spread_the_probes_of_several_clients() -> None:
    delays = set()
    for phase in (0.0, 0.3, 0.6):
        pacer = Pacer(phase=phase)
        delays.add(round(pacer.delay(fail(pacer, START), REST), 3))
    assert len(delays) == 3


# Room


def test_no_more_are_in_flight_than_the_ceiling_and_the_interactive_have_two_places_more() -> None:
    pacer = Pacer(concurrency=10)
    now = START
    for _ in range(8):
        now = take_when_due(pacer, now)
    assert pacer.try_acquire(now + 1, REST) == pacer.try_acquire(now + 1, NUDGED) == inf
    for _ in range(2):
        now += 1
        assert pacer.try_acquire(now, INTERACTIVE) == 0.0
    assert pacer.try_acquire(now + 1, INTERACTIVE) == inf
    assert pacer.stats().in_flight == 10


@pytest.mark.parametrize("concurrency", [1, 2, 3])
def test_a_small_ceiling_keeps_no_place(concurrency: int) -> None:
    pacer = Pacer(concurrency=concurrency)
    for number in range(concurrency):
        assert pacer.try_acquire(START + number, REST) == 0.0
    assert pacer.try_acquire(START + 10, INTERACTIVE) == inf


@pytest.mark.parametrize("ending", ["answered", "throttled", "failed", "released", "leave"])
def test_who_was_told_to_wait_for_a_change_is_called(ending: str) -> None:
    pacer = Pacer(concurrency=1)
    called: list[str] = []
    unsubscribe = pacer.subscribe(lambda: called.append("first"))
    pacer.subscribe(lambda: called.append("second"))
    for number in range(2):
        pacer.enqueue(REST)
        assert take_when_due(pacer, START + 10 * number) == START + 10 * number
        assert pacer.try_acquire(START + 10 * number + 1, REST) == inf
        now = START + 10 * number + 2
        endings: dict[str, Callable[[], None]] = {
            "answered": partial(pacer.succeeded, now, 0.1),
            "throttled": partial(pacer.throttled, now, 1),
            "failed": partial(pacer.failed, now),
            "released": pacer.cancelled,
            "leave": partial(pacer.dequeue, REST),
        }
        endings[ending]()
        assert called == [["first", "second"], ["first", "second", "second"]][number]
        pacer.cancelled()
        unsubscribe()
        unsubscribe()


def test_nobody_is_called_who_was_not_told_to_wait() -> None:
    pacer = Pacer()
    pacer.subscribe(lambda: pytest.fail("called"))
    pacer.try_acquire(START, REST)
    pacer.try_acquire(START, REST)
    pacer.succeeded(START, 0.1)
    for end in (pacer.cancelled, lambda: pacer.failed(START), lambda: pacer.throttled(START), lambda: pacer.dequeue(REST)):
        end()


def test_an_ending_too_many_is_ignored() -> None:
    pacer = Pacer(concurrency=1)
    pacer.cancelled()
    pacer.dequeue(REST)
    assert (pacer.stats().in_flight, pacer.stats().waiting) == (0, 0)
    assert pacer.try_acquire(START, REST) == 0.0
    assert pacer.try_acquire(START + 1, REST) == inf


def answer_batches(pacer: Pacer, now: float, batches: int, latency: float, *, slow_share: float = 0.0) -> float:
    """Fill the room, answer all of it after *latency*, and do so again; some take a hundred times as long."""
    dice = random.Random(3)
    for _ in range(batches):
        sent = 0
        while (delay := pacer.try_acquire(now, REST)) < 0.25:
            sent += not delay
            now += 1e-4
        now += latency
        for _ in range(sent):
            pacer.succeeded(now, latency * (100 if dice.random() < slow_share else 1))
    return now


def warm(pacer: Pacer) -> float:
    now = serve(pacer, START, START + 10, latency=0.05)
    return answer_batches(pacer, now, 14, 0.05)


def test_a_pace_of_the_service_that_is_not_our_doing_narrows_only_for_a_while() -> None:
    pacer = Pacer()
    now = warm(pacer)
    now = answer_batches(pacer, now, 5, 0.05)
    assert pacer.stats().limit == 98
    limits = []
    for _ in range(40):
        now = answer_batches(pacer, now, 1, 0.3)
        limits.append(pacer.stats().limit)
    assert 40 <= min(limits) <= 60
    assert limits[-1] == 98


def test_the_rate_does_not_grow_while_latency_climbs() -> None:
    pacer = Pacer()
    now = answer_batches(pacer, warm(pacer), 3, 0.05)
    now = answer_batches(pacer, now, 2, 0.4)
    rate = pacer.stats().rate
    answer_batches(pacer, now, 1, 0.4)
    assert pacer.stats().limit < 98
    assert pacer.stats().rate == rate


def test_a_few_slow_answers_do_not_narrow() -> None:
    pacer = Pacer()
    now = answer_batches(pacer, warm(pacer), 100, 0.05, slow_share=0.3)
    assert pacer.stats().limit == 98
    assert now


def test_latencies_that_make_no_sense_do_no_harm() -> None:
    pacer = Pacer()
    now = warm(pacer)
    for latency in (nan, -1.0, inf) * 200:
        now = take_when_due(pacer, now)
        pacer.succeeded(now, latency)
    assert pacer.stats().limit == 98


def narrow_to_the_floor(pacer: Pacer) -> float:
    now = warm(pacer)
    latency = 0.1
    while pacer.stats().limit > 4:
        latency = min(latency * 1.6, 1e9)
        now = answer_batches(pacer, now, 2, latency)
    return now


def test_narrowing_has_a_floor() -> None:
    pacer = Pacer(concurrency=16)
    now = narrow_to_the_floor(pacer)
    for latency in (1e12, 1e15):
        now = answer_batches(pacer, now, 2, latency)
        assert pacer.stats().limit >= 4


def test_slow_answers_to_few_requests_do_not_narrow() -> None:
    pacer = Pacer()
    serve(pacer, warm(pacer), START + 20, latency=0.5)
    assert pacer.stats().limit == 98


def test_few_are_in_flight_until_there_is_need_for_more() -> None:
    pacer = Pacer()
    assert pacer.stats().limit == 8
    now = serve(pacer, START, START + 10, latency=0.05)
    assert pacer.stats().limit == 8
    limits = []
    for _ in range(14):
        now = answer_batches(pacer, now, 1, 0.05)
        limits.append(pacer.stats().limit)
    assert sorted({*limits}) == [8, 16, 32, 64, 98]


def test_a_moment_at_which_our_machine_was_slow_asks_for_no_more_room() -> None:
    pacer = Pacer()
    now = serve(pacer, START, START + 10, latency=0.005)
    for _ in range(20):
        now = serve(pacer, now, now + 0.2, latency=0.005)
        sent = 0
        while not pacer.try_acquire(now, REST):
            sent += 1
            now += 0.03
            if sent == 8:
                break
        for _ in range(sent):
            pacer.succeeded(now, 0.2)
    assert pacer.stats().limit == 8


def test_requests_that_hang_do_not_hold_all_places_for_long() -> None:
    pacer = Pacer()
    now = START
    for _ in range(40):
        now = take_when_due(pacer, now)
    assert pacer.stats().in_flight == 40
    assert now < START + 4
    assert pacer.stats().limit == 64


def test_a_narrowed_limit_widens_only_when_it_is_full() -> None:
    pacer = Pacer()
    now = answer_batches(pacer, warm(pacer), 3, 0.05)
    now = answer_batches(pacer, now, 3, 0.4)
    limit = pacer.stats().limit
    assert 40 < limit < 70
    now = serve(pacer, now, now + 1, latency=0.05)
    assert pacer.stats().limit == limit
    answer_batches(pacer, now, 3, 0.05)
    assert pacer.stats().limit > limit + 10


def test_narrowing_that_helps_goes_on_from_where_it_was() -> None:
    room, now = AdaptiveConcurrency(64), START

    def judge(latency: float) -> None:
        nonlocal now
        before = room.limit
        while room.limit == before:
            now += 0.01
            room.succeeded(now, latency, int(room.limit))

    while room.limit < 64:
        judge(0.05)
    while room.limit > 32:
        judge(0.9)
    limit = room.limit
    judge(0.5)
    assert room.limit == pytest.approx(limit * 0.8)


def test_answers_while_latency_climbs_are_no_reason_to_go_faster_later() -> None:
    spacing = AdaptiveRate(None)
    spacing.busy = 1.0
    spacing.succeeded(may_grow=False)
    assert (spacing.busy, spacing.rate) == (0.0, 40)


def test_a_queue_that_is_hardly_late_is_no_reason_to_go_faster() -> None:
    pacers = Pacer(), Pacer()
    for pacer, lateness in zip(pacers, (0.4, 0.6), strict=True):
        now = START
        while now < START + 5:
            now = take_when_due(pacer, now)
            pacer.note_lateness(lateness)
            pacer.succeeded(now, 0.01)
    assert pacers[0].stats().rate == 40
    assert pacers[1].stats().rate > 200


def test_a_second_climb_is_judged_anew() -> None:
    pacer = Pacer()
    now = answer_batches(pacer, warm(pacer), 3, 0.05)
    while pacer.stats().limit > 50:
        now = answer_batches(pacer, now, 1, 0.3)
    now = answer_batches(pacer, now, 1, 0.3)
    accepted = pacer.stats().limit
    answer_batches(pacer, now, 1, 1.0)
    assert pacer.stats().limit < accepted


# Turns


def test_one_interactive_request_goes_before_fifty_thousand_others() -> None:
    pacer = Pacer()
    for _ in range(50_000):
        pacer.enqueue(REST)
    now = take_when_due(pacer, START)
    pacer.enqueue(INTERACTIVE)
    assert pacer.try_acquire(now, INTERACTIVE) == 0.0
    pacer.dequeue(INTERACTIVE)
    pacer.enqueue(NUDGED)
    now += pacer.try_acquire(now, REST)
    assert pacer.try_acquire(now, REST) == pytest.approx(0.025)
    assert pacer.try_acquire(now, NUDGED) == 0.0


@pytest.mark.parametrize("pauses", [0, 5])
def test_every_class_gets_one_start_in_nine_however_many_wait_above_it(pauses: int) -> None:
    pacer = Pacer()
    now = START
    for _ in range(pauses):
        now = take_when_due(pacer, now)
        pacer.throttled(now, 0.1)
    for priority in Priority:
        pacer.enqueue(priority)
    order: list[Priority] = []
    step = 0.05 / pacer.stats().rate
    for _ in range(400):
        while True:
            ready = [priority for priority in Priority if pacer.try_acquire(now, priority) == 0.0]
            if ready:
                break
            now += step
        assert len(ready) == 1
        order += ready
        pacer.cancelled()
    for priority in Priority:
        at = [number for number, which in enumerate(order) if which is priority]
        assert max(b - a for a, b in itertools.pairwise(at)) <= 9
    assert order.count(INTERACTIVE) > 200


def test_who_did_not_wait_was_not_passed_over() -> None:
    pacer = Pacer()
    now = START
    pacer.enqueue(INTERACTIVE)
    pacer.enqueue(NUDGED)
    for _ in range(12):
        now = take_when_due(pacer, now, INTERACTIVE)
        now = take_when_due(pacer, now, NUDGED)
    pacer.enqueue(REST)
    now += 0.05
    assert pacer.try_acquire(now, REST) > 0
    assert pacer.try_acquire(now, INTERACTIVE) == 0.0


def test_within_a_class_each_has_its_turn() -> None:
    pacer, crowd, others = Pacer(rate=20), "a watch of thousands", ["a watch of one", "another"]
    now, order = START, list[str]()
    for who in (crowd, *others):
        pacer.enqueue(REST, who)
    for _ in range(30):
        now += 0.05 * 1.02
        # The crowd is always there first.
        [taken] = [who for who in (crowd, *others) if not pacer.try_acquire(now, REST, who)]
        order.append(taken)
        pacer.cancelled()
    assert order == [crowd, *others] * 10


def test_every_other_start_is_that_of_the_job_which_waits_longest() -> None:
    pacer = Pacer(rate=20)
    crowd, singles = "a watch of thousands", [f"a watch of one {number}" for number in range(50)]
    pacer.enqueue(REST, crowd, START - 300)
    for who in singles:
        pacer.enqueue(REST, who, START)
    now, order = START, list[str]()
    for _ in range(101):
        now += 0.05 * 1.02
        [taken] = [who for who in (crowd, *singles) if not pacer.try_acquire(now, REST, who)]
        order.append(taken)
        pacer.cancelled()
        if taken is not crowd:
            pacer.dequeue(REST, taken)
    assert order[:5] == [crowd, crowd, singles[0], crowd, singles[1]]
    assert order.count(crowd) == 51
    assert set(order) == {crowd, *singles}


def test_who_has_left_is_not_kept_alive() -> None:
    class Watch:
        pass

    pacer, watch = Pacer(), Watch()
    gone = weakref.ref(watch)
    pacer.enqueue(REST, watch)
    assert pacer.try_acquire(START, REST, watch) == 0.0
    pacer.dequeue(REST, watch)
    del watch
    gc.collect()
    assert gone() is None


def test_who_has_just_had_a_slot_stands_behind_those_who_wait() -> None:
    pacer = Pacer(rate=20)
    assert pacer.try_acquire(START, REST, "a") == 0.0
    pacer.enqueue(REST, "b")
    assert pacer.delay(START + 0.1, REST, "a") > 0
    assert pacer.delay(START + 0.1, REST, "b") == 0.0
    assert pacer.try_acquire(START + 0.1, REST, "b") == 0.0
    pacer.dequeue(REST, "b")
    assert pacer.try_acquire(START + 0.2, REST, "a") == 0.0


def test_who_is_first_and_does_not_come_holds_up_nobody_twice() -> None:
    pacer = Pacer(rate=20)
    for who in ("gone", "here"):
        pacer.enqueue(REST, who)
    assert pacer.try_acquire(START, REST, "here") > 0
    assert pacer.try_acquire(START + 0.3, REST, "here") == 0.0
    assert pacer.try_acquire(START + 0.4, REST, "gone") == 0.0
    assert pacer.try_acquire(START + 0.5, REST, "here") == 0.0


def test_a_leave_too_many_costs_nobody_his_turn() -> None:
    pacer = Pacer(rate=20)
    pacer.enqueue(REST, "a")
    pacer.enqueue(REST, "a")
    for _ in range(3):
        pacer.dequeue(REST, "b")
    pacer.dequeue(REST, "a")
    assert pacer.stats().waiting == 1
    assert pacer.try_acquire(START, REST, "b") > 0
    pacer.dequeue(REST, "a")
    pacer.dequeue(REST, "a")
    assert pacer.stats().waiting == 0
    assert pacer.try_acquire(START, REST, "b") == 0.0


def test_the_interactive_leave_room_to_those_who_are_owed_it() -> None:
    pacer = Pacer(concurrency=4)
    for _ in range(3):
        pacer.enqueue(REST)
        pacer.enqueue(INTERACTIVE)
    now = START
    for _ in range(4):
        now = take_when_due(pacer, now, INTERACTIVE)
    for _ in range(2):
        pacer.succeeded(now, 0.0)
        now += 1
        assert pacer.try_acquire(now, INTERACTIVE) == 0.0
    pacer.succeeded(now, 0.0)
    now += 1
    assert pacer.try_acquire(now, REST) == pacer.try_acquire(now, INTERACTIVE) == inf
    pacer.succeeded(now, 0.0)
    assert 0 < pacer.try_acquire(now, INTERACTIVE) < inf
    assert pacer.try_acquire(now, REST) == 0.0


def test_a_class_that_waits_but_has_no_room_holds_up_nobody() -> None:
    pacer = Pacer(concurrency=4)
    now = START
    for _ in range(3):
        now = take_when_due(pacer, now)
    pacer.enqueue(NUDGED)
    assert pacer.try_acquire(now + 1, INTERACTIVE) == 0.0


def test_who_is_let_go_first_and_does_not_come_holds_up_nobody_for_long() -> None:
    pacer = Pacer()
    pacer.enqueue(INTERACTIVE)
    assert pacer.try_acquire(START, REST) > 0
    assert pacer.try_acquire(START + 0.1, REST) > 0
    assert pacer.try_acquire(START + 0.26, REST) == 0.0
    assert pacer.try_acquire(START + 1, REST) > 0
    pacer.enqueue(INTERACTIVE)
    pacer.dequeue(INTERACTIVE)
    assert pacer.try_acquire(START + 1, REST) > 0
    pacer.dequeue(INTERACTIVE)
    pacer.enqueue(INTERACTIVE)
    assert pacer.try_acquire(START + 2, REST) > 0
    pacer.dequeue(INTERACTIVE)
    assert pacer.try_acquire(START + 2, REST) == 0.0


def test_what_a_class_is_owed_is_not_lost_by_leaving() -> None:
    pacer = Pacer()
    now = START
    pacer.enqueue(REST)
    pacer.enqueue(INTERACTIVE)
    for _ in range(6):
        now = take_when_due(pacer, now, INTERACTIVE)
        pacer.cancelled()
    pacer.dequeue(REST)
    pacer.enqueue(REST)
    now += 1
    assert pacer.try_acquire(now, INTERACTIVE) > 0
    assert pacer.try_acquire(now, REST) == 0.0
    pacer.dequeue(INTERACTIVE)
    assert take_when_due(pacer, now) < now + 0.06


def test_what_a_class_is_owed_is_settled_even_when_nobody_else_waits() -> None:
    pacer = Pacer()
    now = START
    pacer.enqueue(REST)
    pacer.enqueue(INTERACTIVE)
    for _ in range(6):
        now = take_when_due(pacer, now, INTERACTIVE)
        pacer.cancelled()
    pacer.dequeue(INTERACTIVE)
    now = take_when_due(pacer, now)
    assert pacer.try_acquire(now, INTERACTIVE) == 0.0


# The rest


@pytest.mark.parametrize("rate", [0, -1, nan])
def test_a_rate_of_nothing_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate must be more than 0"):
        Pacer(rate=rate)


def test_a_concurrency_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pacer(concurrency=0)


def test_stats_are_fit_for_json() -> None:
    pacer = Pacer()
    assert json.loads(json.dumps(asdict(pacer.stats()), allow_nan=False))["paused_until"] is None
    pacer.enqueue(NUDGED)
    pacer.try_acquire(START, NUDGED)
    pacer.throttled(START, inf)
    pacer.failed(START)
    stats = json.loads(json.dumps(asdict(pacer.stats()), allow_nan=False))
    assert stats["paused_until"] > START
    assert stats["starts"] == {"interactive": 0, "nudged": 1, "expected": 0, "rest": 0}
    assert (stats["failures"], stats["throttled"], stats["waiting"]) == (1, 1, 1)


def test_slip_is_a_smoothed_lateness_and_never_negative() -> None:
    pacer = Pacer()
    pacer.note_lateness(-5)
    assert pacer.stats().lateness == 0
    for _ in range(300):
        pacer.note_lateness(2)
    assert pacer.stats().lateness == pytest.approx(2, rel=0.01)


def test_nothing_is_prepaid_by_itself() -> None:
    assert prepaid.get() is None


def test_a_clock_that_stands_still_is_survived() -> None:
    pacer = Pacer()
    assert sum(pacer.try_acquire(START, REST) == 0.0 for _ in range(1000)) == 1
    pacer.succeeded(START, 0.0)
    pacer.failed(START)
    pacer.throttled(START, 0)
    assert pacer.delay(START, REST) > 0


@pytest.mark.parametrize("start", [-1e6, 0.0, 1e9])
def test_any_origin_of_time_will_do(start: float) -> None:
    pacer = Pacer()
    serve(pacer, start, start + 5)
    assert 200 < pacer.stats().rate < 400
