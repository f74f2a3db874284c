"""Google Flow's records: images and videos, all shapes, current and legacy.

Pure: no clock, no I/O, no asyncio. `decode` reads the wire's shapes (`google_flow_wire`) and makes a `FlowJob` of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import msgspec

from asyncflow.errors import DecodeError
from asyncflow.services.google_flow import wire
from asyncflow.services.job import Failure, Job, Media
from asyncflow.services.lenient import (
    deepest_reason,
    faithful,
    forgive,
    load_object,
    loads,
    number,
    parse_time,
    plain_code,
    single_line,
)

if TYPE_CHECKING:
    from msgspec import Raw

_KIND = re.compile(r"j\d+([vi])-")
_CALM = frozenset({"created", "started", "completed"})
_KNOWN = frozenset({"created", "started", "completed", "failed"})
# A number beyond this (a year) is no length of a video, and may be beyond all floats.
_MOST_SECONDS = 31_536_000
# The words of a synchronous answer, which has no status of a job: it has none at all, or that of its one file.
_RESULTS = frozenset({"", "MEDIA_GENERATION_STATUS_SUCCESSFUL"})


class FlowJob(Job, frozen=True, gc=False, tag="google-flow"):
    """A video or image job of Google Flow (https://useapi.net/docs/api-google-flow-v1/get-google-flow-jobs-jobid).

    *captcha_failed_attempts* counts the captcha solutions that were bought and then refused.
    """

    service: ClassVar[str] = "google-flow"

    captcha_failed_attempts: int = 0


_DECODER = msgspec.json.Decoder(wire.Record)


def decode(body: bytes, job_id: str | None = None, *, is_result: bool = False) -> FlowJob:
    """Return the job that *body* describes. *job_id* is the id that was asked for, in case the body names none.

    *is_result* marks the answer to a synchronous POST, which has no status because the work is over when it comes. `DecodeError`
    for everything that is no record.
    """
    try:
        record = _DECODER.decode(body)
        if not body.isascii():
            body.decode()
        raw = single_line(body)
    except (ValueError, RecursionError):
        record, raw = _decode_odd(body)
    return _job(record, raw, job_id, is_result=is_result)


def kind_of(job_id: str) -> str:
    """Return the kind that the letter of *job_id* stands for, "video" or "image", and "" where there is no such letter."""
    found = _KIND.match(job_id)
    return "" if found is None else "video" if found[1] == "v" else "image"


def _decode_odd(body: bytes) -> tuple[wire.Record, Raw]:
    value = load_object(body)
    return forgive(value, wire.Record), faithful(body, value)


def _job(record: wire.Record, raw: Raw, asked: str | None, *, is_result: bool) -> FlowJob:
    answer: wire.Answer = record if record.response is None else record.response
    job_id = record.jobid or record.job_id
    kind = record.type or kind_of(job_id or asked or "")
    media = _media(answer, kind)
    status = record.status or ""
    if not (job_id or media or _is_record(record)):
        raise DecodeError("the answer is JSON, but no record of a job")
    if is_result and media and status in _RESULTS:
        status = "completed"
    captcha = answer.captcha
    attempts, refused = (0, 0) if captcha is None else _count_attempts(captcha)
    echo = record.request or wire.NO_ECHO
    return FlowJob(
        job_id=job_id or asked or "",
        status=status,
        kind=kind or (media[0].kind if media else ""),
        model=echo.model,
        created_at=parse_time(record.created),
        updated_at=parse_time(record.updated),
        media=media,
        failure=None if record.error is None and status in _CALM else _failure(record, answer, media, raw),
        remaining_credits=answer.remaining_credits,
        captcha_attempts=attempts,
        reply_ref=echo.reply_ref,
        record=raw,
        captcha_failed_attempts=refused,
    )


def _count_attempts(captcha: wire.Captcha) -> tuple[int, int]:
    """Return how many solutions were bought, and how many of them were refused."""
    attempts = captcha.attempts or ()
    return len(attempts), len([None for attempt in attempts if attempt is not None and attempt.success is False])


def _is_record(record: wire.Record) -> bool:
    """Whether an object without an id and without media speaks of a job at all: an error alone does not."""
    if record.error is None:
        return record.status is not None or record.response is not None
    return record.status is not None and record.status.strip().lower() in _KNOWN


def _media(answer: wire.Answer, kind: str) -> tuple[Media, ...]:
    media: list[Media] = []
    if answer.media:
        media = [_current(entry, kind) for entry in answer.media]
    elif answer.operations:
        media = [_legacy(entry, kind) for entry in answer.operations]
    if answer.encoded_video:
        media.append(Media("video", "ok", encoded=answer.encoded_video))
    if answer.encoded_gif:
        media.append(Media("gif", "ok", encoded=answer.encoded_gif))
    if answer.encoded_image:
        media.append(Media("image", "ok", encoded=answer.encoded_image))
    return tuple(media)


def _current(entry: wire.MediaEntry | None, kind: str) -> Media:
    if entry is None:
        return Media(kind, "unresolved")
    video, image, metadata = entry.video, entry.image, entry.media_metadata
    file = wire.NO_FILE
    if video is not None:
        kind = "video"
        file = video.generated_video or file
    elif image is not None:
        kind = "image"
        file = image.generated_image or file
    status = metadata.media_status if metadata is not None else None
    return Media.of(
        kind,
        url=entry.video_url or file.fife_url,
        encoded=file.encoded_image or file.encoded_video,
        thumbnail_url=entry.thumbnail_url,
        asset_id=entry.media_generation_id or file.media_generation_id,
        is_failed=status is not None and _is_failed(status.media_generation_status),
        reasons=_reasons(status.error, status.failure_reasons) if status is not None else (),
        duration=_length(video.dimensions.length) if video is not None and video.dimensions is not None else None,
        seed=file.seed,
        title=metadata.media_title if metadata is not None else None,
    )


def _legacy(entry: wire.OperationEntry | None, kind: str) -> Media:
    """Read an entry of before June 2026; its `servingBaseUri` is a picture of the video, often mistaken for it."""
    if entry is None:
        return Media(kind or "video", "unresolved")
    operation = entry.operation or wire.NO_OPERATION
    metadata = operation.metadata
    file = entry.video or (metadata.video if metadata is not None else None) or wire.NO_FILE
    return Media.of(
        kind or "video",
        url=file.fife_url or file.uri,
        encoded=file.encoded_video,
        thumbnail_url=file.serving_base_uri,
        asset_id=entry.media_generation_id or file.media_generation_id,
        is_failed=_is_failed(entry.status),
        reasons=_reasons(operation.error, None),
        seed=file.seed,
    )


@lru_cache(maxsize=256)  # The same few words come with every file.
def _is_failed(status: str | None) -> bool:
    return status is not None and status.strip().upper().endswith("FAILED")


def _reasons(error: wire.Error | str | None, words: list[str | None] | None) -> tuple[str, ...]:
    """Return why a file failed: the error's own word where there is one, else the words of the list."""
    if error is None and words is None:
        return ()
    message = error if error is None or isinstance(error, str) else error.message or error.status
    return (message,) if message else tuple(word for word in words or () if word)


@lru_cache(maxsize=256)
def _length(text: str | None) -> float | None:
    """Return the seconds in "8s"; upscaled videos say "0s", which is no length."""
    seconds = None if text is None else number(text.removesuffix("s"))
    return float(seconds) if seconds is not None and 0 < seconds < _MOST_SECONDS else None


def _failure(record: wire.Record, answer: wire.Answer, media: tuple[Media, ...], raw: Raw) -> Failure | None:
    error, upstream = record.error, answer.error
    if error is None and (record.status is None or record.status.strip().lower() != "failed"):
        return None
    code, message = _parts(error)
    upstream_code, upstream_message = _parts(upstream)
    message = message or upstream_message
    details = record.error_details or _upstream(upstream)
    return Failure(
        message=message,
        code=plain_code(record.code, code, upstream_code),
        reason=deepest_reason(loads(bytes(raw))) or next((word for file in media for word in file.reasons), None),
        details=details if details != message else None,
    )


def _parts(error: wire.Error | str | None) -> tuple[int | str | None, str | None]:
    return (error.code, error.message or error.status) if isinstance(error, wire.Error) else (None, error)


def _upstream(error: wire.Error | str | None) -> str | None:
    """Return what the model behind the service said: the service's own sentence is often no more than "API error: 500"."""
    if not isinstance(error, wire.Error):
        return error
    return ": ".join(word for word in (error.status, error.message) if word) or None
