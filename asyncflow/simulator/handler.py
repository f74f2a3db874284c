"""Every request's way in and out: counted, let through the faults, routed, answered whole or broken."""

import inspect
import math
from datetime import UTC, datetime
from email.utils import format_datetime

from aiohttp import web

from asyncflow.simulator.clock import wait_until
from asyncflow.simulator.control_api import answer_control
from asyncflow.simulator.flowmusic import service as music_service
from asyncflow.simulator.google_flow import service as flow_service
from asyncflow.simulator.identity import iso
from asyncflow.simulator.media import read_media
from asyncflow.simulator.media_faults import Asked, play_trick
from asyncflow.simulator.replay import Answer
from asyncflow.simulator.request import Handler, Refusal, SimulatedRequest, SubmitTruth
from asyncflow.simulator.responses import (
    JSON,
    SimulatedResponse,
    abort,
    dribble,
    flood,
    json_reply,
    refusal,
    throttled,
    write_raw,
)
from asyncflow.simulator.state import SimulatorState

__all__ = ["ServiceHandler"]

_FLOW_JOBS = "/v1/google-flow/jobs/"
_FLOW_ASSETS = "/v1/google-flow/assets/"
_MUSIC_JOBS = "/v1/flowmusic/jobs/"
_ROUTES = flow_service.ROUTES | music_service.ROUTES
_GARBLED = b'\x1f\x8b{"jobid": "j11, \xff\xfe <html> not JSON'
_NOWHERE = {"error": "Endpoint not found", "code": 404, "hint": {"llm_docs": "https://example.com/llms.txt"}}
_CONTROL = "/_simulator/"


