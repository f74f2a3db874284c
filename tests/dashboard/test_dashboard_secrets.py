"""What a browser is told of a bad day: prompts, since they are its owner's, and no id, address, link or token."""

from __future__ import annotations

import logging

import aiohttp
import pytest
from dashboard_kit import TOKEN, listening
from secret_watch import LogWatch, leaks

from asyncflow import AsyncClient, Dashboard, fixed_interval
from asyncflow.simulator import Faults, Simulator

pytestmark = pytest.mark.asyncio


async def test_no_secret_gets_to_a_browser(no_secret_is_logged: LogWatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    faults = Faults(server_error=0.1, reset=0.1, garble=0.1, failed=0.3, partial=0.3)
    async with (
        Simulator(seed=4, faults=faults) as simulator,
        AsyncClient(simulator.token, base_url=simulator.url, max_retries=0, policy=fixed_interval(0.1)) as client,
    ):
        ids = simulator.seed_jobs(20, kind="mix", duration=(0, 0.3))
        strange = ["no id", "jo-ann@example.com-bot:nothing", *simulator.seed_jobs(2, foreign=True)]
        async with client.watch([*ids, *strange]) as watcher:
            dashboard = Dashboard(watcher, client, token=TOKEN, title="of jo-ann@example.com")
            async with dashboard.serve() as link, aiohttp.ClientSession() as session:
                url = link.partition("#")[0]
                async with listening(url) as heard:
                    async for _ in watcher:
                        pass
                    await heard.until(lambda heard: heard.of("over"))
                said = [str(heard.messages)]
                key = heard.of("hello")[0]["key"]
                for path in (
                    "",
                    "app.js",
                    "events",
                    "nothing",
                    f"file/{key}/99/0",
                    f"file/{key}/1/0",
                    f"picture/{key}/1/0",
                    "act",
                ):
                    async with session.get(url + path) as answer:
                        text = await answer.text() if answer.content_type == "application/json" else ""
                        said.append(f"{answer.headers} {text}")
    assert len(heard.cards) == 24
    shown = "\n".join(said)
    assert "A paper kite" in shown
    assert simulator.token not in shown
    assert leaks(shown) == []
    assert no_secret_is_logged.leaks == []
