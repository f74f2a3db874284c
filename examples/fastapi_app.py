"""Videos for the users of a web app: `uvicorn fastapi_app:app`.

One watch serves the whole application, and a journal carries it over a restart. A job id holds the e-mail address of the account
that made the job, so users get a ticket instead.

    curl -X POST 'http://127.0.0.1:8000/videos?prompt=a+cat'     {"ticket": "5f0c..."}
    curl 'http://127.0.0.1:8000/videos/5f0c...'                  {"state": "started", "files": []}
    curl 'http://127.0.0.1:8000/videos/5f0c...?patience=25'      the same, after 25 seconds or when the video has ended
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from secrets import token_urlsafe
from typing import Annotated

from fastapi import FastAPI, HTTPException, Query

from asyncflow import Abandoned, AsyncClient, AsyncflowError, Changed, Ended, Job, JobWatcher, Journal, OutcomeUnknownError


class Videos:
    """What became of each ticket."""

    def __init__(self, client: AsyncClient, watcher: JobWatcher) -> None:
        self._client = client
        self._watcher = watcher
        self._tickets: dict[str, str] = {}
        self._jobs: dict[str, Job] = {}
        self._given_up: dict[str, str] = {}
        self._over: dict[str, asyncio.Event] = {}

    async def submit(self, prompt: str) -> str:
        job = await self._client.submit("google-flow/videos", {"prompt": prompt})
        self._watcher.add(job.job_id)
        await self._watcher.flush()  # from here on the journal has it
        ticket = token_urlsafe(8)
        self._tickets[ticket], self._jobs[job.job_id] = job.job_id, job
        self._over.setdefault(job.job_id, asyncio.Event())
        return ticket

    async def follow(self) -> None:
        async for event in self._watcher:
            match event:
                case Changed(job):
                    self._jobs[job.job_id] = job
                case Ended(job):
                    self._jobs[job.job_id] = job
                    self._over.setdefault(job.job_id, asyncio.Event()).set()
                case Abandoned(job_id, error):
                    self._given_up[job_id] = error.kind
                    self._over.setdefault(job_id, asyncio.Event()).set()

    async def state(self, ticket: str, patience: float) -> dict[str, object]:
        job_id = self._tickets[ticket]
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._over[job_id].wait()
        job = self._jobs[job_id]
        state = self._given_up.get(job_id) or (job.outcome.value if job.is_terminal else job.status)
        return {"state": state, "files": list(job.urls)}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    journal = Journal(os.environ.get("JOURNAL", "videos.db"))
    async with AsyncClient() as client, client.watch(keep_open=True, journal=journal) as watcher:
        app.state.videos = videos = Videos(client, watcher)
        async with asyncio.TaskGroup() as tasks:
            # An error that ends the watch, a refused token for one, ends the application too.
            tasks.create_task(videos.follow())
            yield
            await watcher.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/videos", status_code=202)
async def create(prompt: str) -> dict[str, str]:
    try:
        return {"ticket": await app.state.videos.submit(prompt)}
    except OutcomeUnknownError as error:
        raise HTTPException(502, "the video may or may not be on its way: do not ask again at once") from error
    except AsyncflowError as error:
        raise HTTPException(429 if error.kind == "rate_limited" else 502, error.kind) from error


@app.get("/videos/{ticket}")
async def read(ticket: str, patience: Annotated[float, Query(ge=0, le=60)] = 0) -> dict[str, object]:
    try:
        state: dict[str, object] = await app.state.videos.state(ticket, patience)
    except KeyError:
        raise HTTPException(404, "no such ticket") from None
    return state
