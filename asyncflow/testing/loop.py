"""The event loop of virtual time, and the ways to run something in it."""

from __future__ import annotations

import asyncio
import heapq
import inspect
import math
import selectors
import socket
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias, TypeVar, TypeVarTuple, Unpack

from asyncflow.testing.network import Network

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from contextvars import Context

    from _typeshed import FileDescriptorLike

__all__ = ["DeadlockError", "VirtualTimeError", "VirtualTimeLoop", "call_later", "loop_factories", "now", "run"]

T = TypeVar("T")
Args = TypeVarTuple("Args")

# A watch that nobody ends polls for ever; eleven days hold every retention of the service.
_LIMIT = 1_000_000.0

_NO_SOCKETS = "virtual time does not wait for sockets of the system: only for servers within the same loop"


class VirtualTimeError(RuntimeError):
    """Something that virtual time cannot do was asked of its loop, or its limit has passed."""


class DeadlockError(VirtualTimeError):
    """Nothing is ready and nothing is scheduled: what the tasks wait for can never happen. The text names the tasks."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time()` jumps to the next timer when nothing is ready.

    *limit* is the time in virtual seconds after which it fails, since without a limit a test that polls for ever would never end.
    """

    def __init__(self, limit: float = _LIMIT) -> None:
        self._now = 0.0
        self._limit = self._end = limit
        self._instants: list[float] = []
        self._network = Network()
        super().__init__(_TimeSelector(self))

    def time(self) -> float:
        """Return the virtual time in seconds since the loop was made."""
        return self._now

    def call_at(
        self, when: float, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Schedule *callback*; the clock will read exactly *when*."""
        heapq.heappush(self._instants, when)
        return super().call_at(when, callback, *args, context=context)

    def run_in_executor(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Refuse: the clock would run away while the thread works."""
        raise VirtualTimeError("virtual time does not wait for threads: use the real loop, or a stand-in that does not block")

    async def subprocess_exec(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Refuse, before a process is started."""
        raise VirtualTimeError("virtual time does not wait for other processes")

    async def subprocess_shell(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Refuse, before a process is started."""
        raise VirtualTimeError("virtual time does not wait for other processes")

    # -- the network of this loop --------------------------------------------------------------------------------------------

    # These take fewer forms of arguments than asyncio's own, and no plain function can be annotated as those are.
    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:  # noqa: ANN401
        """Listen within this loop; *port* 0, or none, is a free one. TLS and sockets that exist already are refused."""
        _refuse_options(options)
        return self._network.listen(self, protocol_factory, host, port)

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:  # noqa: ANN401
        """Connect to a server within this loop; `ConnectionRefusedError` where none listens."""
        sock = options.pop("sock", None)
        _refuse_options(options)
        listener = self._network.find(*(self._network.dialled(sock) if sock is not None else (host, port)))
        protocol = protocol_factory()
        transport = self._network.connect(self, protocol, listener)
        # Both ends are told of each other before their owners go on.
        waiter = self.create_future()
        self.call_soon(waiter.set_result, None)
        await waiter
        return transport, protocol

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:  # noqa: ANN401 - as a socket has it
        """Note where *sock* leads; it is never used, as `create_connection` makes a connection without one."""
        if sock.family not in {socket.AF_INET, socket.AF_INET6}:
            raise VirtualTimeError(_NO_SOCKETS)
        self._network.dial(sock, address)

    async def getaddrinfo(self, host: Any, port: Any, **_options: Any) -> list[Any]:  # noqa: ANN401 - as the system has it
        """Return the address of this machine's names; no other name can be looked up."""
        if host not in {None, "localhost", "127.0.0.1", b"localhost"}:
            raise VirtualTimeError(f"virtual time has no network: nobody looks up the name of another machine ({host})")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    def advance(self, timeout: float) -> None:
        """Move the clock by *timeout* seconds, to the instant that some timer asked for."""
        target = self._now + timeout
        # The loop computed timeout as instant - now, which may be off by a rounding error; the timer's owner will compare.
        early, late = target - 4 * math.ulp(target), target + 4 * math.ulp(target)
        while self._instants and (self._instants[0] < early or self._instants[0] <= self._now):
            heapq.heappop(self._instants)
        self._now = self._instants[0] if self._instants and self._instants[0] <= late else target
        if self._now > self._end:
            self._end = self._now + self._limit  # what is cleaned up now may take its time too
            raise VirtualTimeError(f"virtual time has passed its limit of {self._limit:g} s. Waiting: {self.pending()}")

    def pending(self) -> str:
        """Return the names of the unfinished tasks, each with the functions, and lines, in which it waits."""
        return "; ".join(sorted(map(_place, asyncio.all_tasks(self)))) or "no task"


def _refuse_options(options: Mapping[str, object]) -> None:
    if options.get("ssl"):
        raise VirtualTimeError("virtual time has no TLS: use http://")
    if options.get("sock") is not None:
        raise VirtualTimeError(_NO_SOCKETS)


class _TimeSelector(selectors.DefaultSelector):
    """Polls without waiting, and moves the clock where a real selector would sleep."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._virtual = loop

    def register(self, fileobj: FileDescriptorLike, events: int, data: object = None) -> selectors.SelectorKey:
        # The first one is the loop's own pipe, through which signal handlers wake it.
        if self.get_map():
            raise VirtualTimeError(_NO_SOCKETS)
        return super().register(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            where = f"{self._virtual.time():g} s: nothing is ready, nothing is scheduled, and no thread or socket is waited for"
            raise DeadlockError(f"deadlock at {where}. Waiting: {self._virtual.pending()}")
        self._virtual.advance(timeout)
        return []


def _place(task: asyncio.Task[Any]) -> str:
    steps: list[str] = []
    awaited: object = task.get_coro()
    while inspect.iscoroutine(awaited) and awaited.cr_frame is not None:
        steps.append(f"{awaited.__qualname__}:{awaited.cr_frame.f_lineno}")
        awaited = awaited.cr_await
    return f"{task.get_name()} in {' > '.join(steps)}"


def now() -> float:
    """Return the running loop's time: in virtual time, seconds since the test began."""
    return asyncio.get_running_loop().time()


def call_later(seconds: float, function: Callable[[Unpack[Args]], object], *args: *Args) -> asyncio.TimerHandle:
    """Call *function* when *seconds* have passed; the handle's `cancel()` takes it back."""
    return asyncio.get_running_loop().call_later(seconds, function, *args)


def run(main: Coroutine[Any, Any, T], *, limit: float = _LIMIT) -> T:
    """Run *main* as `asyncio.run` does, in virtual time of at most *limit* seconds."""
    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(limit)) as runner:
        return runner.run(main)


class Mark(Protocol):
    """The part of a pytest mark that is looked at here, so that this module works without pytest."""

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The mark's keyword arguments."""
        ...


class Marked(Protocol):
    """The part of a pytest item that is looked at here."""

    def get_closest_marker(self, name: str) -> Mark | None:
        """Return the innermost mark of this name on the test, its class or its module."""
        ...


LoopFactories: TypeAlias = "Mapping[str, Callable[[], asyncio.AbstractEventLoop]]"


def loop_factories(item: Marked, others: LoopFactories | None = None) -> LoopFactories:
    """Return the event loops for a test, as pytest-asyncio's hook `pytest_asyncio_loop_factories` wants them.

    A test marked `virtual_time` gets a virtual loop, with the mark's *limit* if it has one. Any other gets what *others*, the
    answer of other plug-ins to the same hook, has for it, or the usual loop.
    """
    mark = item.get_closest_marker("virtual_time")
    if mark is None:
        return others or {"asyncio": asyncio.new_event_loop}
    return {"virtual": lambda: VirtualTimeLoop(**mark.kwargs)}
