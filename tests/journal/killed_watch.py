"""A small program that watches with a journal, to be killed: `python killed_watch.py JOURNAL OUTPUT < ids`.

It says "watching" when it begins and "noted" when its ids are on the disk; each ending goes to OUTPUT as a line of JSON.
"""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec

from asyncflow import Abandoned, AsyncClient, Ended, Journal, fixed_interval


async def main(journal: str, output: str) -> None:
    job_ids = sys.stdin.read().split()
    lines = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    async with AsyncClient() as client, client.watch(job_ids, policy=fixed_interval(0.1), journal=Journal(journal)) as watcher:
        os.write(1, b"watching\n")
        noting = asyncio.ensure_future(watcher.flush())
        noting.add_done_callback(lambda _: os.write(1, b"noted\n"))
        async for event in watcher:
            if isinstance(event, Ended | Abandoned):
                os.write(lines, msgspec.json.encode(event) + b"\n")
        await noting
    os.close(lines)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
