"""Flow Music's records: songs and their edits.

Pure: no clock, no I/O, no asyncio. The structs that begin with an underscore are the wire's; `decode` makes a `MusicJob` of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec
from msgspec import Struct

from asyncflow.errors import DecodeError
from asyncflow.services.job import Failure, Job, Media
from asyncflow.services.lenient import (
    deepest_reason,
    faithful,
    forgive,
    load_object,
    loads,
    parse_time,
    plain_code,
    single_line,
)

if TYPE_CHECKING:
    from msgspec import Raw

_CALM = frozenset({"pending", "completed"})
_KNOWN = frozenset({"created", "pending", "started", "completed", "failed"})


class MusicJob(Job, frozen=True, gc=False, tag="flowmusic"):
    """A song or an edit of one on Flow Music (https://useapi.net/docs/api-flowmusic-v1/get-flowmusic-jobs-jobid).

    *operation* is the edit's kind ("extend", "cover", ...; any str), None for a new song. *duration_ms* is how long the work took
    by the service's own measure, in milliseconds; None while it runs. A clip's `wav_url` stands in `raw`.
    """

    service: ClassVar[str] = "flowmusic"

    operation: str | None = None
    duration_ms: float | None = None

    @property
    def duration(self) -> float | None:
        """Seconds that the work took, by the service's own measure, else from creation to the end; None while it runs."""
        if self.is_terminal and self.duration_ms is not None and self.duration_ms >= 0:
            return self.duration_ms / 1000
        return super().duration


class _Echo(Struct, gc=False, rename="camel"):
    model: str | None = None
    reply_ref: str | None = None


class _Error(Struct, gc=False):
    code: int | str | None = None
    message: str | None = None


class _Clip(Struct, gc=False):
    clip: str | None = None
    title: str | None = None
    name: str | None = None
    duration_s: float | None = None
    seed: int | None = None
    audio_url: str | None = None
    wav_url: str | None = None
    image_url: str | None = None


class _Record(Struct, gc=False):
    jobid: str | None = None
    job_id: str | None = msgspec.field(default=None, name="jobId")
    status: str | None = None
    operation: str | None = None
    model: str | None = None
    created_at: str | None = None
    completed_at: str | None = None
    duration_ms: float | None = None
    clips: list[_Clip | None] | None = None
    stems: list[_Clip | None] | None = None
    error: _Error | str | None = None
    code: int | str | None = None
    request: _Echo | None = None


_DECODER = msgspec.json.Decoder(_Record)
_NO_ECHO = _Echo()


def decode(body: bytes, job_id: str | None = None, *, is_result: bool = False) -> MusicJob:
    """Return the job that *body* describes. *job_id* is the id that was asked for, in case the body names none.

    *is_result* marks the answer to a synchronous POST. `DecodeError` for everything that is no record.
    """
    try:
        record = _DECODER.decode(body)
        if not body.isascii():
            body.decode()
        raw = single_line(body)
    except (ValueError, RecursionError):
        record, raw = _decode_odd(body)
    return _job(record, raw, job_id, is_result=is_result)


def _decode_odd(body: bytes) -> tuple[_Record, Raw]:
    value = load_object(body)
    return forgive(value, _Record), faithful(body, value)


def _job(record: _Record, raw: Raw, asked: str | None, *, is_result: bool) -> MusicJob:
    job_id = record.jobid or record.job_id
    # The voices of a song are no job: they are there at once, in the answer to the edit that asked for them.
    clips = record.clips or (record.stems if is_result else None)
    media = tuple(map(_song, clips)) if clips else ()
    status = record.status or ""
    if not (job_id or media or _is_record(record)):
        raise DecodeError("the answer is JSON, but no record of a job")
    if is_result and media and not status:
        status = "completed"
    echo = record.request or _NO_ECHO
    return MusicJob(
        job_id=job_id or asked or "",
        status=status,
        kind="music",
        model=record.model or echo.model,
        created_at=parse_time(record.created_at),
        updated_at=parse_time(record.completed_at),
        media=media,
        failure=None if record.error is None and status in _CALM else _failure(record, raw),
        reply_ref=echo.reply_ref,
        record=raw,
        operation=record.operation,
        duration_ms=record.duration_ms,
    )


def _is_record(record: _Record) -> bool:
    """Whether an object without an id and without clips speaks of a job at all: an error alone does not."""
    if record.error is None:
        return record.status is not None or record.clips is not None
    return record.status is not None and record.status.strip().lower() in _KNOWN


def _song(clip: _Clip | None) -> Media:
    if clip is None:
        return Media("music", "unresolved")
    return Media.of(
        "music",
        clip.audio_url or clip.wav_url,
        thumbnail_url=clip.image_url,
        asset_id=clip.clip,
        duration=clip.duration_s,
        seed=clip.seed,
        title=clip.title or clip.name,
    )


def _failure(record: _Record, raw: Raw) -> Failure | None:
    error = record.error
    if error is None:
        is_failed = record.status is not None and record.status.strip().lower() == "failed"
        return Failure(code=plain_code(record.code)) if is_failed else None
    code, message = (error.code, error.message) if isinstance(error, _Error) else (None, error)
    return Failure(message=message, code=plain_code(code, record.code), reason=deepest_reason(loads(bytes(raw))))
