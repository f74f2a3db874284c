"""Google Flow over HTTP: reads, creation, statistics, links to assets (API.md 3 to 5 and 7)."""

import base64
import re
from collections.abc import Callable
from typing import cast
from urllib.parse import parse_qs, unquote

from asyncflow.simulator.clock import wait_until
from asyncflow.simulator.google_flow import records as flow_records
from asyncflow.simulator.google_flow.stats import statistics
from asyncflow.simulator.identity import ACCOUNTS, Fate, mask
from asyncflow.simulator.jobs import JobOrder, SimulatedJob
from asyncflow.simulator.request import Handler, Refusal, SimulatedRequest, chosen_fate, fields_of, text
from asyncflow.simulator.responses import SimulatedResponse, json_reply, refusal
from asyncflow.simulator.samples import gif, mp4, png
from asyncflow.simulator.state import SimulatorState

__all__ = ["ROUTES", "read_asset", "read_job"]

_COMMON = "email|prompt|model|aspectRatio|count|seed|replyUrl|replyRef|captcha[A-Za-z]*"
_VIDEO = re.compile(
    f"{_COMMON}|async|startImage|endImage|referenceImage_[1-7]|reference_(?:[1-9]|10)|character_[1-7]|referenceAudio_[1-5]"
    "|referenceVideo_1|startFrameIndex_1|endFrameIndex_1|duration|resolution|voice"
)
_CHANGE = re.compile(f"{_COMMON}|async|mediaGenerationId|resolution|duration")
_IMAGE = re.compile(f"{_COMMON}|reference_(?:[1-9]|10)|referenceImage_(?:[1-9]|10)|character_[1-7]")
_SIMPLE = re.compile("email|mediaGenerationId|media|resolution|captcha[A-Za-z]*")
_ENCODED = re.compile("%(?:3a|40)", re.IGNORECASE)
_ASSET = re.compile(r"user:\d+-email:[0-9a-f]+-(image|video):(.+)")
_SYNC_LIMIT = 600.0


