"""A media host that misbehaves on purpose, for one request each."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from asyncflow.simulator import Simulator
from asyncflow.simulator.media_faults import BROKEN, TRICKS

if TYPE_CHECKING:
    from collections.abc import Mapping

Call = Any


async def ask(link: str, headers: Mapping[str, str]) -> tuple[int, bytes, Mapping[str, str]]:
    async with (
        aiohttp.ClientSession(auto_decompress=False) as anonymous,
        anonymous.get(URL(link, encoded=True), headers=headers, allow_redirects=False) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


async def link_of(simulator: Simulator, job_id: str) -> str:
    url = URL(f"{simulator.url}/v1/google-flow/jobs/{job_id}", encoded=True)
    token = {"Authorization": f"Bearer {simulator.token}"}
    async with aiohttp.ClientSession(headers=token) as session, session.get(url) as answer:
        return str((await answer.json())["response"]["media"][0]["videoUrl"])


@pytest.mark.asyncio
@pytest.mark.parametrize("trick", sorted(TRICKS - {"hang", "stall", "trickle", "endless", "right", "ignored_range"}))
async def test_a_trick_is_played_once_and_then_the_host_is_right_again(trick: str) -> None:
    async with Simulator(media_size=20_000) as simulator:
        (job_id,) = simulator.seed_jobs(age=600, fate="success")
        link = await link_of(simulator, job_id)
        right = await ask(link, {"Range": "bytes=8000-"})
        simulator.trick_media(job_id, [trick])
        try:
            tricked = await ask(link, {"Range": "bytes=8000-"})
        except (aiohttp.ClientError, ConnectionError):
            assert trick in BROKEN | {"wrong_length", "announced_terabyte"}
        else:
            # After a reset before any answer aiohttp asks again by itself.
            assert trick not in BROKEN - {"reset"}
            assert trick == "reset" or (tricked[:2], dict(tricked[2])) != (right[:2], dict(right[2]))
        assert (await ask(link, {"Range": "bytes=8000-"}))[:2] == right[:2]
        assert simulator.stats().faults == {trick: 1}


@pytest.mark.asyncio
@pytest.mark.parametrize("trick", ["hang", "stall", "trickle", "endless"])
async def test_a_trick_without_an_end_ends_with_the_simulator(trick: str) -> None:
    async with Simulator(media_size=20_000) as simulator:
        (job_id,) = simulator.seed_jobs(age=600, fate="success")
        link = await link_of(simulator, job_id)
        simulator.trick_media(job_id, [trick])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(link, {})


@pytest.mark.asyncio
async def test_tricks_can_be_asked_for_over_http() -> None:
    async with Simulator() as simulator, aiohttp.ClientSession() as session:
        (job_id,) = simulator.seed_jobs(age=600, fate="success")
        for job, tricks, status in ((job_id, ["html"], 200), (job_id, ["magic"], 400), ("x", ["html"], 400)):
            async with session.post(f"{simulator.url}/_simulator/tricks", json={"job_id": job, "tricks": tricks}) as answer:
                assert answer.status == status
        assert (await ask(await link_of(simulator, job_id), {}))[1].startswith(b"<!DOCTYPE")


@pytest.mark.asyncio
async def test_an_unknown_trick_is_refused_with_the_known_ones() -> None:
    async with Simulator() as simulator:
        (job_id,) = simulator.seed_jobs()
        with pytest.raises(ValueError, match=r"unknown tricks: magic \(of .*truncate"):
            simulator.trick_media(job_id, ["magic"])
