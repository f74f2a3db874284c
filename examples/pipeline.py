"""From prompts to lists of links: `python pipeline.py prompts.txt FOLDER`.

Three steps run at once: prompts are submitted as fast as the service takes them, jobs are watched, and what is done is written by
four workers, one file a job. A prompt that is refused costs that prompt alone.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from asyncflow import Abandoned, AsyncClient, AsyncflowError, AuthenticationError, Ended, Job, PaymentError


async def submitted(client: AsyncClient, prompts: list[str]) -> AsyncIterator[str]:
    for number, prompt in enumerate(prompts, 1):
        if not prompt.strip():
            continue
        try:
            job = await client.submit("google-flow/videos", {"prompt": prompt})
        except (AuthenticationError, PaymentError):
            raise
        except AsyncflowError as error:
            print(f"line {number}: {error}")
        else:
            yield job.job_id


async def write(finished: asyncio.Queue[Job], folder: Path) -> None:
    while True:
        job = await finished.get()
        name = f"{job.created_at:%Y%m%d-%H%M%S}-{abs(hash(job.job_id)) % 10**8:08}.txt"
        await asyncio.to_thread((folder / name).write_text, "\n".join(job.urls), "utf-8")
        finished.task_done()


async def main(prompts: list[str], folder: Path) -> int:
    """Return how many jobs brought nothing."""
    empty = 0
    finished: asyncio.Queue[Job] = asyncio.Queue(maxsize=100)
    async with AsyncClient() as client, asyncio.TaskGroup() as tasks:
        writers = [tasks.create_task(write(finished, folder)) for _ in range(4)]
        async with client.watch(submitted(client, prompts)) as watcher:
            async for event in watcher:
                match event:
                    case Ended(job) if job.urls:
                        await finished.put(job)
                    case Ended() | Abandoned():
                        empty += 1
        await finished.join()
        for writer in writers:
            writer.cancel()
    return empty


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text("utf-8").splitlines()
    sys.exit(min(asyncio.run(main(lines, Path(sys.argv[2]))), 1))
