"""The schedule: examples, and a state machine that compares it with a plain dictionary of due times."""

from __future__ import annotations

import gc
import math
import sys
import weakref
from random import Random

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from asyncflow.polling import EXPECTED, INTERACTIVE, NUDGED, REST, Schedule

SLOT = 1 / 32
WEIGHTS = {INTERACTIVE: 64, NUDGED: 16, EXPECTED: 4, REST: 1}


class Watched(msgspec.Struct, eq=False, gc=False):
    """As little as an entry can be."""

    job_id: str
    due: float = 0.0
    priority: int = REST
    place: float | tuple[float, ...] | None = None


def scheduled(*dues: float, priority: int = REST) -> Schedule[Watched]:
    """Return a schedule of jobs named by their numbers."""
    schedule = Schedule[Watched]()
    for number, due in enumerate(dues):
        schedule.add(Watched(str(number)), due, priority)
    return schedule


def ids(entries: list[Watched]) -> list[str]:
    return [entry.job_id for entry in entries]


def entry_of(schedule: Schedule[Watched], job_id: str) -> Watched:
    entry = schedule.get(job_id)
    assert entry is not None
    return entry


def test_nothing_is_due_in_an_empty_schedule() -> None:
    schedule = Schedule[Watched]()
    assert schedule.take_due(1e9, 10) == []
    assert schedule.next_wakeup() is None
    assert len(schedule) == 0
    assert schedule.get("0") is None
    assert schedule.discard("0") is None
    assert not schedule.poll_now("0", 1.0)


@pytest.mark.parametrize("seed", range(40))
def test_one_by_one_they_come_as_they_do_together(seed: int) -> None:
    random = Random(seed)
    schedules = Schedule[Watched](), Schedule[Watched]()
    priorities = [REST] if seed % 3 == 0 else [REST, REST, EXPECTED, NUDGED]
    taken: tuple[list[str], list[str]] = ([], [])
    for step in range(150):
        now, at, priority = step / 20, step / 20 + random.choice([-0.2, 0.0, 0.01, 0.3, 2.0]), random.choice(priorities)
        victim = str(random.randrange(step + 1))
        for schedule in schedules:
            schedule.add(Watched(str(step)), at, priority)
            if step % 7 == 3:
                schedule.poll_now(victim, now)
            elif step % 5 == 4:
                schedule.discard(victim)
        if step % 2:
            one, due = schedules[0].pop_due(now), schedules[1].take_due(now, 1)
            assert ids([one] if one is not None else []) == ids(due)
            if one is not None and step % 3:
                schedules[0].reschedule(one, now + 0.5, REST)
                schedules[1].reschedule(due[0], now + 0.5, REST)
            taken[0].extend([one.job_id] if one is not None else [])
            taken[1].extend(ids(due))
    assert taken[0] == taken[1]
    assert len(taken[0]) > 30


def test_jobs_come_in_the_order_of_their_due_times_to_within_a_slot() -> None:
    schedule = scheduled(0.4, 7.0, 0.3, 3.0, 86400.0 * 30, 0.3)
    assert ids(schedule.take_due(8.0, 10)) == ["2", "5", "0", "3", "1"]
    assert ids(schedule.take_due(86400.0 * 31, 10)) == ["4"]


def test_a_job_is_not_handed_out_before_its_exact_time() -> None:
    schedule = scheduled(2.3, 2.301)
    assert schedule.next_wakeup() == pytest.approx(2.3, abs=SLOT)
    assert schedule.take_due(2.2999, 10) == []
    assert schedule.next_wakeup() == 2.3
    assert ids(schedule.take_due(2.3, 10)) == ["0"]
    assert schedule.next_wakeup() == 2.301


def test_times_before_zero_are_times_too() -> None:
    schedule = scheduled(-0.01, -5.3)
    wakeup = schedule.next_wakeup()
    assert wakeup is not None
    assert wakeup <= -5.3
    assert ids(schedule.take_due(-5.3, 10)) == ["1"]
    assert ids(schedule.take_due(0.0, 10)) == ["0"]


