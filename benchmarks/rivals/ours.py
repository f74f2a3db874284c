"""asyncflow with its defaults."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchmarks._service import job_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGE = ""
SHAPE = "flow"
__all__ = ["PACKAGE", "SHAPE", "job_id", "watch"]


async def watch(base: str, ids: Sequence[str], delivered: Callable[[str], None]) -> Counter[str]:
    from asyncflow import Abandoned, AsyncClient, Ended  # noqa: PLC0415 - the server loads this file too

    errors: Counter[str] = Counter()
    async with AsyncClient("user:1234-abcdef", base_url=base) as client, client.watch(ids) as watcher:
        async for event in watcher:
            match event:
                case Ended(job):
                    delivered(job.job_id)
                case Abandoned(_, problem):
                    errors[problem.kind] += 1
                case _:
                    pass
    return errors
