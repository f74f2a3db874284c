"""Connections, kept and dropped, and the forms an answer may have on the wire: each test is run with both transports."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import zlib
from typing import TYPE_CHECKING

import aiohttp
import pytest
from service_kit import FLOW_ID, MUSIC_ID, TOKEN, client_at, client_of, http, listening

from asyncflow import AsyncClient, AsyncflowError, DecodeError, TransportError, UsageError
from asyncflow.client import transport as connection_module
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.asyncio

BODY = json.dumps({"jobid": FLOW_ID, "type": "video", "status": "started"}).encode()
KEEP = {"Connection": "keep-alive"}
GOOD = http(200, BODY, KEEP)


def saying(*answers: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """A server that gives these answers on each of its connections, one to a request, and then leaves them open."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            writer.write(answer)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
        await asyncio.Event().wait()

    return serve


class Counting:
    """A server that counts its connections and the requests on each, and answers as *respond* does."""

    def __init__(self, respond: Callable[[int, asyncio.StreamWriter], None]) -> None:
        self.requests: list[int] = []
        self._respond = respond

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(self.requests)
        self.requests.append(0)
        while not writer.is_closing():
            self.requests[number] += 1
            self._respond(number, writer)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")


def always(answer: bytes) -> Callable[[int, asyncio.StreamWriter], None]:
    return lambda _number, writer: writer.write(answer)


# -- what goes out -------------------------------------------------------------------------------------------------------------


async def test_the_transport_is_the_one_that_was_asked_for(transport: str) -> None:
    async with listening(GOOD) as server, client_at(server.url) as client:
        assert client.transport == transport
        await client.get_job(FLOW_ID)
        assert client.transport == transport
        assert client.with_options(timeout=1).transport == transport


async def test_both_transports_say_the_same() -> None:
    async with listening(http(200, BODY)) as server:
        for each in ("fast", "session"):
            async with AsyncClient(TOKEN, base_url=server.url, transport=each) as client:
                await client.get_job(FLOW_ID)
                await client.get_stats("google-flow", "history")
                await client.get_job(FLOW_ID, service="google-flow")
    first, second = server.requests[:3], server.requests[3:]
    assert [sorted(head.split(b"\r\n")) for head in first] == [sorted(head.split(b"\r\n")) for head in second]
    assert first[0].startswith(f"GET /v1/google-flow/jobs/{FLOW_ID} HTTP/1.1\r\n".encode())


async def test_a_base_url_with_a_path_is_kept() -> None:
    async with listening(http(200, BODY)) as server, client_at(f"{server.url}/proxy/") as client:
        await client.get_job(FLOW_ID)
        assert server.request_lines == [f"GET /proxy/v1/google-flow/jobs/{FLOW_ID} HTTP/1.1"]


async def test_each_token_goes_with_its_own_requests() -> None:
    tokens = [f"user:{number}-abcdef" for number in range(40)]
    async with listening(http(200, BODY)) as server, client_at(server.url) as client:
        for token in (*tokens, *tokens):
            await client.with_options(token=token).get_job(FLOW_ID)
        assert server.header("Authorization") == [f"Bearer {token}" for token in (*tokens, *tokens)]


@pytest.mark.parametrize("middle", ["\r\nX-Evil: 1\r\n", "\n\n", "\r", "\x00", " HTTP/1.1\r\n\r\n", "\u2028", "\x85"])
async def test_no_id_breaks_out_of_its_line(middle: str) -> None:
    async with listening(http(404)) as server, client_at(server.url) as client:
        for job_id in (FLOW_ID, MUSIC_ID):
            evil = job_id.replace("-user", f"{middle}-user").replace("-u1234", f"{middle}-u1234")
            for service in (None, "google-flow", "flowmusic"):
                with pytest.raises(UsageError):
                    await client.get_job(evil, service=service)
        assert server.requests == []


async def test_odd_ids_are_escaped() -> None:
    async with listening(http(404)) as server, client_at(server.url) as client:
        for service in ("google-flow", "flowmusic"):
            with pytest.raises(AsyncflowError, match="404"):
                await client.get_job('ä/?#%\\"<>', service=service)
        assert [line.split(" ")[1].rpartition("/")[2] for line in server.request_lines] == [
            "%C3%A4%2F%3F%23%25%5C%22%3C%3E",
            "%C3%A4%2F%3F%23%25%5C%22%3C%3E",
        ]


# -- what comes back -----------------------------------------------------------------------------------------------------------


def coded(coding: str, body: bytes) -> bytes:
    return http(200, body, {"Content-Encoding": coding, **KEEP})


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


def squeezed(wbits: int) -> bytes:
    packer = zlib.compressobj(wbits=wbits)
    return packer.compress(BODY) + packer.flush()