def test_a_job_that_is_out_is_not_handed_out_again() -> None:
    schedule = scheduled(0.0)
    (entry,) = schedule.take_due(0.0, 10)
    assert entry.due == 0.0
    assert schedule.take_due(100.0, 10) == []
    assert schedule.next_wakeup() is None
    assert "0" in schedule
    schedule.reschedule(entry, 5.0)
    schedule.reschedule(entry, 9.0)
    assert schedule.next_wakeup() == 5.0
    assert ids(schedule.take_due(100.0, 10)) == ["0"]


def test_what_returns_into_a_slot_already_open_keeps_its_exact_time() -> None:
    schedule = scheduled(1.0, 1.02)
    (entry,) = schedule.take_due(1.0, 10)
    schedule.reschedule(entry, 1.01)
    schedule.add(Watched("2"), 1.03)
    schedule.add(Watched("3"), 0.5)
    assert schedule.next_wakeup() == 0.5
    assert ids(schedule.take_due(1.005, 10)) == ["3"]
    assert schedule.next_wakeup() == 1.01
    assert ids(schedule.take_due(1.03, 10)) == ["0", "1", "2"]


def test_the_limit_holds_for_what_returned_into_an_open_slot_too() -> None:
    schedule = scheduled(1.0, 1.001)
    for entry in schedule.take_due(1.01, 10):
        schedule.reschedule(entry, 1.02)
    assert ids(schedule.take_due(1.02, 1)) == ["0"]
    assert ids(schedule.take_due(1.02, 1)) == ["1"]


def test_one_alone_is_taken_when_it_is_due_and_not_before() -> None:
    schedule = scheduled(1.0, 1.01, 1.02)
    assert schedule.pop_due(0.9) is None
    assert [entry.job_id for entry in [schedule.pop_due(1.0)] if entry is not None] == ["0"]
    assert schedule.pop_due(1.005) is None
    schedule.poll_now("2", 1.005)
    assert [entry.job_id for now in (1.01, 1.01, 1.01) if (entry := schedule.pop_due(now)) is not None] == ["2", "1"]


def test_what_is_discarded_from_an_open_slot_is_passed_over() -> None:
    schedule = scheduled(1.0, 1.02)
    schedule.take_due(1.0, 10)
    schedule.add(Watched("2"), 1.005)
    schedule.add(Watched("3"), 1.01)
    schedule.discard("2")
    assert schedule.next_wakeup() == 1.01
    schedule.discard("1")
    assert ids(schedule.take_due(1.03, 10)) == ["3"]


def test_what_is_discarded_between_two_jobs_is_passed_over() -> None:
    schedule = scheduled(1.0, 1.01, 1.02, 1.025)
    schedule.take_due(1.0, 10)
    schedule.discard("2")
    assert ids(schedule.take_due(1.03, 10)) == ["1", "3"]


def test_a_nudge_brings_a_waiting_job_forward() -> None:
    schedule = scheduled(10.0, 20.0)
    assert schedule.poll_now("1", 2.0)
    assert entry_of(schedule, "1").priority == NUDGED
    assert schedule.next_wakeup() == 2.0
    assert ids(schedule.take_due(2.0, 10)) == ["1"]
    assert ids(schedule.take_due(30.0, 10)) == ["0"]


def test_a_nudge_never_puts_a_job_off() -> None:
    schedule = scheduled(10.0)
    assert schedule.poll_now("0", 50.0)
    assert schedule.poll_now("0", 60.0)
    assert ids(schedule.take_due(10.0, 10)) == ["0"]


def test_a_nudge_while_the_job_is_out_is_remembered() -> None:
    schedule = scheduled(0.0)
    (entry,) = schedule.take_due(0.0, 10)
    assert schedule.poll_now("0", 3)
    assert schedule.poll_now("0", 4.0)
    schedule.reschedule(entry, 60.0)
    assert (entry.due, entry.priority) == (3.0, NUDGED)
    (entry,) = schedule.take_due(3.0, 10)
    schedule.reschedule(entry, 60.0)
    assert (entry.due, entry.priority) == (60.0, REST)


