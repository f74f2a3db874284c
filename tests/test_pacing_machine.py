"""Whatever is asked and answered: no ceiling is exceeded, no pause broken, nobody starves, and progress always resumes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil, inf

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from asyncflow.pacing import Pacer, Priority

priorities = st.sampled_from(Priority)


@dataclass(eq=False)
class Waiter:
    """A caller who does as he is told: looks again when he was told to, or when he is called."""

    priority: Priority
    look_at: float


class Budget(RuleBasedStateMachine):
    @initialize(
        rate=st.sampled_from([None, None, 0.5, 3.0, 20.0, 777.0]),
        concurrency=st.sampled_from([1, 2, 4, 9, 100]),
        start=st.sampled_from([-1e5, 0.0, 1e6]),
    )
    def begin(self, rate: float | None, concurrency: int, start: float) -> None:
        self.rate, self.concurrency = rate, concurrency
        self.now = start
        self.pacer = Pacer(rate=rate, concurrency=concurrency)
        self.pacer.subscribe(self.called)
        self.waiters: list[Waiter] = []
        self.sent_at: deque[float] = deque()
        self.starts: deque[float] = deque()
        self.paused_until = -inf
        self.failures = 0
        self.probed_at = -inf
        self.passed_over = dict.fromkeys(Priority, 0)

    def called(self) -> None:
        for waiter in self.waiters:
            waiter.look_at = min(waiter.look_at, self.now)

    # What the callers do

    @rule(priority=priorities, number=st.integers(1, 4))
    def ask(self, priority: Priority, number: int) -> None:
        for _ in range(min(number, 24 - len(self.waiters))):
            self.pacer.enqueue(priority)
            self.waiters.append(Waiter(priority, self.now))

    @rule(which=st.integers(0, 1000))
    def give_up(self, which: int) -> None:
        if self.waiters:
            self.pacer.dequeue(self.waiters.pop(which % len(self.waiters)).priority)

    @rule(priority=priorities)
    def peek(self, priority: Priority) -> None:
        assert self.pacer.delay(self.now, priority) >= 0

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 0.3, 2.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        self.live_until(self.now + seconds)

    @rule(seconds=st.sampled_from([0.02, 1.0, 3600.0]))
    def stall(self, seconds: float) -> None:
        """The loop is held up, or the machine sleeps: everybody comes late, and at once."""
        self.now += seconds
        self.live_until(self.now)

    def live_until(self, until: float) -> None:
        while self.waiters and (waiter := min(self.waiters, key=lambda one: one.look_at)).look_at <= until:
            self.now = max(self.now, waiter.look_at)
            self.look(waiter)
        self.now = max(self.now, until)

    def look(self, waiter: Waiter) -> None:
        before = self.pacer.stats()
        delay = self.pacer.try_acquire(self.now, waiter.priority)
        assert delay >= 0
        if delay:
            assert delay < inf or before.in_flight, "told to wait for a call that nobody will make"
            waiter.look_at = self.now + delay
            return
        self.waiters.remove(waiter)
        self.check_start(waiter, before.in_flight, before.limit, is_open=before.circuit == "open")
        self.pacer.dequeue(waiter.priority)

    def check_start(self, waiter: Waiter, in_flight: int, limit: int, *, is_open: bool) -> None:
        assert self.now >= self.paused_until, "a pause was broken"
        assert in_flight < self.concurrency
        assert is_open or in_flight < limit + (0 if waiter.priority else 2)
        if is_open:
            assert self.now >= self.probed_at + 0.4, "more than one probe"
            self.probed_at = self.now
        self.sent_at.append(self.now)
        self.starts.append(self.now)
        while self.starts[0] < self.now - 1:
            self.starts.popleft()
        assert self.rate is None or len(self.starts) <= ceil(self.rate) + 1
        waiting = {other.priority for other in self.waiters} - {waiter.priority}
        self.passed_over = {other: self.passed_over[other] + 1 if other in waiting else 0 for other in Priority}
        assert max(self.passed_over.values()) <= 9, "somebody starves"

    # What the service does

    @rule(latency=st.sampled_from([0.0, 0.05, 0.4, 30.0]), number=st.integers(1, 30))
    def answer(self, latency: float, number: int) -> None:
        for _ in range(min(number, len(self.sent_at))):
            self.sent_at.popleft()
            self.failures = 0
            self.pacer.succeeded(self.now, latency)
            assert self.pacer.stats().circuit == "closed"

    @rule(retry_after=st.sampled_from([None, -1.0, 0.1, 5.0, 1800.0]), number=st.integers(1, 5))
    def throttle(self, retry_after: float | None, number: int) -> None:
        for _ in range(min(number, len(self.sent_at))):
            self.sent_at.popleft()
            self.failures = 0
            before = self.pacer.stats()
            self.paused_until = max(self.paused_until, self.now + max(0.0, retry_after or 0.0))
            self.pacer.throttled(self.now, retry_after)
            after = self.pacer.stats()
            assert after.rate <= before.rate
            assert before.pauses <= after.pauses <= after.throttled

    @rule(number=st.integers(1, 10))
    def fail(self, number: int) -> None:
        for _ in range(min(number, len(self.sent_at))):
            self.sent_at.popleft()
            self.failures += 1
            self.pacer.failed(self.now)
            assert (self.pacer.stats().circuit == "open") == (self.failures >= 8)

    @rule()
    def cancel(self) -> None:
        if self.sent_at:
            self.sent_at.popleft()
            self.pacer.cancelled()

    # What always holds

    @invariant()
    def counts_agree(self) -> None:
        stats = self.pacer.stats()
        assert stats.in_flight == len(self.sent_at) <= self.concurrency
        assert stats.waiting == len(self.waiters)
        assert 1 <= stats.limit <= self.concurrency
        assert 0.1 <= stats.rate <= (self.rate or inf)

    def teardown(self) -> None:
        """Let the service be well again: everybody gets his turn, after the pause and a bounded time."""
        if not hasattr(self, "pacer"):
            return
        self.answer(0.01, len(self.sent_at))
        for _ in range(100_000):
            if not self.waiters:
                break
            look_at = min(waiter.look_at for waiter in self.waiters)
            assert look_at < inf, "deadlock"
            self.live_until(look_at)
            self.answer(0.01, len(self.sent_at))
        assert not self.waiters


TestBudget = Budget.TestCase
TestBudget.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
