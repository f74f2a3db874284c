"""Flow Music over HTTP: reads, creation, the accounts' running jobs, cancelling, downloads (API.md 8)."""

import re
from urllib.parse import parse_qs, unquote

from asyncflow.simulator.clock import wait_until
from asyncflow.simulator.flowmusic import records as music_records
from asyncflow.simulator.identity import MUSIC_ACCOUNTS, media_name
from asyncflow.simulator.jobs import JobOrder, SimulatedJob
from asyncflow.simulator.request import Handler, Refusal, SimulatedRequest, chosen_fate, fields_of, text
from asyncflow.simulator.responses import SimulatedResponse, json_reply, refusal
from asyncflow.simulator.samples import m4a
from asyncflow.simulator.state import SimulatorState

__all__ = ["ROUTES", "cancel_job", "read_job"]

# The page lists more parameters than API.md quotes; these are the usual ones.
_MUSIC = re.compile("email|prompt|lyrics|title|model|seed|duration|instrumental|mode|replyUrl|replyRef")
_EDIT = re.compile(f"{_MUSIC.pattern}|operation|clip|jobid|start|end|strength")
_OPERATIONS = ("effect", "extend", "replace", "cover", "remix", "stems")
_STEMS = ("vocals", "drums", "bass", "other")
_CLIP = re.compile(r"user:\d+-.+-clip:(.+)")


def read_job(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    """Answer GET /v1/flowmusic/jobs/{jobid}; the id may be percent-encoded or not."""
    job = _find(world, call)
    job.reads += 1
    return SimulatedResponse(200, job.scenario.record(call.now - job.born))


def cancel_job(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    """Answer DELETE /v1/flowmusic/jobs/{jobid}: a running job fails, an ended one stays as it is."""
    job = _find(world, call)
    call.job = None
    if world.book.cancel(job, call.now):
        world.outbox.changed(job)
    return SimulatedResponse(204, b"", {})


def _find(world: SimulatorState, call: SimulatedRequest) -> SimulatedJob:
    job = world.book.by_id.get(unquote(call.path.rpartition("/jobs/")[2]))
    if job is None or job.facts.service != "flowmusic" or world.is_expired(job, call.now):
        raise Refusal(404, "No such job")
    if job.foreign:
        raise Refusal(403, "jobid belongs to another account")
    if job.facts.email in world.injector.faults.broken_accounts:
        raise Refusal(596, "Account needs a new refresh token")
    call.job = job
    return job


async def _create_music(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    return await _create(world, call, fields_of(call, _MUSIC, ("prompt",)), "music")


async def _edit_music(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    fields = fields_of(call, _EDIT, ("operation", "clip"))
    operation = text(fields, "operation")
    if operation not in _OPERATIONS:
        raise Refusal(400, f"Parameter operation must be one of {', '.join(_OPERATIONS)}")
    if operation == "stems":
        return _split_stems(world, fields)
    return await _create(world, call, fields, operation)


async def _create(world: SimulatorState, call: SimulatedRequest, fields: dict[str, object], operation: str) -> SimulatedResponse:
    mode = fields.get("mode", "sync")
    if mode not in {"sync", "async"}:
        raise Refusal(400, "Parameter mode must be sync or async")
    order = JobOrder(kind="music", operation=operation, fate=chosen_fate(fields), model=text(fields, "model"), submitted=True)
    order.email, order.request, order.reply_url = _free_account(world, text(fields, "email")), fields, text(fields, "replyUrl")
    call.made = job = world.add_job(order)
    if mode == "async":
        return json_reply(
            201, music_records.record(job.facts, "pending", created=job.scenario.created, updated=None, links=world.links)
        )
    after = job.scenario.ends_after
    if after is None:
        await world.closing.wait()
        return refusal(503)
    await wait_until(world.clock, world.clock.now() + job.born + after - world.now())
    return SimulatedResponse(200, job.scenario.record(max(after, world.now() - job.born)))


def _free_account(world: SimulatorState, wanted: str | None) -> str:
    """Return the account that makes the song: the one wanted, or the least busy; Refused if none is free."""
    if wanted is not None and wanted not in MUSIC_ACCOUNTS:
        raise Refusal(404, f"Flow Music account {wanted} not found")
    broken = world.injector.faults.broken_accounts
    if wanted in broken:
        raise Refusal(596, "Account needs a new refresh token")
    running = _running(world)
    candidates = [wanted] if wanted else [email for email in MUSIC_ACCOUNTS if email not in broken]
    email = min(candidates, key=lambda address: len(running[address]), default=None)
    if email is None or len(running[email]) >= world.settings.max_jobs:
        raise Refusal(429, "All accounts are busy")
    return email


def _running(world: SimulatorState) -> dict[str, list[SimulatedJob]]:
    now = world.now()
    running: dict[str, list[SimulatedJob]] = {email: [] for email in MUSIC_ACCOUNTS}
    for job in world.book.jobs:
        if job.facts.service == "flowmusic" and not job.foreign and not job.has_ended(now):
            running[job.facts.email].append(job)
    return running


def _list_jobs(world: SimulatorState, _: SimulatedRequest) -> SimulatedResponse:
    limit = world.settings.max_jobs
    return json_reply(
        200,
        {
            email: {
                "running": len(jobs),
                "maxJobs": limit,
                "jobs": [music_records.listed(job.facts, job.scenario.created) for job in jobs],
            }
            for email, jobs in _running(world).items()
            if jobs
        },
    )


def _split_stems(world: SimulatorState, fields: dict[str, object]) -> SimulatedResponse:
    clip = str(fields["clip"])
    match = _CLIP.fullmatch(clip)
    if match is None or world.book.find_media(match[1]) is None:
        raise Refusal(404, "No such clip")
    stems = [{"name": stem, "wav_url": world.links.plain(f"/content/audio/{match[1]}.wav")} for stem in _STEMS]
    return json_reply(200, {"operation": "stems", "clip": clip, "request": fields, "stems": stems})


def _download(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    """Answer with the song's bytes; `clip` and `jobid` both take either kind of id."""
    query = parse_qs(call.query)
    given = (query.get("clip") or query.get("jobid") or [""])[0]
    match = _CLIP.fullmatch(given)
    job = world.book.by_id.get(given)
    if match is not None:
        found = world.book.find_media(match[1])
        job = found[0] if found else None
    if job is None or job.scenario.status(call.now - job.born) != "completed":
        raise Refusal(404, "No such clip or completed job")
    name = match[1] if match else media_name(job.facts, 0)
    return SimulatedResponse(200, m4a(name, world.settings.media_size), {"Content-Type": "audio/mp4"})


_BASE = "/v1/flowmusic"
ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("GET", f"{_BASE}/jobs"): ("stats", _list_jobs),
    ("GET", f"{_BASE}/jobs/"): ("stats", _list_jobs),
    ("POST", f"{_BASE}/music"): ("submit", _create_music),
    ("POST", f"{_BASE}/music/edit"): ("submit", _edit_music),
    ("GET", f"{_BASE}/music/download"): ("asset", _download),
}