def test_an_interactive_job_stays_interactive_when_nudged() -> None:
    schedule = scheduled(10.0, priority=INTERACTIVE)
    schedule.poll_now("0", 2.0)
    assert entry_of(schedule, "0").priority == INTERACTIVE


@pytest.mark.parametrize("at", [0.0, 0.01, 1.0, 500.0])
def test_a_discarded_job_is_gone(at: float) -> None:
    schedule = scheduled(at, at)
    discarded = schedule.discard("0")
    assert discarded is not None
    schedule.reschedule(discarded, 1.0)
    assert ids(schedule.take_due(1000.0, 10)) == ["1"]
    assert "0" not in schedule


def test_a_job_discarded_while_out_does_not_come_back() -> None:
    schedule = scheduled(0.0)
    (entry,) = schedule.take_due(0.0, 10)
    assert schedule.discard("0") is entry
    schedule.reschedule(entry, 1.0)
    assert schedule.next_wakeup() is None


def test_a_wakeup_is_not_for_the_discarded() -> None:
    schedule = scheduled(1.0, 2.0, 3.0, 3.0)
    schedule.discard("0")
    schedule.discard("1")
    schedule.discard("3")
    assert schedule.next_wakeup() == 3.0
    schedule.discard("2")
    assert schedule.next_wakeup() is None


def test_a_job_that_is_watched_stays_as_it_is() -> None:
    schedule = scheduled(5.0)
    assert not schedule.add(Watched("0"), 1.0)
    assert schedule.add(Watched("1"), 2.0)
    assert schedule.not_watched(["0", "2", "1", "2"]) == ["2"]
    assert schedule.next_wakeup() == 2.0
    assert len(schedule) == 2


def test_more_urgent_jobs_go_first_and_the_limit_holds() -> None:
    schedule = Schedule[Watched]()
    for priority in (REST, EXPECTED, NUDGED, INTERACTIVE):
        for number in range(3):
            schedule.add(Watched(f"{priority}{number}"), 10.0, priority)
    assert ids(schedule.take_due(10.0, 5)) == ["00", "01", "02", "10", "11"]
    assert ids(schedule.take_due(10.0, 5)) == ["12", "20", "21", "22", "30"]
    assert schedule.take_due(10.0, 0) == []
    assert ids(schedule.take_due(10.0, 5)) == ["31", "32"]


def test_nobody_starves_behind_a_stream_of_nudges() -> None:
    schedule = scheduled(0.0)
    order: list[str] = []
    second = 0
    for second in range(40):
        schedule.add(Watched(f"n{second}"), float(second), NUDGED)
        schedule.add(Watched(f"m{second}"), float(second), NUDGED)
        order += ids(schedule.take_due(float(second), 1))
    # Forty nudged jobs are left, so from now on each of them waits for 40 s: the job at rest has its turn after 16 times that.
    assert "0" not in order
    while "0" not in order:
        second += 1
        schedule.add(Watched(f"n{second}"), float(second), NUDGED)
        order += ids(schedule.take_due(float(second), 1))
    assert second <= 16 * 41


def test_a_jump_of_the_clock_hands_out_everything_in_bounded_portions() -> None:
    schedule = scheduled(*(number * 0.37 for number in range(1000)))
    taken: list[str] = []
    while portion := schedule.take_due(1e6, 64):
        assert len(portion) <= 64
        taken += ids(portion)
    assert taken == [str(number) for number in range(1000)]


def test_iteration_sees_waiting_and_out_and_allows_changes() -> None:
    schedule = scheduled(0.0, 1.0, 2.0)
    schedule.take_due(0.0, 1)
    for entry in schedule:
        schedule.discard(entry.job_id)
    assert len(schedule) == 0


