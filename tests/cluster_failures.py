"""Failures on purpose: workers, an engine, consumers and the simulated service, with a gate on every wire, and what came of it.

`python tests/cluster_failures.py --runs 10` makes the table of docs/cluster.md; the tests run each failure once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cluster_engines import ENGINES, Engine
from cluster_kit import pause, until

from asyncflow import Abandoned, AsyncClient, Ended, Pacer, fixed_interval
from asyncflow.cluster import RedisStore, Worker
from asyncflow.simulator import Faults, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["FAILURES", "LEASE", "LONG_FAILURES", "RATE", "Gate", "Outcome", "Scene", "play", "say"]

LEASE = 1.0
RATE = 75.0
_REQUEST = re.compile(rb"GET /v1/[a-z-]+/jobs/(\S+) HTTP/1.1\r\n")


@dataclass
class Read:
    """A read as its gate saw it: *end* is when the answer came by, or the connection ended."""

    worker: str
    job_id: str
    start: float
    end: float | None = None


class Gate:
    """A wire: what connects to it is connected to *port* of this machine, unless it is cut, or hangs."""

    def __init__(self, port: int, name: str = "", reads: list[Read] | None = None) -> None:
        self.port = 0
        self.is_cut = False
        self._open = asyncio.Event()
        self._open.set()
        self._target = port
        self._name = name
        self._reads = reads
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self.is_cut = True
        for writer in tuple(self._writers):
            writer.transport.abort()

    def hang(self) -> None:
        """Let nothing through, and say nothing."""
        self._open.clear()

    def mend(self) -> None:
        self.is_cut = False
        self._open.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.transport.abort()
            return
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, outer}
        under_way: list[Read] = []
        there = asyncio.create_task(self._pass(reader, outer, under_way, asking=True))
        back = asyncio.create_task(self._pass(inner, writer, under_way, asking=False))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            there.cancel()
            back.cancel()
            for end in (writer, outer):
                self._writers.discard(end)
                end.transport.abort()
            self._note_answer(under_way)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, under_way: list[Read], *, asking: bool
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(65536):
                if asking and self._reads is not None:
                    for found in _REQUEST.findall(piece):
                        under_way.append(Read(self._name, unquote(found.decode()), asyncio.get_running_loop().time()))
                        self._reads.append(under_way[-1])
                while not self._open.is_set():
                    # Nobody reads on here, and whoever asked may give up meanwhile.
                    if asking and reader.at_eof():
                        self._note_answer(under_way)
                    await pause(0.005)
                if not asking:
                    self._note_answer(under_way)
                writer.write(piece)
                await writer.drain()

    def _note_answer(self, under_way: list[Read]) -> None:
        now = asyncio.get_running_loop().time()
        for read in under_way:
            read.end = now
        under_way.clear()

    @asynccontextmanager
    async def standing(self, host: str = "127.0.0.1") -> AsyncIterator[Gate]:
        server = await asyncio.start_server(self._serve, host, 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.cut()


@dataclass
class Outcome:
    """What came of a failure.

    Endings *lost*, deliveries *repeated* (the same key once more), *doubled* endings (another key), reads of one job by two
    workers at once (*overlaps*), seconds until what the victim held was read again (*taken_over*), and the most reads in any
    second by the rate that was allowed.
    """

    lost: int = 0
    repeated: int = 0
    doubled: int = 0
    overlaps: int = 0
    taken_over: list[float] = field(default_factory=list[float])
    worst_second: float = 0.0
    reads: int = 0


# A command whose clocks of the day are *shift* seconds off. Records name the type too, so it stays what it is in their modules.
_SHIFTED = """
import sys, time, datetime
shift, real = float(sys.argv.pop(1)), time.time
from asyncflow.cli import main
if shift:
    import asyncflow.client, asyncflow.cluster.stores.redis.store, asyncflow.cluster.worker
    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.datetime.fromtimestamp(time.time(), tz)
    time.time = lambda: real() + shift
    for name, module in list(sys.modules.items()):
        if name.startswith(("asyncflow.client", "asyncflow.cluster")) and hasattr(module, "datetime"):
            module.datetime = Shifted
