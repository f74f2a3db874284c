"""The workers of a watch: who polls what is due, as soon as the budget allows it."""

from __future__ import annotations

import asyncio
from math import inf, isinf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from anyio.lowlevel import checkpoint

from asyncflow.errors import AsyncflowError
from asyncflow.pacing import Pacer, Permit, Priority, prepaid
from asyncflow.polling import Schedulable, Schedule
from asyncflow.protocol.rate_signals import record_outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncflow.stream import Emitter

__all__ = ["WorkerPool"]

W = TypeVar("W", bound=Schedulable)

_TICK = 0.001
_MOMENT = 1e-4
_IN_A_ROW = 8

# To call the class for a value takes longer than the pacer does to decide.
_PRIORITIES = tuple(Priority)


class WorkerPool(Generic[W]):
    """A bounded pool of long-lived workers over one schedule: cost follows the rate of polls, not the number of jobs.

    A worker takes a due job, acquires a permit from the pacer, awaits *fetch*, and passes the answer to *on_answer* with the time
    of the request: a value or an `AsyncflowError`. The answer for a job that was discarded meanwhile is dropped. While nothing
    is due, or the pacer refuses, workers wait; one timer for all of them wakes one when that changes. *expire* is called for a
    due job that the pacer holds back; it returns whether the job has timed out, and has then ended it.

    The pool records the outcome on the pacer; if the fetch uses the same pacer, it adopts the permit and records it instead.
    None as an answer means that no request was made.
    """

    def __init__(
        self,
        schedule: Schedule[W],
        pacer: Pacer | None,
        concurrency: int,
        *,
        fetch: Callable[[W], Awaitable[object]],
        on_answer: Callable[[W, object, float], None],
        expire: Callable[[W, float], bool],
    ) -> None:
        self.out: set[W] = set()
        self._schedule = schedule
        self._pacer = pacer
        self._concurrency = concurrency
        self._fetch = fetch
        self._on_answer = on_answer
        self._expire = expire
        self._sink: Emitter[Any] | None = None
        self._idle: list[asyncio.Future[None]] = []
        self._workers = 0
        self._is_told = False
        self._timer: asyncio.TimerHandle | None = None
        self._announced: Priority | None = None

    def start(self, sink: Emitter[Any]) -> Callable[[], None]:
        """Begin, with workers in the task group of *sink*; return what ends it."""
        self._sink, self._loop = sink, asyncio.get_running_loop()
        unsubscribe = self._pacer.subscribe(self._on_capacity) if self._pacer is not None else None

        def stop() -> None:
            self._sink = None
            self._set_timer(inf)
            self._update_waiting(None)
            if unsubscribe is not None:
                unsubscribe()

        self.wake_when_due()
        return stop

    def wake_when_due(self, not_before: float = -inf) -> None:
        """Have a worker look at the schedule when something is due, and not before the budget allows it."""
        due = self._schedule.next_wakeup()
        if due is not None:
            self.wake_at(max(due, not_before))

    def wake_at(self, at: float) -> None:
        """Have a worker look at the schedule when something is due *at* that time, unless one looks before anyway."""
        if self._sink is None or (self._timer is not None and self._timer.when() <= at):
            return
        now = self._loop.time()
        if at <= now and self._pacer is not None:
            at = now + self._pacer.delay(now, self._announced or Priority.NUDGED, self)
        if at <= now:
            self.wake_one()
            return
        # The loop rings timers of this instant's neighbourhood at once, and its clock need not have moved since.
        at = max(at, now + _MOMENT)
        if self._timer is None or at < self._timer.when():
            self._set_timer(at)

    def wake_one(self) -> None:
        """Have a worker look at the schedule now."""
        while self._idle:
            turn = self._idle.pop()
            if not turn.done():
                turn.set_result(None)
                return
        if self._sink is not None and self._workers < self._concurrency and len(self._schedule) > len(self.out):
            self._workers += 1
            self._sink.start_soon(self._work)

    def _on_capacity(self) -> None:
        """Look when this step of the loop is over: who made the news, a worker perhaps, may have acted on it by then."""
        if not self._is_told:
            self._is_told = True
            self._loop.call_soon(self._look_again)

    def _look_again(self) -> None:
        self._is_told = False
        self.wake_when_due()

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if isinf(at) else self._loop.call_at(at, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.wake_one()

    async def _work(self) -> None:
        # In one piece: each coroutine within another is paid for at every step of every poll.
        pacer, out, on_answer, instant = self._pacer, self.out, self._on_answer, 0
        payment: Permit | None = None
        while True:
            entry = self._take()
            if entry is None:
                instant = 0
                turn = self._loop.create_future()
                self._idle.append(turn)
                await turn
                continue
            answer: object = None
            start = self._loop.time()
            if pacer is not None:
                payment = Permit(pacer, _PRIORITIES[entry.priority])
            prepaid.set(payment)
            try:
                try:
                    answer = await self._fetch(entry)
                except AsyncflowError as error:
                    answer = error
                finally:
                    if pacer is not None and payment is not None:
                        # A fetch that redeemed the permit has made a request, and waited for it.
                        instant = instant + 1 if (is_ours := payment.redeem(pacer)) else 0
                        if is_ours:
                            record_outcome(pacer, answer, start, self._loop.time())
                    else:
                        instant += 1
                if entry.place is not None:
                    on_answer(entry, answer, start)
                answer = None  # a worker that parks keeps no record alive
            finally:
                out.discard(entry)
            if instant >= _IN_A_ROW:
                # A question that is answered from memory never waits, and would keep the loop until nothing is due any more.
                instant = 0
                await checkpoint()

    def _take(self) -> W | None:
        """Return a due job whose poll is paid for, or None; the next look is arranged either way."""
        if self._sink is None:
            # Woken in the moment of the end: what were announced or paid for now, nobody would take back.
            return None
        pacer, now = self._pacer, self._loop.time()
        while (entry := self._schedule.pop_due(now)) is not None:
            delay = pacer.try_acquire(now, _PRIORITIES[entry.priority], self) if pacer is not None else 0.0
            if delay == 0:
                self.out.add(entry)
                if self._announced is not None:
                    self._update_waiting(None)
                if pacer is not None:
                    pacer.note_lateness(now - entry.due)
                # Where all are busy, the first to come back looks.
                if not self._is_told and (self._idle or self._workers < self._concurrency):
                    self.wake_when_due()
                return entry
            if not self._expire(entry, now):
                self._update_waiting(_PRIORITIES[entry.priority], entry.due)
                self._schedule.reschedule(entry, entry.due, entry.priority)
                self.wake_when_due(now + delay)
                return None
        self._update_waiting(None)
        # The schedule may ring a little early: looking again at once, and again, would keep the loop from ever moving on.
        self.wake_when_due(now + _TICK)
        return None

    def _update_waiting(self, priority: Priority | None, since: float = 0.0) -> None:
        """Have the pacer know that a poll of this *priority* waits: who is not announced has no share against who is."""
        pacer, announced = self._pacer, self._announced
        if pacer is not None and priority != announced:
            self._announced = priority
            if announced is not None:
                pacer.dequeue(announced, self)
            if priority is not None:
                pacer.enqueue(priority, self, since)