def test_what_is_left_behind_in_far_slots_is_cleared_away_bit_by_bit() -> None:
    schedule = scheduled(*(100.0 + number for number in range(3000)))
    schedule.poll_now("2999", 50.0)
    for number in range(2300):
        schedule.discard(str(number))
    (lane,) = (lane for lane in schedule._lanes if lane.slots and lane.weight == 1.0)
    assert sum(len(slot) for _, slot in lane.slots.values()) < 1500
    assert len(lane.numbers) < 1500
    assert ids(schedule.take_due(1e6, 5)) == ["2999", "2300", "2301", "2302", "2303"]
    for number in range(2400, 2999):
        schedule.discard(str(number))
    assert ids(schedule.take_due(1e6, 2000)) == [str(number) for number in range(2304, 2400)]
    assert schedule.next_wakeup() is None


def test_time_may_pass_while_it_is_cleared_away() -> None:
    schedule = scheduled(*(100.0 + number for number in range(1100)))
    for number in range(1075):
        schedule.discard(str(number))
    assert schedule.next_wakeup() == 1100.0
    assert schedule.next_wakeup() == 1175.0
    assert ids(schedule.take_due(1180.0, 10)) == ["1075", "1076", "1077", "1078", "1079", "1080"]
    for number in range(1081, 1099):
        schedule.discard(str(number))
    assert ids(schedule.take_due(1e6, 10)) == ["1099"]


def test_a_wakeup_does_not_look_at_everything_that_was_left_behind() -> None:
    schedule = scheduled(*(100.0 + number for number in range(1500)))
    for number in range(1499):
        schedule.poll_now(str(number), 50.0)
    assert len(schedule.take_due(50.0, 2000)) == 1499
    assert schedule.next_wakeup() == 1100.0
    assert schedule.next_wakeup() == 1599.0
    schedule.discard("1499")
    assert schedule.next_wakeup() is None


def test_there_may_be_nothing_behind_what_was_left_behind() -> None:
    schedule = scheduled(*(100.0 + number for number in range(1000)))
    for number in range(1000):
        schedule.discard(str(number))
    assert schedule.next_wakeup() is None


def test_the_wakeup_for_a_crowded_slot_is_its_begin() -> None:
    schedule = scheduled(*(7.01 + 0.001 * number for number in range(20)))
    assert schedule.next_wakeup() == 7.0
    assert schedule.take_due(7.0, 10) == []
    assert schedule.next_wakeup() == 7.01


class Noticed(Watched, weakref=True, eq=False, gc=True):
    """One that can be seen to be gone."""


def test_memory_is_given_back_when_jobs_end() -> None:
    schedule = Schedule[Watched]()
    alive = weakref.WeakSet[Watched]()

    def add(number: int, at: float) -> None:
        entry = Noticed(str(number))
        alive.add(entry)
        schedule.add(entry, at)

    for number in range(5010):  # some are near, some in the front, most in slots
        add(number, number % 7 + 0.001 * number if number < 5000 else 0.0)
    schedule.take_due(0.001, 2)
    for job_id in [entry.job_id for entry in schedule]:
        schedule.poll_now(job_id, 6.0)
        if job_id != "77":
            schedule.discard(job_id)
    assert len(alive) < 3000
    assert ids(schedule.take_due(math.pi, 10)) == ["77"]
    assert sys.getsizeof(schedule._jobs) < 50_000


def test_a_hundred_thousand_jobs_leave_the_garbage_collector_alone() -> None:
    schedule = Schedule[Watched]()
    gc.collect()
    before = len(gc.get_objects())
    for number in range(2000):
        schedule.add(Watched(str(number)), number % 3.0, number % 4)
    for entry in schedule.take_due(1.5, 1000):
        schedule.reschedule(entry, 1.0)
    for number in range(500):
        schedule.poll_now(str(number), 1.5)
    gc.collect()
    assert len(gc.get_objects()) < before + 100