GOOD_FORMS = {
    "plain": GOOD,
    "gzip": coded("gzip", gzip.compress(BODY)),
    "deflate": coded("deflate", zlib.compress(BODY)),
    "raw deflate": coded("deflate", squeezed(-15)),
    "identity": coded("identity", BODY),
    "chunked": chunked(BODY[:7], BODY[7:30], BODY[30:]),
    "byte by byte": chunked(*(bytes([byte]) for byte in BODY)),
    "after hints": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + GOOD,
    "after a continue": b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD,
    "without a length": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    "HTTP/1.0 without a length": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
}


@pytest.mark.parametrize("form", GOOD_FORMS)
async def test_a_record_is_understood_in_each_form(form: str) -> None:
    answer = GOOD_FORMS[form]
    async with listening(answer) as server, client_at(server.url, max_retries=0) as client:
        for _ in range(3):
            assert (await client.get_job(FLOW_ID)).status == "started"
        assert len(server.requests) >= 3


async def test_a_coding_that_nobody_knows_is_an_answer_that_cannot_be_read() -> None:
    async with listening(coded("compress", b"\x1f\x9d\x90")) as server, client_at(server.url, max_retries=0) as client:
        with pytest.raises(DecodeError):
            await client.get_job(FLOW_ID)


async def test_a_large_body_is_whole() -> None:
    record = json.dumps({"jobid": FLOW_ID, "status": "started", "request": {"prompt": "kite " * 1_000_000}}).encode()
    for answer in (http(200, record), chunked(*(record[at : at + 5000] for at in range(0, len(record), 5000)))):
        async with listening(answer) as server, client_at(server.url, max_retries=0) as client:
            assert len((await client.get_job(FLOW_ID)).raw) == len(record)


async def test_a_body_in_many_pieces_is_whole() -> None:
    async def dribble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(GOOD), 9):
            writer.write(GOOD[at : at + 9])
            await writer.drain()
            await asyncio.wait({asyncio.ensure_future(server.closing.wait())}, timeout=0.001)

    async with listening(dribble) as server, client_at(server.url, max_retries=0) as client:
        assert (await client.get_job(FLOW_ID)).status == "started"


# -- connections that are kept -------------------------------------------------------------------------------------------------


async def test_a_connection_serves_one_read_after_the_other() -> None:
    counting = Counting(always(GOOD))
    async with listening(counting.serve) as server, client_at(server.url) as client:
        for _ in range(10):
            await client.get_job(FLOW_ID)
        assert counting.requests == [10]


async def test_no_more_connections_than_reads_at_once() -> None:
    counting = Counting(always(GOOD))
    async with listening(counting.serve) as server, client_at(server.url, rate=10_000) as client:
        for _ in range(5):
            await asyncio.gather(*(client.get_job(FLOW_ID) for _ in range(8)))
        assert len(counting.requests) <= 8
        assert sum(counting.requests) == 40


@pytest.mark.parametrize(
    "answer",
    [
        http(200, BODY, {"Connection": "close"}),
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
        http(204, b"", {"Connection": "close"}),
    ],
    ids=["close", "HTTP/1.0", "no content"],
)
async def test_a_connection_that_ends_with_its_answer_is_not_used_again(answer: bytes) -> None:
    counting = Counting(always(answer))
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0) as client:
        for _ in range(3):
            await asyncio.gather(client.get_job(FLOW_ID), return_exceptions=True)
        assert counting.requests == [1, 1, 1]


async def test_what_follows_an_answer_unasked_is_no_answer() -> None:
    other = http(200, BODY.replace(b"started", b"completed"), KEEP)
    counting = Counting(always(GOOD + other))
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0) as client:
        for _ in range(3):
            assert (await client.get_job(FLOW_ID)).status == "started"
        assert counting.requests == [1, 1, 1]


@pytest.mark.parametrize("late", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", b"garbage\r\n\r\n"])
async def test_what_comes_while_a_connection_is_idle_is_no_answer(late: bytes) -> None:
    writers: list[asyncio.StreamWriter] = []

    def respond(_number: int, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(GOOD)

    counting = Counting(respond)
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0) as client:
        await client.get_job(FLOW_ID)
        writers[0].write(late)
        # The bytes are there once this has made its way through the same loop.
        async with AsyncClient(TOKEN, base_url=server.url) as other:
            await other.get_job(FLOW_ID)
        assert (await client.get_job(FLOW_ID)).status == "started"
        assert counting.requests == [1, 1, 1]


async def test_a_connection_that_died_while_idle_costs_no_retry() -> None:
    def respond(_number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)
        asyncio.get_running_loop().call_soon(writer.transport.abort if _number % 2 else writer.close)

    counting = Counting(respond)
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0) as client:
        for _ in range(6):
            assert (await client.get_job(FLOW_ID)).status == "started"


async def test_a_connection_that_dies_at_the_next_request_is_replaced_once() -> None:
    def respond(number: int, writer: asyncio.StreamWriter) -> None:
        if counting.requests[number] == 1:
            writer.write(GOOD)
        else:
            writer.transport.abort()

    counting = Counting(respond)
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0) as client:
        for _ in range(4):
            assert (await client.get_job(FLOW_ID)).status == "started"
        assert counting.requests == [2, 2, 2, 1]


