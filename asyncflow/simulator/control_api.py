"""The simulator's own paths, below `/_simulator/`: seed jobs, set faults, play answers, read counts and truth.

They need no token: whoever reaches the simulator may command it. Bodies and answers are JSON.
"""

import base64
from collections.abc import Callable

import msgspec
from msgspec import Struct, field

from asyncflow.simulator.faults import Faults
from asyncflow.simulator.identity import Fate, media_name
from asyncflow.simulator.jobs import JobOrder
from asyncflow.simulator.media import list_media
from asyncflow.simulator.replay import Answer, Fault
from asyncflow.simulator.responses import SimulatedResponse, json_reply
from asyncflow.simulator.state import SimulatorState

__all__ = ["Seeding", "answer_control", "seed"]

_KINDS_OF_A_MIX = ("video", "image", "video", "music", "video", "image", "video", "music", "video", "image")


class Seeding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Jobs to make: *kind* video, image, music or mix (50/30/20 %).

    *age* (the client's seconds) and *duration* (seconds at speed 1) may be ranges. *script*: see `Scenario`. *foreign*: jobs of
    another user. *reply_ref* gets a number behind it if there are several.
    """

    count: int = 1
    kind: str = "video"
    age: float | tuple[float, float] = 0.0
    fate: Fate | None = None
    duration: float | tuple[float, float] | None = None
    script: tuple[tuple[float, str], ...] | None = None
    media: int | None = None
    model: str | None = None
    email: str | None = None
    prompt: str | None = None
    reply_url: str | None = None
    reply_ref: str | None = None
    foreign: bool = False


class _Step(Struct, frozen=True, forbid_unknown_fields=True):
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    text: str | None = None
    base64: str | None = None
    json: msgspec.Raw = msgspec.Raw()
    fault: Fault | None = None

    def answer(self) -> Answer:
        body = base64.b64decode(self.base64, validate=True) if self.base64 is not None else (self.text or "").encode()
        body = bytes(self.json) or body
        return Answer(self.status, self.headers, body, self.fault)


class _Playing(Struct, frozen=True, forbid_unknown_fields=True):
    target: str
    answers: list[_Step]


class _Tricking(Struct, frozen=True, forbid_unknown_fields=True):
    job_id: str
    tricks: list[str]
    index: int = 0


def seed(world: SimulatorState, order: Seeding) -> list[str]:
    """Make the jobs of *order* and return their ids."""
    draw = world.injector.draw
    ids: list[str] = []
    for number in range(order.count):
        request: dict[str, object] = {"prompt": order.prompt or f"A paper kite over harbour {number + 1}"}
        if order.reply_ref is not None:
            request["replyRef"] = order.reply_ref if order.count == 1 else f"{order.reply_ref}-{number + 1}"
        if order.reply_url is not None:
            request["replyUrl"] = order.reply_url
        job = world.add_job(
            JobOrder(
                kind=_KINDS_OF_A_MIX[number % len(_KINDS_OF_A_MIX)] if order.kind == "mix" else order.kind,
                age=draw(order.age),
                fate=order.fate,
                duration=None if order.duration is None else draw(order.duration),
                script=order.script,
                media=order.media,
                model=order.model,
                email=order.email,
                request=request,
                reply_url=order.reply_url,
                foreign=order.foreign,
            )
        )
        ids.append(job.facts.job_id)
    return ids


async def answer_control(world: SimulatorState, method: str, path: str, body: bytes) -> SimulatedResponse:
    """Answer a request to *path*, which is what follows `/_simulator/`: 404 if there is no such control, 400 for a bad body."""
    if (method, path) == ("POST", "reset"):
        await world.reset()
        return SimulatedResponse(204, b"", {})
    answer = _ANSWERS.get((method, path))
    if answer is None:
        return json_reply(404, {"error": f"no such control: {method} {path}", "controls": [f"{m} {p}" for m, p in _ANSWERS]})
    try:
        return json_reply(200, answer(world, body))
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        return json_reply(400, {"error": str(error)})


def _seed(world: SimulatorState, body: bytes) -> object:
    return {"job_ids": seed(world, msgspec.json.decode(body or b"{}", type=Seeding))}


def _faults(world: SimulatorState, _: bytes) -> object:
    return world.injector.faults


def _replace_faults(world: SimulatorState, body: bytes) -> object:
    world.injector.faults = msgspec.json.decode(body or b"{}", type=Faults)
    return world.injector.faults


def _change_faults(world: SimulatorState, body: bytes) -> object:
    members = msgspec.to_builtins(world.injector.faults) | msgspec.json.decode(body, type=dict[str, object])
    world.injector.faults = msgspec.convert(members, Faults)
    return world.injector.faults


def _stats(world: SimulatorState, _: bytes) -> object:
    return world.stats()


def _truth(world: SimulatorState, _: bytes) -> object:
    now = world.now()
    return [job.truth(now) for job in world.book.jobs]


def _submits(world: SimulatorState, _: bytes) -> object:
    return world.submits


def _media(world: SimulatorState, _: bytes) -> object:
    return [truth for job in world.book.jobs for truth in list_media(world, job)]


def _play(world: SimulatorState, body: bytes) -> object:
    playing = msgspec.json.decode(body, type=_Playing)
    world.player.load(playing.target, [step.answer() for step in playing.answers])
    return {"playing": len(playing.answers)}


def _trick(world: SimulatorState, body: bytes) -> object:
    order = msgspec.json.decode(body, type=_Tricking)
    job = world.book.by_id.get(order.job_id)
    if job is None:
        raise ValueError("no such job")
    world.tricks.load(media_name(job.facts, order.index), order.tricks)
    return {"tricks": len(order.tricks)}


_ANSWERS: dict[tuple[str, str], Callable[[SimulatorState, bytes], object]] = {
    ("POST", "jobs"): _seed,
    ("GET", "faults"): _faults,
    ("PUT", "faults"): _replace_faults,
    ("PATCH", "faults"): _change_faults,
    ("GET", "stats"): _stats,
    ("GET", "truth"): _truth,
    ("GET", "submits"): _submits,
    ("GET", "media"): _media,
    ("POST", "play"): _play,
    ("POST", "tricks"): _trick,
}
