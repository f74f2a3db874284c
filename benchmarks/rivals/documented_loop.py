"""The loop of the vendor's documentation in its asyncio form: read, sleep five seconds, read again; errors raise."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks._service import job_id
from benchmarks.rivals import all_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Sequence

PACKAGE = "aiohttp"
SHAPE = "flow"
__all__ = ["PACKAGE", "SHAPE", "job_id", "watch"]


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    import aiohttp  # noqa: PLC0415 - the server loads this file too

    async with aiohttp.ClientSession(headers={"Authorization": "Bearer user:1234-abcdef"}) as session:

        async def wait(job_id: str) -> object:
            while True:
                async with session.get(f"{base}/v1/google-flow/jobs/{job_id}", raise_for_status=True) as response:
                    job = await response.json()
                if job["status"] in {"completed", "failed"}:
                    return job
                await asyncio.sleep(5)

        return await all_of(wait, ids, delivered)
