"""One receiver, mounted in five frameworks and none, gives the same answers everywhere."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import uvicorn
from aiohttp import web
from callers import JOB_ID, OTHER_ID, SECRET, Watch, ask, callback
from fastapi import FastAPI
from hypercorn.middleware import DispatcherMiddleware
from litestar import Litestar, asgi
from quart import Quart
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from yarl import URL

from asyncflow import WebhookReceiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from litestar.types import Receive, Scope, Send

    App = Callable[..., Awaitable[None]]

LARGE = b"x" * 1_000_000
REQUESTS = [
    ("POST", f"/asyncflow/{SECRET}", callback(), {}, 204),
    ("POST", f"/asyncflow/{SECRET}", callback(status="created"), {"content-type": "text/plain"}, 204),
    ("POST", f"/asyncflow/hook?secret={SECRET}", callback(), {}, 204),
    ("POST", f"/asyncflow/hook?a=%ff&secret={SECRET.replace('-', '%2D')}", callback(), {}, 204),
    ("POST", f"/asyncflow/{SECRET.replace('-', '%2D')}", callback(), {}, 204),
    ("POST", f"/asyncflow/{SECRET}", callback(OTHER_ID), {}, 404),
    ("POST", f"/asyncflow/{SECRET}", b"", {}, 400),
    ("POST", f"/asyncflow/{SECRET}", b"\xff{", {"content-type": "application/json"}, 400),
    ("POST", f"/asyncflow/{SECRET}", LARGE, {}, 413),
    ("POST", f"/asyncflow/{SECRET}", callback(), {"content-encoding": "gzip"}, 415),
    ("POST", "/asyncflow/wrong", callback(), {}, 403),
    ("POST", "/asyncflow/wrong", LARGE, {}, 403),
    ("GET", "/asyncflow/wrong", b"", {}, 403),
    ("GET", f"/asyncflow/{SECRET}", b"", {}, 405),
    ("PUT", f"/asyncflow/{SECRET}", callback(), {}, 405),
    ("DELETE", f"/asyncflow/hook?secret={SECRET}", b"", {}, 405),
]
NUDGES = sum(status == 204 for *_, status in REQUESTS)


def bare(receiver: WebhookReceiver) -> App:
    return receiver


def starlette_mount(receiver: WebhookReceiver) -> App:
    return Starlette(routes=[Mount("/asyncflow", receiver)])


def starlette_route(receiver: WebhookReceiver) -> App:
    return Starlette(routes=[Route("/asyncflow/{secret}", receiver)])


def fastapi(receiver: WebhookReceiver) -> App:
    app = FastAPI()
    app.mount("/asyncflow", receiver)
    return app


def litestar(receiver: WebhookReceiver) -> App:
    @asgi("/asyncflow", is_mount=True, copy_scope=True)
    async def callbacks(scope: Scope, receive: Receive, send: Send) -> None:
        await receiver(scope, receive, send)

    return Litestar([callbacks])


def quart(receiver: WebhookReceiver) -> App:
    mounts: dict[str, Any] = {"/asyncflow": receiver, "": Quart(__name__)}
    return DispatcherMiddleware(mounts)


@pytest.mark.asyncio
@pytest.mark.parametrize("mount", [bare, starlette_mount, starlette_route, fastapi, litestar, quart])
async def test_an_asgi_framework_answers_like_the_pure_core(mount: Callable[[WebhookReceiver], App]) -> None:
    watch = Watch()
    app = mount(WebhookReceiver(watch.nudge, SECRET))
    for method, target, body, headers, status in REQUESTS:
        heard = await ask(app, method, target, [body[:7], b"", body[7:]], headers)
        assert (heard.status, method, target) == (status, method, target)
        same_as_core(heard.status, heard.body, heard.headers, method, target, body, headers)
    assert watch.nudged == [JOB_ID] * NUDGES


def same_as_core(
    status: int, content: bytes, told: dict[str, str], method: str, target: str, body: bytes, headers: dict[str, str]
) -> None:
    url = URL(target, encoded=True)
    reply = WebhookReceiver(Watch().nudge, SECRET).answer(method, url.path, url.raw_query_string, headers, body)
    assert (status, content) == (reply.status, reply.text.encode())
    assert told.get("allow") == reply.headers.get("allow")
    assert told.get("content-type") == reply.headers.get("content-type")
    assert told.get("content-length") == (None if status == 204 else str(len(content)))


async def check_over_sockets(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for method, target, body, headers, status in REQUESTS:
            address = URL(url + target, encoded=True)
            options: dict[str, Any] = {"data": body or None, "headers": headers, "compress": False}
            async with session.request(method, address, skip_auto_headers=["content-type"], **options) as answer:
                content = await answer.read()
            assert (answer.status, method, target) == (status, method, target)
            told = {name.lower(): value for name, value in answer.headers.items()}
            same_as_core(answer.status, content, told, method, target, body, headers)


@asynccontextmanager
async def aiohttp_app(receiver: WebhookReceiver) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/asyncflow/{secret}", receiver.aiohttp_handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def under_uvicorn(receiver: WebhookReceiver) -> AsyncIterator[str]:
    config = uvicorn.Config(starlette_mount(receiver), port=0, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    started = asyncio.Event()
    startup = server.startup

    async def tell(**options: Any) -> None:  # noqa: ANN401 - uvicorn's
        await startup(**options)
        started.set()

    vars(server)["startup"] = tell
    serving = asyncio.create_task(server.serve())
    await started.wait()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def on_its_own(receiver: WebhookReceiver) -> AsyncIterator[str]:
    async with receiver.serve() as url:
        yield url


@pytest.mark.asyncio
@pytest.mark.parametrize("serve", [aiohttp_app, under_uvicorn, on_its_own])
async def test_a_server_answers_like_the_pure_core(serve: Callable[[WebhookReceiver], Any]) -> None:
    watch = Watch()
    receiver = WebhookReceiver(watch.nudge, SECRET)
    async with serve(receiver) as url, asyncio.timeout(20):
        await check_over_sockets(url)
    assert watch.nudged == [JOB_ID] * NUDGES
    assert sum(receiver.stats().values()) == len(REQUESTS)
