"""The simulator in a thread of its own, for synchronous users and for tests whose own loop moves its time by hand."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from ssl import SSLContext
from types import TracebackType
from typing import Self, TypedDict, TypeVar, Unpack

from asyncflow.simulator.faults import Faults
from asyncflow.simulator.identity import Fate
from asyncflow.simulator.jobs import JobTruth
from asyncflow.simulator.media import MediaTruth
from asyncflow.simulator.metrics import SimulatorStats
from asyncflow.simulator.replay import Answer, Fault
from asyncflow.simulator.request import SubmitTruth
from asyncflow.simulator.scenario import Script
from asyncflow.simulator.server import Simulator

__all__ = ["SimulatorThread"]

T = TypeVar("T")


class ThreadOptions(TypedDict, total=False):
    """The options of `Simulator`; its clock is always the thread's loop."""

    seed: int
    speed: float
    faults: Faults | None
    host: str
    port: int
    token: str
    public_url: str | None
    separate_media: bool
    ssl_context: SSLContext | None
    retention: float
    link_life: float
    media_size: int
    inline_images: float
    max_jobs: int
    callback_hosts: Iterable[str]


class SeedOptions(TypedDict, total=False):
    """The options of `Simulator.seed_jobs`."""

    kind: str
    age: float | tuple[float, float]
    fate: Fate | str | None
    duration: float | tuple[float, float] | None
    media: int | None
    model: str | None
    email: str | None
    prompt: str | None
    reply_url: str | None
    reply_ref: str | None
    foreign: bool


class ScriptOptions(TypedDict, total=False):
    """The options of `Simulator.script_job`."""

    kind: str
    fate: Fate | str
    age: float
    media: int | None
    reply_url: str | None
    reply_ref: str | None


class SimulatorThread:
    """A `Simulator` behind a plain `with`: the same names, safe to call from any thread but its own.

    Leaving the block, or `close`, waits until the thread has ended.
    """

    def __init__(self, **options: Unpack[ThreadOptions]) -> None:
        self._simulator = Simulator(**options)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return self._simulator.url

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._simulator.port

    @property
    def token(self) -> str:
        """The one token that is accepted."""
        return self._simulator.token

    @property
    def faults(self) -> Faults:
        """What goes wrong; its members may be set at any time, from any thread."""
        return self._simulator.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._simulator.faults = faults

    def seed_jobs(self, count: int = 1, **options: Unpack[SeedOptions]) -> list[str]:
        """Make jobs, as `Simulator.seed_jobs`."""
        return self._call(lambda: self._simulator.seed_jobs(count, **options))

    def script_job(self, script: Script, **options: Unpack[ScriptOptions]) -> str:
        """Make a job that lives by *script*, as `Simulator.script_job`."""
        return self._call(lambda: self._simulator.script_job(script, **options))

    def play(self, target: str, answers: Iterable[Answer | Fault]) -> None:
        """Play *answers*, as `Simulator.play`."""
        self._call(lambda: self._simulator.play(target, answers))

    def trick_media(self, job_id: str, tricks: Iterable[str], *, index: int = 0) -> None:
        """Play *tricks* on the requests for a file, as `Simulator.trick_media`."""
        self._call(lambda: self._simulator.trick_media(job_id, tricks, index=index))

    def stats(self) -> SimulatorStats:
        """Return the counts of this moment."""
        return self._call(self._simulator.stats)

    def truth(self) -> list[JobTruth]:
        """Return the truth about every job."""
        return self._call(self._simulator.truth)

    def submits(self) -> list[SubmitTruth]:
        """Return the truth about every submit."""
        return self._call(self._simulator.submits)

    def media(self, job_id: str) -> list[MediaTruth]:
        """Return the files of a job, with checksums."""
        return self._call(lambda: self._simulator.media(job_id))

    def now(self) -> float:
        """Return the seconds since the start."""
        return self._call(self._simulator.now)

    def reset(self) -> None:
        """Forget all jobs, counts, played answers and faults."""
        loop = self._running()
        asyncio.run_coroutine_threadsafe(self._simulator.reset(), loop).result()

    def start(self) -> Self:
        """Start the thread and return when the simulator listens; raises what kept it from listening."""
        if self._thread is not None:
            raise RuntimeError("the simulator is running")
        ready: Future[None] = Future()
        thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), name="asyncflow-simulator", daemon=True)
        thread.start()
        try:
            ready.result()
        except BaseException:
            thread.join()
            raise
        self._thread = thread
        return self

    def close(self) -> None:
        """Stop the simulator and its thread; nothing if it does not run."""
        thread, loop, stop = self._thread, self._loop, self._stop
        self._thread = self._loop = self._stop = None
        if thread is None or loop is None or stop is None:
            return
        loop.call_soon_threadsafe(stop.set)
        thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    async def _main(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = stop = asyncio.Event()
        try:
            await self._simulator.start()
        except BaseException as error:  # noqa: BLE001 - it is raised where `start` was called
            ready.set_exception(error)
            return
        ready.set_result(None)
        try:
            await stop.wait()
        finally:
            await self._simulator.aclose()

    def _call(self, function: Callable[[], T]) -> T:
        loop = self._running()
        result: Future[T] = Future()

        def run() -> None:
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
                result.set_exception(error)

        loop.call_soon_threadsafe(run)
        return result.result()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the simulator is not running: use it in `with`")
        return self._loop
