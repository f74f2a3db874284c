"""Between us and the service: names that do not resolve, ports that refuse, wrong certificates, connections half alive."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
import trustme
from aiohttp.abc import AbstractResolver, ResolveResult
from fault_kit import FLOW_ID, OTHER_ID, TOKEN, TransportName, client_in, leaves_nothing, on_each_transport, record, watched
from service_kit import assert_discreet, clock, http, listening, told

from asyncflow import AsyncClient, TransportError, fixed_interval
from asyncflow.simulator import Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

pytestmark = pytest.mark.asyncio


# -- names -----------------------------------------------------------------------------------------------------------------------


class Resolver(AbstractResolver):
    """Knows no name for the first *failures* times, then calls every name this machine; *hangs* never answers."""

    def __init__(self, failures: float, *, hangs: bool = False) -> None:
        self.asked: list[str] = []
        self._failures = failures
        self._hangs = hangs

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        self.asked.append(host)
        if self._hangs:
            await asyncio.Event().wait()
        if len(self.asked) <= self._failures:
            raise OSError(socket.EAI_NONAME, "Name or service not known")
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)]

    async def close(self) -> None:
        pass


@contextlib.asynccontextmanager
async def resolved_by(resolver: Resolver, url: str, **options: float) -> AsyncIterator[AsyncClient]:
    """A client of a host that only *resolver* knows, with the port of *url*."""
    connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        base_url = f"http://service.invalid:{url.rpartition(':')[2]}"
        timeout = options.get("timeout", 10)
        yield AsyncClient(TOKEN, base_url=base_url, session=session, max_retries=0, timeout=timeout, policy=fixed_interval(0.05))


async def test_a_name_that_does_not_resolve_is_no_connection() -> None:
    resolver = Resolver(failures=99)
    async with resolved_by(resolver, "http://x:80") as client:
        with pytest.raises(TransportError, match=r"no connection to service\.invalid:80") as failure:
            await client.get_job(FLOW_ID)
    assert failure.value.transient
    assert_discreet(told(failure.value))
    assert resolver.asked == ["service.invalid"]


async def test_a_name_that_resolves_again_ends_an_outage() -> None:
    async with listening(http(200, record("completed"))) as server, resolved_by(Resolver(failures=1), server.url) as client:
        assert await watched(client.watch([FLOW_ID])) == ["unreachable transport", "ended no_output"]


async def test_a_look_up_that_hangs_is_given_up_in_time() -> None:
    async with resolved_by(Resolver(0, hangs=True), "http://x:80", timeout=0.2) as client:
        start = clock()
        with pytest.raises(TransportError):
            await client.get_job(FLOW_ID)
        assert clock() - start < 1


# -- ports -----------------------------------------------------------------------------------------------------------------------


@on_each_transport
async def test_a_port_that_refuses_is_an_outage_until_it_listens_again(transport: TransportName) -> None:
    async with listening() as server:
        url = server.url
    async with client_in(transport, url) as client:
        watcher = client.watch([FLOW_ID])
        async with watcher:
            first = await anext(watcher)
            assert (first.error.kind, first.error.message) == ("transport", f"no connection to 127.0.0.1:{url[17:]}")  # type: ignore[union-attr] # it is an Unreachable
            async with Simulator(port=int(url[17:])) as simulator:
                simulator.play(FLOW_ID, [])
                with contextlib.suppress(StopAsyncIteration):
                    assert (await anext(watcher)).error.kind == "not_found"  # type: ignore[union-attr] # it is an Abandoned


# -- connections half alive ------------------------------------------------------------------------------------------------------


@on_each_transport
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\n", http(200, record())[:-30]], ids=["nothing", "a line", "most"])
async def test_a_connection_that_is_closed_for_writing_midway_is_a_lost_answer(transport: TransportName, said: bytes) -> None:
    """The other side says that it will say no more, and goes on listening: the client must not wait for the rest."""

    async def half_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.write_eof()
        await reader.read()

    async with listening(half_close) as server, client_in(transport, server.url) as client:
        start = clock()
        with pytest.raises(TransportError) as failure:
            await client.get_job(FLOW_ID)
        assert clock() - start < 1
        assert failure.value.transient
        assert_discreet(told(failure.value))


@on_each_transport
async def test_a_kept_connection_that_has_died_costs_no_answer(transport: TransportName) -> None:
    async def answer_and_vanish(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(200, record(), {"Connection": "keep-alive"}))
        await writer.drain()

    async with listening(answer_and_vanish) as server, client_in(transport, server.url) as client:
        for _ in range(5):
            assert (await client.get_job(FLOW_ID)).status == "started"
        assert len(server.requests) == 5


@on_each_transport
async def test_a_connection_that_is_silent_for_ever_costs_its_job_a_timeout_and_the_others_nothing(
    transport: TransportName,
) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if OTHER_ID.encode() in server.requests[-1]:
            await server.closing.wait()
        writer.write(http(200, record("completed")))
        await writer.drain()

    async with listening(serve) as server, client_in(transport, server.url, timeout=0.3) as client:
        seen = await watched(client.watch([OTHER_ID, FLOW_ID]), most=2)
        assert sorted(seen) == ["ended no_output", "unreachable transport"]


@on_each_transport
@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"], ids=["in the headers", "in the body"])
async def test_an_answer_that_comes_a_byte_at_a_time_is_given_up_in_time(transport: TransportName, start: bytes) -> None:
    async def dribble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(start)
        for byte in http(200, record()):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.wait([asyncio.ensure_future(server.closing.wait())], timeout=0.02)

    async with listening(dribble) as server, client_in(transport, server.url, timeout=0.3) as client:
        before = clock()
        with pytest.raises(TransportError):
            await client.get_job(FLOW_ID)
        assert clock() - before < 1


@on_each_transport
async def test_faults_of_the_network_leave_nothing_behind(transport: TransportName) -> None:
    async with leaves_nothing():
        for said in (b"", b"HTTP/1.1 2", http(200, record())[:-3]):
            async with listening(said) as server, client_in(transport, server.url) as client:
                with pytest.raises(TransportError):
                    await client.get_job(FLOW_ID)


# -- TLS -------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def trusting(authority: trustme.CA | None, base_url: str) -> AsyncIterator[AsyncClient]:
    """A client that trusts *authority*; without one it is an ordinary one, in the transport that it chooses."""
    if authority is None:
        async with AsyncClient(TOKEN, base_url=base_url, max_retries=0, timeout=5) as client:
            yield client
        return
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield AsyncClient(TOKEN, base_url=base_url, session=session, max_retries=0, timeout=5)


async def test_a_certificate_that_is_trusted_is_no_fault(authority: trustme.CA) -> None:
    context = server_context(authority.issue_cert("127.0.0.1"))
    async with Simulator(ssl_context=context) as simulator, trusting(authority, simulator.url) as client:
        [job_id] = simulator.seed_jobs(age=600)
        assert (await client.get_job(job_id)).is_terminal


def expired(authority: trustme.CA) -> trustme.LeafCert:
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    return authority.issue_cert("127.0.0.1", not_before=long_ago, not_after=long_ago + timedelta(days=9))


CERTIFICATES: dict[str, tuple[Callable[[trustme.CA], trustme.LeafCert], bool, str]] = {
    "of an unknown authority": (lambda authority: authority.issue_cert("127.0.0.1"), False, "certificate verify failed"),
    "of another host": (lambda authority: authority.issue_cert("service.example"), True, "certificate verify failed"),
    "that has expired": (expired, True, "certificate has expired"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
async def test_a_certificate_that_is_not_to_be_trusted_is_refused_before_a_token_is_sent(
    name: str, authority: trustme.CA
) -> None:
    make, is_trusted, words = CERTIFICATES[name]
    async with (
        Simulator(ssl_context=server_context(make(authority))) as simulator,
        trusting(authority if is_trusted else None, simulator.url) as client,
    ):
        with pytest.raises(TransportError, match="no connection to") as failure:
            await client.get_job(FLOW_ID)
        assert words in str(failure.value.__cause__)
        assert_discreet(told(failure.value))
        assert simulator.stats().requests == 0


async def test_a_handshake_that_breaks_off_is_no_connection() -> None:
    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x15\x03\x01\x00\x02\x02\x28")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server, trusting(None, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(TransportError, match="no connection to") as failure:
            await client.get_job(FLOW_ID)
        assert failure.value.transient
        assert_discreet(told(failure.value))


async def test_a_handshake_that_hangs_is_given_up_in_time() -> None:
    async with listening() as server, trusting(None, server.url.replace("http", "https")) as client:
        start = clock()
        with pytest.raises(TransportError):
            await client.with_options(timeout=0.3).get_job(FLOW_ID)
        assert clock() - start < 1
