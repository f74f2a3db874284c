"""What is Redis' own: passwords and TLS, durability, memory, schema versions, a cluster of nodes, retention."""

from __future__ import annotations

import asyncio
import ssl
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trustme
from cluster_engines import ENGINES, Engine, free_port
from cluster_kit import abandoned, again, changed, claimed, end_all, ended, ids, job_id, over, pause, some, told, until
from msgspec import Raw
from secret_watch import leaks
from service_kit import told as told_of

from asyncflow import Ended, FlowJob, Media, StoreError, UsageError
from asyncflow.cluster import RedisStore
from asyncflow.cluster.codec import pack_event, place_of, unpack_event
from asyncflow.cluster.store import PollReport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio

NEWEST = next(iter(ENGINES.values()))
SECRET = "hunter2-and-more"


def assert_discreet(*texts: str) -> None:
    for text in texts:
        assert SECRET not in text
        assert "some-user" not in text
        assert leaks(text) == []


# -- who may come in ----------------------------------------------------------------------------------------------------------


async def test_no_password_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with Engine(NEWEST, tmp_path, requirepass=SECRET) as engine:
        place = f"127.0.0.1:{engine.port}"
        async with RedisStore(f"redis://:{SECRET}@{place}/0") as store:
            await store.submit(ids(1))
            assert_discreet(repr(store), repr(await store.status()))
            assert place in repr(store)
        for url in (f"redis://{place}/0", f"redis://some-user:{SECRET}-wrong@{place}/0"):
            async with RedisStore(url, patience=0.2) as store:
                with pytest.raises(StoreError) as failure:
                    await store.submit(ids(1))
                assert (failure.value.reason, failure.value.transient) == ("refused", False)
                assert_discreet(repr(store), told_of(failure.value))
    async with RedisStore(f"redis://some-user:{SECRET}@{place}/0", patience=0.2) as store:
        with pytest.raises(StoreError) as failure:
            await store.submit(ids(1))
        assert (failure.value.reason, failure.value.transient) == ("unreachable", True)
        assert_discreet(repr(store), told_of(failure.value))
    assert_discreet(caplog.text, *(repr(vars(record)) for record in caplog.records))


