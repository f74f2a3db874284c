"""`Worker`: polls the jobs of a store, together with any number of others."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING, Protocol

from asyncflow.cluster.worker_engine import WorkerConfig, WorkerEngine
from asyncflow.errors import UsageError
from asyncflow.polling import PollPolicy
from asyncflow.stream import Stream
from asyncflow.watcher.watched_job import JobTimeouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.cluster.store import StoreStatus, WatchStore, WorkerStats
    from asyncflow.pacing import Pacer
    from asyncflow.polling import Policy
    from asyncflow.records import Job

__all__ = ["JobReader", "Worker"]


class JobReader(Protocol):
    """What a worker asks of a client: `AsyncClient` is one."""

    @property
    def pacer(self) -> Pacer:
        """The budget that reads draw on."""
        ...

    async def get_job(self, job_id: str, *, timeout: float | None = None) -> Job:
        """Read a job once."""
        ...


class Worker:
    """Claims due jobs of *store*, reads them through *client* and reports what changed, until it is drained or cancelled.

    Run as many as you like, anywhere: each job is polled by one of them at a time, and what one held when it died is claimed by
    another when its *lease* (seconds) is over. A poll ends before its lease does. *concurrency* bounds the polls in flight. The
    *name*, another for each worker, is for `StoreStatus`. *policy* learns from the jobs of all workers. The limits of time are
    those of `JobWatcher`, counted from the submission; give all workers of a queue the same. *on_status* is called every five
    seconds with how worker and queue are doing, None for a store that does not answer.

    Clocks do not matter: due times, leases and ages are counted by the store's.
    """

    def __init__(
        self,
        client: JobReader,
        store: WatchStore,
        *,
        name: str | None = None,
        concurrency: int = 100,
        lease: float = 30.0,
        policy: Policy | None = None,
        start_timeout: float | None = None,
        stall_timeout: float | None = None,
        job_timeout: float | None = None,
        max_failures: int | None = None,
        on_status: Callable[[WorkerStats, StoreStatus | None], None] | None = None,
    ) -> None:
        if concurrency < 1:
            raise UsageError("concurrency must be at least 1")
        if not lease >= 1:
            raise UsageError("a lease is at least a second long")
        self.name: str = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        if not self.name.isprintable():
            raise UsageError("a worker's name is printable")
        self._core = WorkerEngine(
            WorkerConfig(
                client=client,
                store=store,
                name=self.name,
                concurrency=concurrency,
                lease=lease,
                policy=policy if policy is not None else PollPolicy(),
                limits=JobTimeouts(start_timeout, stall_timeout, job_timeout),
                max_failures=max_failures,
                on_status=on_status,
            )
        )

    async def run(self) -> None:
        """Work until `drain` is called. Cancelled, it stops at once and gives back what it holds.

        Raises what concerns all jobs: a refused token or payment, or a store that says no. A store that does not answer is asked
        again until it does.
        """
        async with Stream[None](self._core.run, name=f"asyncflow worker {self.name}", usage_error=UsageError) as stream:
            async for _ in stream:
                pass

    def drain(self) -> None:
        """Claim no more, report the polls in flight, give back the rest; `run` returns then. From the worker's event loop."""
        self._core.drain()

    def stats(self) -> WorkerStats:
        """Return how it is doing."""
        return self._core.stats()

    def __repr__(self) -> str:
        return f"<Worker {self.name}>"
