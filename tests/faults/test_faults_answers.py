"""Answers that are too large, squeezed, crowded or about somebody else, and ids that would write a request of their own."""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING

import pytest
from fault_kit import FLOW_ID, MEGABYTE, OTHER_ID, TransportName, bomb, client_in, on_each_transport, peak_below, record, watched
from service_kit import assert_discreet, http, listening, told

from asyncflow import AsyncflowError, DecodeError, TransportError, UsageError

if TYPE_CHECKING:
    import asyncio

pytestmark = pytest.mark.asyncio

LIMIT = 128
"""Megabytes that an answer may have, unpacked."""


@on_each_transport
async def test_ten_megabytes_of_a_record_are_a_record(transport: TransportName) -> None:
    async with listening(http(200, record(padding=10 * MEGABYTE))) as server, client_in(transport, server.url) as client:
        assert len((await client.get_job(FLOW_ID)).raw) > 10 * MEGABYTE


@on_each_transport
async def test_an_answer_that_announces_more_than_the_cap_is_not_read(transport: TransportName) -> None:
    answer = http(200, b"{", {"Content-Length": str(LIMIT * MEGABYTE + 1)})
    async with listening(answer) as server, client_in(transport, server.url) as client:
        with peak_below(5), pytest.raises(DecodeError, match="the answer is longer than any record"):
            await client.get_job(FLOW_ID)


@on_each_transport
async def test_an_answer_that_goes_on_beyond_the_cap_is_cut_off_there(transport: TransportName) -> None:
    sent = 0

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.closing.is_set():
            writer.write(bytes(MEGABYTE))
            sent += 1
            await writer.drain()

    async with listening(pour) as server, client_in(transport, server.url) as client:
        with pytest.raises(DecodeError, match="the answer is longer than any record") as failure:
            await client.get_job(FLOW_ID)
        assert failure.value.transient
    assert sent < LIMIT + 20


BOMBS = {
    "a gigabyte of zeros": lambda: http(200, bomb(1024), {"Content-Encoding": "gzip"}),
    "deflated": lambda: http(200, zlib.compress(bytes(200 * MEGABYTE), 1), {"Content-Encoding": "deflate"}),
}


@on_each_transport
@pytest.mark.parametrize("name", BOMBS)
async def test_the_cap_counts_what_is_unpacked(transport: TransportName, name: str) -> None:
    async with listening(BOMBS[name]()) as server, client_in(transport, server.url) as client:
        with peak_below(LIMIT + 40), pytest.raises(DecodeError, match="the answer is longer than any record") as failure:
            await client.get_job(FLOW_ID)
        assert_discreet(told(failure.value))


@on_each_transport
async def test_a_refusal_of_any_length_is_what_its_status_says(transport: TransportName) -> None:
    async def refuse_for_ever(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 410 Gone\r\n\r\n")
        while True:
            writer.write(b"no " * 20000)
            await writer.drain()

    squeezed = http(404, bomb(1024), {"Content-Encoding": "gzip"})
    announced = http(413, b'{"error":', {"Content-Length": str(2**40)}) + b" " * 2**21
    for answer, kind in ((squeezed, "not_found"), (announced, "payload_too_large"), (refuse_for_ever, "expired")):
        async with listening(answer) as server, client_in(transport, server.url) as client:
            with peak_below(20), pytest.raises(AsyncflowError) as failure:
                await client.get_job(FLOW_ID)
            assert (failure.value.kind, failure.value.transient, len(server.requests)) == (kind, False, 1)
            assert_discreet(told(failure.value))


@on_each_transport
async def test_an_error_that_is_kept_keeps_no_body(transport: TransportName) -> None:
    """`wait_all` hands out errors, and an error knows the frames it came through: ten of them must not be ten bodies."""
    async with (
        listening(http(200, bomb(200), {"Content-Encoding": "gzip"})) as server,
        client_in(transport, server.url) as client,
    ):
        kept: list[AsyncflowError] = []
        with peak_below(LIMIT + 60):
            for _ in range(2):
                with pytest.raises(DecodeError) as failure:
                    await client.get_job(FLOW_ID)
                kept.append(failure.value)
        assert len(kept) == 2


@on_each_transport
async def test_a_bomb_within_a_bomb_is_unpacked_once(transport: TransportName) -> None:
    answer = http(200, gzip.compress(bomb(1024)), {"Content-Encoding": "gzip, gzip"})
    async with listening(answer) as server, client_in(transport, server.url) as client:
        with peak_below(30), pytest.raises(AsyncflowError) as failure:
            await client.get_job(FLOW_ID)
        assert failure.value.transient


@on_each_transport
async def test_ten_thousand_headers_are_no_answer(transport: TransportName) -> None:
    headers = {f"X-{number}": "y" for number in range(10_000)}
    async with listening(http(200, record(), headers)) as server, client_in(transport, server.url) as client:
        with peak_below(30), pytest.raises(TransportError, match="no whole answer") as failure:
            await client.get_job(FLOW_ID)
        assert_discreet(told(failure.value))


@on_each_transport
async def test_an_id_answered_with_the_record_of_another_is_not_believed(transport: TransportName) -> None:
    answers = [record("completed", OTHER_ID), record("completed")]

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, answers.pop(0)))
        await writer.drain()

    async with listening(answer) as server, client_in(transport, server.url) as client:
        assert await watched(client.watch([FLOW_ID])) == ["unreachable decode_error", "ended no_output"]


# -- ids that would be more than an id -------------------------------------------------------------------------------------------

INJECTIONS = [
    "\r\nX-Injected: yes",
    "\nX-Injected: yes",
    " HTTP/1.1\r\nHost: other.example\r\n\r\nGET /",
    "\0",
    "\x85",
    "\u2028x",
]


@on_each_transport
@pytest.mark.parametrize("text", INJECTIONS)
async def test_an_id_that_holds_a_header_is_refused_before_a_request(transport: TransportName, text: str) -> None:
    async with listening(http(200, record())) as server, client_in(transport, server.url) as client:
        for job_id in (f"j1{text}-bot:google-flow", f"job:1{text}-bot:flowmusic"):
            with pytest.raises(UsageError):
                await client.get_job(job_id)
            with pytest.raises(UsageError):
                await client.get_job(job_id, service="google-flow")
        assert server.requests == []


SNEAKY = [
    "?x=1",
    "#x",
    "/../../v2/account",
    "%0d%0aX-Injected:%20yes",
    "\N{FULLWIDTH COLON}",
    "//other.example/",
    "\\..\\",
    "ü",
    "\ud800",
]


@on_each_transport
@pytest.mark.parametrize("text", SNEAKY, ids=ascii)
async def test_an_id_stays_one_segment_of_the_path(transport: TransportName, text: str) -> None:
    async with listening(http(404, b'{"error": "Job not found"}')) as server, client_in(transport, server.url) as client:
        plain, odd = "j1-bot:google-flow", f"j1{text}-bot:google-flow"
        for job_id in (plain, odd):
            with pytest.raises(AsyncflowError):
                await client.get_job(job_id)
        first, *others = server.requests
        for other in others:
            line, _, headers = other.partition(b"\r\n")
            assert line.startswith(b"GET /v1/google-flow/jobs/j1")
            assert line.endswith(b"-bot:google-flow HTTP/1.1")
            assert line.count(b"/") == 5
            assert headers == first.partition(b"\r\n")[2]