def read_job(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    """Answer GET /v1/google-flow/jobs/{jobid}; the raw target tells whether the id was percent-encoded."""
    raw = call.path.removeprefix("/v1/google-flow/jobs/")
    if _ENCODED.search(raw) or not raw.endswith("-bot:google-flow"):
        return refusal(400)
    job = world.book.by_id.get(raw) or world.book.by_id.get(unquote(raw))
    if job is None:
        return refusal(404)
    call.job = job
    job.reads += 1
    if job.foreign:
        return json_reply(403, {"error": "Access denied - job belongs to different user"})
    if world.is_expired(job, call.now):
        return refusal(410)
    if job.facts.email in world.injector.faults.broken_accounts:
        return _dead_account(job.facts.email)
    return SimulatedResponse(200, job.scenario.record(call.now - job.born))


def read_asset(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    """Answer GET /v1/google-flow/assets/{mediaGenerationId} with a fresh link, or the bytes if `raw=true` asks for them."""
    given = unquote(call.path.removeprefix("/v1/google-flow/assets/"))
    match = _ASSET.fullmatch(given)
    if match is None:
        return json_reply(400, {"error": f"Invalid mediaGenerationId format: {given}"})
    kind, name = match[1], match[2].removesuffix("_upsampled")
    found = world.book.find_media(name)
    if found is None or found[0].facts.kind != kind or not found[0].has_ended(call.now):
        return json_reply(404, {"error": "Asset not found"})
    if found[0].foreign:
        return json_reply(403, {"error": "Access denied - asset belongs to different user"})
    if parse_qs(call.query).get("raw") == ["true"]:
        size = world.settings.media_size
        content = mp4(name, size) if kind == "video" else png(name, size)
        return SimulatedResponse(200, content, {"Content-Type": "video/mp4" if kind == "video" else "image/png"})
    return json_reply(
        200, {"url": world.links.signed(f"/content/{kind}/{name}", world.wall(call.now)), "mediaGenerationId": given}
    )


def _create_video(operation: str, allowed: re.Pattern[str], required: tuple[str, ...]) -> Handler:
    async def create(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
        fields = fields_of(call, allowed, required)
        call.made = job = _make(world, fields, "video", operation)
        if fields.get("async") is True:
            return json_reply(201, flow_records.created_answer(job.facts, world.wall(job.born)))
        return await _wait_for(world, job)

    return create


async def _create_images(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    call.made = job = _make(world, fields_of(call, _IMAGE, ("prompt",)), "image", "images")
    return await _wait_for(world, job)


def _make(world: SimulatorState, fields: dict[str, object], kind: str, operation: str) -> SimulatedJob:
    email = text(fields, "email")
    if email is not None and email not in ACCOUNTS:
        raise Refusal(404, f"Google Flow account {email} not found")
    if email in world.injector.faults.broken_accounts:
        raise Refusal(596, f"Account {mask(str(email))} in error state: refresh token rejected")
    source = text(fields, "mediaGenerationId")
    if source is not None and not _ASSET.fullmatch(source):
        raise Refusal(400, f"Invalid mediaGenerationId format: {source}")
    count = fields.get("count", 1)
    if not isinstance(count, int) or not 1 <= count <= 4:
        raise Refusal(400, "Parameter count must be between 1 and 4")
    if fields.get("aspectRatio", "landscape") not in {"landscape", "portrait", "square"}:
        raise Refusal(400, "Parameter aspectRatio must be one of landscape, portrait, square")
    order = JobOrder(
        kind=kind, operation=operation, fate=chosen_fate(fields), media=count, model=text(fields, "model"), submitted=True
    )
    order.email, order.request, order.reply_url = email, fields, text(fields, "replyUrl")
    return world.add_job(order)


async def _wait_for(world: SimulatorState, job: SimulatedJob) -> SimulatedResponse:
    """Answer when the job has ended, or with 408 after ten minutes of the service's time; the work goes on then."""
    limit = _SYNC_LIMIT / world.settings.speed
    after = job.scenario.ends_after
    in_time = after is not None and after <= limit
    wait = after if after is not None and in_time else limit
    await wait_until(world.clock, world.clock.now() + job.born + wait - world.now())
    if not in_time:
        return json_reply(408, {"jobId": job.facts.job_id, "error": "Polling timeout", "code": 408})
    if job.scenario.status(wait) == "failed":
        return json_reply(400, flow_records.failure_body(job.facts))
    return json_reply(200, flow_records.sync_answer(job.facts, world.wall(job.born + wait), world.links))


def _concatenate(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    fields = fields_of(call, _SIMPLE, ("media",))
    inputs = cast("list[object]", fields["media"]) if isinstance(fields["media"], list) else []
    if not 2 <= len(inputs) <= 10:
        raise Refusal(400, "Parameter media must hold 2 to 10 items")
    order = JobOrder(operation="concatenate", duration=0.0, fate=Fate.SUCCESS, inputs=len(inputs), request=fields, submitted=True)
    call.made = job = world.add_job(order)
    return json_reply(200, flow_records.sync_answer(job.facts, world.wall(job.born), world.links))


def _encode(member: str, make: Callable[[str], bytes]) -> Handler:
    def answer(_: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
        source = str(fields_of(call, _SIMPLE, ("mediaGenerationId",))["mediaGenerationId"])
        if not _ASSET.fullmatch(source):
            raise Refusal(400, f"Invalid mediaGenerationId format: {source}")
        return json_reply(200, {member: _base64(make(source))})

    return answer


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _read_statistics(world: SimulatorState, call: SimulatedRequest) -> SimulatedResponse:
    option = parse_qs(call.query).get("options", ["summary"])[0]
    if option not in {"summary", "executing", "history"}:
        raise Refusal(400, "Parameter options must be one of summary, executing, history")
    return json_reply(200, statistics(world.book, option, call.now, world.wall(0)))


def _dead_account(email: str) -> SimulatedResponse:
    error = f"Account {mask(email)} in error state: refresh token rejected"
    return json_reply(596, {"error": error, "code": 596})


def _fixed(status: int, error: str) -> Handler:
    def answer(_: SimulatorState, __: SimulatedRequest) -> SimulatedResponse:
        return json_reply(status, {"error": error, "code": status})

    return answer


_BASE = "/v1/google-flow"
ROUTES: dict[tuple[str, str], tuple[str, Handler]] = {
    ("GET", f"{_BASE}/jobs"): ("stats", _read_statistics),
    ("GET", f"{_BASE}/jobs/"): ("stats", _read_statistics),
    ("POST", f"{_BASE}/videos"): ("submit", _create_video("videos", _VIDEO, ("prompt",))),
    ("POST", f"{_BASE}/videos/extend"): ("submit", _create_video("extend", _CHANGE, ("mediaGenerationId", "prompt"))),
    ("POST", f"{_BASE}/videos/upscale"): ("submit", _create_video("upscale", _CHANGE, ("mediaGenerationId",))),
    ("POST", f"{_BASE}/videos/gif"): ("submit", _encode("encodedGif", gif)),
    ("POST", f"{_BASE}/videos/concatenate"): ("submit", _concatenate),
    ("POST", f"{_BASE}/images"): ("submit", _create_images),
    ("POST", f"{_BASE}/images/upscale"): ("submit", _encode("encodedImage", png)),
    ("GET", f"{_BASE}/images"): ("other", _fixed(400, "Wrong GET url")),
    ("GET", f"{_BASE}/assets"): ("other", _fixed(405, "Method GET not allowed")),
}
