"""Requests out: what goes on the wire, down to the literal target.

Pure: no clock, no I/O, no asyncio. A call that cannot work is refused here, before there is a request.
"""

from __future__ import annotations

from string import ascii_letters, digits
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct

from asyncflow.errors import UsageError
from asyncflow.redaction import digest, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

Service = Literal["google-flow", "flowmusic"]
Expected = Literal["job", "submission", "stats", "asset", "cancelled", "file"]

SERVICES: tuple[Service, ...] = ("google-flow", "flowmusic")
_ENDINGS: tuple[tuple[str, Service], ...] = tuple((f"-bot:{service}", service) for service in SERVICES)
_FLOW_ENDING = "-bot:google-flow"
DETAILS = ("summary", "executing", "history")

_LONGEST_ID = 512
# The characters of a path segment (RFC 3986, 3.3). Google Flow answers 400 to an id whose ":" or "@" is escaped.
_RAW_SAFE = ":@!$&'()*+,;=-._~"
_NEED_NO_QUOTES = f"{ascii_letters}{digits}{_RAW_SAFE}".encode()


class Request(Struct, frozen=True, gc=False):
    """One request, and what a good answer to it *expects* to be.

    *target* is the literal path and query, encoded already: it must reach the wire as it is, and for a file it is the whole link.
    *job_id* is the job in question, *asset_id* the file.
    """

    service: str
    method: str
    target: str
    expects: Expected
    body: bytes | None = None
    job_id: str | None = None
    asset_id: str | None = None

    def __repr__(self) -> str:
        return f"<Request {self.method} {redact(self.target)}>"


def service_of(job_id: str) -> Service:
    """Return the service that *job_id* names at its end. `UsageError` for what cannot be an id, or names another service."""
    _check_id(job_id, "job id")
    for ending, service in _ENDINGS:
        if job_id.endswith(ending):
            return service
    if "-bot%3a" in job_id.lower():
        raise UsageError(
            f"job id {digest(job_id)} is percent-encoded: give it as the service does, with ':' and '@'", reason="percent_encoded"
        )
    raise UsageError(
        f"job id {digest(job_id)} does not end in -bot:google-flow or -bot:flowmusic: give the whole id, or its service"
    )


def job_request(job_id: str, service: str | None = None) -> Request:
    """Return the read of a job. *service* overrides the one that the id names."""
    if (
        service is None
        and job_id.endswith(_FLOW_ENDING)
        and len(job_id) <= _LONGEST_ID
        and job_id.isascii()
        and not job_id.encode().translate(None, _NEED_NO_QUOTES)
    ):
        # An id of ordinary characters, as all are, needs no other look: this is the request that is made most.
        return Request("google-flow", "GET", f"/v1/google-flow/jobs/{job_id}", "job", None, job_id)
    service = _service(job_id, service)
    return Request(service, "GET", _job_target(service, job_id), "job", None, job_id)


def cancel_request(job_id: str, service: str | None = None) -> Request:
    """Return the cancel of a Flow Music job. `UsageError` for a Google Flow job: that service cancels none."""
    service = _service(job_id, service)
    if service != "flowmusic":
        raise UsageError("Google Flow cannot cancel a job: only Flow Music can", job_id=job_id)
    return Request(service, "DELETE", _job_target(service, job_id), "cancelled", None, job_id)


def stats_request(service: str, detail: str | None = None) -> Request:
    """Return the read of a service's statistics.

    *detail* is "summary" (the default), "executing" or "history" for Google Flow; Flow Music always lists the jobs that run.
    """
    _check_service(service)
    if detail is not None and detail not in DETAILS:
        raise UsageError(f"unknown detail of statistics: use {', '.join(DETAILS)}")
    target = f"/v1/{service}/jobs/?options={detail or DETAILS[0]}" if service == "google-flow" else f"/v1/{service}/jobs"
    return Request(service, "GET", target, "stats")


def asset_request(asset_id: str) -> Request:
    """Return the request for a fresh link to a Google Flow file. `UsageError` for a Flow Music clip: its links do not end."""
    _check_id(asset_id, "asset id")
    if "-clip:" in asset_id:
        raise UsageError("the asset is a Flow Music clip: its links do not expire, and no fresh ones can be asked for")
    target = f"/v1/google-flow/assets/{quote(asset_id, _RAW_SAFE)}"
    return Request("google-flow", "GET", target, "asset", asset_id=asset_id)


def submit_request(path: str, body: Mapping[str, Any]) -> Request:
    """Return the POST of *body* as JSON to *path* ("google-flow/videos", with or without "/v1/"), which creates a job."""
    service, _, endpoint = path.removeprefix("/").removeprefix("v1/").partition("/")
    _check_service(service)
    if not endpoint or not endpoint.isprintable() or " " in endpoint:
        raise UsageError("the path of a submit names an endpoint of a service, such as google-flow/videos")
    try:
        content = msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError("the body of a submit cannot be written as JSON") from error
    return Request(service, "POST", f"/v1/{service}/{quote(endpoint, _RAW_SAFE + '/?%')}", "submission", content)


def file_request(url: str, job_id: str | None = None) -> Request:
    """Return the download of a file by its link. The link is its own permission: no token goes with it."""
    return Request("", "GET", url, "file", None, job_id)


def flaw_of_id(text: str) -> str | None:
    """Return why *text* cannot be an id, None if it can."""
    if not text:
        return "is empty"
    if text in {".", ".."}:
        return "is a relative path"
    if len(text) > _LONGEST_ID:
        return f"has {len(text)} characters, too many for an id"
    if not text.isprintable() or " " in text:
        return "holds white space or control characters"
    return None


def _service(job_id: str, service: str | None) -> str:
    if service is None:
        return service_of(job_id)
    _check_id(job_id, "job id")
    _check_service(service)
    return service


def _job_target(service: str, job_id: str) -> str:
    if service != "google-flow":
        job_id = quote(job_id, "")
    elif not job_id.isascii() or job_id.encode().translate(None, _NEED_NO_QUOTES):
        job_id = quote(job_id, _RAW_SAFE)
    return f"/v1/{service}/jobs/{job_id}"


def _check_service(service: str) -> None:
    if service not in SERVICES:
        raise UsageError(f"unknown service {redact(service)!r}: use {' or '.join(SERVICES)}")


def _check_id(text: str, what: str) -> None:
    flaw = flaw_of_id(text)
    if flaw is not None:
        raise UsageError(f"{what} {digest(text)} {flaw}" if text else f"the {what} {flaw}")
