"""One client against one server: python -m benchmarks.rivals NAME BASE_URL JOBS LIMIT; a line of JSON tells how it went."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import sys
from collections import Counter
from contextlib import suppress
from time import perf_counter, process_time

from benchmarks._service import command, pin


async def main(name: str, base: str, jobs: int, limit: float) -> dict[str, object]:
    adapter = importlib.import_module(f"benchmarks.rivals.{name}")
    ids = [adapter.job_id(number) for number in range(jobs)]
    seen: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    # A rehearsal, of jobs that have ended: what is imported and made once is no part of the measurement.
    await adapter.watch(base, ids[:2], lambda _: None)
    gc.collect()
    command(base, "start")
    cpu, clock = process_time(), perf_counter()
    with suppress(TimeoutError):
        async with asyncio.timeout(limit):
            errors = await adapter.watch(base, ids, lambda job_id: seen.update([job_id]))
    return {
        "cpu": process_time() - cpu,
        "seconds": perf_counter() - clock,
        "delivered": len(seen),
        "twice": sum(count > 1 for count in seen.values()),
        "errors": dict(errors),
    }


if __name__ == "__main__":
    pin(0)
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))))