sys.exit(main())
"""


def quick_pacer() -> Pacer:
    """A budget that has found out already that the service bears a lot: what limits is that of the store."""
    pacer = Pacer()
    pacer._spacing._set(2000.0)
    return pacer


class Scene:
    """A running cluster to be hurt: two workers, two groups of consumers, everything with a gate before it."""

    def __init__(self, stack: AsyncExitStack, engine: Engine, simulator: Simulator, queue: str) -> None:
        self.engine = engine
        self.simulator = simulator
        self.reads: list[Read] = []
        self.api: dict[str, Gate] = {}
        self.wire: dict[str, Gate] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.delivered: dict[str, list[tuple[str, int, str]]] = {"bills": [], "mails": []}
        self.hurt_at = 0.0
        self.victim = ""
        self.queue = queue
        self._stack = stack
        self._tasks: list[asyncio.Task[None]] = []
        self._workers: list[Worker] = []

    async def worker(self, name: str, *, as_process: bool = False, shift: float = 0.0) -> None:
        api = await self._stack.enter_async_context(Gate(self.simulator.port, name, self.reads).standing())
        wire = await self._stack.enter_async_context(Gate(self.engine.port).standing())
        self.api[name], self.wire[name] = api, wire
        base_url, url = f"http://127.0.0.1:{api.port}", f"redis://127.0.0.1:{wire.port}/0"
        if as_process:
            words = ("worker", "--name", name, "--queue", self.queue, "--lease", f"{LEASE}s", "--interval", "800ms")
            environment = {"USEAPI_TOKEN": self.simulator.token, "USEAPI_BASE_URL": base_url, "ASYNCFLOW_STORE": url}
            self.processes[name] = subprocess.Popen(  # noqa: ASYNC220 - it takes no time
                [sys.executable, "-c", _SHIFTED, str(shift), *words],
                env=os.environ | environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            return
        client = await self._stack.enter_async_context(
            AsyncClient(self.simulator.token, base_url=base_url, max_retries=0, pacer=quick_pacer())
        )
        store = await self._stack.enter_async_context(RedisStore(url, self.queue, patience=1.0))
        worker = Worker(client, store, name=name, lease=LEASE, policy=fixed_interval(0.8))
        self._workers.append(worker)
        self._tasks.append(asyncio.create_task(worker.run()))

    async def consume(
        self, group: str, consumer: str = "one", *, pause_for: float = 0.0, deaf: bool = False, take_over_after: float = 5.0
    ) -> None:
        """Begin a consumer; a *deaf* one handles and never acknowledges."""

        async def handle() -> None:
            async with RedisStore(self.engine.url, self.queue, patience=120.0) as store:
                options = {"take_over_after": take_over_after, "auto_acknowledge": not deaf}
                async with store.events(group, consumer, **options) as deliveries:  # type: ignore[arg-type]  # as typed above
                    async for delivery in deliveries:
                        if isinstance(delivery.event, Ended | Abandoned):
                            self.delivered[group].append(delivery.key)
                        if pause_for:
                            await pause(pause_for)

        self._tasks.append(asyncio.create_task(handle(), name=f"{group} {consumer}"))

    def stop(self, name: str) -> None:
        """End a consumer as a crash would: what it did not acknowledge, nobody has."""
        for task in self._tasks:
            if task.get_name() == name:
                task.cancel()

    def hurt(self) -> None:
        self.hurt_at = asyncio.get_running_loop().time()

    async def all_told(self, job_ids: list[str]) -> bool:
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()
        return all({key[0] for key in keys} >= set(job_ids) for keys in self.delivered.values())

    async def close(self) -> None:
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        for worker in self._workers:
            worker.drain()
        for task in self._tasks:
            if " " in task.get_name():
                task.cancel()
        await asyncio.wait(self._tasks, timeout=5)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def outcome(self, job_ids: list[str]) -> Outcome:
        made = Outcome(reads=len(self.reads))
        for keys in self.delivered.values():
            seen = Counter(keys)
            made.lost += len(set(job_ids) - {key[0] for key in keys})
            made.repeated += sum(seen.values()) - len(seen)
            made.doubled += len(seen) - len({key[0] for key in seen})
        by_job: dict[str, list[Read]] = defaultdict(list)
        for read in self.reads:
            by_job[read.job_id].append(read)
        for reads in by_job.values():
            for older, newer in pairwise(reads):
                is_by_another = older.worker != newer.worker
                made.overlaps += is_by_another and (older.end is None or newer.start < older.end)
                if (
                    is_by_another
                    and older.worker == self.victim
                    and older.start <= self.hurt_at
                    and (older.end is None or older.end >= self.hurt_at)
                ):
                    made.taken_over.append(newer.start - self.hurt_at)
        starts = sorted(read.start for read in self.reads)
        first = 0
        for index, start in enumerate(starts):
            while starts[first] <= start - 1.0:
                first += 1
            made.worst_second = max(made.worst_second, (index - first + 1) / RATE)
        return made


async def killed_worker(scene: Scene) -> None:
    scene.victim = "one"
    scene.processes["one"].kill()
    scene.hurt()


async def paused_worker(scene: Scene) -> None:
    scene.victim = "one"
    scene.processes["one"].send_signal(signal.SIGSTOP)
    scene.hurt()
    await pause(2.2 * LEASE)
    scene.processes["one"].send_signal(signal.SIGCONT)


async def killed_engine(scene: Scene) -> None:
    scene.engine.kill()
    scene.hurt()
    await pause(0.5)
    scene.engine.start()


async def unreachable_engine(scene: Scene, seconds: float = 1.5) -> None:
    scene.engine.pause()
    scene.hurt()
    await pause(seconds)
    scene.engine.pause(paused=False)


async def unreachable_for_a_minute(scene: Scene) -> None:
    await unreachable_engine(scene, 60.0)


async def cut_from_engine(scene: Scene) -> None:
    scene.victim = "one"
    scene.wire["one"].cut()
    scene.hurt()
    await pause(2.2 * LEASE)
    scene.wire["one"].mend()


async def silent_wire_to_engine(scene: Scene) -> None:
    scene.victim = "one"
    scene.wire["one"].hang()
    scene.hurt()
    await pause(2.2 * LEASE)
    scene.wire["one"].mend()


async def cut_from_service(scene: Scene) -> None:
    scene.victim = "one"
    scene.api["one"].cut()
    scene.hurt()
    await pause(2.2 * LEASE)
    scene.api["one"].mend()


async def silent_wire_to_service(scene: Scene) -> None:
    scene.victim = "one"
    scene.api["one"].hang()
    scene.hurt()
    await pause(2.2 * LEASE)
    scene.api["one"].mend()


async def slow_consumer(scene: Scene) -> None:
    scene.stop("bills one")
    await scene.consume("bills", "slow", pause_for=0.03)
    scene.hurt()


async def dead_consumer(scene: Scene) -> None:
    scene.stop("bills one")
    await scene.consume("bills", "deaf", deaf=True)
    await until(partial(_has, scene, "bills", len(scene.delivered["bills"]) + 3))
    scene.stop("bills deaf")
    scene.hurt()
    await scene.consume("bills", "two", take_over_after=0.5)


async def _has(scene: Scene, group: str, count: int) -> bool:
    return len(scene.delivered[group]) >= count


async def clocks_apart(scene: Scene) -> None:
    scene.hurt()


async def full_memory(scene: Scene) -> None:
    async with RedisStore(scene.engine.url, scene.queue) as store:
        await store._link.call("CONFIG", "SET", "maxmemory", "1mb")
        scene.hurt()
        await pause(1.0)
        await store._link.call("CONFIG", "SET", "maxmemory", "0")


async def nothing(scene: Scene) -> None:
    scene.hurt()


@dataclass(frozen=True)
class Failure:
    """What is done, and whether the workers have to be processes for it; *shifts* are their wall clocks."""

    hurt: Callable[[Scene], Awaitable[None]]
    as_processes: bool = False
    shifts: tuple[float, float] = (0.0, 0.0)


FAILURES = {
    "nothing": Failure(nothing),
    "worker killed": Failure(killed_worker, as_processes=True),
    "worker stopped for two leases, and woken": Failure(paused_worker, as_processes=True),
    "engine killed, restarted with its append-only file": Failure(killed_engine),
    "engine stops answering": Failure(unreachable_engine),
    "worker cut off from the engine": Failure(cut_from_engine),
    "wire to the engine goes silent": Failure(silent_wire_to_engine),
    "worker cut off from the service": Failure(cut_from_service),
    "wire to the service goes silent": Failure(silent_wire_to_service),
    "slow consumer": Failure(slow_consumer),
    "consumer killed before it acknowledged": Failure(dead_consumer),
    "clocks an hour apart": Failure(clocks_apart, as_processes=True, shifts=(-1800.0, 1800.0)),
    "memory full": Failure(full_memory),
}


LONG_FAILURES = {"engine stops answering for a minute": Failure(unreachable_for_a_minute)}
"""What takes too long for every day."""


async def play(failure: Failure, engine: Engine, queue: str, jobs: int = 80, longest: float = 4.0) -> Outcome:
    """Run *jobs* on two workers, hurt them in the middle, wait until every group has every ending, and look back."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(Simulator(seed=jobs, faults=Faults(latency=(0.05, 0.3))))
        store = await stack.enter_async_context(RedisStore(engine.url, queue))
        await store.set_rate(RATE)
        scene = Scene(stack, engine, simulator, queue)
        try:
            for name, shift in zip(("one", "two"), failure.shifts, strict=True):
                await scene.worker(name, as_process=failure.as_processes, shift=shift)
            for group in scene.delivered:
                await scene.consume(group)
            await until(partial(_are_there, store), limit=60)
            job_ids = simulator.seed_jobs(jobs, kind="video", duration=(0.5, longest))
            await store.submit(job_ids)
            await until(partial(_both_work, scene), limit=60)
            await failure.hurt(scene)
            await until(partial(scene.all_told, job_ids), limit=90)
        finally:
            await scene.close()
        return scene.outcome(job_ids)