class ServiceHandler:
    """The handler of all requests."""

    def __init__(self, world: SimulatorState) -> None:
        self.world = world
        self._authorization = f"Bearer {world.settings.token}"

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer *request*; a connection that was broken on purpose gets an answer that nobody can send any more."""
        path, _, query = request.raw_path.partition("?")
        if path.startswith(_CONTROL):
            body = await request.read()
            return (await answer_control(self.world, request.method, path.removeprefix(_CONTROL), body)).response()
        kind, handler = _route(request.method, path)
        counters = self.world.counters
        call = SimulatedRequest(request.method, path, query, b"", self.world.now())
        counters.begin(kind, call.now)
        ended = "disconnected"
        try:
            if request.can_read_body:
                call.body = await request.read()
            played = self.world.player.next(request.method, path)
            if played is not None:
                ended = await self._play(request, played)
                return web.Response()
            trick = self.world.tricks.next(path) if kind == "media" else None
            if trick is not None:
                ended = await self._trick(request, call, trick)
                return web.Response()
            ended, response = await self._judge(request, call, kind, handler)
        except web.HTTPRequestEntityTooLarge:
            ended, response = "413", refusal(413).response()
        finally:
            counters.end(kind, ended)
            if kind == "submit":
                self.world.submits.append(SubmitTruth.of(call, ended))
        return response

    async def _judge(
        self, request: web.BaseRequest, call: SimulatedRequest, kind: str, handler: Handler | None
    ) -> tuple[str, web.Response]:
        """Let the faults have their way with the request; return how it ended, and its answer."""
        world = self.world
        verdict = world.injector.judge(kind, call.now)
        if verdict.delay:
            await wait_until(world.clock, world.clock.now() + verdict.delay)
            call.now = world.now()
        if verdict.fault in {"reset", "hang"}:
            return await self._break(request, verdict.fault, refusal(503)), web.Response()
        if verdict.status:
            world.counters.faults[str(verdict.fault)] += 1
            reply = refusal(verdict.status)
        else:
            reply = await self._answer(request, call, kind, handler)
        if reply.status == 429:
            reply = self._throttled(reply)
        if verdict.fault and not verdict.status:
            return await self._break(request, verdict.fault, reply), web.Response()
        if call.job is not None and reply.status == 200:
            call.job.shown(call.now)
        return str(reply.status), reply.response()

    async def _answer(
        self, request: web.BaseRequest, call: SimulatedRequest, kind: str, handler: Handler | None
    ) -> SimulatedResponse:
        headers = request.headers
        if kind == "media":
            if "Authorization" in headers or "Cookie" in headers:
                self.world.counters.tokens_at_media += 1
            return read_media(self.world, call.path, call.query, headers, call.now)
        if headers.get("User-Agent", "").startswith("Python-urllib"):
            return refusal(403)
        if handler is None:
            return json_reply(404, _NOWHERE)
        if headers.get("Authorization") != self._authorization:
            music = call.path.startswith("/v1/flowmusic/")
            return json_reply(401, {"error": "Unauthorized", "code": 401}) if music else refusal(401)
        try:
            answer = handler(self.world, call)
            return await answer if inspect.isawaitable(answer) else answer
        except Refusal as refused:
            return refused.reply

    def _throttled(self, reply: SimulatedResponse) -> SimulatedResponse:
        """Return the 429 with its Retry-After, and remember until when nobody should ask."""
        world = self.world
        faults = world.injector.faults
        now = world.now()
        wall = world.wall(now)
        seconds = faults.retry_after
        headers: dict[str, str] = {}
        retry_at: str | None = None
        if faults.retry_after_form == "seconds":
            seconds = float(math.ceil(seconds))
            headers["Retry-After"] = f"{seconds:.0f}"
        elif faults.retry_after_form == "date":
            until = math.ceil(wall + seconds)
            seconds = until - wall
            headers["Retry-After"] = format_datetime(datetime.fromtimestamp(until, UTC), usegmt=True)
        elif faults.retry_after_form == "body":
            retry_at = iso(wall + seconds)
        else:
            seconds = 0.0
        world.counters.throttle(now, seconds)
        if b"All accounts are busy" in reply.body:
            return SimulatedResponse(429, reply.body, {**JSON, **headers})
        return throttled(headers, retry_at)

    async def _break(self, request: web.BaseRequest, fault: str, reply: SimulatedResponse) -> str:
        """Do *fault* to the connection instead of, or while, sending *reply*; return its name."""
        world = self.world
        world.counters.faults[fault] += 1
        match fault:
            case "hang":
                await world.closing.wait()
                abort(request)
            case "reset" | "lost_answer":
                abort(request)
            case "reset_midway":
                write_raw(request, reply, share=0.5, close=False)
                abort(request)
            case "truncate":
                write_raw(request, reply, share=0.5)
            case "lost_to_gateway":
                write_raw(request, refusal(world.injector.random.choice((502, 504, 524))))
            case "garble":
                write_raw(request, SimulatedResponse(200, _GARBLED))
            case _:
                await dribble(request, reply, world.clock, world.injector.faults.slow_seconds)
        return fault

    async def _trick(self, request: web.BaseRequest, call: SimulatedRequest, trick: str) -> str:
        """Do *trick* to a request for a file; return how it ended."""
        world = self.world
        answer = await self._answer(request, call, "media", None)
        whole = read_media(world, call.path, call.query, {}, call.now)
        if trick in {"hang", "reset", "reset_midway", "truncate"}:
            return await self._break(request, trick, answer)
        world.counters.faults[trick] += 1
        match trick:
            case "stall":
                write_raw(request, answer, share=0.5, close=False)
                await world.closing.wait()
            case "trickle":
                await dribble(request, answer, world.clock, 3600.0)
            case "endless":
                await flood(request, answer, world.clock)
            case "untagged_truncate":
                bare = {name: value for name, value in answer.headers.items() if name != "ETag"}
                write_raw(request, SimulatedResponse(answer.status, answer.body, bare), share=0.5)
            case _:
                target = f"{call.path}?{call.query}" if call.query else call.path
                reply = play_trick(trick, Asked(answer, whole, target))
                write_raw(request, reply)
                return str(reply.status)
        return trick

    async def _play(self, request: web.BaseRequest, answer: Answer) -> str:
        reply = SimulatedResponse(answer.status, answer.body, answer.headers)
        if answer.fault is not None:
            return await self._break(request, answer.fault, reply)
        write_raw(request, reply)
        return str(answer.status)


def _route(method: str, path: str) -> tuple[str, Handler | None]:
    if method == "GET" and path.startswith(_FLOW_JOBS) and len(path) > len(_FLOW_JOBS):
        return "read", flow_service.read_job
    if path.startswith(_MUSIC_JOBS) and len(path) > len(_MUSIC_JOBS):
        handlers: dict[str, tuple[str, Handler]] = {
            "GET": ("read", music_service.read_job),
            "DELETE": ("cancel", music_service.cancel_job),
        }
        return handlers.get(method, ("other", None))
    if path.startswith("/content/"):
        return "media", None
    if method == "GET" and path.startswith(_FLOW_ASSETS):
        return "asset", flow_service.read_asset
    return _ROUTES.get((method, path), ("other", None))
