"""A network that is cut for real: a worker in a network namespace, a cable for the engine, another for the service.

A cable is a veth pair. Where its near end is down packets vanish, and nobody is told. Needs root, Linux and iproute2.
`python tests/cluster_network.py --runs 3` makes the rows of docs/cluster.md; the long form of the tests does each once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cluster_engines import ENGINES, Engine
from cluster_failures import LEASE, Gate, Outcome, Scene, say
from cluster_kit import pause, until

from asyncflow.cluster import RedisStore
from asyncflow.simulator import Faults, Simulator

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CABLES", "CUT", "Cut", "obstacle", "play_cut", "summary"]

CABLES = ("engine", "service")

CUT = 12.0
"""Seconds: twelve leases, and more than a call of the store waits for its answer."""


@dataclass(frozen=True)
class Cable:
    """A veth pair: *name* is this machine's end, which has *address*; the far end has the next one, within *net*."""

    name: str
    net: str
    address: str
    far: str

    def cut(self) -> None:
        _ip("link", "set", self.name, "down")

    def mend(self) -> None:
        _ip("link", "set", self.name, "up")


def _ip(*words: str) -> None:
    done = subprocess.run([shutil.which("ip") or "ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


@contextmanager
def island() -> Iterator[tuple[str, dict[str, Cable]]]:
    """Yield the name of a namespace from which nothing but two addresses of this machine can be reached, and its cables."""
    number = os.getpid()
    space = f"asyncflow-{number}"
    with ExitStack() as stack:
        _ip("netns", "add", space)
        stack.callback(_ip, "netns", "delete", space)
        _ip("-n", space, "link", "set", "lo", "up")
        cables: dict[str, Cable] = {}
        for index, kind in enumerate(CABLES):
            prefix = f"10.{201 + index}.{number % 256}"
            cable = Cable(f"af{kind[0]}{number}", f"{prefix}.0/30", f"{prefix}.1", f"{prefix}.2")
            _ip("link", "add", cable.name, "type", "veth", "peer", "name", kind, "netns", space)
            stack.callback(_ip, "link", "delete", cable.name)
            _ip("address", "add", f"{cable.address}/30", "dev", cable.name)
            _ip("-n", space, "address", "add", f"{cable.far}/30", "dev", kind)
            _ip("-n", space, "link", "set", kind, "up")
            cable.mend()
            # The cable's own route goes when it is cut, and what is meant for it must not leave by another.
            _ip("route", "add", "blackhole", cable.net, "metric", "4000")
            stack.callback(_ip, "route", "delete", "blackhole", cable.net, "metric", "4000")
            cables[kind] = cable
        yield space, cables


def obstacle() -> str:
    """Return why no network can be cut here, "" where it can."""
    if not sys.platform.startswith("linux") or os.geteuid():
        return "it takes root on Linux"
    if shutil.which("ip") is None:
        return "there is no ip: apt-get install iproute2"
    try:
        with island():
            return ""
    except OSError as error:
        return str(error)


@dataclass
class Cut:
    """What came of a cut: the outcome as of every failure, and seconds from the mending until the worker read again (*back*)."""

    outcome: Outcome
    back: float
    by_victim: int


async def play_cut(kind: str, engine_folder: Path, queue: str, jobs: int = 80, longest: float = 4.0) -> Cut:
    """Cut one cable of a worker for *CUT* seconds in the middle of *jobs*, and give both workers half as many afterwards."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        space, cables = stack.enter_context(island())
        # Only this machine and the island get there, so that it need not ask for a password.
        places = {"bind": f"127.0.0.1 {cables['engine'].address}", "protected_mode": "no"}
        engine = stack.enter_context(Engine(next(iter(ENGINES.values())), engine_folder, **places))
        simulator = await stack.enter_async_context(Simulator(seed=jobs, faults=Faults(latency=(0.05, 0.3))))
        store = await stack.enter_async_context(RedisStore(engine.url, queue))
        await store.set_rate(75.0)
        scene = Scene(stack, engine, simulator, queue)
        try:
            gate = Gate(simulator.port, "one", scene.reads)
            scene.api["one"] = await stack.enter_async_context(gate.standing(cables["service"].address))
            scene.processes["one"] = _worker_in(
                space, scene, f"{cables['engine'].address}:{engine.port}", cables["service"].address
            )
            await scene.worker("two")
            for group in scene.delivered:
                await scene.consume(group)
            await until(partial(_reads, scene, "two", 0), limit=60)
            await until(partial(_are_there, store), limit=60)
            job_ids = simulator.seed_jobs(jobs, kind="video", duration=(0.5, longest))
            await store.submit(job_ids)
            for name in ("one", "two"):
                await until(partial(_reads, scene, name, 8), limit=60)
            scene.victim = "one"
            cables[kind].cut()
            scene.hurt()
            await pause(CUT)
            cables[kind].mend()
            mended_at, before = loop.time(), _count(scene, "one")
            # They outlast the pause of a client that has given up on the service: a third of the outage, and then a probe.
            more = simulator.seed_jobs(jobs // 2, kind="video", duration=(0.5 * CUT, CUT))
            await store.submit(more)
            await until(partial(scene.all_told, job_ids + more), limit=120)
            await until(partial(_reads, scene, "one", before + 1), limit=60)
        finally:
            # Over a whole cable both ends hear of the end, and the kernel keeps nothing for an address that is gone.
            for cable in cables.values():
                cable.mend()
            await scene.close()
        back = next(read.start for read in scene.reads if read.worker == "one" and read.start >= mended_at) - mended_at
        return Cut(scene.outcome(job_ids + more), back, _count(scene, "one"))


def _worker_in(space: str, scene: Scene, engine: str, service: str) -> subprocess.Popen[bytes]:
    words = ("worker", "--name", "one", "--queue", scene.queue, "--lease", f"{LEASE}s", "--interval", "800ms")
    own = {
        "USEAPI_TOKEN": scene.simulator.token,
        "USEAPI_BASE_URL": f"http://{service}:{scene.api['one'].port}",
        "ASYNCFLOW_STORE": f"redis://{engine}/0",
    }
    return subprocess.Popen(
        [shutil.which("ip") or "ip", "netns", "exec", space, sys.executable, "-m", "asyncflow", *words],
        env=os.environ | own,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def _are_there(store: RedisStore) -> bool:
    return len((await store.status()).workers) == len(CABLES)


def _count(scene: Scene, name: str) -> int:
    return sum(read.worker == name for read in scene.reads)


async def _reads(scene: Scene, name: str, count: int) -> bool:
    return _count(scene, name) >= count


def summary(kind: str, made: list[Cut]) -> str:
    """Return a row of the table."""
    outcomes = [cut.outcome for cut in made]
    taken = [seconds for outcome in outcomes for seconds in outcome.taken_over]
    times = f"{statistics.median(taken):.2f} s, {max(taken):.2f} s" if taken else "-"
    sums = [sum(getattr(outcome, what) for outcome in outcomes) for what in ("lost", "repeated", "doubled", "overlaps")]
    back = ", ".join(f"{cut.back:.1f} s" for cut in made)
    worst = max(outcome.worst_second for outcome in outcomes)
    return f"| {kind} | {len(made)} | {' | '.join(map(str, sums))} | {times} | {back} | {worst:.0%} |"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--only", default="", help="engine or service")
    options = arguments.parse_args()
    if reason := obstacle():
        sys.exit(f"no network can be cut here: {reason}")
    say("| cable | runs | lost | repeated | doubled | overlaps | taken over: median, max | back after | most in a second |")
    say("|---|---|---|---|---|---|---|---|---|")
    for kind in CABLES:
        if options.only in kind:
            made: list[Cut] = []
            for number in range(options.runs):
                with tempfile.TemporaryDirectory() as folder:
                    made.append(asyncio.run(play_cut(kind, Path(folder), f"cut-{number}")))
            say(summary(kind, made))


if __name__ == "__main__":
    main()
