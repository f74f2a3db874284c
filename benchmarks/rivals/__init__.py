"""Adapters: how each client is given the API shape it expects, and how its own waiting is started for many jobs.

An adapter has `PACKAGE` (what to install, "" for nothing), `job_id(number)`, `record(number, base, target, *, ended)`, the
server's part, which needs no package and is absent where `SHAPE` is "flow" (Google Flow's form), and
`watch(base, ids, delivered)`, which calls *delivered* with each id whose end the client reports, and returns what ended the other
waits. Jobs are numbered with seven digits, the last ones of a path.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

NAMES = ("ours", "documented_loop", "replicate", "fal", "openai", "azure", "planet")


async def all_of(wait: Callable[[str], Awaitable[object]], ids: Iterable[str], delivered: Callable[[str], None]) -> Counter[str]:
    """Wait for all *ids* at once, as `asyncio.gather` does, and return the errors that ended waits, by name."""
    errors: Counter[str] = Counter()

    async def one(job_id: str) -> None:
        try:
            await wait(job_id)
        except Exception as error:  # noqa: BLE001 - whatever ends a wait is what is counted
            errors[type(error).__name__] += 1
        else:
            delivered(job_id)

    await asyncio.gather(*map(one, ids))
    return errors
