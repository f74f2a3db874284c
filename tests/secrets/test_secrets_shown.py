"""A broad run of everything that is public, on a bad day and with all loggers at DEBUG: what is shown of it shows no secret.

The values meant for the user are exempt: fields of records, events and errors, and what a command prints as JSON or as links.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.traceback import Traceback
from secret_watch import LogWatch, leaks
from telemetry_kit import Telemetry

import asyncflow
from asyncflow import (
    AsyncClient,
    AsyncflowError,
    FlowJob,
    Journal,
    Media,
    OutcomeUnknownError,
    SubmitRequest,
    WebhookReceiver,
    fixed_interval,
)
from asyncflow.simulator import Answer, Faults, Simulator, SimulatorThread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

EMAIL = "jo-ann+flow@example.com"
FLOW_ID = f"j1104093012448120573v-u1234-email:{EMAIL}-bot:google-flow"
MUSIC_ID = f"job:0f1e2d3c-4b5a-4678-9abc-def012345678-user:1234-{EMAIL}-bot:flowmusic"
ASSET_ID = f"user:1234-email:{EMAIL.encode().hex()}-video:c0ffee01"
LINK = "https://flow-content.google/video/1?Expires=1790000000&KeyName=k1&Signature=c2VjcmV0"
SPITEFUL = f"{EMAIL} {FLOW_ID} {ASSET_ID} {LINK} user:1234-abcdef Authorization: Bearer user:1234-abcdef"
ERRORS = [getattr(asyncflow, name) for name in asyncflow.__all__ if name.endswith("Error")]


def told(error: BaseException) -> Iterator[str]:
    """Every way in which *error* is shown: as text, with its causes, in a traceback, and in a colourful one."""
    yield "".join(traceback.format_exception(error))
    console = Console(width=200)
    with console.capture() as capture:
        console.print(Traceback.from_exception(type(error), error, error.__traceback__))
    yield capture.get()
    seen: BaseException | None = error
    while seen is not None:
        yield from (str(seen), repr(seen), repr(seen.args))
        seen = seen.__cause__ or seen.__context__


@pytest.mark.parametrize("kind", ERRORS)
def test_no_public_error_shows_what_it_was_told(kind: type[AsyncflowError]) -> None:
    error = kind(SPITEFUL, reason=SPITEFUL, code=SPITEFUL, job_id=FLOW_ID, details=(SPITEFUL,), status=500)
    for each in (error, pickle.loads(pickle.dumps(error))):  # noqa: S301 - our own bytes
        with pytest.raises(kind) as raised:
            raise each from ValueError("no JSON")
        assert [leak for text in told(raised.value) for leak in leaks(text)] == []


def reprs(*values: object) -> list[str]:
    """How *values* are shown, and what a debugger lists of those that are no records."""
    shown = [repr(value) for value in values]
    return shown + [repr(vars(value)) for value in values if isinstance(value, AsyncClient)]


@pytest.mark.asyncio
@pytest.mark.parametrize("transport", ["fast", "session"])
async def test_no_repr_error_log_or_file_name_of_a_broad_run_shows_a_secret(
    transport: str, tmp_path: Path, no_secret_is_logged: LogWatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    shown: list[str] = []
    faults = Faults(server_error=0.05, reset=0.05, garble=0.05, truncate=0.05, failed=0.2, partial=0.2, callback_twice=0.5)
    journal = Journal(tmp_path / "run.db")
    async with Simulator(seed=4, faults=faults) as simulator:
        telemetry = Telemetry()
        client = AsyncClient(
            simulator.token,
            base_url=simulator.url,
            transport=transport,  # type: ignore[arg-type] # a parameter
            max_retries=0,
            policy=fixed_interval(0.1),
            hooks=telemetry.hooks,
        )
        async with client:
            watcher = client.watch(journal=journal, keep_open=True)
            receiver = WebhookReceiver(watcher.nudge, "hook-secret")
            telemetry.metrics.follow(client, "client")
            telemetry.metrics.follow(watcher, "watch")
            shown += reprs(client, client.pacer, watcher, receiver, journal)
            async with receiver.serve() as url, watcher:
                ids = simulator.seed_jobs(12, kind="mix", duration=(0, 0.3), reply_url=f"{url}/hook-secret")
                strange = {FLOW_ID: Answer(404, {}, f'{{"error": "{SPITEFUL}"}}'.encode()), MUSIC_ID: Answer(302)}
                for job_id, answer in strange.items():
                    simulator.play(job_id, [answer])
                watcher.add(*ids, *strange, "no id", f"{EMAIL}-bot:nothing")
                ended = 0
                async for event in watcher:
                    shown += reprs(event, getattr(event, "job", None), getattr(event, "error", None))
                    job = getattr(event, "job", None)
                    shown += [] if job is None else reprs(*job.media, job.failure)
                    ended += type(event).__name__ in {"Ended", "Abandoned"}
                    if ended == len(ids) + 4:
                        break
                shown += reprs(watcher.stats(), receiver.stats(), client.pacer.stats())
            shown += await submitted(client, simulator, journal)
            simulator.faults = Faults()
            shown += reprs(client, watcher, journal, *journal.entries(), await client.get_stats("google-flow"))
            shown += await downloads(client, ids, tmp_path / "out")
            for call in calls(client):
                with pytest.raises(AsyncflowError) as failure:
                    await call()
                shown += told(failure.value)
        shown += telemetry.shown()
    assert len(telemetry.facts) > 100
    assert [leak for text in shown for leak in leaks(text)] == []
    assert [name for name in os.listdir(tmp_path) if leaks(name)] == []  # noqa: PTH208 - a coroutine may not use a Path
    assert no_secret_is_logged.records > 5
    with closing(sqlite3.connect(tmp_path / "run.db")) as connection:
        # Ids and records are what a journal is for; a token is not.
        dump = "\n".join(connection.iterdump())
    assert EMAIL in dump
    assert b"user:1234-abcdef" not in dump.encode() + bytes.fromhex("".join(part[0] for part in blobs(dump)))


async def submitted(client: AsyncClient, simulator: Simulator, journal: Journal) -> list[str]:
    """What is shown of submits with secrets in their bodies, on a day on which half of the answers get lost."""
    simulator.faults = Faults(kinds=("submit",), lost_answer=0.5)
    body = {"prompt": SPITEFUL}
    lines: list[dict[str, object]] = [
        {"path": "google-flow/videos", "body": body},
        {"path": "google-flow/videos", "body": body, "key": EMAIL},
        {"path": f"google-flow/{EMAIL}", "body": body},
        {"path": "google-flow/images", "body": {"count": 9}},
    ]
    async with client.submit_many(lines, journal=journal) as batch:
        shown = reprs(batch, *[result async for result in batch])
    shown += reprs(*journal.submissions(), *(SubmitRequest.of(line) for line in lines))
    simulator.faults = Faults(kinds=("submit",), lost_answer=1.0)
    for each in (body, {"prompt": "a kite", "replyRef": SPITEFUL}):
        with pytest.raises(OutcomeUnknownError) as failure:
            await client.submit("google-flow/videos", each)
        assert failure.value.candidates
        shown += told(failure.value)
    return shown


async def downloads(client: AsyncClient, ids: list[str], folder: Path) -> list[str]:
    """What is shown of downloads, good and bad, the names and notes of the files included."""
    nowhere = LINK.replace("flow-content.google", "127.0.0.1:1")
    odd = FlowJob(FLOW_ID, "completed", kind=SPITEFUL, model=SPITEFUL, media=(Media("video", "ok", nowhere, title=SPITEFUL),))
    async with client.downloader(folder, max_retries=0) as downloader:
        downloader.add(*ids, odd, MUSIC_ID)
        shown = [text async for done in downloader for text in reprs(done, *done.files, *done.problems)]
        shown += reprs(downloader, downloader.stats())
    return [*shown, *os.listdir(folder), (folder / ".asyncflow-files.jsonl").read_text("utf-8")]  # noqa: PTH208 - names


def blobs(dump: str) -> list[list[str]]:
    """The hexadecimal digits of every blob in a dump."""
    return [part.split("'", 1) for part in dump.split("X'")[1:]]


def calls(client: AsyncClient) -> list[Callable[[], Awaitable[object]]]:
    """Calls that fail, each in its own way."""
    return [
        lambda: client.get_job(FLOW_ID),
        lambda: client.get_job(MUSIC_ID),
        lambda: client.get_job(f"{EMAIL} x"),
        lambda: client.get_job(EMAIL),
        lambda: client.wait(FLOW_ID, timeout=1),
        lambda: client.get_asset_url(ASSET_ID),
        lambda: client.cancel(FLOW_ID),
        lambda: client.submit("google-flow/videos", {"prompt": "", "email": EMAIL}),
        lambda: client.submit(f"google-flow/{EMAIL}", {}),
        lambda: client.with_options(token=lambda: EMAIL).get_job(FLOW_ID),  # type: ignore[arg-type, return-value] # no coroutine
    ]


# -- the command ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service() -> Iterator[SimulatorThread]:
    with SimulatorThread(seed=3, speed=60) as running:
        yield running


COMMANDS = {
    "get": ["get", "{id}"],
    "get, refused": ["get", FLOW_ID],
    "watch": ["watch", "--file", "ids.txt"],
    "watch, given up": ["watch", FLOW_ID, MUSIC_ID],
    "watch, out of time": ["watch", "{id}", "{endless}", "--timeout", "0.3s"],
    "watch, kept": ["watch", "--file", "ids.txt", "--journal", "run.db"],
    "journal show": ["journal", "show", "run.db"],
    "resume": ["resume", "run.db"],
    "watch, with files": ["watch", "--file", "ids.txt", "--download", "out", "--sidecar"],
    "download": ["download", "--file", "ids.txt", FLOW_ID, "--into", "out"],
    "download, with flaws": ["download", "{id}", "--into", "out", "--name", "{{prompt}}" + EMAIL],
    "report": ["report", "run.db", "--html", "run.html"],
    "report, as JSON": ["report", "run.db", "--json"],
    "wait": ["wait", "{id}", FLOW_ID],
    "wait, in haste": ["wait", FLOW_ID, MUSIC_ID, "--fail-fast"],
    "stats": ["stats", "--detail", "executing"],
    "cancel": ["cancel", MUSIC_ID],
    "cancel, a video": ["cancel", FLOW_ID],
    "doctor": ["doctor"],
    "settings": ["--config", "settings.toml", "stats"],
    "submit": ["submit", "batch.jsonl", "--journal", "submits.db"],
    "submit, again": ["submit", "batch.jsonl", "--journal", "submits.db", "--dry-run"],
    "submit, with flaws": ["submit", "flaws.jsonl", "--journal", "submits.db"],
    "no id": ["watch", f"{EMAIL}", SPITEFUL],
    "no file": ["watch", "--file", f"{EMAIL}.txt"],
    "no option": ["watch", f"--{EMAIL}"],
}


def test_no_command_shows_a_secret(service: SimulatorThread, tmp_path: Path) -> None:
    """Links are what `get` is asked for, so only its job without any is read here; whole ids are for --json."""
    failed, endless = service.seed_jobs(1, age=600, fate="failed") + service.seed_jobs(1, fate="endless")
    (tmp_path / "ids.txt").write_text("\n".join(service.seed_jobs(4, kind="mix", age=600)), "utf-8")
    line = {"path": "google-flow/videos", "body": {"prompt": SPITEFUL}, "key": EMAIL}
    (tmp_path / "batch.jsonl").write_text(json.dumps(line), "utf-8")
    flaws = [line | {"path": SPITEFUL}, line | {SPITEFUL: 1}, line | {"body": {"replyRef": [SPITEFUL]}}, [SPITEFUL]]
    (tmp_path / "flaws.jsonl").write_text("\n".join(map(json.dumps, flaws)), "utf-8")
    (tmp_path / "settings.toml").write_text(f"[watch]\n'{SPITEFUL}' = 1\n", "utf-8")
    environment = {name: value for name, value in os.environ.items() if name in {"PATH", "SYSTEMROOT", "PYTHONPATH"}}
    settings = {"USEAPI_TOKEN": service.token, "USEAPI_BASE_URL": service.url, "PYTHONDEVMODE": "1"}
    for name, arguments in COMMANDS.items():
        whole = [argument.format(id=failed, endless=endless) for argument in arguments]
        run = [sys.executable, "-m", "asyncflow", *whole]
        done = subprocess.run(
            run, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment | settings, timeout=60
        )
        assert (name, leaks(done.stdout + done.stderr)) == (name, [])
        assert done.stdout + done.stderr != ""
    refused = subprocess.run(
        [sys.executable, "-m", "asyncflow", "get", failed],
        check=False,
        capture_output=True,
        text=True,
        env=environment | settings | {"USEAPI_TOKEN": "user:1234-wrong", "ASYNCFLOW_DEBUG": "1"},
        timeout=60,
    )
    assert (refused.returncode, leaks(refused.stdout + refused.stderr)) == (4, [])
    assert leaks((tmp_path / "run.html").read_text("utf-8")) == []
    assert [path.name for path in tmp_path.rglob("*") if leaks(path.name)] == []
