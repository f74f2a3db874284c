"""Servers that are not the service, or not quite: each means an error of ours that shows no secret; the token stays at home."""

from __future__ import annotations

import asyncio
import gzip
import logging
import os
import pickle
import random
import zlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
from service_kit import FLOW_ID, MUSIC_ID, TOKEN, assert_discreet, client_at, client_of, clock, http, listening, told

from asyncflow import (
    AsyncClient,
    AsyncflowError,
    DecodeError,
    EdgeBlockedError,
    JobNotFoundError,
    RedirectError,
    ServiceError,
    TransportError,
    fixed_interval,
)
from asyncflow.simulator import Faults, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

PAGE = b"<!DOCTYPE html><html><head><title>Welcome, jo-ann+flow@example.com</title></head><body>hello</body></html>"
HTML = {"Content-Type": "text/html"}
GOOD = b'{"jobid": "' + FLOW_ID.encode() + b'", "type": "video", "status": "started"}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

ANSWERS: dict[str, tuple[bytes, type[AsyncflowError]]] = {
    "a page": (http(200, PAGE, HTML), DecodeError),
    "a page of a gateway": (http(502, PAGE, HTML), ServiceError),
    "a page that forbids": (http(403, PAGE, HTML), EdgeBlockedError),
    "a page that is not there": (http(404, PAGE, HTML), JobNotFoundError),
    "a redirect": (http(302, b"", {"Location": "https://example.com/login"}), RedirectError),
    "a redirect to nowhere": (http(307), RedirectError),
    "not modified": (http(304), RedirectError),
    "no body": (http(200), DecodeError),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", DecodeError),
    "null": (http(200, b"null"), DecodeError),
    "a number": (http(200, b"42"), DecodeError),
    "bytes": (http(200, bytes(range(256)) * 40), DecodeError),
    "depths": (http(200, b"[" * 100_000), DecodeError),
    "ten megabytes": (http(200, b"x" * 10_000_000), DecodeError),
    "more than any record": (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n{", DecodeError),
    "nothing": (b"", TransportError),
    "HTTP/0.9": (GOOD, TransportError),
    "garbage": (b"\x00\xff\x16\x03\x01 garbage\r\n\r\n", TransportError),
    "another protocol": (b"SSH-2.0-OpenSSH_9.6\r\n", TransportError),
    "half a status line": (b"HTTP/1.1 2", TransportError),
    "a status that is none": (b"HTTP/1.1 abc OK\r\n\r\n", TransportError),
    "half the headers": (b"HTTP/1.1 200 OK\r\nContent-Ty", TransportError),
    "a header without a name": (b"HTTP/1.1 200 OK\r\n: x\r\n\r\n", TransportError),
    "a header too long": (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", TransportError),
    "headers without end": (b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 50_000, TransportError),
    "less than announced": (http(200, GOOD, {"Content-Length": "9999"}), TransportError),
    "a length that is none": (http(200, GOOD, {"Content-Length": "many"}), TransportError),
    "a negative length": (http(200, GOOD, {"Content-Length": "-1"}), TransportError),
    "a chunk that is none": (CHUNKED + b"zz\r\n{}\r\n", TransportError),
    "half a chunk": (CHUNKED + b"ff\r\n{", TransportError),
    "gzip that is none": (http(200, GOOD, {"Content-Encoding": "gzip"}), TransportError),
    "half of a gzip": (http(200, gzip.compress(PAGE)[:-20], {"Content-Encoding": "gzip"}), AsyncflowError),
    "deflated rubbish": (http(200, zlib.compress(b"rubbish"), {"Content-Encoding": "deflate"}), DecodeError),
    "an odd Retry-After": (http(503, b"{}", {"Retry-After": "\xff soon", "Date": "never"}), ServiceError),
    "another protocol's switch": (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        AsyncflowError,
    ),
    "early hints without end": (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, TransportError),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_that_is_none_is_an_error_of_ours(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answer, kind = ANSWERS[name]
    async with listening(answer) as server, client_at(server.url, max_retries=0, timeout=3) as client:
        for job_id in (FLOW_ID, MUSIC_ID):
            with pytest.raises(kind) as failure:
                await client.get_job(job_id)
            assert failure.value.job_id == job_id
            assert_discreet(told(failure.value))
            pickle.loads(pickle.dumps(failure.value))  # noqa: S301 - our own bytes
    assert_discreet(caplog.text + repr([vars(record) for record in caplog.records]))


async def test_a_length_that_is_too_short_is_no_whole_record() -> None:
    async with listening(http(200, GOOD, {"Content-Length": "20"})) as server, client_at(server.url, max_retries=0) as client:
        with pytest.raises((DecodeError, TransportError)):
            await client.get_job(FLOW_ID)


async def test_a_body_without_end_is_given_up() -> None:
    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.closing.is_set():
            writer.write(b"x" * 2**20)
            await writer.drain()

    async with listening(pour) as server, client_at(server.url, max_retries=0) as client:
        with pytest.raises(DecodeError, match="longer"):
            await client.get_job(FLOW_ID)


async def test_headers_that_dribble_are_given_up_in_time() -> None:
    async def dribble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while not server.closing.is_set():
            writer.write(b"X: y\r\n")
            await writer.drain()
            await asyncio.wait({asyncio.ensure_future(server.closing.wait())}, timeout=0.05)

    async with listening(dribble) as server, client_at(server.url, max_retries=0) as client:
        start = clock()
        with pytest.raises(TransportError):
            await client.get_job(FLOW_ID, timeout=0.4)
        assert clock() - start < 0.8


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_the_token_stays_at_home(status: int) -> None:
    async with (
        listening(http(200, GOOD)) as other,
        listening(http(status, b"", {"Location": f"{other.url}/v1/google-flow/jobs/{FLOW_ID}"})) as server,
        client_at(server.url, policy=fixed_interval(0.05)) as client,
    ):
        with pytest.raises(RedirectError):
            await client.get_job(FLOW_ID)
        with pytest.raises(RedirectError):
            await client.wait(FLOW_ID)
        with pytest.raises(RedirectError):
            await client.submit("google-flow/videos", {"prompt": "a kite"})
        with pytest.raises(RedirectError):
            await client.get_stats("flowmusic")
        with pytest.raises(RedirectError):
            await client.cancel(MUSIC_ID)
        assert (len(server.requests), other.requests) == (5, [])


async def test_a_server_that_refuses_connections() -> None:
    async with listening() as server:
        url = server.url
    async with client_at(url, max_retries=0) as client:
        with pytest.raises(TransportError, match="no connection") as failure:
            await client.get_job(FLOW_ID)
        assert failure.value.transient
        assert_discreet(told(failure.value))


async def test_a_plain_port_behind_https() -> None:
    async with Simulator() as simulator, client_at(simulator.url.replace("http", "https"), max_retries=0) as client:
        with pytest.raises(TransportError, match="no connection") as failure:
            await client.get_job(FLOW_ID)
        assert_discreet(told(failure.value))


class Failing(aiohttp.BaseConnector):
    """Connects to nothing: every attempt raises what the real ones raise, or might."""

    def __init__(self, error: Callable[[aiohttp.ClientRequest], BaseException]) -> None:
        super().__init__()
        self._error = error

    async def connect(self, req: aiohttp.ClientRequest, *_: object, **__: object) -> aiohttp.connector.Connection:
        raise self._error(req)


ERRORS: list[Callable[[aiohttp.ClientRequest], BaseException]] = [
    lambda req: aiohttp.ClientConnectorDNSError(req.connection_key, OSError(-2, "Name or service not known")),
    lambda req: aiohttp.ClientConnectorCertificateError(req.connection_key, Exception("certificate has expired")),
    lambda req: aiohttp.ClientConnectorSSLError(req.connection_key, OSError(1, "wrong version number")),
    lambda req: aiohttp.ClientProxyConnectionError(req.connection_key, OSError(111, "refused")),
    lambda req: aiohttp.ServerFingerprintMismatch(b"a", b"b", req.host or "", 443),
    lambda req: aiohttp.ConnectionTimeoutError(f"Connection timeout to host {req.url}"),
    lambda req: aiohttp.ServerTimeoutError(f"{req.url}"),
    lambda req: aiohttp.ServerDisconnectedError(f"{req.url}"),
    lambda req: aiohttp.ClientPayloadError(f"{req.url}"),
    lambda req: aiohttp.ClientHttpProxyError(req.request_info, (), status=407, message="Proxy Authentication Required"),
    lambda req: aiohttp.InvalidURL(req.url),
    lambda _: ConnectionResetError(104, "reset"),
    lambda _: BrokenPipeError(32, "broken"),
    lambda _: OSError(24, "too many open files"),
    lambda _: TimeoutError(),
]


@pytest.mark.parametrize("error", ERRORS)
async def test_no_error_of_aiohttp_escapes(error: Callable[[aiohttp.ClientRequest], BaseException]) -> None:
    async with aiohttp.ClientSession(connector=Failing(error)) as session:
        client = AsyncClient(TOKEN, base_url="http://127.0.0.1:9", session=session, max_retries=0)
        with pytest.raises(TransportError) as failure:
            await client.get_job(FLOW_ID)
        assert failure.value.job_id == FLOW_ID
        assert_discreet(told(failure.value))
        with pytest.raises(AsyncflowError) as failure_of_submit:
            await client.submit("google-flow/videos", {"prompt": "a kite"})
        assert_discreet(told(failure_of_submit.value))
        assert client.pacer.stats().in_flight == 0


async def test_broken_bytes_of_all_kinds_are_errors_of_ours() -> None:
    dice = random.Random(7)
    rounds = 2000 if os.environ.get("ASYNCFLOW_LONG") else 150

    async def send(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(broken(dice))

    async with listening(send) as server:
        for _ in range(rounds):
            # One for each: eight failures in a row look like an outage, at which a budget pauses.
            async with client_at(server.url, max_retries=0, timeout=5) as client:
                try:
                    job = await client.get_job(FLOW_ID)
                except AsyncflowError as error:
                    assert_discreet(told(error))
                else:
                    assert job.job_id == FLOW_ID


def broken(dice: random.Random) -> bytes:
    """Return a good answer with some of its bytes changed, lost, doubled or cut off."""
    good = bytearray(http(200, GOOD, {"Content-Type": "application/json", "Content-Encoding": dice.choice(["", "gzip", "br"])}))
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(good))
        match dice.randrange(4):
            case 0:
                good[at] = dice.randrange(256)
            case 1:
                del good[at : at + dice.randint(1, 20)]
            case 2:
                good[at:at] = good[at : at + dice.randint(1, 20)]
            case _:
                del good[max(at, 10) :]
    return bytes(good)


# -- what is shown -------------------------------------------------------------------------------------------------------------


async def test_nothing_that_is_logged_or_shown_holds_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    shown: list[str] = []
    faults = Faults(kinds=("read",), server_error=0.2, reset=0.2, garble=0.1, truncate=0.1)
    async with (
        Simulator(faults=faults, seed=3) as simulator,
        client_of(simulator, policy=fixed_interval(0.1), max_retries=0) as client,
    ):
        ids = [*simulator.seed_jobs(10, kind="mix", duration=0.3), *simulator.seed_jobs(3, foreign=True), FLOW_ID, MUSIC_ID]
        shown.append(repr(client))
        async with client.watch(ids, timeout=1.5) as watcher:
            shown.append(repr(watcher))
            shown += [repr(event) async for event in watcher]
        shown.append(repr(await client.get_stats("flowmusic")))
    assert_discreet("\n".join(shown))
    # The simulator is not us: what its server logs of requests that it broke itself is its own affair.
    records = [record for record in caplog.records if not record.name.startswith("aiohttp.server")]
    assert_discreet("\n".join(repr(vars(record)) for record in records))