def test_a_job_that_goes_back_and_forth_leaves_one_trace_in_each_slot() -> None:
    schedule = scheduled(*(36000.0 for _ in range(10)))
    for second in range(5000):
        schedule.poll_now("7", float(second))
        (entry,) = schedule.take_due(float(second), 10)
        schedule.reschedule(entry, 36000.0)
    assert sum(len(slot) for lane in schedule._lanes for _, slot in lane.slots.values()) < 1500
    assert sorted(ids(schedule.take_due(36000.0, 100))) == [str(number) for number in range(10)]


def test_a_crowded_slot_is_put_in_order_part_by_part() -> None:
    dues = [1.0 + 0.03 * (number * 0.6180339887 % 1.0) for number in range(5000)]
    schedule = scheduled(*dues)
    early = schedule.take_due(1.001, 10_000)
    assert all(entry.due <= 1.001 for entry in early)
    assert len(schedule._lanes[REST].front) <= 512
    wakeup = schedule.next_wakeup()
    assert wakeup is not None
    assert wakeup <= 1.0 + SLOT
    late = [entry for now in (1.01, 1.02, 1.0 + SLOT) for entry in schedule.take_due(now, 10_000)]
    assert sorted(entry.due for entry in [*early, *late]) == sorted(dues)


def test_while_jobs_of_a_slot_that_is_over_wait_the_wakeup_is_past() -> None:
    schedule = scheduled(1.0, 1.02, 1.01, 1.0)
    assert len(schedule.take_due(1.0 + SLOT, 1)) == 1
    wakeup = schedule.next_wakeup()
    assert wakeup is not None
    assert 1.0 <= wakeup < 1.0 + SLOT
    assert len(schedule.take_due(1.0 + SLOT, 10)) == 3


def test_what_is_put_into_the_rest_of_a_crowded_slot_is_not_lost() -> None:
    schedule = scheduled(*(1.02 for _ in range(1000)))
    assert schedule.take_due(1.0, 10) == []
    schedule.add(Watched("before"), 0.5)
    schedule.add(Watched("same"), 1.01)
    assert ids(schedule.take_due(1.0, 10)) == ["before"]
    schedule.poll_now("3", 1.015)
    assert len({entry.job_id for entry in schedule.take_due(1.0 + SLOT, 10_000)}) == 1001
    assert schedule.next_wakeup() is None


job_ids = st.integers(0, 30).map(str)
waits = st.one_of(st.floats(0, 0.1), st.floats(0, 20), st.sampled_from([0.0, 0.5, 1.0, SLOT, 1e6]))
priorities = st.sampled_from([INTERACTIVE, NUDGED, EXPECTED, REST])


