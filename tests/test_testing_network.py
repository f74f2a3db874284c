"""The network within a virtual loop behaves as sockets do, in no time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from scripted import elapse

from asyncflow import AsyncClient, Ended, TransportError, WaitTimeoutError, fixed_interval
from asyncflow.simulator import Answer, Faults, Outage, Simulator
from asyncflow.testing import DeadlockError, VirtualTimeError, call_later, now, run

if TYPE_CHECKING:
    from asyncflow.client.options import TransportName

pytestmark = pytest.mark.virtual_time


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read())
    writer.close()


async def call(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(text)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_server_answers_in_no_time() -> None:
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await asyncio.gather(*(call(port, text) for text in (b"a", b"b", b"c" * 10**6))) == [b"a", b"b", b"c" * 10**6]
    assert now() == 0


async def test_nobody_is_met_where_nobody_listens() -> None:
    server = await asyncio.start_server(echo, port=8080)
    with pytest.raises(OSError, match="in use"):
        await asyncio.start_server(echo, "0.0.0.0", 8080)  # noqa: S104 - nothing is bound
    assert await call(8080, b"a") == b"a"
    server.close()
    await server.wait_closed()
    assert not server.is_serving()
    for port in (8080, 9):
        with pytest.raises(ConnectionRefusedError, match=f"nobody listens on localhost:{port}"):
            await call(port, b"a")


async def test_a_server_may_serve_until_it_is_cancelled() -> None:
    server = await asyncio.start_server(echo, port=80)
    call_later(5, asyncio.ensure_future(server.serve_forever()).cancel)
    await elapse(6)
    assert not server.is_serving()


async def test_a_writer_waits_for_a_slow_reader() -> None:
    written: list[float] = []

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(10):
            writer.write(bytes(100_000))
            await writer.drain()
            written.append(now())
        writer.close()

    async with await asyncio.start_server(pour, port=80):
        reader, writer = await asyncio.open_connection("127.0.0.1", 80, limit=1000)
        size = 0
        while piece := await reader.read(100_000):
            size += len(piece)
            await elapse(1)
        writer.close()
    assert size == 1_000_000
    assert written[0] < 2
    assert written[-1] > 5


async def test_a_connection_that_is_cut_is_reset_at_the_other_end() -> None:
    async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await elapse(3)
        writer.transport.abort()

    async with await asyncio.start_server(cut, port=80):
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert now() == 3
        writer.write(b"to nobody")
        writer.close()


class Slot(asyncio.BufferedProtocol):
    """Takes what comes three bytes at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray(3)
        self.taken = b""
        self.is_over = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:
        assert sizehint > 0
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.taken += self.buffer[:nbytes]

    def connection_lost(self, exc: Exception | None) -> None:
        assert exc is None
        self.is_over.set_result(None)


async def test_a_protocol_may_bring_its_own_buffer() -> None:
    async with await asyncio.start_server(echo, port=80):
        transport, slot = await asyncio.get_running_loop().create_connection(Slot, "127.0.0.1", 80)
        transport.write(b"12345678")
        transport.write_eof()
        await slot.is_over
        assert slot.taken == b"12345678"


async def test_each_end_knows_the_addresses() -> None:
    seen: list[object] = []

    async def look(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(writer.get_extra_info(name) for name in ("sockname", "peername"))
        writer.close()

    async with await asyncio.start_server(look, "::1", 80):
        reader, writer = await asyncio.open_connection("127.0.0.1", 80)
        await reader.read()
        endpoint = writer.get_extra_info("socket")
        assert [endpoint.getpeername(), endpoint.getsockname()] == seen
        assert endpoint.fileno() == -1
        writer.close()


def test_an_answer_that_never_comes_is_a_deadlock() -> None:
    async def main() -> None:
        async with await asyncio.get_running_loop().create_server(asyncio.Protocol, port=80):
            reader, writer = await asyncio.open_connection("127.0.0.1", 80)
            try:
                await reader.read()
            finally:
                writer.close()

    with pytest.raises(DeadlockError, match="StreamReader"):
        run(main())


# -- the client and the simulator -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["fast", "session"])
async def test_a_job_of_an_hour_is_waited_for_in_no_time(transport: TransportName) -> None:
    async with Simulator() as service, AsyncClient(service.token, base_url=service.url, transport=transport) as client:
        job_id = service.script_job([(0, "created"), (5, "started"), (3600, "completed")])
        job = await client.wait(job_id, timeout=None)
        assert (job.outcome, client.transport) == ("succeeded", transport)
        assert 3600 <= now() < 3660
        [truth] = service.truth()
        assert truth.lag == pytest.approx(now() - 3600)


async def test_the_faults_of_the_simulator_are_those_of_the_network() -> None:
    async with Simulator() as service, AsyncClient(service.token, base_url=service.url, policy=fixed_interval(10)) as client:
        ids = service.seed_jobs(20, fate="success")
        for fault in ("server_error", "reset", "reset_midway", "truncate", "garble", "hang", "slow", "throttle"):
            setattr(service.faults, fault, 0.08)
        results = await client.wait_all(ids, timeout=None, max_failures=None)
        assert [getattr(job, "outcome", job) for job in results.values()] == ["succeeded"] * 20
        assert set(service.stats().faults) >= {"reset", "truncate", "garble", "hang", "throttle"}


async def test_a_service_that_is_down_for_an_hour() -> None:
    service = Simulator(faults=Faults(outages=[Outage(60, 3660)]))
    async with service, AsyncClient(service.token, base_url=service.url) as client:
        [job_id] = service.seed_jobs(duration=100, fate="success")
        async with client.watch([job_id]) as watcher:
            words = [type(event).__name__ async for event in watcher]
        assert words[-2:] == ["Unreachable", "Ended"]
        assert 3660 <= now() < 3900


async def test_a_service_that_is_not_there() -> None:
    async with AsyncClient("user:1-a", base_url="http://127.0.0.1:8080", max_retries=0) as client:
        with pytest.raises(TransportError, match=r"no connection to 127\.0\.0\.1:8080"):
            await client.get_job("j1104093012448120573v-u1234-email:a@example.com-bot:google-flow")
        with pytest.raises(WaitTimeoutError):
            await client.wait("j1104093012448120573v-u1234-email:a@example.com-bot:google-flow", timeout=3600, max_failures=None)
    assert now() >= 3600


async def test_the_world_is_not_asked() -> None:
    async with AsyncClient("user:1-a", base_url="https://api.example.com") as client:
        with pytest.raises(VirtualTimeError, match="has no network"):
            await client.get_job("j1104093012448120573v-u1234-email:a@example.com-bot:google-flow")


async def test_an_answer_may_be_played() -> None:
    async with Simulator() as service, AsyncClient(service.token, base_url=service.url) as client:
        [job_id] = service.seed_jobs(age=600, fate="success")
        service.play(job_id, [Answer(503), "reset", Answer(503), "hang"])
        async with client.watch([job_id]) as watcher:
            async for event in watcher:
                if type(event).__name__ == "Unreachable":
                    service.play(job_id, [])
                else:
                    assert isinstance(event, Ended)
