"""The media host: files behind links, whole or in ranges, with checksums to compare (API.md 5)."""

import re
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256

from msgspec import Struct

from asyncflow.simulator.flowmusic.records import clip_states
from asyncflow.simulator.google_flow.records import is_inline, media_states
from asyncflow.simulator.identity import media_name
from asyncflow.simulator.jobs import SimulatedJob
from asyncflow.simulator.responses import SimulatedResponse
from asyncflow.simulator.samples import m4a, mp4, png, wav
from asyncflow.simulator.state import SimulatorState

__all__ = ["MediaTruth", "list_media", "read_media"]

_PATH = re.compile(r"/content/(video|image|audio|cover)/([0-9a-f-]{36})(\.m4a|\.wav|\.png)?")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_XML = {"Content-Type": "application/xml"}
_TYPES = {"mp4": "video/mp4", "png": "image/png", "m4a": "audio/mp4", "wav": "audio/wav"}
_MAKERS = {"mp4": mp4, "png": png, "m4a": m4a, "wav": wav}


class MediaTruth(Struct, frozen=True):
    """What a main file of a job's good media holds; those that come as base64 in the record are listed too."""

    job_id: str
    index: int
    content_type: str
    size: int
    sha256: str


def list_media(world: SimulatorState, job: SimulatedJob) -> list[MediaTruth]:
    """Return the main files of an ended job, in the order of its record; none while it runs or if it failed."""
    facts = job.facts
    music = facts.service == "flowmusic"
    if job.scenario.status(world.now() - job.born) != "completed":
        return []
    kind = "m4a" if music else "mp4" if facts.kind == "video" else "png"
    truths: list[MediaTruth] = []
    for index, state in enumerate(clip_states(facts) if music else media_states(facts)):
        if state in {"ok", "unlinked"}:
            size = 0 if kind == "png" and is_inline(facts, index) else world.settings.media_size
            content, checksum = _content(kind, media_name(facts, index), size)
            truths.append(MediaTruth(facts.job_id, index, _TYPES[kind], len(content), checksum))
    return truths


def read_media(world: SimulatorState, path: str, query: str, headers: Mapping[str, str], now: float) -> SimulatedResponse:
    """Answer a request for a file: 403 with a page of XML if its link is forged or has ended, 404 if there is none."""
    match = _PATH.fullmatch(path)
    found = world.book.find_media(match[2]) if match else None
    if match is None or found is None or not found[0].has_ended(now):
        return SimulatedResponse(404, b"<?xml version='1.0'?><Error><Code>NoSuchKey</Code></Error>", _XML)
    if match[1] in {"video", "image"}:
        code = world.links.refusal(path, query, world.wall(now))
        if code is not None:
            return SimulatedResponse(403, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode(), _XML)
    kind = "mp4" if match[1] == "video" else (match[3] or ".png")[1:]
    content, checksum = _content(kind, match[2], world.settings.media_size)
    return _ranged(content, f'"{checksum[:24]}"', _TYPES[kind], headers)


def _ranged(content: bytes, tag: str, content_type: str, headers: Mapping[str, str]) -> SimulatedResponse:
    common = {"Content-Type": content_type, "ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": "private"}
    if headers.get("If-None-Match") == tag:
        return SimulatedResponse(304, b"", common)
    match = _RANGE.fullmatch(headers.get("Range", ""))
    if match is None or not (match[1] or match[2]) or headers.get("If-Range", tag) != tag:
        return SimulatedResponse(200, content, common)
    size = len(content)
    start = int(match[1]) if match[1] else max(0, size - int(match[2]))
    stop = min(size, int(match[2]) + 1) if match[1] and match[2] else size
    if start >= stop:
        return SimulatedResponse(416, b"", {**common, "Content-Range": f"bytes */{size}"})
    return SimulatedResponse(206, content[start:stop], {**common, "Content-Range": f"bytes {start}-{stop - 1}/{size}"})


@lru_cache(maxsize=16)
def _content(kind: str, name: str, size: int) -> tuple[bytes, str]:
    content = _MAKERS[kind](name, size)
    return content, sha256(content).hexdigest()
