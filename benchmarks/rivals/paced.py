"""The other yardstick: the same bare aiohttp loop at the pace of a watch, forty requests a second, one after another.

A process that sleeps between requests pays more for each: caches are cold and the kernel has to wake both sides.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from benchmarks._service import job_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGE = "aiohttp"
SHAPE = "flow"
RATE = 40.0
__all__ = ["PACKAGE", "RATE", "SHAPE", "job_id", "watch"]


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    import aiohttp  # noqa: PLC0415 - the server loads this file too

    loop = asyncio.get_running_loop()
    begin = loop.time()
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer user:1234-abcdef"}) as session:
        for number, name in enumerate(ids):
            await asyncio.sleep(begin + number / RATE - loop.time())
            async with session.get(f"{base}/v1/google-flow/jobs/{name}") as response:
                await response.json()
            delivered(name)
    return Counter()
