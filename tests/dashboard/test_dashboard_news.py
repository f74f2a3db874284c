"""What one browser is told, message by message, to a pipe that is as slow as the test wants."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest
from dashboard_kit import NOW, Heard, done, running

from asyncflow import Changed, Ended
from asyncflow.dashboard.event_stream import follow
from asyncflow.dashboard.notifier import Notifier
from asyncflow.dashboard.state import DashboardState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = [pytest.mark.asyncio, pytest.mark.virtual_time]


class Desk:
    """Numbers that stand still, over a model that moves."""

    def __init__(self, model: DashboardState | None = None) -> None:
        self.model = model or DashboardState()
        self.boot = "ab12"
        self.is_over = False
        self.is_closing = False
        self.refreshed = 0
        self.steps = 0

    async def refresh(self) -> None:
        self.refreshed += 1

    def greeting(self) -> dict[str, Any]:
        return {"boot": self.boot}

    def totals(self) -> dict[str, Any]:
        return {"states": dict(self.model.states)}

    def budget(self) -> dict[str, Any] | None:
        return {"steps": self.steps} if self.steps else None


class Pipe:
    """Notes what is written; before each piece, and in each pause, the next of *meanwhile* happens."""

    def __init__(self, *pauses: Callable[[], object]) -> None:
        self.heard = Heard()
        self.beats = 0
        self.waits: list[tuple[float, bool]] = []
        self.between: deque[Callable[[], object]] = deque()
        self._pauses = deque(pauses)

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        raise AssertionError(f"started already: {status} {headers}")

    async def write(self, piece: bytes) -> None:
        if self.between:
            self.between.popleft()()
        text = piece.decode()
        assert text.endswith("\n\n")
        self.beats += text.startswith(":")
        self.heard.take(text.removesuffix("\n\n"))

    async def wait(self, seconds: float, *, for_news: bool) -> bool:
        self.waits.append((seconds, for_news))
        if not self._pauses:
            return False
        self._pauses.popleft()()
        return True


def model_of(count: int) -> DashboardState:
    model = DashboardState()
    for number in range(1, count + 1):
        model.apply(Changed(running(number)), NOW)
    return model


def nothing() -> None:
    """Happens."""


def names(pipe: Pipe) -> list[str]:
    return [name for name, _, _ in pipe.heard.messages]


async def test_everything_comes_in_pieces_then_the_numbers() -> None:
    pipe = Pipe()
    await follow(Desk(model_of(600)), pipe, "")
    assert names(pipe) == ["hello", "cards", "cards", "cards", "whole", "totals"]
    assert [len(cards) for cards in pipe.heard.of("cards")] == [250, 250, 100]
    assert [number for number, _, last_id in pipe.heard.messages if last_id is not None] == ["whole", "totals"]
    assert pipe.heard.last_id == "ab12-600"


async def test_a_job_that_changes_while_it_is_told_is_told_once_more_and_in_its_last_state() -> None:
    model = model_of(600)
    pipe = Pipe()
    changes = [lambda: model.apply(Ended(done(500)), NOW), lambda: model.apply(Changed(running(1, "odd")), NOW)]
    pipe.between.extend([nothing, changes[0], changes[1]])
    await follow(Desk(model), pipe, "")
    told = [card for cards in pipe.heard.of("cards") for card in cards]
    # The first piece had the first job in it already; the five hundredth was still to come.
    assert sorted(card[0] for card in told) == sorted([*range(1, 601), 1])
    assert (pipe.heard.cards[1][4], pipe.heard.cards[500][3]) == ("odd", "succeeded")


async def test_whoever_is_slow_is_told_each_job_once_however_often_it_changed() -> None:
    model = model_of(300)

    def change_all() -> None:
        for status in ("a", "b", "c", "d"):
            for number in range(1, 301):
                model.apply(Changed(running(number, status)), NOW)

    pipe = Pipe(change_all)
    await follow(Desk(model), pipe, "")
    assert [len(cards) for cards in pipe.heard.of("cards")] == [250, 50, 250, 50]
    assert {card[4] for card in pipe.heard.cards.values()} == {"d"}


async def test_what_has_gone_is_told() -> None:
    model = model_of(3)
    pipe = Pipe(lambda: model.forget(running(2).job_id))
    await follow(Desk(model), pipe, "")
    assert pipe.heard.of("gone") == [[2]]


async def test_one_that_is_too_far_behind_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncflow.dashboard.state._MOST_GONE", 2)
    model = model_of(6)

    def lose() -> None:
        for number in range(1, 6):
            model.forget(running(number).job_id)

    pipe = Pipe(lose)
    await follow(Desk(model), pipe, "")
    assert names(pipe) == ["hello", "cards", "whole", "totals", "hello", "cards", "whole", "totals"]
    assert [value["resumes"] for value in pipe.heard.of("hello")] == [False, False]
    assert len(pipe.heard.of("cards")[1]) == 1


async def test_after_news_there_is_a_rest_and_then_it_waits_for_more() -> None:
    model, desk = model_of(1), Desk()
    desk.model = model
    pipe = Pipe(nothing, lambda: model.apply(Ended(done(1)), NOW), nothing)
    await follow(desk, pipe, "")
    assert pipe.waits == [(2.0, True), (2.0, True), (0.25, False), (2.0, True)]
    assert desk.refreshed == 4


async def test_silence_is_broken_now_and_then() -> None:
    pipe = Pipe(*[nothing] * 20)
    await follow(Desk(), pipe, "")
    assert pipe.beats == 2
    assert names(pipe) == ["hello", "whole", "totals"]


async def test_numbers_and_budget_come_when_they_change() -> None:
    desk = Desk()

    def step() -> None:
        desk.steps += 1

    pipe = Pipe(nothing, step, nothing, step)
    await follow(desk, pipe, "")
    assert pipe.heard.of("budget") == [{"steps": 1}, {"steps": 2}]
    assert len(pipe.heard.of("totals")) == 1


async def test_the_end_is_told_after_all_else() -> None:
    model, desk = model_of(1), Desk()
    desk.model = model

    def end() -> None:
        model.apply(Ended(done(1)), NOW)
        desk.is_over = True

    pipe = Pipe(end)
    await follow(desk, pipe, "")
    assert names(pipe)[-3:] == ["cards", "totals", "over"]


async def test_a_server_that_closes_says_nothing_of_an_end() -> None:
    desk = Desk()

    def close() -> None:
        desk.is_closing = True

    pipe = Pipe(close, nothing)
    await follow(desk, pipe, "")
    assert names(pipe) == ["hello", "whole", "totals"]


async def test_the_bell_wakes_those_who_wait_for_news_and_nobody_else() -> None:
    bell, loop = Notifier(), asyncio.get_running_loop()
    woken: list[tuple[str, float]] = []

    async def wait(name: str, *, for_news: bool) -> None:
        with pytest.raises(TimeoutError):
            await bell.wait(10, asyncio.Event().wait(), for_news=for_news)
        woken.append((name, loop.time()))

    start = loop.time()
    loop.call_later(3, bell.ring)
    await asyncio.gather(wait("asleep", for_news=False), wait("awake", for_news=True))
    bell.ring()
    assert [(name, at - start) for name, at in woken] == [("awake", 3), ("asleep", 10)]


async def test_a_signal_ends_the_wait_before_its_time() -> None:
    bell, signal = Notifier(), asyncio.Event()
    signal.set()
    assert await bell.wait(10, signal.wait(), for_news=True) is True
    bell.ring()
