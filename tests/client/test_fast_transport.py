"""When the fast transport is taken, and when a client keeps off it or leaves it."""

from __future__ import annotations

import asyncio
import json
import logging
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from service_kit import FLOW_ID, TOKEN, client_at, http, listening

from asyncflow import AsyncClient, PollPolicy, TransportError, UsageError, protocol
from asyncflow.client import fast_transport
from asyncflow.client import transport as connection_module
from asyncflow.client.fast_transport import FastTransport, UnsupportedAiohttp, is_fit
from asyncflow.client.options import RequestOptions, checked_base_url
from asyncflow.client.timeouts import TimeoutGroup

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

pytestmark = pytest.mark.asyncio

ANSWER = http(200, json.dumps({"jobid": FLOW_ID, "type": "video", "status": "started"}).encode())


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASYNCFLOW_TRANSPORT", raising=False)


async def test_a_client_with_nothing_special_takes_the_fast_transport() -> None:
    assert AsyncClient(TOKEN).transport == ("fast" if is_fit() else "session")
    assert AsyncClient(TOKEN, transport="session").transport == "session"
    assert AsyncClient(TOKEN, transport="fast").transport == "fast"


async def test_the_environment_decides_where_the_client_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCFLOW_TRANSPORT", "session")
    assert AsyncClient(TOKEN).transport == "session"
    assert AsyncClient(TOKEN, transport="fast").transport == "fast"
    monkeypatch.setenv("ASYNCFLOW_TRANSPORT", "left")
    with pytest.raises(UsageError, match="transport"):
        AsyncClient(TOKEN)
    monkeypatch.setenv("ASYNCFLOW_TRANSPORT", "")
    assert AsyncClient(TOKEN).transport


async def test_an_unknown_transport_is_refused() -> None:
    with pytest.raises(UsageError, match="transport"):
        AsyncClient(TOKEN, transport="left")  # type: ignore[arg-type] # what a caller without a type checker may do


