"""Callbacks: the record POSTed to `replyUrl` at each transition (Google Flow) or once at the end (Flow Music); API.md 6.

Nothing is ever sent to an address that is not this machine's own, unless its host was allowed by name: the simulator must not
become a way to reach others.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from asyncflow.simulator.clock import Clock, Timer, wait_until
from asyncflow.simulator.faults import FaultInjector
from asyncflow.simulator.jobs import SimulatedJob

__all__ = ["WebhookSender", "is_allowed"]

_TIMEOUT = aiohttp.ClientTimeout(total=10)


def is_allowed(url: str, hosts: frozenset[str]) -> bool:
    """Return whether a callback may go to *url*: loopback addresses, `localhost` and the named *hosts* only."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"}:
        return False
    if host in hosts or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class WebhookSender:
    """Sends the callbacks of all jobs as their time comes. *elapsed* gives the seconds since the simulator's start."""

    def __init__(
        self, clock: Clock, elapsed: Callable[[], float], injector: FaultInjector, counts: Counter[str], hosts: frozenset[str]
    ) -> None:
        self._clock = clock
        self._elapsed = elapsed
        self._injector = injector
        self._counts = counts
        self._hosts = hosts
        self._timers: dict[SimulatedJob, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def follow(self, job: SimulatedJob) -> None:
        """Send the callbacks of a job that was just made, from its present status on."""
        if job.reply_url is None:
            return
        if not is_allowed(job.reply_url, self._hosts):
            self._counts["refused"] += 1
            return
        age = job.known - job.born
        if age == 0:
            self._announce(job, 0.0)
        self._arm(job, age)

    def changed(self, job: SimulatedJob) -> None:
        """Announce the status that *job* has now, because its life took another turn; forget what was to come."""
        timer = self._timers.pop(job, None)
        if timer is not None:
            timer.cancel()
            self._announce(job, self._elapsed() - job.born)

    async def aclose(self) -> None:
        """Send no more; return when nothing of ours is left running."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _arm(self, job: SimulatedJob, age: float) -> None:
        """Wait for the first change after *age*. Ages come from the steps, because timers may go off a hair early."""
        after = job.scenario.next_change(age)
        if after is None:
            self._timers.pop(job, None)
            return
        when = self._clock.now() + job.born + after - self._elapsed()
        self._timers[job] = self._clock.call_at(when, lambda: self._fire(job, after))

    def _fire(self, job: SimulatedJob, age: float) -> None:
        self._announce(job, age)
        self._arm(job, age)

    def _announce(self, job: SimulatedJob, age: float) -> None:
        if job.facts.service == "flowmusic" and not job.scenario.has_ended(age):
            return
        faults = self._injector.faults
        if self._injector.hits(faults.callback_lost):
            self._counts["lost"] += 1
            return
        for _ in range(2 if self._injector.hits(faults.callback_twice) else 1):
            delay = self._injector.draw(faults.callback_delay)
            task = asyncio.get_running_loop().create_task(self._send(str(job.reply_url), job.scenario.record(age), delay))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _send(self, url: str, body: bytes, delay: float) -> None:
        await wait_until(self._clock, self._clock.now() + delay)
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        headers = {"Content-Type": "application/json", "User-Agent": "useapi-simulator"}
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                await answer.read()
                self._counts["sent" if answer.ok else "refused_by_receiver"] += 1
        except (aiohttp.ClientError, TimeoutError, ValueError):
            self._counts["failed"] += 1
