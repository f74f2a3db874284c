"""The token goes to the base URL and nowhere else, whatever an answer says; a second server listens for it.

Redirects of every status are in tests/client/test_client_strangers.py.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from service_kit import FLOW_ID, MUSIC_ID, TOKEN, http, listening

from asyncflow import AsyncClient, AsyncflowError, WebhookReceiver, fixed_interval

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.asyncio
on_each_transport = pytest.mark.parametrize("transport", ["fast", "session"])


def record_with_links_to(other: str) -> bytes:
    """A completed job each of whose links, of its media and of its callbacks, leads to *other*."""
    video = {"videoUrl": f"{other}/v?Signature=a", "thumbnailUrl": f"{other}/t", "mediaGenerationId": "user:1-email:61-video:1"}
    return json.dumps(
        {
            "jobid": FLOW_ID,
            "type": "video",
            "status": "completed",
            "request": {"replyUrl": f"{other}/reply", "startImage": f"{other}/image"},
            "response": {"media": [video], "nextUrl": f"{other}/next"},
            "href": f"{other}/job",
        }
    ).encode()


def header_to(other: str) -> dict[str, str]:
    return {
        "Location": f"{other}/elsewhere",
        "Content-Location": f"{other}/elsewhere",
        "Refresh": f"0; url={other}/",
        "Link": f'<{other}/>; rel="canonical"',
        "Alt-Svc": f'h3="{other.removeprefix("http://")}"; ma=86400, http/1.1="{other.removeprefix("http://")}"',
        "Set-Cookie": "session=1; Domain=127.0.0.1",
    }


@on_each_transport
async def test_absolute_urls_in_an_answer_are_values_and_never_asked(transport: str) -> None:
    async with (
        listening(http(200, b"{}")) as other,
        listening(http(200, record_with_links_to(other.url), header_to(other.url))) as home,
    ):
        async with AsyncClient(TOKEN, base_url=home.url, transport=transport, policy=fixed_interval(0.05)) as client:  # type: ignore[arg-type] # a parameter
            job = await client.get_job(FLOW_ID)
            assert job.urls == (f"{other.url}/v?Signature=a",)
            await client.wait(FLOW_ID)
            await client.submit("google-flow/videos", {"prompt": "a kite", "replyUrl": f"{other.url}/reply"})
            async with client.watch([FLOW_ID]) as watcher:
                WebhookReceiver(watcher.nudge).answer("POST", "/", "", {}, record_with_links_to(other.url))
                assert [type(event).__name__ async for event in watcher] == ["Ended"]
        assert other.requests == []
        assert home.header("Authorization") == [f"Bearer {TOKEN}"] * 4
        assert home.header("Cookie") == [None] * 4


@on_each_transport
async def test_a_fresh_link_to_another_host_is_returned_and_not_asked(transport: str) -> None:
    async with listening(http(200, b"{}")) as other:
        answer = json.dumps({"url": f"{other.url}/v?Signature=b", "mediaGenerationId": "user:1-email:61-video:1"}).encode()
        async with listening(http(200, answer)) as home, AsyncClient(TOKEN, base_url=home.url, transport=transport) as client:  # type: ignore[arg-type] # a parameter
            assert await client.get_asset_url("user:1-email:61-video:1") == f"{other.url}/v?Signature=b"
        assert (len(home.requests), other.requests) == (1, [])


@on_each_transport
@pytest.mark.parametrize("status", [201, 202, 300, 305, 401, 407, 421, 426, 503])
async def test_no_status_makes_us_ask_elsewhere(transport: str, status: int) -> None:
    headers = ["Proxy-Authenticate: Basic", "WWW-Authenticate: Bearer"]
    async with (
        listening(http(200, b"{}")) as other,
        listening(http(status, b"{}", header_to(other.url) | dict(line.split(": ") for line in headers))) as home,
        AsyncClient(TOKEN, base_url=home.url, transport=transport, max_retries=0) as client,  # type: ignore[arg-type] # a parameter
    ):
        for call in calls(client):
            with pytest.raises(AsyncflowError):
                await call()
        assert other.requests == []


def calls(client: AsyncClient) -> list[Callable[[], Awaitable[object]]]:
    return [
        lambda: client.get_job(FLOW_ID, timeout=2),
        lambda: client.get_job("//other.example/" + MUSIC_ID, timeout=2),
        lambda: client.get_job("@other.example:80/-bot:google-flow", timeout=2),
    ]


@on_each_transport
@pytest.mark.parametrize(
    "job_id", ["@127.0.0.1:{port}/-bot:google-flow", "//127.0.0.1:{port}/-bot:google-flow", "\\\\127.0.0.1:{port}-bot:flowmusic"]
)
async def test_no_id_is_an_address(transport: str, job_id: str) -> None:
    async with listening(http(200, b"{}")) as other, listening(http(404, b"{}")) as home:
        port = other.url.rpartition(":")[2]
        async with AsyncClient(TOKEN, base_url=home.url, transport=transport) as client:  # type: ignore[arg-type] # a parameter
            with pytest.raises(AsyncflowError):
                await client.get_job(job_id.format(port=port))
        assert (len(home.requests), other.requests) == (1, [])


@on_each_transport
async def test_a_proxy_of_the_environment_does_not_get_the_token_unasked(transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening(http(200, b"{}")) as other, listening(http(404, b"{}")) as home:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, other.url)
        async with AsyncClient(TOKEN, base_url=home.url, transport=transport) as client:  # type: ignore[arg-type] # a parameter
            with pytest.raises(AsyncflowError):
                await client.get_job(FLOW_ID)
        assert (len(home.requests), other.requests) == (1, [])


async def test_the_token_is_in_one_header_and_nowhere_else_in_a_request() -> None:
    async with listening(http(404, b"{}")) as home, AsyncClient(TOKEN, base_url=home.url) as client:
        for call in (client.get_job(FLOW_ID), client.submit("google-flow/videos", {"prompt": "a kite"})):
            with pytest.raises(AsyncflowError):
                await call
        for request in home.requests:
            assert request.count(TOKEN.encode()) == 1
            assert f"Authorization: Bearer {TOKEN}\r\n".encode() in request
