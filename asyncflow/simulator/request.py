"""A request to the service, taken apart, and the checks that all of them share (API.md 3.3 and 4)."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec import Struct

from asyncflow.simulator.identity import Fate
from asyncflow.simulator.jobs import SimulatedJob
from asyncflow.simulator.responses import SimulatedResponse, json_reply

if TYPE_CHECKING:
    from asyncflow.simulator.state import SimulatorState

__all__ = ["Handler", "Refusal", "SimulatedRequest", "SubmitTruth", "chosen_fate", "fields_of", "text"]

_REPLY_URL_LIMIT = 2000
_FATE_TAG = re.compile(r"#([a-z_]+)")


@dataclass(slots=True)
class SimulatedRequest:
    """One request. *path* and *query* are raw, as they stood on the wire.

    *job* is set by a read, for the accounts; *made* by a submit.
    """

    method: str
    path: str
    query: str
    body: bytes
    now: float
    job: SimulatedJob | None = None
    made: SimulatedJob | None = None


class SubmitTruth(Struct, frozen=True, kw_only=True):
    """What is true about one submit that arrived, whatever its sender has been told.

    *at* is when it came, in seconds since the simulator's start. *ended* is the status of its answer, or the name of the fault
    that kept the answer from its sender; *job_id* is the job that it made, None if it made none.
    """

    at: float
    path: str
    request: dict[str, object]
    reply_ref: str | None
    ended: str
    job_id: str | None

    @classmethod
    def of(cls, call: SimulatedRequest, ended: str) -> Self:
        """Return what *call* was."""
        try:
            request = msgspec.json.decode(call.body, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            request = {}
        reply_ref = request.get("replyRef")
        return cls(
            at=call.now,
            path=call.path,
            request=request,
            reply_ref=reply_ref if isinstance(reply_ref, str) else None,
            ended=ended,
            job_id=None if call.made is None else call.made.facts.job_id,
        )


Handler = Callable[["SimulatorState", SimulatedRequest], SimulatedResponse | Awaitable[SimulatedResponse]]


class Refusal(Exception):  # noqa: N818 - not an error of ours: it carries the service's refusal
    """The request is refused; *reply* says how."""

    def __init__(self, status: int, error: object) -> None:
        super().__init__(status)
        self.reply: SimulatedResponse = json_reply(status, {"error": error, "code": status})


def fields_of(call: SimulatedRequest, allowed: re.Pattern[str], required: tuple[str, ...] = ()) -> dict[str, object]:
    """Return the members of the request's JSON object, none of them outside of *allowed*, all *required* ones there.

    Raises Refused with the service's 400 otherwise.
    """
    try:
        fields = msgspec.json.decode(call.body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Refusal(400, "Request body is not a JSON object") from None
    for name in fields:
        if not allowed.fullmatch(name):
            raise Refusal(400, f"Parameter {name} not supported")
    for name in required:
        if not fields.get(name):
            raise Refusal(400, f"Parameter {name} is required")
    if len(str(fields.get("replyUrl", ""))) > _REPLY_URL_LIMIT:
        raise Refusal(400, "replyUrl is too long")
    return fields


def text(fields: Mapping[str, object], name: str) -> str | None:
    """Return a member that is text, None if it is missing; raises Refused if it is something else."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise Refusal(400, f"Parameter {name} must be a string")
    return value


def chosen_fate(fields: Mapping[str, object]) -> Fate | None:
    """Return the fate that a prompt asks for by a word such as `#failed` or `#partial`; None leaves it to chance."""
    match = _FATE_TAG.search(str(fields.get("prompt", "")))
    return Fate(match[1]) if match and match[1] in set(Fate) else None