async def _are_there(store: RedisStore) -> bool:
    return len((await store.status()).workers) == 2


async def _both_work(scene: Scene) -> bool:
    return min(sum(read.worker == name for read in scene.reads) for name in ("one", "two")) >= 8


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=10)
    arguments.add_argument("--only", default="", help="part of a failure's name")
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    rows: dict[str, list[Outcome]] = {}
    say("| failure | runs | lost | repeated | overlaps | taken over: median, max (lease 1 s) | most in a second |")
    say("|---|---|---|---|---|---|---|")
    for name, failure in (FAILURES | LONG_FAILURES).items():
        if options.only not in name:
            continue
        for number in range(options.runs):
            with tempfile.TemporaryDirectory() as folder, Engine(next(iter(ENGINES.values())), Path(folder)) as engine:
                rows.setdefault(name, []).append(asyncio.run(play(failure, engine, f"run-{number}")))
        made = rows[name]
        taken = [seconds for outcome in made for seconds in outcome.taken_over]
        times = f"{statistics.median(taken):.2f} s, {max(taken):.2f} s" if taken else "-"
        worst = max(outcome.worst_second for outcome in made)
        sums = [sum(getattr(outcome, what) for outcome in made) for what in ("lost", "repeated", "overlaps")]
        say(f"| {name} | {len(made)} | {' | '.join(map(str, sums))} | {times} | {worst:.0%} |")
    if options.json:
        options.json.write_text(json.dumps({name: [vars(one) for one in made] for name, made in rows.items()}), "utf-8")


if __name__ == "__main__":
    main()
