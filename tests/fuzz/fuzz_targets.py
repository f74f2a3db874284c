"""What is fuzzed: four doors through which strangers' bytes come in, each with what must hold whatever comes.

A target takes bytes and raises only what is a bug. `SEEDS` has good inputs for each, to start from.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pickle
import sqlite3
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from asyncflow.cli.exits import BadIdsError
from asyncflow.cli.input.ids import checked, ids_in_text, text_of
from asyncflow.errors import AsyncflowError, JournalError
from asyncflow.events import Abandoned, Changed, Ended, ErrorInfo, Event
from asyncflow.journal import Journal
from asyncflow.protocol import Request, decode_answer, read_nudge, service_of
from asyncflow.records import FlowJob, Job, Media
from asyncflow.webhook import WebhookReceiver

if TYPE_CHECKING:
    from collections.abc import Callable

FIXTURES = Path(__file__).parent.parent / "fixtures"
JOB_ID = "j1104093012448120573v-u1234-email:ada@example.com-bot:google-flow"
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
REQUESTS = (
    Request("google-flow", "GET", "/v1/google-flow/jobs/x", "job", job_id=JOB_ID),
    Request("flowmusic", "GET", "/v1/flowmusic/jobs/x", "job", job_id=JOB_ID),
    Request("google-flow", "POST", "/v1/google-flow/videos", "submission", b"{}"),
    Request("flowmusic", "POST", "/v1/flowmusic/music", "submission", b"{}"),
    Request("google-flow", "GET", "/v1/google-flow/jobs/?options=summary", "stats"),
    Request("flowmusic", "GET", "/v1/flowmusic/jobs", "stats"),
    Request("google-flow", "GET", "/v1/google-flow/assets/x", "asset", asset_id="x"),
    Request("", "GET", "https://media.example.com/x", "file"),
)
STATUSES = (200, 201, 202, 204, 302, 400, 401, 403, 404, 408, 410, 429, 500, 503, 596)
HEADERS: tuple[dict[str, str], ...] = ({}, {"Retry-After": "7"}, {"retry-after": "Wed, 04 Nov 2026 09:30:12 GMT"})


def protocol(data: bytes) -> None:
    """Two bytes choose request, status and headers; the rest is the body of the answer, of which an error of ours may come."""
    if len(data) < 2:
        return
    request = REQUESTS[data[0] % len(REQUESTS)]
    status = STATUSES[data[1] % len(STATUSES)]
    headers = HEADERS[data[0] // len(REQUESTS) % len(HEADERS)]
    try:
        answer = decode_answer(request, status, headers, data[2:], now=NOW)
    except AsyncflowError as error:
        check_error(error, is_repeatable=request.method != "POST")
        return
    assert 200 <= status < 300
    repr(answer).encode()
    if isinstance(answer, Job):
        check_job(answer)


def check_error(error: AsyncflowError, *, is_repeatable: bool) -> None:
    f"{error} {error!r}".encode()
    assert "\n" not in str(error)
    assert is_repeatable or not error.transient
    assert error.retry_after is None or 0 <= error.retry_after <= 86_400
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes
    event = Abandoned(JOB_ID, ErrorInfo.of(error))
    assert msgspec.json.decode(msgspec.json.encode(event), type=Event) == event


def check_job(job: Job) -> None:
    assert job.outcome != "succeeded" or (job.media and job.media_ok == job.media_total)
    assert job.is_terminal is (job.outcome != "pending")
    assert job.duration is None or job.duration >= 0
    assert all(url.startswith("http") for url in job.urls)
    f"{job!r} {job.media!r} {job.failure!r} {job.prompt} {job.reply_ref}".encode()
    for media in job.media:
        with contextlib.suppress(AsyncflowError, ValueError):
            bytes(media.content or b"")
    json.loads(job.raw)
    line = msgspec.json.encode(Changed(job))
    assert b"\n" not in line
    again = msgspec.json.decode(line, type=Changed).job
    assert (again.job_id, again.status, again.outcome) == (job.job_id, job.status, job.outcome)


def callback(data: bytes) -> None:
    """The whole is the body of a callback: a nudge about an id that could be one comes of it, or a refusal."""
    nudged: list[str] = []

    def nudge(job_id: str) -> bool:
        nudged.append(job_id)
        return job_id == JOB_ID

    reply = WebhookReceiver(nudge, secret="s3cret").answer("POST", "/hook/s3cret", "", {}, data)
    assert reply.status in {204, 400, 404, 413}
    assert (reply.status in {204, 404}) == bool(nudged)
    for job_id in nudged:
        assert job_id == read_nudge(data)
        assert job_id.isprintable()
        assert 0 < len(job_id) <= 512
    receiver = WebhookReceiver(nudge)
    assert receiver.answer("POST", "/", data.decode("latin-1"), {}, b"{}").status == 400


def journal(data: bytes) -> None:
    """The whole is a file that is said to be a journal: it is one, or it is refused in our words, and opening never hangs."""
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        path = Path(folder) / "run.db"
        path.write_bytes(data)
        with contextlib.suppress(JournalError):
            for entry in Journal(path).entries():
                repr(entry).encode()
        path.write_bytes(data)
        with contextlib.suppress(JournalError):
            asyncio.run(_use(Journal(path)))
        path.write_bytes(data)
        with contextlib.suppress(JournalError):
            Journal(path).prune()


async def _use(journal: Journal) -> None:
    try:
        await journal.open(lambda _error: None)
        _, place = await journal.unacknowledged(0)
        await journal.unacknowledged(place)
        watched = await journal.add([JOB_ID], NOW)
        assert set(watched) <= {JOB_ID}
        journal.report(Ended(FlowJob(JOB_ID, "completed", "video")), NOW)
        journal.acknowledge([JOB_ID])
    finally:
        await journal.aclose()


def id_file(data: bytes) -> None:
    """The whole is a file of ids: ids that name their service come of it, or a line that says what is wrong."""
    ids, complaint = _read_ids(data)
    assert complaint.isprintable(), ascii(complaint)
    for job_id in ids:
        assert service_of(job_id) in {"google-flow", "flowmusic"}
        assert job_id.strip() == job_id


def _read_ids(data: bytes) -> tuple[list[str], str]:
    try:
        text = text_of(data, "ids.txt")
        return checked((f"ids.txt, line {number}: ", word) for number, word in ids_in_text(text)), ""
    except BadIdsError as error:
        return [], error.text


TARGETS: dict[str, Callable[[bytes], None]] = {
    "protocol": protocol,
    "callback": callback,
    "journal": journal,
    "id_file": id_file,
}


@cache
def _memory() -> str | None:
    """A folder in memory, where there is one: an fsync on a disk takes longer than everything else."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - each file is in a folder of its own


