"""What one browser is told: everything once, then what has changed, each job in its latest state.

All that is kept of a browser is the place up to which it knows; so one that reads slowly costs nothing, and holds up nobody. The
messages are server-sent events, and their ids are places: a browser that comes back is told what it has missed.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from asyncflow.dashboard.http import ResponseWriter
    from asyncflow.dashboard.state import DashboardState

__all__ = ["EventSource", "follow"]

_CHUNK = 250
"""Cards in a message: few enough for a browser to take in without a hitch."""

_CALM = 0.25
_LOOK = 2.0
_QUIET = 15.0

_ID = re.compile(r"([0-9a-f]+)-(\d{1,15})")


class EventSource(Protocol):
    """What the news are made from: *boot* tells one run of the server from another, and so its places."""

    model: DashboardState
    boot: str

    @property
    def is_over(self) -> bool:
        """Whether the watch has ended, so that nothing will change any more."""
        ...

    @property
    def is_closing(self) -> bool:
        """Whether the server goes away."""
        ...

    async def refresh(self) -> None:
        """Look for what does not come by itself."""

    def greeting(self) -> dict[str, Any]:
        """Return what the page has to know first."""
        ...

    def totals(self) -> dict[str, Any]:
        """Return the numbers of the moment."""
        ...

    def budget(self) -> dict[str, Any] | None:
        """Return the request budget over time."""
        ...


async def follow(desk: EventSource, pipe: ResponseWriter, last_id: str) -> None:
    """Tell a browser what there is and what becomes of it, from *last_id* on if that is a place it can have been told of."""
    await SseWriter(desk, pipe).tell(last_id)


class SseWriter:
    def __init__(self, desk: EventSource, pipe: ResponseWriter) -> None:
        self._desk = desk
        self._pipe = pipe
        self._place = 0
        self._totals: dict[str, Any] = {}
        self._budget: dict[str, Any] | None = None
        self._quiet = 0.0

    async def tell(self, last_id: str) -> None:
        desk = self._desk
        await desk.refresh()
        known = _place(desk.boot, last_id)
        resumes = known is not None and desk.model.since(known) is not None
        await self._write(_message("hello", {**desk.greeting(), "resumes": resumes}))
        if resumes and known is not None:
            self._place = known
        else:
            await self._tell_all()
        while True:
            # Asked before the news are told: those are the last then.
            is_over, is_closing = desk.is_over, desk.is_closing
            has_news = await self._tell_news()
            if is_over:
                await self._write(_message("over", {}))
            if is_over or is_closing or not await self._pause(has_news=has_news):
                return
            await desk.refresh()

    async def _tell_all(self) -> None:
        model = self._desk.model
        numbers, self._place = model.everything(), model.place
        await self._tell_cards(numbers)
        # Only from here on the page has something to go on from.
        await self._write(_message("whole", {}, f"{self._desk.boot}-{self._place}"))

    async def _tell_news(self) -> bool:
        desk, model = self._desk, self._desk.model
        news = model.since(self._place)
        if news is None:
            # Thousands of jobs have gone since it was told the last time: a new beginning is shorter.
            await self._write(_message("hello", {**desk.greeting(), "resumes": False}))
            await self._tell_all()
            news = model.since(self._place) or ([], [])
        (numbers, gone), self._place = news, model.place
        if gone:
            await self._write(_message("gone", gone))
        await self._tell_cards(numbers)
        totals, budget = desk.totals(), desk.budget()
        if totals != self._totals or numbers or gone:
            self._totals = totals
            await self._write(_message("totals", totals, f"{desk.boot}-{self._place}"))
        if budget != self._budget:
            self._budget = budget
            await self._write(_message("budget", budget))
        return bool(numbers or gone)

    async def _tell_cards(self, numbers: Sequence[int]) -> None:
        for message in _cards(self._desk.model, numbers, self._place):
            await self._write(message)

    async def _pause(self, *, has_news: bool) -> bool:
        if has_news:
            return await self._pipe.wait(_CALM, for_news=False)
        self._quiet += _LOOK
        if self._quiet >= _QUIET:
            # So that both ends notice when the other has gone.
            await self._write(b": still here\n\n")
        return await self._pipe.wait(_LOOK, for_news=True)

    async def _write(self, message: bytes) -> None:
        self._quiet = 0.0
        await self._pipe.write(message)


def _cards(model: DashboardState, numbers: Sequence[int], place: int) -> Iterator[bytes]:
    """Yield messages about these jobs; those that have changed after *place* come later anyhow."""
    for start in range(0, len(numbers), _CHUNK):
        found = (model.card(number) for number in numbers[start : start + _CHUNK])
        cards = [card for card in found if card is not None and card.place <= place]
        if cards:
            yield _message("cards", cards)


def _place(boot: str, last_id: str) -> int | None:
    found = _ID.fullmatch(last_id)
    return int(found[2]) if found is not None and found[1] == boot else None


def _message(event: str, value: object, last_id: str | None = None) -> bytes:
    head = "" if last_id is None else f"id: {last_id}\n"
    # JSON has no line breaks of its own, so a message is one line whatever the jobs are called.
    return f"{head}event: {event}\ndata: ".encode() + msgspec.json.encode(value) + b"\n\n"
