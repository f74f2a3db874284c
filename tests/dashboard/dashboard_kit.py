"""What the tests of the dashboard share: jobs to show, a source that is told what to say, and the wire as a browser hears it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from asyncflow import Failure, FlowJob, Media, MusicJob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asyncflow import Event, Job
    from asyncflow.dashboard.state import DashboardState

EMAIL = "jo-ann+flow@example.com"
TOKEN = "a-token-of-the-tests"
START = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
NOW = START.timestamp()
HOSTILE = '<img src=x onerror="window.owned = true"><script>window.owned = true</script>'


def flow_id(number: int = 1, kind: str = "v") -> str:
    return f"j{1104093012448000000 + number}{kind}-u1234-email:{EMAIL}-bot:google-flow"


def music_id(number: int = 1) -> str:
    return f"job:{number:08d}-4b5a-4678-9abc-def012345678-user:1234-{EMAIL}-bot:flowmusic"


def record(prompt: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode({"request": {"prompt": prompt}}))


def video(number: int = 1, *, link: str = "https://media.example/v?Signature=s3cret", **members: Any) -> Media:  # noqa: ANN401 - the members of a record
    return Media("video", "ok", link, f"https://media.example/t{number}?Signature=s3cret", **members)


def running(number: int = 1, status: str = "started", prompt: str = "a kite", **members: Any) -> FlowJob:  # noqa: ANN401 - see above
    usual: dict[str, Any] = {"created_at": START - timedelta(seconds=60), "model": "veo-3.1-fast"}
    return FlowJob(flow_id(number), status, "video", record=record(prompt), **(usual | members))


def done(number: int = 1, *media: Media, prompt: str = "a kite", **members: Any) -> FlowJob:  # noqa: ANN401 - see above
    times: dict[str, Any] = {"created_at": START - timedelta(seconds=90), "updated_at": START - timedelta(seconds=5)}
    return FlowJob(
        flow_id(number), "completed", "video", media=media or (video(number),), record=record(prompt), **(times | members)
    )


def failed(number: int = 1, reason: str | None = "PUBLIC_ERROR_UNSAFE_GENERATION", message: str = "API error: 400") -> FlowJob:
    return FlowJob(flow_id(number), "failed", "video", failure=Failure(message, reason=reason), record=record("a storm"))


def song(number: int = 1, status: str = "pending") -> MusicJob:
    return MusicJob(music_id(number), status, "music", created_at=START)


@dataclass
class Told:
    """A source whose every word is the test's."""

    is_over: bool = False
    watched: int = 0
    silent: set[str] = field(default_factory=set)
    jobs: dict[str, Job] = field(default_factory=dict)
    hear: Callable[..., None] = print

    def begin(self, take: Callable[..., None]) -> None:
        self.hear = take

    def take(self, *events: Event) -> None:
        self.hear(*events)

    def numbers(self) -> dict[str, Any]:
        return {"watched": self.watched}

    def is_silent(self, job_id: str) -> bool:
        return job_id in self.silent

    async def refresh(self, model: DashboardState) -> None:
        pass

    async def find(self, job_id: str) -> Job | None:
        return self.jobs.get(job_id)


@dataclass
class Heard:
    """Server-sent events as they come in."""

    messages: list[tuple[str, Any, str | None]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    last_id: str = ""

    def take(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if "event" in fields:
            self.last_id = fields.get("id", self.last_id)
            self.messages.append((fields["event"], msgspec.json.decode(fields["data"]), fields.get("id")))
            self.news.set()

    def of(self, name: str) -> list[Any]:
        return [value for event, value, _ in self.messages if event == name]

    @property
    def cards(self) -> dict[int, list[Any]]:
        return {card[0]: card for cards in self.of("cards") for card in cards}

    def state(self, number: int) -> str:
        return str(self.cards.get(number, [""] * 4)[3])

    async def until(self, is_true: Callable[[Heard], object]) -> None:
        async with asyncio.timeout(10):
            while not is_true(self):
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def listening(url: str, token: str | None = TOKEN, last_id: str = "") -> AsyncIterator[Heard]:
    """Listen to the dashboard at *url*, which ends with a slash."""
    heard = Heard()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if last_id:
        headers["Last-Event-ID"] = last_id
    async with aiohttp.ClientSession() as session, session.get(f"{url}events", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"

        async def read() -> None:
            text = ""
            async for piece in answer.content.iter_any():
                text += piece.decode()
                *blocks, text = text.split("\n\n")
                for block in blocks:
                    heard.take(block)

        reading = asyncio.create_task(read())
        try:
            yield heard
        finally:
            reading.cancel()
            await asyncio.wait([reading])