@cache
def seeds(target: str) -> tuple[bytes, ...]:
    """Good inputs for *target*, and the ones that were once a crash."""
    found = [path.read_bytes() for path in sorted((FIXTURES.parent / "fixtures-fuzz" / target).glob("*"))]
    match target:
        case "journal":
            return (*found, _journal_file(), b"")
        case "id_file":
            texts = [f"# ids\n\n{JOB_ID}\r\n{JOB_ID} # twice\n", "job:0f1e2d3c-user:1-a@example.com-bot:flowmusic"]
            return (*found, *(text.encode(code) for text in texts for code in ("utf-8", "utf-8-sig", "utf-16")))
        case _:
            bodies = [_body(path) for path in sorted(FIXTURES.glob("*.json"))]
            heads = [bytes((number % 24, number % len(STATUSES))) for number in range(len(bodies))]
            return (*found, *(head + body if target == "protocol" else body for head, body in zip(heads, bodies, strict=True)))


def _body(path: Path) -> bytes:
    fixture = json.loads(path.read_text("utf-8"))
    return str(fixture["raw_body"]).encode() if "raw_body" in fixture else json.dumps(fixture.get("body")).encode()


def _journal_file() -> bytes:
    """A journal with jobs in several states, in one file that is as small as one of several tables can be."""

    async def write(journal: Journal) -> None:
        await journal.open(lambda _error: None)
        await journal.add([JOB_ID, "b-bot:flowmusic"], NOW)
        media = Media("video", "ok", url="https://media.example.com/1")
        journal.report(Changed(FlowJob(JOB_ID, "started", "video")), NOW)
        journal.report(Ended(FlowJob(JOB_ID, "completed", "video", media=(media,))), NOW)
        journal.save_policy({"a": 1})
        await journal.aclose()

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.db"
        asyncio.run(write(Journal(path)))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        return path.read_bytes()
