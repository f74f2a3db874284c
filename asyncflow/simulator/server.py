"""The simulator as a server: it binds, serves while its `async with` block lasts, and leaves nothing behind."""

import asyncio
import ssl
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from asyncflow.simulator.clock import Clock, LoopClock
from asyncflow.simulator.control_api import Seeding, seed
from asyncflow.simulator.faults import Faults
from asyncflow.simulator.handler import ServiceHandler
from asyncflow.simulator.identity import Fate, media_name
from asyncflow.simulator.jobs import JobTruth
from asyncflow.simulator.media import MediaTruth, list_media
from asyncflow.simulator.metrics import SimulatorStats
from asyncflow.simulator.replay import Answer, Fault
from asyncflow.simulator.request import SubmitTruth
from asyncflow.simulator.scenario import Script
from asyncflow.simulator.state import SimulatorConfig, SimulatorState

__all__ = ["Simulator"]

Span = float | tuple[float, float]


class _CountingServer(web.Server):
    """Counts connections; everything else is aiohttp's."""

    def __init__(self, gate: ServiceHandler) -> None:
        super().__init__(gate, handler_cancellation=True, access_log=None, keepalive_timeout=120.0)
        self._world = gate.world

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        self._world.counters.connected()
        super().connection_made(handler, transport)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._world.counters.disconnected()
        super().connection_lost(handler, exc)


