"""The server of a webhook that has no framework around it: reachable by strangers, and gone without a trace afterwards."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from callers import JOB_ID, SECRET, Watch, callback, speak

from asyncflow import WebhookReceiver
from asyncflow.webhook.server import CallbackServer

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST = b"POST /%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (SECRET.encode(), len(callback()), callback())


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Return True when the other side has closed, gently or not."""
    try:
        return await reader.read() is not None
    except ConnectionError:
        return True


@pytest.fixture
def silent_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    caplog.set_level("INFO")
    yield caplog
    assert [record for record in caplog.records if SECRET in repr(vars(record))] == []


@pytest.mark.asyncio
async def test_one_callback_a_connection_and_no_trace_in_the_log(silent_log: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    before = asyncio.all_tasks()
    async with WebhookReceiver(watch.nudge, SECRET).serve() as url, asyncio.timeout(10):
        answer = await speak(url, REQUEST + REQUEST)
        assert answer.startswith(b"HTTP/1.1 204 ")
        assert answer.count(b"HTTP/1.1") == 1
    assert watch.nudged == [JOB_ID]
    assert asyncio.all_tasks() == before
    assert silent_log.records == []
    with pytest.raises(OSError, match=r"(?i)connect"):
        await connected(url)


@pytest.mark.asyncio
@pytest.mark.parametrize("start", [b"", b"POST /", REQUEST[:-1]])
async def test_no_connection_outlives_its_time(start: bytes) -> None:
    watch = Watch()
    async with WebhookReceiver(watch.nudge, SECRET, read_timeout=0.05).serve() as url, asyncio.timeout(10):
        reader, writer = await connected(url)
        writer.write(start)
        assert await ended(reader)
        writer.close()
    assert watch.nudged == []


@pytest.mark.asyncio
async def test_too_many_connections_cost_the_oldest_its_place() -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge, SECRET)
    async with CallbackServer(receiver.aiohttp_handler, lifetime=60, limit=2).listen("127.0.0.1", 0) as url, asyncio.timeout(10):
        idle = [await connected(url) for _ in range(2)]
        assert (await speak(url, REQUEST)).startswith(b"HTTP/1.1 204 ")
        assert await ended(idle[0][0])
        idle[1][1].write(REQUEST)
        assert (await idle[1][0].read()).startswith(b"HTTP/1.1 204 ")
        for _, writer in idle:
            writer.close()
    assert watch.nudged == [JOB_ID] * 2


@pytest.mark.asyncio
async def test_leaving_closes_what_is_open_even_if_cancelled() -> None:
    before = asyncio.all_tasks()
    is_open = asyncio.Event()
    readers: list[asyncio.StreamReader] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve() -> None:
        async with WebhookReceiver(Watch().nudge, SECRET).serve() as url:
            for start in (b"", b"POST /", REQUEST[:-1]):
                reader, writer = await connected(url)
                writer.write(start)
                readers.append(reader)
                writers.append(writer)
            is_open.set()
            await asyncio.Event().wait()

    serving = asyncio.create_task(serve())
    await is_open.wait()
    serving.cancel()
    async with asyncio.timeout(10):
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert [await ended(reader) for reader in readers] == [True] * 3
        for writer in writers:
            writer.close()
        while asyncio.all_tasks() != before:
            await asyncio.wait(asyncio.all_tasks() - before)


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="address"):
            async with WebhookReceiver(print).serve(port=taken.getsockname()[1]):
                pass


@pytest.mark.asyncio
async def test_the_url_of_an_ipv6_address_has_brackets() -> None:
    try:
        async with WebhookReceiver(Watch().nudge).serve("::1") as url:
            assert url.startswith("http://[::1]:")
            assert (await speak(url, REQUEST)).startswith(b"HTTP/1.1 204 ")
    except OSError as error:  # a machine without IPv6 has shown at least that this is told
        assert error.errno is not None  # noqa: PT017 - no error is the usual case