@asynccontextmanager
async def encrypted(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """A port that speaks TLS for a server that does not."""
    closing: set[asyncio.StreamWriter] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_connection("127.0.0.1", port)
        closing.update((writer, outer))
        await asyncio.gather(copy(reader, outer), copy(inner, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in closing:
            writer.transport.abort()


async def test_a_store_behind_tls(engine: Engine, queue: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with encrypted(engine.port, context) as port:
        async with RedisStore(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={tmp_path}/ca.pem", queue) as store:
            assert (await store.submit(ids(1))).states == {job_id(0): "new"}
        async with RedisStore(f"rediss://127.0.0.1:{port}/0", queue, patience=0.1) as store:
            with pytest.raises(StoreError, match="unreachable"):  # a certificate that nobody here trusts
                await store.submit(ids(1))


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1", "127.0.0.1:6379", "", "redis", f"http://some-user:{SECRET}@127.0.0.1"),
        *(f"redis://some-user:{SECRET}{sign}x@127.0.0.1/0" for sign in "/?#"),
        *(f"redis://:{SECRET}@127.0.0.1/0?{option}" for option in ("db=x", "no_option=1")),
        f"rediss://:{SECRET}@127.0.0.1/0?ssl_cert_reqs=perhaps",
    ],
)
async def test_what_is_no_url_of_a_store_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="redis://") as failure:
        RedisStore(url)
    assert_discreet(told_of(failure.value))


async def test_a_store_behind_a_local_socket(tmp_path: Path, queue: str) -> None:
    place = tmp_path / "engine.sock"
    with Engine(NEWEST, tmp_path, unixsocket=str(place)):
        async with RedisStore(f"unix://{place}", queue) as store:
            assert (await store.submit(ids(1))).states == {job_id(0): "new"}
            assert str(place) in repr(store)


@pytest.mark.parametrize("queue", ["", "a b", "{x}", "x" * 101, "a\n"])
async def test_what_is_no_name_of_a_queue_is_refused(queue: str, engine: Engine) -> None:
    with pytest.raises(UsageError, match="queue"):
        RedisStore(engine.url, queue)


async def test_a_token_is_no_id(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue) as store:
        with pytest.raises(UsageError, match="token"):
            await store.submit(["user:1234-abcdef"])
        with pytest.raises(UsageError, match="single str"):
            await store.submit("abc")
        with pytest.raises(UsageError, match="encoded"):
            await store.submit(["\ud800"])
    with pytest.raises(UsageError, match="closed"):
        await store.submit(ids(1))


# -- what is promised ----------------------------------------------------------------------------------------------------------


async def test_a_server_that_may_lose_jobs_is_named(tmp_path: Path, engine: Engine) -> None:
    async with RedisStore(engine.url) as store:
        assert await store.durability_warnings() == []
    with Engine(NEWEST, tmp_path, appendonly="no", maxmemory_policy="allkeys-lru") as careless:
        async with RedisStore(careless.url) as store:
            file, policy = await store.durability_warnings()
    assert "append-only file is off" in file
    assert "allkeys-lru" in policy


async def test_where_memory_is_full_calls_are_refused_whole(tmp_path: Path) -> None:
    with Engine(NEWEST, tmp_path) as engine:
        async with RedisStore(engine.url, patience=0.1) as store:
            await store.submit(ids(3))
            job, *_ = await claimed(store, 2)
            before = await store.status()
            await store._link.call("CONFIG", "SET", "maxmemory", "1mb")
            for call in (store.submit(ids(9)), store.claim("one", 1, 30.0), store.report("one", [over(job)])):
                with pytest.raises(StoreError) as failure:
                    await call
                assert (failure.value.reason, failure.value.transient) == ("full", True)
            await store._link.call("CONFIG", "SET", "maxmemory", "0")
            after = await store.status()
            assert (after.watched, after.leased, after.kept, after.counts) == (
                *(before.watched, before.leased, before.kept),
                before.counts,
            )
            assert await store.report("one", [over(job)]) == [True]


async def test_keys_of_something_else_are_not_touched(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue, patience=0.1) as store:
        await store._link.call("SET", f"{{af:{queue}}}:meta", "mine")
        with pytest.raises(StoreError) as failure:
            await store.submit(ids(1))
        assert failure.value.reason == "foreign"
        assert await store._link.call("GET", f"{{af:{queue}}}:meta") == b"mine"


# -- versions -----------------------------------------------------------------------------------------------------------------


async def test_keys_of_a_newer_version_are_refused(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue) as store, RedisStore(engine.url, queue, schema=2) as newer:
        await store.submit(ids(1))
        assert await newer.upgrade() == []
        for call in (store.submit(ids(2)), store.claim("one", 1, 30.0), store.report("one", []), store.status(), store.prune()):
            with pytest.raises(StoreError) as failure:
                await call
            assert (failure.value.reason, failure.value.transient) == ("newer", False)
        for other in (
            *(store.drain(), store.set_rate(5.0), store.nudge_all(), store.purge()),
            *(store.read_new("billing", "one", 1, 0.0), store.autoclaim("billing", "one", 1.0, 1)),
        ):
            with pytest.raises(StoreError, match="newer"):
                await other
        status = await newer.status()
        assert (status.watched, status.rate, status.is_draining, status.groups) == (1, None, False, ())


async def test_the_form_changes_when_the_last_older_worker_is_gone(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue) as older, RedisStore(engine.url, queue, schema=2) as newer:
        await older.submit(ids(4))
        assert len(await claimed(older, 1, worker="old-1")) == 1
        # Side by side, in the older form.
        assert len(await claimed(newer, 1, worker="new-1")) == 1
        assert await newer.upgrade() == ["old-1"]
        assert (await newer.status()).schema == 1
        assert len(await claimed(older, 1, worker="old-1")) == 1
        await newer._link.call("HDEL", f"{{af:{queue}}}:workers", "old-1")  # as if ten minutes had passed
        assert await newer.upgrade() == []
        assert (await newer.status()).schema == 2
        assert len(await claimed(newer, 1, worker="new-1")) == 1


# -- a cluster of nodes ---------------------------------------------------------------------------------------------------------


async def test_a_queue_is_found_on_its_node_of_a_redis_cluster(tmp_path: Path) -> None:
    buses = [free_port(), free_port()]
    nodes = [Engine(NEWEST, tmp_path / str(bus), cluster_enabled="yes", cluster_port=str(bus)) for bus in buses]
    with nodes[0] as one, nodes[1] as two:
        async with RedisStore(one.url) as left, RedisStore(two.url) as right:
            await left._link.call("CLUSTER", "ADDSLOTSRANGE", 0, 8191)
            await right._link.call("CLUSTER", "ADDSLOTSRANGE", 8192, 16383)
            await left._link.call("CLUSTER", "MEET", "127.0.0.1", two.port, buses[1])

            async def is_whole() -> bool:
                states = [await store._link.call("CLUSTER", "INFO") for store in (left, right)]
                return all(b"cluster_state:ok" in state for state in states)

            await until(is_whole)
        sizes: list[int] = []
        for number in range(4):
            async with RedisStore(one.url, f"queue-{number}") as store, RedisStore(two.url, f"queue-{number}") as other:
                await store.submit(ids(2))
                await end_all(other, 2)
                assert len(await told(store, 2)) == 2
                sizes.append((await other.status()).kept)
        assert sizes == [2] * 4


# -- what is kept -------------------------------------------------------------------------------------------------------------


async def test_what_is_past_its_time_is_forgotten(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue, retention=1.0) as store:
        await store.submit(ids(3))
        await end_all(store, 2)
        await store.prune()
        assert (await store.status()).kept == 2
        await pause(1.1)
        await store.prune()
        status = await store.status()
        assert (status.kept, status.watched) == (0, 1)
        assert set((await store.submit(ids(3))).states.values()) == {"new", "watched"}


async def test_beyond_the_cap_goes_what_every_group_has_handled(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue, most_events=10) as store:
        await store.submit(ids(600))
        await end_all(store, 600)
        await told(store, 600, "quick")  # acknowledges all but the last
        async with store.events("slow", "one", auto_acknowledge=False) as slow:
            await some(slow, 1)
        await store.prune()
        assert (await store.status()).events == 600
        assert len(await told(store, 600, "slow")) == 600
        await store.prune()
        assert (await store.status()).events < 600


async def test_a_record_that_is_too_large_is_kept_without_what_makes_it_large(engine: Engine, queue: str) -> None:
    media = (Media("image", "ok", encoded="A" * 50_000, asset_id="one"), Media("image", "ok", "https://media.example.com/1.png"))
    noise = bytes(range(32, 127)) * 30
    job = FlowJob(
        job_id(0),
        "completed",
        kind="image",
        media=media,
        record=Raw(b'{"x": "' + noise.replace(b'"', b"").replace(b"\\", b"") + b'"}'),
    )
    async with RedisStore(engine.url, queue, most_bytes=300) as store:
        await store.submit(ids(1))
        [mine] = await claimed(store)
        await store.report("one", [over(mine, Ended(job))])
        [delivery] = await told(store, 1)
    assert isinstance(delivery.event, Ended)
    kept = delivery.event.job
    assert (kept.outcome, kept.media_ok, kept.raw) == (job.outcome, 2, b"null")
    assert [one.encoded for one in kept.media] == [None, None]


@pytest.mark.parametrize("event", [ended(job_id(0)), changed(job_id(0)), abandoned(job_id(0))])
async def test_events_go_through_the_store_and_back(event: Ended) -> None:
    assert unpack_event(pack_event(event, 65_536)) == event
    large = Ended(FlowJob(job_id(0), "completed", model="m" * 5000))
    assert len(pack_event(large, 65_536)) < 1000
    assert unpack_event(pack_event(large, 65_536)) == large


@pytest.mark.parametrize("packed", [b"", b"{", b"x\x9c", b"nothing", b'{"type": "other"}', b"\xff"])
async def test_what_is_no_event_is_damage(packed: bytes) -> None:
    with pytest.raises(StoreError) as failure:
        unpack_event(packed)
    assert failure.value.reason == "damaged"


async def test_a_group_that_is_lost_is_made_again(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue) as store:
        await store.submit(ids(2))
        async with store.events("group", "one") as events, asyncio.timeout(20):
            await store._link.call("DEL", f"{{af:{queue}}}:events")
            await end_all(store, 2)
            assert {(await anext(events)).event.key[0] for _ in range(2)} == set(ids(2))
        for call in (
            store.autoclaim("group", "one", 1.0, 1),
            store.extend("group", "one", ["1-0"]),
            store.read_new("group", "one", 1, 0.0),
        ):
            await store._link.call("DEL", f"{{af:{queue}}}:events")
            assert not await call
            assert [group.name for group in (await store.status()).groups] == ["group"]


async def test_two_ids_of_one_digest_are_not_mixed_up(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue) as store:
        await store.submit(ids(1))
        value = await store._link.call("HGET", f"{{af:{queue}}}:jobs", place_of(job_id(0)))
        await store._link.call("HSET", f"{{af:{queue}}}:jobs", place_of(job_id(0)), value[:-1] + b"X")
        with pytest.raises(StoreError, match="digest"):
            await store.submit(ids(1))


async def test_no_repr_shows_an_id(engine: Engine, queue: str) -> None:
    async with RedisStore(engine.url, queue) as store:
        submitted = await store.submit(ids(1))
        claims = await store.claim("one", 1, 30.0)
        report = again(claims.jobs[0], 1.0, changed(job_id(0)))
        await store.report("one", [report, PollReport(job_id(1), 1, None, "")])
        [delivery] = await told(store, 1)
        async with store.watch(ids(1)) as watcher:
            assert_discreet(repr(watcher))
        texts = [repr(each) for each in (submitted, claims, report, delivery, store, await store.status())]
    assert_discreet(*texts)


async def test_without_redis_py_the_extra_is_named() -> None:
    code = "import sys; sys.modules['redis'] = None; import asyncflow.cluster as c; c.MemoryStore; c.RedisStore"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
    _, errors = await process.communicate()
    assert b"pip install 'asyncflow-useapi[redis]'" in errors
