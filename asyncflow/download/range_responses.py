"""What is asked of a media host and what its answers are worth: ranges, validators, statuses.

Pure: no clock, no I/O, no asyncio. A host is not believed: an answer to a range is used only if it says that it is exactly the
rest of the file whose beginning we hold, and everything else begins the file anew or is refused (RFC 9110, 13 to 15).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from asyncflow.errors import AsyncflowError, DownloadError, LinkExpiredError, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

__all__ = ["AFRESH", "NOTHING", "WHOLE", "Body", "PartialState", "judge", "request_headers", "retry_after", "validator_of"]

_CONTENT_RANGE = re.compile(r"bytes\s+(?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.IGNORECASE)
_LENGTH = re.compile(r"\d{1,18}")
_ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_STRONG_SECONDS = 60.0
"""A time of change tells two versions apart if the answer was made so much later."""

_TRANSIENT = frozenset({408, 425, 429})
_LINK_REFUSED = frozenset({400, 401, 403, 410})
"""What hosts say of a signed link that has ended; 400 is Google's for some of them."""

_LONGEST_PAUSE = 600.0


@dataclass(frozen=True, slots=True)
class PartialState:
    """What there is of a file: so many bytes of the version that *validator* names, out of *total_bytes* (None: not known)."""

    size_bytes: int = 0
    validator: str | None = None
    total_bytes: int | None = None

    @property
    def is_resumable(self) -> bool:
        """Whether the rest may be asked for: without a validator, nobody knows of which version that would be."""
        return self.size_bytes > 0 and self.validator is not None


@dataclass(frozen=True, slots=True)
class Body:
    """The answer's body is good: it belongs at *offset* and is *length_bytes* long, None if the host does not say."""

    offset: int
    length_bytes: int | None
    total_bytes: int | None
    validator: str | None


class RangeVerdict:
    """A verdict without further facts."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


WHOLE = RangeVerdict("WHOLE")
"""The host confirms that what is held is all of the file."""
AFRESH = RangeVerdict("AFRESH")
"""The answer is of no use, and what is held neither: ask for the whole."""
NOTHING = PartialState()


def request_headers(held: PartialState) -> dict[str, str]:
    """Return the headers that ask for what is missing; never for a compressed form, whose bytes would not be the file's."""
    headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
    if held.is_resumable and held.validator is not None:
        headers |= {"Range": f"bytes={held.size_bytes}-", "If-Range": held.validator}
    return headers


def validator_of(headers: Mapping[str, str]) -> str | None:
    """Return what names this version of the file for certain: a strong ETag, else a time of change well before the answer's."""
    tag = headers.get("ETag", "").strip()
    if _ETAG.fullmatch(tag):
        return tag
    changed, made = _instant(headers.get("Last-Modified")), _instant(headers.get("Date"))
    if changed is None or made is None or (made - changed).total_seconds() < _STRONG_SECONDS:
        return None
    return headers["Last-Modified"]


def judge(status: int, headers: Mapping[str, str], held: PartialState, *, most_bytes: int) -> Body | RangeVerdict:
    """Return what the answer to a request for what is missing of *held* is worth.

    Raises `LinkExpiredError` if the link is refused, `ServiceError` (transient) if the host fails, and `DownloadError` if the
    answer is none that a file could come of, or the file is larger than *most_bytes*.
    """
    if status == 206:
        verdict = _judge_part(headers, held)
    elif status == 416 and held.is_resumable:
        verdict = _judge_no_part(headers, held)
    elif status == 200:
        length = _length(headers)
        verdict = Body(0, length, length, validator_of(headers))
    else:
        raise _refusal(status, headers)
    if isinstance(verdict, Body):
        coding = headers.get("Content-Encoding", "identity").strip().lower()
        if coding != "identity":
            raise DownloadError("the media host sent a compressed answer unasked", reason="wrong_answer", status=status)
        if max(verdict.total_bytes or 0, verdict.offset + (verdict.length_bytes or 0)) > most_bytes:
            raise too_large(most_bytes)
    return verdict


def too_large(most_bytes: int) -> DownloadError:
    """Return the error for a file of more than *most_bytes*."""
    return DownloadError(f"the file is larger than {most_bytes:,} bytes, the most that is taken", reason="too_large")


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the host asks to wait, ten minutes at most; None if it does not say so in seconds."""
    text = headers.get("Retry-After", "").strip()
    return min(float(text), _LONGEST_PAUSE) if _LENGTH.fullmatch(text) else None


def _judge_part(headers: Mapping[str, str], held: PartialState) -> Body | RangeVerdict:
    if not held.is_resumable:
        raise DownloadError("the media host sent a part of the file unasked", reason="wrong_answer", status=206)
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if found is None or found[1] is None or found[3] == "*":
        return AFRESH
    first, last, total = int(found[1]), int(found[2]), int(found[3])
    length = _length(headers)
    is_the_rest = first == held.size_bytes and first <= last < total and length in {None, last - first + 1}
    is_that_file = held.total_bytes in {None, total} and validator_of(headers) in {None, held.validator}
    if not (is_the_rest and is_that_file):
        return AFRESH
    return Body(first, last - first + 1, total, held.validator)


def _judge_no_part(headers: Mapping[str, str], held: PartialState) -> RangeVerdict:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    is_whole = found is not None and found[1] is None and found[3] == str(held.size_bytes) == str(held.total_bytes)
    return WHOLE if is_whole else AFRESH


def _refusal(status: int, headers: Mapping[str, str]) -> AsyncflowError:
    if status in _TRANSIENT or status >= 500:
        return ServiceError(
            "the media host failed", kind="upstream_error", transient=True, status=status, retry_after=retry_after(headers)
        )
    if status in _LINK_REFUSED:
        return LinkExpiredError("the media host refuses the link", status=status)
    if status == 404:
        return DownloadError("the media host has no such file", reason="gone", status=status)
    return DownloadError("the media host's answer is no file", reason="wrong_answer", status=status)


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "").strip()
    return int(text) if _LENGTH.fullmatch(text) else None


def _instant(text: str | None) -> datetime | None:
    try:
        when = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return when if when.tzinfo is not None else None
