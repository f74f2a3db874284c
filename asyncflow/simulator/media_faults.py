"""What a media host may do wrong, one request after another, for one file.

Pure: no clock, no I/O, no asyncio.
"""

import gzip
import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from asyncflow.simulator.responses import HTML, SimulatedResponse
from asyncflow.simulator.samples import png

__all__ = ["BROKEN", "TRICKS", "Asked", "MediaFaultPlan", "play_trick"]

BROKEN = frozenset({"truncate", "untagged_truncate", "reset", "reset_midway", "hang", "stall", "trickle", "endless"})
"""Tricks with the connection and not with the answer."""

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_XML = {"Content-Type": "application/xml"}
_SMALL_PART = 4096


class Asked(NamedTuple):
    """A request for a file: the right *answer*, the *whole* file as an answer, and the request's own *target*."""

    answer: SimulatedResponse
    whole: SimulatedResponse
    target: str


def _fixed(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Callable[[Asked], SimulatedResponse]:
    return lambda _: SimulatedResponse(status, body, headers or {})


def _to(place: str) -> Callable[[Asked], SimulatedResponse]:
    return _fixed(302, b"", {"Location": place})


def _instead(body: bytes, **headers: str) -> Callable[[Asked], SimulatedResponse]:
    """Return what answers with *body* under the headers of the file."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked: SimulatedResponse(200, body, {**asked.whole.headers, **named})


def _with(**headers: str) -> Callable[[Asked], SimulatedResponse]:
    """Return what answers rightly, but for *headers*."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda asked: SimulatedResponse(asked.answer.status, asked.answer.body, {**asked.answer.headers, **named})


def _compressed(asked: Asked) -> SimulatedResponse:
    return SimulatedResponse(200, gzip.compress(asked.whole.body), {**asked.whole.headers, "Content-Encoding": "gzip"})


def _unnamed_length(asked: Asked) -> SimulatedResponse:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(asked.whole.body), asked.whole.body)
    return SimulatedResponse(200, body, {**asked.whole.headers, "Transfer-Encoding": "chunked"})


def _redirect(asked: Asked) -> SimulatedResponse:
    return SimulatedResponse(307, b"", {"Location": f"{asked.target}{'&' if '?' in asked.target else '?'}via=redirect"})


def _unasked_part(asked: Asked) -> SimulatedResponse:
    size = len(asked.whole.body)
    return SimulatedResponse(206, asked.whole.body, {**asked.whole.headers, "Content-Range": f"bytes 0-{size - 1}/{size}"})


def _part(change: Callable[[Asked, int, int], tuple[bytes, dict[str, str]]]) -> Callable[[Asked], SimulatedResponse]:
    """Return what answers a range as *change* has it, given its start and the file's size; rightly where none was asked for."""

    def answer(asked: Asked) -> SimulatedResponse:
        found = _CONTENT_RANGE.fullmatch(asked.answer.headers.get("Content-Range", ""))
        if asked.answer.status != 206 or found is None:
            return asked.answer
        body, headers = change(asked, int(found[1]), int(found[3]))
        return SimulatedResponse(206, body, {**asked.answer.headers, **headers})

    return answer


def _wrong_start(asked: Asked, start: int, size: int) -> tuple[bytes, dict[str, str]]:
    return asked.whole.body[start + 1 :], {"Content-Range": f"bytes {start + 1}-{size - 1}/{size}"}


def _small_part(asked: Asked, start: int, size: int) -> tuple[bytes, dict[str, str]]:
    stop = min(start + _SMALL_PART, size)
    return asked.whole.body[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}


_ANSWERS: dict[str, Callable[[Asked], SimulatedResponse]] = {
    "right": lambda asked: asked.answer,
    # Ranges.
    "wrong_start": _part(_wrong_start),
    "wrong_total": _part(
        lambda asked, start, size: (asked.answer.body, {"Content-Range": f"bytes {start}-{size - 1}/{size + 1}"})
    ),
    "wrong_length": _part(lambda asked, _start, _size: (asked.answer.body[:-1], {})),
    "other_version": _part(lambda asked, _start, _size: (bytes(len(asked.answer.body)), {"ETag": '"another"'})),
    "small_part": _part(_small_part),
    "unasked_part": _unasked_part,
    "ignored_range": lambda asked: asked.whole,
    "refused_range": lambda asked: SimulatedResponse(416, b"", {"Content-Range": f"bytes */{len(asked.whole.body) + 1}"}),
    # What is no file, or not this one.
    "html": _fixed(200, b"<!DOCTYPE html><html><body>This link has expired</body></html>", HTML),
    "json_as_media": _instead(b'{"error": {"code": 403, "message": "expired"}}'),
    "empty": _instead(b""),
    "picture": _instead(png("thumbnail"), Content_Type="image/png"),
    "compressed": _compressed,
    "announced_terabyte": _with(Content_Length=str(10**12)),
    "unnamed_length": _unnamed_length,
    "evil_name": _with(Content_Disposition='attachment; filename="../../evil.sh"'),
    # Elsewhere.
    "redirect": _redirect,
    "redirect_loop": lambda asked: SimulatedResponse(302, b"", {"Location": asked.target}),
    "redirect_private": _to("http://10.0.0.1/video.mp4"),
    "redirect_metadata": _to("http://169.254.169.254/latest/meta-data/"),
    "redirect_http": _to("http://media.example.com/video.mp4"),
    "redirect_file": _to("file:///etc/passwd"),
    "redirect_nowhere": _fixed(302),
    # Refusals.
    "expired": _fixed(403, b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code></Error>", _XML),
    "gone": _fixed(410, b"", _XML),
    "missing": _fixed(404, b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", _XML),
    "busy": _fixed(503, b"<html>busy</html>", {**HTML, "Retry-After": "0"}),
    "teapot": _fixed(418),
}
TRICKS = BROKEN | frozenset(_ANSWERS)


class MediaFaultPlan:
    """The tricks that wait for requests: each is played once, in order; then the host is right again."""

    def __init__(self) -> None:
        self._queues: dict[str, list[str]] = {}

    def load(self, name: str, tricks: Iterable[str]) -> None:
        """Play *tricks* on the next requests for the media called *name*; raises ValueError for one that is unknown."""
        queue = list(tricks)
        unknown = set(queue) - TRICKS
        if unknown:
            raise ValueError(f"unknown tricks: {', '.join(sorted(unknown))} (of {', '.join(sorted(TRICKS))})")
        self._queues[name] = queue

    def next(self, path: str) -> str | None:
        """Return the trick for a request to *path*, None if the host is to be right."""
        if not self._queues:
            return None
        name = path.rpartition("/")[2].partition(".")[0]
        queue = self._queues.get(name)
        return queue.pop(0) if queue else None


def play_trick(trick: str, asked: Asked) -> SimulatedResponse:
    """Return what the host answers to play *trick*, one that is not `BROKEN`."""
    return _ANSWERS[trick](asked)