class Simulator:
    """Both services of useapi.net on a port of this machine.

    *speed* divides the lives of jobs, nothing else: Retry-After, links, ages and the times in records are the client's seconds.
    *faults* may be changed while it runs. *port* 0 takes a free one. *public_url* is where links say that media are, when it is
    not where the simulator listens; with *separate_media* they are served on a port of their own, as another origin. *retention*
    and what follows it: see `SimulatorConfig`. No I/O before `async with`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        speed: float = 1.0,
        faults: Faults | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "user:1234-abcdef",  # noqa: S107 - a made-up token
        public_url: str | None = None,
        separate_media: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
        retention: float = 7 * 86_400.0,
        link_life: float = 21_600.0,
        media_size: int = 0,
        inline_images: float = 0.1,
        max_jobs: int = 16,
        callback_hosts: Iterable[str] = (),
    ) -> None:
        self.token = token
        self._settings = SimulatorConfig(
            seed=seed,
            speed=speed,
            token=token,
            retention=retention,
            link_life=link_life,
            media_size=media_size,
            inline_images=inline_images,
            max_jobs=max_jobs,
            callback_hosts=frozenset(callback_hosts),
        )
        self._faults = faults or Faults()
        self._host = host
        self._port = port
        self._public_url = public_url
        self._separate_media = separate_media
        self._ssl = ssl_context
        self._clock = clock
        self._url = ""
        self._world: SimulatorState | None = None
        self._runner: web.ServerRunner | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end: the service's paths hang below it."""
        self._running()
        return self._url

    @property
    def port(self) -> int:
        """The port that is listened on."""
        self._running()
        return self._port

    @property
    def faults(self) -> Faults:
        """What goes wrong; its members may be set at any time, and so may the whole."""
        return self._faults if self._world is None else self._world.injector.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults
        if self._world is not None:
            self._world.injector.faults = faults

    def seed_jobs(
        self,
        count: int = 1,
        *,
        kind: str = "video",
        age: Span = 0.0,
        fate: Fate | str | None = None,
        duration: Span | None = None,
        media: int | None = None,
        model: str | None = None,
        email: str | None = None,
        prompt: str | None = None,
        reply_url: str | None = None,
        reply_ref: str | None = None,
        foreign: bool = False,
    ) -> list[str]:
        """Make *count* jobs as `Seeding` has it and return their ids."""
        order = Seeding(
            count=count,
            kind=kind,
            age=age,
            fate=None if fate is None else Fate(fate),
            duration=duration,
            media=media,
            model=model,
            email=email,
            prompt=prompt,
            reply_url=reply_url,
            reply_ref=reply_ref,
            foreign=foreign,
        )
        return seed(self._running(), order)

    def script_job(
        self,
        script: Script,
        *,
        kind: str = "video",
        fate: Fate | str = Fate.SUCCESS,
        age: float = 0.0,
        media: int | None = None,
        reply_url: str | None = None,
        reply_ref: str | None = None,
    ) -> str:
        """Make a job that lives by *script*, a list of (seconds at speed 1, status), and return its id."""
        steps = tuple((float(at), status) for at, status in script)
        order = Seeding(kind=kind, script=steps, fate=Fate(fate), age=age, media=media, reply_url=reply_url, reply_ref=reply_ref)
        return seed(self._running(), order)[0]

    def play(self, target: str, answers: Iterable[Answer | Fault]) -> None:
        """Answer *target*, a job id or a raw path ("DELETE /path" for one method), with *answers*; the last one repeats.

        None at all end the playing. Faults do not touch played answers; a fault's name stands for an answer that breaks.
        """
        self._running().player.load(target, answers)

    def trick_media(self, job_id: str, tricks: Iterable[str], *, index: int = 0) -> None:
        """Play *tricks* on the next requests for the file of a job's media, one each; afterwards the media host is right again.

        *index* counts from 0, as in `media`. Raises KeyError if there is no such job, ValueError (with all names) for an unknown
        trick.
        """
        world = self._running()
        world.tricks.load(media_name(world.book.by_id[job_id].facts, index), tricks)

    def stats(self) -> SimulatorStats:
        """Return the counts of this moment."""
        return self._running().stats()

    def truth(self) -> list[JobTruth]:
        """Return the truth about every job, in the order of making."""
        world = self._running()
        now = world.now()
        return [job.truth(now) for job in world.book.jobs]

    def submits(self) -> list[SubmitTruth]:
        """Return the truth about every submit that has come to an end, in that order."""
        return list(self._running().submits)

    def media(self, job_id: str) -> list[MediaTruth]:
        """Return the files that the job's main links lead to, with checksums; raises KeyError if there is no such job."""
        world = self._running()
        return list_media(world, world.book.by_id[job_id])

    def now(self) -> float:
        """Return the seconds since the start, the time of outages and truth."""
        return self._running().now()

    async def reset(self) -> None:
        """Forget all jobs, counts, played answers and faults; connections stay."""
        await self._running().reset()

    async def start(self) -> Self:
        """Bind and serve; `async with` does it."""
        if self._world is not None:
            raise RuntimeError("the simulator is running")
        world = SimulatorState(self._settings, self._faults, self._clock or LoopClock())
        runner = web.ServerRunner(_CountingServer(ServiceHandler(world)), handle_signals=False, shutdown_timeout=0.25)
        await runner.setup()
        try:
            self._port = await self._listen(runner, self._port)
            self._url = self._address(self._port)
            media_url = self._address(await self._listen(runner, 0)) if self._separate_media else self._url
        except OSError:
            await runner.cleanup()
            raise
        world.links.base_url = self._public_url or media_url
        self._world, self._runner = world, runner
        return self

    async def aclose(self) -> None:
        """Stop serving, end every request under way, and leave no task and no socket."""
        world, runner = self._world, self._runner
        self._world = self._runner = None
        if world is None or runner is None:
            return
        self._faults = world.injector.faults
        world.closing.set()
        await runner.cleanup()
        await world.outbox.aclose()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _listen(self, runner: web.ServerRunner, port: int) -> int:
        site = web.TCPSite(runner, self._host, port, ssl_context=self._ssl, backlog=1024)
        await site.start()
        return int(runner.addresses[-1][1])

    def _address(self, port: int) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - a comparison, nothing is bound
        return f"{'https' if self._ssl else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def _running(self) -> SimulatorState:
        if self._world is None:
            raise RuntimeError("the simulator is not running: use it in `async with`")
        return self._world
