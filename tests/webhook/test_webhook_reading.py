"""How a body is read: no more of it than allowed, for no longer than allowed, and not at all for a stranger."""

from __future__ import annotations

import asyncio
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pytest
from callers import JOB_ID, SECRET, Watch, ask, callback, speak

from asyncflow import WebhookReceiver
from asyncflow.testing import call_later, now

if TYPE_CHECKING:
    from collections.abc import MutableMapping

GOOD = f"/{SECRET}"
POST = f"POST {GOOD} HTTP/1.1\r\nHost: localhost\r\n".encode()


async def pause(seconds: float) -> None:
    over = asyncio.Event()
    call_later(seconds, over.set)
    await over.wait()


# -- ASGI ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_an_endless_body_is_read_to_the_limit_and_no_further() -> None:
    watch = Watch()
    heard = await ask(WebhookReceiver(watch.nudge, SECRET, max_bytes=10_000), "POST", GOOD, repeat(b" " * 1_000))
    assert (heard.status, heard.pieces_read) == (413, 11)
    assert watch.nudged == []


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("POST", "/wrong", {}),
        ("PUT", GOOD, {}),
        ("POST", GOOD, {"Content-Length": "999999"}),
        ("POST", GOOD, {"Content-Encoding": "gzip"}),
    ],
)
async def test_what_is_refused_by_its_head_is_not_read(method: str, target: str, headers: dict[str, str]) -> None:
    heard = await ask(WebhookReceiver(Watch().nudge, SECRET), method, target, repeat(b"x"), headers)
    assert 400 < heard.status < 500
    assert heard.pieces_read == 0


@pytest.mark.virtual_time
async def test_a_body_that_dribbles_is_cut_off_in_time() -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge, SECRET, read_timeout=10)
    heard = await ask(receiver, "POST", GOOD, (bytes([byte]) for byte in callback()), pause=lambda: pause(1.5))
    assert (heard.status, now()) == (408, 10)
    assert watch.nudged == []


@pytest.mark.virtual_time
async def test_a_slow_body_that_makes_it_is_a_callback() -> None:
    watch = Watch()
    body = callback()
    heard = await ask(WebhookReceiver(watch.nudge, SECRET), "POST", GOOD, [body[:50], body[50:]], pause=lambda: pause(3))
    assert (heard.status, now(), watch.nudged) == (204, 9, [JOB_ID])


@pytest.mark.asyncio
async def test_a_caller_who_goes_away_midway_is_nobody() -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge, SECRET)
    heard = await ask(receiver, "POST", GOOD, [callback()], is_cut=True)
    assert (heard.status, watch.nudged) == (0, [])
    assert receiver.stats() == {400: 1}


@pytest.mark.virtual_time
async def test_a_cancelled_request_is_cancelled() -> None:
    watch = Watch()
    request = asyncio.ensure_future(ask(WebhookReceiver(watch.nudge, SECRET), "POST", GOOD, b"", pause=lambda: pause(5)))
    call_later(1, request.cancel)
    with pytest.raises(asyncio.CancelledError):
        await request
    assert now() == 1


@pytest.mark.asyncio
async def test_what_the_nudge_raises_is_not_hidden() -> None:
    def nudge(_job_id: str) -> bool:
        raise LookupError("a bug in the nudge")

    with pytest.raises(LookupError, match="a bug"):
        await ask(WebhookReceiver(nudge, SECRET), "POST", GOOD, callback())


@pytest.mark.asyncio
async def test_it_takes_part_in_the_lifespan_of_a_server() -> None:
    asked = iter(["lifespan.startup", "lifespan.shutdown"])
    told: list[str] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": next(asked)}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message["type"])

    await WebhookReceiver(print)({"type": "lifespan"}, receive, send)
    assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.asyncio
async def test_a_websocket_is_closed_before_it_opens() -> None:
    told: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        told.append(message)

    receiver = WebhookReceiver(print)
    await receiver({"type": "websocket", "path": "/"}, receive, send)
    assert told == [{"type": "websocket.close", "code": 1008}]
    with pytest.raises(ValueError, match="carrier-pigeon"):
        await receiver({"type": "carrier-pigeon"}, receive, send)


# -- aiohttp, over sockets -----------------------------------------------------------------------------------------------------


def status(raw: bytes) -> int:
    return int(raw.split(b" ", 2)[1]) if raw else 0


@pytest.mark.asyncio
async def test_a_chunked_body_is_read_to_the_limit_and_no_further() -> None:
    watch = Watch()
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    async with WebhookReceiver(watch.nudge, SECRET, max_bytes=10_000).serve() as url, asyncio.timeout(10):
        head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        assert status(await speak(url, head, chunk * 11)) == 413
        size = f"{len(callback()):x}\r\n".encode()
        assert status(await speak(url, head, chunk, size + callback() + b"\r\n", b"0\r\n\r\n")) == 204
    assert watch.nudged == [JOB_ID]


@pytest.mark.asyncio
async def test_a_body_that_never_comes_is_not_waited_for_long() -> None:
    watch = Watch()
    async with WebhookReceiver(watch.nudge, SECRET, read_timeout=0.1).serve() as url, asyncio.timeout(10):
        assert status(await speak(url, POST + b"Content-Length: 90\r\n\r\n", b'{"jobid"')) in {0, 408}
    assert watch.nudged == []


@pytest.mark.asyncio
async def test_a_body_that_breaks_off_is_nobodys() -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge, SECRET)
    async with receiver.serve() as url, asyncio.timeout(10):
        chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
        assert status(await speak(url, chunked, b"3\r\n" + callback()[:3] + b"\r\nnonsense\r\n")) == 400
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(POST + b"Content-Length: 5000\r\n\r\n" + callback())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        assert status(await speak(url, POST + b"Content-Length: 2\r\n\r\n{}")) == 400
    assert watch.nudged == []
