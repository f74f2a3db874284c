"""The dashboard's answers over real sockets: on its own, mounted in aiohttp, and mounted under an ASGI server."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from dashboard_kit import START, TOKEN, Heard, Told, done, failed, flow_id, listening, running
from starlette.applications import Starlette
from starlette.routing import Mount

from asyncflow import (
    AsyncClient,
    Changed,
    Dashboard,
    Ended,
    ErrorInfo,
    JobWatcher,
    TransportError,
    Unreachable,
    UsageError,
    fixed_interval,
)
from asyncflow.cluster import MemoryStore, StoreWatch
from asyncflow.dashboard.auth import HEADERS
from asyncflow.redaction import digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from asyncflow import Job

    Serve = Callable[[Dashboard], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def alone(dashboard: Dashboard) -> AsyncIterator[str]:
    async with dashboard.serve() as link:
        yield link.partition("#")[0]


@asynccontextmanager
async def in_aiohttp(dashboard: Dashboard) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/watch/jobs{path:.*}", dashboard.aiohttp_handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/watch/jobs/"
    finally:
        dashboard.close()
        await runner.cleanup()


@asynccontextmanager
async def in_starlette(dashboard: Dashboard) -> AsyncIterator[str]:
    app = Starlette(routes=[Mount("/watch/jobs", dashboard)])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", ws="none"))
    started = asyncio.Event()
    startup = server.startup

    async def tell(**options: Any) -> None:  # noqa: ANN401 - uvicorn's
        await startup(**options)
        started.set()

    vars(server)["startup"] = tell
    serving = asyncio.create_task(server.serve())
    await started.wait()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/watch/jobs/"
    finally:
        dashboard.close()
        server.should_exit = True
        await serving


SERVERS = pytest.mark.parametrize("serve", [alone, in_aiohttp, in_starlette])


def dashboard_of(source: Any = None, **options: Any) -> Dashboard:  # noqa: ANN401 - those of Dashboard
    return Dashboard(source or Told(), token=TOKEN, **options)


@SERVERS
@pytest.mark.asyncio
async def test_the_page_and_its_files_come_with_every_caution(serve: Serve) -> None:
    async with serve(dashboard_of()) as url, aiohttp.ClientSession() as session:
        for name, kind in (
            ("", "text/html"),
            ("app.js", "text/javascript"),
            ("style.css", "text/css"),
            ("icon.svg", "image/svg+xml"),
        ):
            async with session.get(url + name) as answer:
                assert (answer.status, answer.content_type) == (200, kind)
                assert {key: answer.headers[key] for key in HEADERS} == HEADERS
                assert TOKEN not in await answer.text()
                tag = answer.headers["ETag"]
            async with session.get(url + name, headers={"If-None-Match": tag}) as answer:
                assert (answer.status, await answer.read()) == (304, b"")


@SERVERS
@pytest.mark.asyncio
async def test_what_is_not_there_is_not_there(serve: Serve) -> None:
    cases = [("nothing", 404), ("index.html", 404), ("app.py", 404), ("..%2fapp.js", 200), ("file/" + "0" * 32 + "/1/0", 403)]
    async with serve(dashboard_of()) as url, aiohttp.ClientSession() as session:
        for name, status in cases:
            async with session.get(url + name) as answer:
                assert (answer.status, name) == (status, name)
                assert answer.headers["X-Frame-Options"] == "DENY"
        for method, name, allowed in (("POST", "", "GET, HEAD"), ("DELETE", "events", "GET, HEAD"), ("GET", "act", "POST")):
            async with session.request(method, url + name) as answer:
                assert (answer.status, answer.headers["Allow"]) == (405, allowed)
        async with session.head(url) as answer:
            assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize("serve", [in_aiohttp, in_starlette])
@pytest.mark.asyncio
async def test_a_mount_without_its_slash_leads_to_the_one_with_it(serve: Serve) -> None:
    async with serve(dashboard_of()) as url, aiohttp.ClientSession() as session, session.get(url.rstrip("/")) as answer:
        assert (answer.status, str(answer.url)) == (200, url)


@SERVERS
@pytest.mark.asyncio
async def test_a_browser_hears_all_and_then_what_changes(serve: Serve) -> None:
    source = Told(watched=3)
    dashboard = dashboard_of(source, title="A <b>title</b>")
    source.take(Changed(running(1)))
    async with serve(dashboard) as url, listening(url) as heard:
        await heard.until(lambda heard: heard.of("totals"))
        assert [name for name, _, _ in heard.messages] == ["hello", "cards", "whole", "totals"]
        assert heard.of("hello")[0]["title"] == "A <b>title</b>"
        assert heard.of("totals")[0] | {"reasons": []} == {
            "states": {"running": 1},
            "kinds": {"video": 1},
            "reasons": [],
            "dropped": 0,
            "trouble": "",
            "unread": 2,
            "expected_end": None,
        }
        source.take(Ended(done(1)))
        await heard.until(lambda heard: heard.state(1) == "succeeded")
        source.take(Ended(failed(2)))
        await heard.until(lambda heard: len(heard.cards) == 2)
        assert heard.cards[2][2] == digest(flow_id(2))
        source.is_over = True
        source.take()
        await heard.until(lambda heard: heard.of("over"))
        assert flow_id(1)[:12] not in str(heard.messages)


@SERVERS
@pytest.mark.asyncio
async def test_one_that_comes_back_hears_what_it_missed(serve: Serve) -> None:
    source = Told()
    source_of = dashboard_of(source)
    for number in range(1, 4):
        source.take(Changed(running(number)))
    async with serve(source_of) as url:
        async with listening(url) as heard:
            await heard.until(lambda heard: heard.of("whole"))
        source.take(Ended(done(2)))
        async with listening(url, last_id=heard.last_id) as again:
            await again.until(lambda heard: heard.of("totals"))
            assert again.of("hello")[0]["resumes"]
            assert {number: card[3] for number, card in again.cards.items()} == {2: "succeeded"}
        for strange in ("0000-3", f"{source_of.boot}-99", "x", f"{source_of.boot}-{10**20}"):
            async with listening(url, last_id=strange) as other:
                await other.until(lambda heard: heard.of("whole"))
                assert len(other.cards) == 3


@SERVERS
@pytest.mark.asyncio
async def test_strangers_hear_nothing(serve: Serve) -> None:
    async with serve(dashboard_of()) as url, aiohttp.ClientSession() as session:
        cases: list[tuple[dict[str, str], int]] = [
            ({}, 401),
            ({"Authorization": "Bearer wrong"}, 401),
            ({"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example.net"}, 403),
            ({"Authorization": f"Bearer {TOKEN}", "Host": "evil.example.net"}, 403),
            ({"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "cross-site"}, 403),
        ]
        for headers, status in cases:
            async with session.get(url + "events", headers=headers) as answer:
                assert (answer.status, answer.content_type) == (status, "application/json")


@pytest.mark.asyncio
async def test_the_token_is_in_no_log_and_no_repr(caplog: pytest.LogCaptureFixture) -> None:
    source = Told()
    dashboard = dashboard_of(source)
    with caplog.at_level(logging.DEBUG):
        for serve in (alone, in_aiohttp, in_starlette):
            async with serve(dashboard) as url, listening(url) as heard:
                await heard.until(lambda heard: heard.of("whole"))
            dashboard.is_closing = False
    assert TOKEN not in caplog.text
    assert repr(dashboard) == "<Dashboard of 0 jobs>"
    assert dashboard.link("http://127.0.0.1:1/x") == f"http://127.0.0.1:1/x/#{TOKEN}"


@pytest.mark.asyncio
async def test_every_dashboard_has_a_token_of_its_own() -> None:
    first, second = Dashboard(Told()), Dashboard(Told())
    assert first.token != second.token
    assert len(first.token or "") >= 32
    assert Dashboard(Told(), needs_token=False).link("http://h/") == "http://h/"


@pytest.mark.asyncio
async def test_without_a_token_everybody_may_look() -> None:
    async with alone(Dashboard(Told(), needs_token=False)) as url, listening(url, token=None) as heard:
        await heard.until(lambda heard: heard.of("whole"))


@pytest.mark.asyncio
async def test_what_cannot_be_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="16 letters"):
        Dashboard(Told(), token="short")
    with pytest.raises(UsageError, match="client"):
        Dashboard(Told(), actions=True)
    with pytest.raises(UsageError, match="hosts"):
        Dashboard(Told(), hosts="jobs.example.com")


@pytest.mark.asyncio
async def test_named_hosts_are_served() -> None:
    headers = {"Host": "jobs.example.com", "Authorization": f"Bearer {TOKEN}"}
    dashboard = dashboard_of(hosts=["jobs.example.com"])
    async with alone(dashboard) as url, aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.asyncio
async def test_so_many_browsers_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncflow.dashboard.dashboard._MOST_BROWSERS", 1)
    async with alone(dashboard_of()) as url, listening(url) as heard, aiohttp.ClientSession() as session:
        await heard.until(lambda heard: heard.of("whole"))
        async with session.get(url + "events", headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert answer.status == 503


def is_told(jobs: int, status: str, heard: Heard) -> bool:
    return len(heard.cards) == jobs and heard.cards[jobs][4] == status


@SERVERS
@pytest.mark.asyncio
async def test_a_browser_that_reads_nothing_holds_up_nobody(serve: Serve) -> None:
    """When it reads again it has what there is, and the others did not wait for it."""
    source = Told()
    dashboard = dashboard_of(source)
    jobs = 1_000
    async with serve(dashboard) as url:
        host, _, path = url.removeprefix("http://").partition("/")
        reader, writer = await asyncio.open_connection(*host.split(":"), limit=1024)
        writer.write(f"GET /{path}events HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        await writer.drain()
        async with listening(url) as other:
            for status in ("created", "started", "odd", "odder"):
                for number in range(jobs):
                    source.take(Changed(running(number, status, prompt="x" * 200)))
                await other.until(partial(is_told, jobs, status))
            source.is_over = True
            source.take()
            await other.until(lambda heard: heard.of("over"))
        slow = Heard()
        text = ""
        async with asyncio.timeout(20):
            while not slow.of("over"):
                text += (await reader.read(65536)).decode().replace("\r\n", "\n")
                *blocks, text = text.split("\n\n")
                for block in blocks:
                    found = [line for line in block.split("\n") if line.startswith(("event: ", "data: ", "id: "))]
                    if len(found) > 1:
                        slow.take("\n".join(found))
        writer.close()
        assert len(slow.cards) == jobs
        assert {card[4] for card in slow.cards.values()} == {"odder"}


@pytest.mark.asyncio
async def test_a_watch_is_shown_while_somebody_else_iterates_it() -> None:
    reads = 0

    async def fetch(_job_id: str) -> Job:
        nonlocal reads
        reads += 1
        if reads == 2:
            raise TransportError("no answer", transient=True)
        return done(1) if reads > 4 else running(1)

    async with JobWatcher(fetch, [flow_id(1)], policy=fixed_interval(0.05)) as watcher:
        dashboard = Dashboard(watcher, token=TOKEN)
        async with alone(dashboard) as url, listening(url) as heard:
            events = [event async for event in watcher]
            await heard.until(lambda heard: heard.of("over"))
        assert len(events) == len(dashboard.model.since(0) or ()) + 1
    assert heard.state(1) == "succeeded"


@pytest.mark.asyncio
async def test_a_watch_does_not_keep_its_dashboard() -> None:
    async def fetch(_job_id: str) -> Job:
        return running(1)

    async with JobWatcher(fetch, [flow_id(1)]) as watcher:
        dashboard = Dashboard(watcher)
        seen = weakref.ref(dashboard)
        del dashboard
        gc.collect()
        assert seen() is None
        assert isinstance(await anext(watcher), Changed)


@pytest.mark.asyncio
async def test_a_job_that_answers_again_is_seen_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncflow.dashboard.event_stream._LOOK", 0.05)
    source = Told(silent={flow_id(1)})
    dashboard = dashboard_of(source)
    source.take(Unreachable(flow_id(1), START, ErrorInfo("transport", "no answer")))
    async with alone(dashboard) as url, listening(url) as heard:
        await heard.until(lambda heard: heard.state(1) == "silent")
        source.silent.clear()
        await heard.until(lambda heard: heard.state(1) == "running")


@pytest.mark.asyncio
async def test_a_watch_that_cannot_be_listened_to_is_told_by_hand() -> None:
    async with AsyncClient("user:1234-abcdef") as client, StoreWatch(MemoryStore(), [flow_id(1)]) as watch:
        dashboard = Dashboard(watch, client, token=TOKEN)
        async with alone(dashboard) as url, listening(url) as heard:
            dashboard.take(Changed(running(1)), Unreachable(flow_id(1), START, ErrorInfo("transport", "no answer")))
            await heard.until(lambda heard: heard.state(1) == "silent")


@pytest.mark.asyncio
async def test_the_budget_is_sampled_while_the_watch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncflow.dashboard.dashboard._SAMPLE", 0.01)
    monkeypatch.setattr("asyncflow.dashboard.event_stream._LOOK", 0.05)
    source, times = Told(), iter(range(1, 10_000))
    async with AsyncClient("user:1234-abcdef") as client:
        dashboard = dashboard_of(source, client=client, wall_clock=lambda: START + timedelta(seconds=next(times)))
        assert dashboard.budget() is None
        source.take(Changed(running(1)))
        async with alone(dashboard) as url, listening(url) as heard:
            await heard.until(lambda heard: any(len(budget["requests"]) > 2 for budget in heard.of("budget")))
        last = heard.of("budget")[-1]
    assert {key: last[key] for key in ("total", "refused", "in_flight", "paused", "circuit")} == {
        **dict.fromkeys(("total", "refused", "in_flight", "paused"), 0),
        "circuit": "closed",
    }
    assert len(last["requests"]) == len(last["throttled"]) == len(last["failed"])


def test_events_may_be_told_before_there_is_a_loop() -> None:
    dashboard = dashboard_of()
    dashboard.take(Changed(running(1)))
    assert len(dashboard.model) == 1