async def test_a_borrowed_session_is_what_requests_go_through(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def note(_session: object, _context: object, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(params.method)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(note)
    async with listening(ANSWER) as server, aiohttp.ClientSession(trace_configs=[trace]) as session:
        with pytest.raises(UsageError, match="session of your own"):
            AsyncClient(TOKEN, base_url=server.url, session=session, transport="fast")
        monkeypatch.setenv("ASYNCFLOW_TRANSPORT", "fast")
        async with AsyncClient(TOKEN, base_url=server.url, session=session) as client:
            await client.get_job(FLOW_ID)
            assert client.transport == "session"
        assert seen == ["GET"]


@pytest.mark.parametrize("version", ["3.13.5", "3.15.0", "4.0.0", "3.15.0a1", "10.14.0"])
async def test_an_aiohttp_that_was_not_tested_has_no_fast_transport(version: str) -> None:
    assert not is_fit(version)


@pytest.mark.parametrize("version", ["3.14.2", "3.14.5", "3.14.10rc1"])
async def test_an_aiohttp_that_was_tested_has_one(version: str) -> None:
    assert is_fit(version)


async def test_none_was_tested_that_cannot_be_installed() -> None:
    needed = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    [least] = [line.removeprefix("aiohttp>=").split(".") for line in needed if line.startswith("aiohttp>=")]
    assert min(fast_transport.TESTED) == (int(least[0]), int(least[1]))


async def test_who_stands_between_sessions_and_their_requests_sees_all(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    async def noting(self: aiohttp.ClientSession, *args: object, **options: object) -> object:
        seen.append(args[0])
        return await original(self, *args, **options)

    original = getattr(aiohttp.ClientSession, "_request")  # noqa: B009 - private, as those do who replace it
    async with listening(ANSWER) as server, client_at(server.url) as client:
        await client.get_job(FLOW_ID)
        monkeypatch.setattr(aiohttp.ClientSession, "_request", noting)
        assert client.transport == "session"
        await client.get_job(FLOW_ID)
        assert seen == ["GET"]
        monkeypatch.undo()
        await client.get_job(FLOW_ID)
        assert seen == ["GET"]


async def test_sessions_that_are_traced_from_their_birth_are_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def note(_session: object, _context: object, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(params.method)

    def traced(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(note)
        return aiohttp.ClientSession(connector=connector, trace_configs=[trace])

    monkeypatch.setattr(connection_module, "make_session", traced)
    async with listening(ANSWER) as server, client_at(server.url) as client:
        await client.get_job(FLOW_ID)
        assert client.transport == "session"
        assert seen == ["GET"]


class _Bare:
    """A connection without what the transport needs."""

    protocol = None

    def close(self) -> None:
        self.is_closed = True


class _OddConnector(aiohttp.TCPConnector):
    """One that has changed since the transport was written, after the first *good* connections."""

    def __init__(self, good: int) -> None:
        super().__init__()
        self.good = good
        self.given: list[_Bare] = []

    async def connect(self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        self.good -= 1
        if self.good >= 0:
            return await super().connect(req, traces, timeout)
        self.given.append(_Bare())
        return self.given[-1]  # type: ignore[return-value] # that is the point


@pytest.mark.parametrize("good", [0, 1])
async def test_a_transport_that_is_not_as_it_was_is_left_for_good(good: int, caplog: pytest.LogCaptureFixture) -> None:
    async with listening(ANSWER) as server, client_at(server.url) as client:
        connector = _OddConnector(good)
        await client.get_job(FLOW_ID)
        odd = FastTransport(connector, server.url, 90, TimeoutGroup())
        client._connection._fast = odd
        for _ in range(3):
            assert (await client.get_job(FLOW_ID)).status == "started"
        assert client.transport == "session"
        assert [given.is_closed for given in connector.given] == [True]
        assert [record.message for record in caplog.records] == ["fast_transport_unsupported"]
        assert caplog.records[0].levelno == logging.WARNING
        await connector.close()


async def test_who_goes_after_his_answer_leaves_the_next_request_on_its_connection_alone() -> None:
    """A connection is free as soon as its answer is there, and that is before who waited for the answer has woken."""
    kept = http(200, b"{}", {"Connection": "keep-alive"})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(kept)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    async with listening(serve) as server:
        connector, loop = aiohttp.TCPConnector(), asyncio.get_running_loop()
        transport, request = FastTransport(connector, server.url, 90, TimeoutGroup()), protocol.job_request(FLOW_ID)
        options = RequestOptions(token=TOKEN, base_url=server.url, timeout=5, max_retries=0, policy=PollPolicy())
        await transport.request(request, options, TOKEN, None, is_fresh=True)
        first = transport.try_start(request, TOKEN, loop.time(), loop.time() + 5)
        assert first is not None
        waiter = first.waiter
        assert waiter is not None
        await asyncio.wait({waiter})
        assert transport.try_start(request, TOKEN, loop.time(), loop.time() + 5) is first
        second = first.waiter
        first.abandon(waiter)
        assert second is not None
        assert await second == b"{}"
        assert transport.try_start(request, TOKEN, loop.time(), loop.time() + 5) is first
        first.abandon(first.waiter)
        assert transport.try_start(request, TOKEN, loop.time(), loop.time() + 5) is None
        transport.close()
        await connector.close()


async def test_a_request_whose_time_is_over_is_given_up_without_a_timer_of_its_own() -> None:
    kept = http(200, json.dumps({"jobid": FLOW_ID, "status": "started"}).encode(), {"Connection": "keep-alive"})

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(kept)
        await reader.read()

    async with listening(once) as server, client_at(server.url, max_retries=0) as client:
        await client.get_job(FLOW_ID)
        with pytest.raises(TransportError, match="TimeoutError"):
            await client.get_job(FLOW_ID, timeout=0.1)
        assert client._connection._deadlines.running == {}


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_an_answer_that_breaks_off_is_a_broken_answer(end: str) -> None:
    kept = http(200, json.dumps({"jobid": FLOW_ID, "status": "started"}).encode(), {"Connection": "keep-alive"})

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(kept)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(kept[:-3])
        await writer.drain()
        getattr(writer.transport, end)()

    async with listening(twice) as server, client_at(server.url, max_retries=0) as client:
        await client.get_job(FLOW_ID)
        with pytest.raises(TransportError):
            await client.get_job(FLOW_ID)
        assert len(server.requests) == 1


async def test_the_transport_names_what_it_uses_of_a_connection() -> None:
    for name in fast_transport._USED:
        assert hasattr(ResponseHandler, name)
    assert issubclass(UnsupportedAiohttp, Exception)


async def test_a_token_that_others_can_read_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    for url in ("http://flow.example.com", "http://flow.example.com:8080/v1", "http://10.1.2.3", "http://[fd00::1]:80"):
        checked_base_url(url)
    assert [(record.message, vars(record)["host"]) for record in caplog.records] == [
        ("token_in_clear_text", "flow.example.com"),
        ("token_in_clear_text", "10.1.2.3"),
        ("token_in_clear_text", "fd00::1"),
    ]
    caplog.clear()
    for url in ("https://flow.example.com", "http://localhost", "http://127.0.0.9:1", "http://[::1]", "http://a.localhost:80"):
        checked_base_url(url)
    assert not caplog.records
