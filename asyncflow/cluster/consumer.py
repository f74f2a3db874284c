"""`EventStream`: the events of a store for one consumer of a group, at least once each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

from asyncflow.cluster.store import BEGINNING, Delivery
from asyncflow.errors import UsageError
from asyncflow.stream import Stream

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from asyncflow.cluster.store import WatchStore
    from asyncflow.stream import Emitter

__all__ = ["EventStream"]

_WAIT = 1.0
_PATIENCE = 5.0
_LOOKS = 3
"""How often within the time after which a silent consumer loses its events we say that we are at work, and look for lost ones."""


class EventStream(Stream[Delivery]):
    """What a store delivers to one consumer: an async iterator of `Delivery`, open until `aclose` or the end of `async with`.

    Consumers of one *group* share its events; every group sees all that the store keeps, from the beginning. A delivery is
    acknowledged when its consumer asks for the next one, or leaves `async with` without an exception; without
    *auto_acknowledge* only by `acknowledge`. One that is not acknowledged is delivered again: to this *consumer* when it is back,
    to another one of the group *take_over_after* seconds after this one was last heard of. At most *batch* events wait here.
    """

    def __init__(
        self,
        store: WatchStore,
        group: str,
        consumer: str,
        *,
        batch: int = 100,
        take_over_after: float = 30.0,
        auto_acknowledge: bool = True,
    ) -> None:
        if batch < 1 or not take_over_after > 0:
            raise UsageError("batch and take_over_after must be more than 0")
        self._reader = _Consumer(store, group, consumer, batch, take_over_after)
        self._is_automatic = auto_acknowledge
        self._given: Delivery | None = None
        super().__init__(self._reader.run, name="asyncflow events", buffer=batch, usage_error=UsageError)

    def acknowledge(self, *deliveries: Delivery) -> None:
        """Note that these were handled; the store hears of it within moments, at the latest in `aclose`."""
        self._reader.acknowledge(delivery.place for delivery in deliveries)

    async def __anext__(self) -> Delivery:
        """Return the next delivery; cancelling this loses none."""
        self._settle()
        delivery = await super().__anext__()
        self._reader.taken()
        if self._is_automatic:
            self._given = delivery
        return delivery

    def _settle(self) -> None:
        given, self._given = self._given, None
        if given is not None:
            self.acknowledge(given)

    async def aclose(self) -> None:
        """Stop, once what was acknowledged is so in the store; what it does not take now is delivered again."""
        await super().aclose()
        await self._reader.finish()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc_type is None:
            self._settle()
        await super().__aexit__(exc_type, exc, traceback)


class _Consumer:
    """The runner of an `EventStream`: reads ahead, takes over, keeps what it holds, tells the store what was handled."""

    def __init__(self, store: WatchStore, group: str, consumer: str, batch: int, silence: float) -> None:
        self._store = store
        self._group = group
        self._consumer = consumer
        self._batch = batch
        self._silence = silence
        self._held: dict[str, None] = {}
        self._handled: list[str] = []
        self._space = asyncio.Event()
        self._news = asyncio.Event()
        self._sink: Emitter[Delivery]

    async def run(self, sink: Emitter[Delivery]) -> None:
        self._sink = sink
        sink.start_soon(self._tell)
        sink.start_soon(self._mind)
        await self._take_again()
        while True:
            self._put(await self._store.read_new(self._group, self._consumer, self._batch, _WAIT))
            await self._room()

    async def _take_again(self) -> None:
        """Begin with what an earlier run of this consumer was given and did not handle."""
        after = BEGINNING
        while found := await self._store.read_pending(self._group, self._consumer, after, self._batch):
            after = found[-1].place
            self._put(found)
            await self._room()

    async def _room(self) -> None:
        while self._sink.undelivered >= self._batch:
            self._space.clear()
            await self._space.wait()

    def taken(self) -> None:
        self._space.set()

    def _put(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            if delivery.place not in self._held:
                self._held[delivery.place] = None
                self._sink.put(delivery)

    async def _mind(self) -> None:
        """Keep what is held here from being taken over, and take over what others hold no longer."""
        while True:
            await asyncio.sleep(self._silence / _LOOKS)
            if self._held:
                await self._store.extend(self._group, self._consumer, list(self._held))
            await self._room()
            # Also what was given in an answer that never arrived: nobody else would ask for it while we live.
            found = await self._store.autoclaim(self._group, self._consumer, self._silence, self._batch)
            self._put(found)

    def acknowledge(self, places: Iterable[str]) -> None:
        for place in places:
            self._held.pop(place, None)
            self._handled.append(place)
        self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._flush()

    async def _flush(self) -> None:
        handled = self._handled[:]
        if handled:
            await self._store.acknowledge(self._group, handled)
            del self._handled[: len(handled)]

    async def finish(self) -> None:
        """Tell the store what is left to tell, unless that takes long."""
        with anyio.move_on_after(_PATIENCE, shield=True):
            await self._flush()
