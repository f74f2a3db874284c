"""The yardstick: a bare aiohttp loop, ten requests at a time, that reads and parses and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks._service import job_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGE = "aiohttp"
SHAPE = "flow"
__all__ = ["PACKAGE", "SHAPE", "job_id", "watch"]


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    import aiohttp  # noqa: PLC0415 - the server loads this file too

    rest = iter(ids)

    async with aiohttp.ClientSession(headers={"Authorization": "Bearer user:1234-abcdef"}) as session:

        async def work() -> None:
            for name in rest:
                async with session.get(f"{base}/v1/google-flow/jobs/{name}") as response:
                    await response.json()
                delivered(name)

        await asyncio.gather(*(work() for _ in range(10)))
    return Counter()