async def test_what_is_sent_again_on_a_new_connection_is_paid_for() -> None:
    def respond(number: int, writer: asyncio.StreamWriter) -> None:
        if counting.requests[number] == 1:
            writer.write(GOOD)
        else:
            writer.transport.abort()

    counting = Counting(respond)
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0, rate=1000) as client:
        for _ in range(4):
            assert (await client.get_job(FLOW_ID)).status == "started"
        assert sum(client.pacer.stats().starts.values()) == sum(counting.requests) == 7
        # Nothing is wrong with a service that lets go of a connection.
        assert client.pacer.stats().failures == 0


async def test_what_is_sent_again_waits_for_its_turn() -> None:
    loop = asyncio.get_running_loop()
    times: list[float] = []

    def respond(number: int, writer: asyncio.StreamWriter) -> None:
        times.append(loop.time())
        if counting.requests[number] == 1:
            writer.write(GOOD)
        else:
            writer.transport.abort()

    counting = Counting(respond)
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0, rate=5) as client:
        for _ in range(3):
            await client.get_job(FLOW_ID)
        assert len(times) == 5
        assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.1


async def test_a_server_that_always_hangs_up_is_asked_twice_at_the_most() -> None:
    counting = Counting(lambda _number, writer: writer.transport.abort())
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0) as client:
        with pytest.raises(TransportError):
            await client.get_job(FLOW_ID)
        assert counting.requests in ([1], [1, 1])


async def test_a_broken_answer_is_not_asked_for_again_by_the_transport() -> None:
    def respond(number: int, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD if counting.requests[number] == 1 else GOOD[:-5])
        if counting.requests[number] == 2:
            writer.close()

    counting = Counting(respond)
    async with listening(counting.serve) as server, client_at(server.url, max_retries=0) as client:
        await client.get_job(FLOW_ID)
        with pytest.raises(TransportError):
            await client.get_job(FLOW_ID)
        assert counting.requests == [2]


async def test_an_idle_connection_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "_KEEP_ALIVE", 0.05)
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GOOD)
        await reader.read()
        ended.set()

    async with listening(serve) as server, client_at(server.url) as client:
        await client.get_job(FLOW_ID)
        async with asyncio.timeout(5):
            await ended.wait()
        await client.get_job(FLOW_ID)
        assert len(server.requests) == 2


# -- reads that are given up ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [b"", GOOD[:10], GOOD[:-3]], ids=["nothing", "half a head", "half a body"])
async def test_a_connection_of_a_read_that_was_cancelled_is_closed(sent: bytes) -> None:
    gone, waiting = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        waiting.set()
        await reader.read()
        gone.set()

    async with listening(serve) as server, client_at(server.url) as client:
        reading = asyncio.create_task(client.get_job(FLOW_ID))
        await waiting.wait()
        reading.cancel()
        async with asyncio.timeout(5):
            await gone.wait()
        await asyncio.wait({reading})
        assert reading.cancelled()


async def test_a_read_in_flight_ends_when_its_client_is_closed() -> None:
    async with listening() as server:
        client = AsyncClient(TOKEN, base_url=server.url, max_retries=0)
        reading = asyncio.create_task(client.get_job(FLOW_ID))
        while not server.requests:
            await asyncio.wait({reading}, timeout=0.01)
        await client.aclose()
        async with asyncio.timeout(5):
            await asyncio.wait({reading})
        assert isinstance(reading.exception(), TransportError | UsageError)
        with pytest.raises(UsageError):
            await client.get_job(FLOW_ID)


async def test_reads_side_by_side_time_out_each_at_its_own_time() -> None:
    async with listening() as server, client_at(server.url, max_retries=0) as client:
        loop = asyncio.get_running_loop()
        start = loop.time()

        async def late(seconds: float) -> float:
            with pytest.raises(TransportError):
                await client.get_job(FLOW_ID, timeout=seconds)
            return loop.time() - start - seconds

        assert min(await asyncio.gather(*map(late, (0.9, 0.7, 0.8, 0.7, 1.0)))) > -0.01


async def test_a_read_of_a_simulated_job_ends_with_its_media() -> None:
    async with Simulator() as simulator, client_of(simulator) as client:
        for kind in ("video", "image", "music"):
            [job_id] = simulator.seed_jobs(kind=kind, age=600)
            assert (await client.get_job(job_id)).is_terminal


async def test_a_submit_goes_through_the_session() -> None:
    async with listening(http(201, BODY)) as server, client_at(server.url) as client:
        await client.submit("google-flow/videos", {"prompt": "a kite"})
        assert b'\r\n\r\n{"prompt":"a kite",' in server.requests[0]


async def test_errors_of_aiohttp_do_not_escape_for_a_port_that_nobody_listens_on() -> None:
    async with listening() as server:
        url = server.url
    async with client_at(url, max_retries=0) as client:
        with pytest.raises(TransportError, match="no connection") as failure:
            await client.get_job(FLOW_ID)
        assert isinstance(failure.value.__cause__, aiohttp.ClientConnectorError)
