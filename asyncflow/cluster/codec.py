"""Events and ids in the form in which a store keeps them.

Pure: no clock, no I/O, no asyncio.
"""

from __future__ import annotations

import zlib
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
from msgspec import Raw

from asyncflow.errors import StoreError, UsageError
from asyncflow.events import Abandoned, Changed, Ended, Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncflow.records import Job

__all__ = ["checked_id", "pack_event", "place_of", "slim", "unpack_event"]

_LEVEL = 1
"""Of zlib: more saves a tenth of the bytes for twice the time."""

_WORTH_IT = 600
"""Bytes below which an event stays as it is: to begin a compression takes longer than all else that is done with it."""

_LONGEST = 64 * 1024 * 1024
"""Bytes of an unpacked event: what is longer was not written by us."""

_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], Event] = msgspec.json.Decoder(Event).decode


def place_of(job_id: str) -> str:
    """Return the short name of a job in a store: 84 bits of a digest, enough to tell a billion of them apart."""
    return urlsafe_b64encode(sha256(job_id.encode("utf-8", "surrogatepass")).digest()[:11])[:14].decode()


def pack_event(event: Event, most_bytes: int) -> bytes:
    """Return *event*, compressed unless it is short; without raw bytes and inline files where that is more than *most_bytes*."""
    text = _encode(event)
    if len(text) < _WORTH_IT:
        return text
    packed = zlib.compress(text, _LEVEL)
    return packed if len(packed) <= most_bytes else zlib.compress(_encode(slim(event)), _LEVEL)


def unpack_event(packed: bytes) -> Event:
    """Return the event that was packed; `StoreError` if it is none."""
    try:
        is_plain = packed[:1] == b"{"
        return _decode(packed if is_plain else zlib.decompressobj().decompress(packed, _LONGEST))
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreError("an event in the store cannot be read (damaged)", reason="damaged") from error


def slim(event: Event) -> Event:
    """Return *event* without what makes a record large: its raw bytes and its inline files. What they are is still told."""
    if not isinstance(event, Changed | Ended | Abandoned) or event.job is None:
        return event
    return msgspec.structs.replace(event, job=_slim(event.job))


def _slim(job: Job) -> Job:
    media = tuple(msgspec.structs.replace(one, encoded=None) for one in job.media)
    return msgspec.structs.replace(job, media=media, record=Raw(b"null"))


def checked_id(job_id: object) -> str:
    """Return *job_id* if it can be one."""
    if not isinstance(job_id, str) or not job_id.strip():
        raise UsageError("a job id is a str that is not empty")
    if not job_id.isascii() and job_id.encode("utf-8", "replace").decode() != job_id:
        raise UsageError("a job id is text that can be encoded")
    if job_id.lstrip()[:5].lower() == "user:":
        raise UsageError("this is a token, not a job id: it is not stored")
    return job_id