class Times(RuleBasedStateMachine):
    """Compares a schedule with two dictionaries: who waits until when, and who is out."""

    schedule_class: type[Schedule[Watched]] = Schedule
    slack = 0.0
    out_entries = Bundle("out_entries")

    def __init__(self) -> None:
        super().__init__()
        self.schedule = self.schedule_class()
        self.now = 1000.0
        self.waiting: dict[str, tuple[float, int]] = {}
        self.out: dict[str, float] = {}
        self.entries: dict[str, Watched] = {}

    @rule(job_id=job_ids, wait=waits, priority=priorities)
    def add(self, job_id: str, wait: float, priority: int) -> None:
        if job_id in self.schedule:
            return
        entry = self.entries[job_id] = Watched(job_id)
        self.schedule.add(entry, self.now + wait, priority)
        self.waiting[job_id] = (self.now + wait, priority)

    @rule(job_id=job_ids, wait=waits)
    def discard_and_add_again(self, job_id: str, wait: float) -> None:
        """Puts the same entry in a second time: its traces from the first time must not count."""
        entry = self.schedule.discard(job_id)
        if entry is not None:
            self.out.pop(job_id, None)
            self.schedule.add(entry, self.now + wait)
            self.waiting[job_id] = (self.now + wait, REST)

    @rule(job_id=job_ids)
    def discard(self, job_id: str) -> None:
        assert self.schedule.discard(job_id) is self.entries.pop(job_id, None)
        self.waiting.pop(job_id, None)
        self.out.pop(job_id, None)

    @rule(job_id=job_ids, wait=st.floats(-10, 10))
    def hasten(self, job_id: str, wait: float) -> None:
        at = self.now + wait
        assert self.schedule.poll_now(job_id, at) == (job_id in self.entries)
        if job_id in self.out:
            self.out[job_id] = min(self.out[job_id], at)
        elif job_id in self.waiting:
            due, priority = self.waiting[job_id]
            self.waiting[job_id] = (min(due, at), min(priority, NUDGED))

    @rule(target=out_entries, limit=st.integers(0, 8))
    def take(self, limit: int) -> list[Watched]:
        taken = self.schedule.take_due(self.now, limit)
        due = {job_id for job_id, (at, _) in self.waiting.items() if at <= self.now}
        long_due = sum(at <= self.now - self.slack for at, _ in self.waiting.values())
        assert min(limit, long_due) <= len(taken) <= min(limit, len(due))
        urgencies = {job_id: (self.now - at + 1) * WEIGHTS[priority] for job_id, (at, priority) in self.waiting.items()}
        for entry in taken:
            assert entry is self.entries[entry.job_id]
            assert entry.job_id in due
            due.remove(entry.job_id)
            self.out[entry.job_id] = math.inf
            assert (entry.due, entry.priority) == self.waiting.pop(entry.job_id)
        assert all(lane.stale >= 0 for lane in self.schedule._lanes)
        for entry in taken:
            assert all(urgencies[entry.job_id] >= urgencies[other] - 64 * (SLOT + self.slack) for other in due)
        return taken

    @precondition(lambda self: self.out)
    @rule(taken=consumes(out_entries), wait=waits, priority=priorities)
    def reschedule(self, taken: list[Watched], wait: float, priority: int) -> None:
        for entry in taken:
            self.schedule.reschedule(entry, self.now + wait, priority)
            if self.entries.get(entry.job_id) is entry and entry.job_id in self.out:
                hint = self.out.pop(entry.job_id)
                nudged = (min(hint, self.now + wait), min(priority, NUDGED))
                self.waiting[entry.job_id] = nudged if hint < math.inf else (self.now + wait, priority)

    @rule(seconds=st.one_of(st.floats(0, 0.05), st.floats(0, 30), st.just(1e7)))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def sleep(self) -> None:
        wakeup = self.schedule.next_wakeup()
        self.now = max(self.now, wakeup or 0.0)

    @invariant()
    def wakeup_is_never_late(self) -> None:
        wakeup = self.schedule.next_wakeup()
        if not self.waiting:
            assert wakeup is None
        else:
            first = min(at for at, _ in self.waiting.values())
            assert wakeup is not None
            # Whoever is due already may be told any time that has passed: a slot that is over is put in no order.
            assert first - SLOT <= wakeup <= max(first + self.slack, self.now)

    @invariant()
    def all_are_there(self) -> None:
        assert {entry.job_id for entry in self.schedule} == self.waiting.keys() | self.out.keys()
        assert len(self.schedule) == len(self.entries)


class TidySchedule(Schedule[Watched]):
    """Has so little patience with what is stale that nearly every change clears it out."""

    tolerated_stale = -30


class TidyTimes(Times):
    schedule_class = TidySchedule


class CrowdedSchedule(Schedule[Watched]):
    """Finds every slot crowded."""

    tolerated_stale = 3
    crowd = 1


class CrowdedTimes(Times):
    schedule_class = CrowdedSchedule
    slack = SLOT


TestTimes = Times.TestCase
TestTimes.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTidyTimes = TidyTimes.TestCase
TestTidyTimes.settings = TestTimes.settings
TestCrowdedTimes = CrowdedTimes.TestCase
TestCrowdedTimes.settings = TestTimes.settings
