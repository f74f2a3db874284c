"""The conformance cases of tests/fixtures: answers of the service, and what is to be read in them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from asyncflow.protocol import Request

FOLDER = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Case:
    """One file of tests/fixtures."""

    name: str
    service: str
    http_status: int | None
    request: dict[str, str]
    headers: dict[str, str]
    body: bytes
    expect: dict[str, Any]
    is_transport_fault: bool

    @property
    def is_callback(self) -> bool:
        return self.request.get("direction") == "inbound"

    @property
    def asked_id(self) -> str | None:
        """The id in the path of a job's read or cancel."""
        job_id = self.request["path"].partition("/jobs/")[2]
        return None if job_id.startswith("?") or not job_id else job_id

    def to_request(self) -> Request:
        """Return the request that this answers, with the target as the file has it."""
        method, path = self.request["method"], self.request["path"]
        if self.request.get("direction") == "download":
            return Request("", method, path, "file")
        if self.is_callback or (self.asked_id is not None and method == "GET"):
            return Request(self.service, method, path, "job", job_id=self.asked_id)
        if method == "DELETE":
            return Request(self.service, method, path, "cancelled", job_id=self.asked_id)
        if method == "POST":
            return Request(self.service, method, path, "submission")
        if "/assets/" in path:
            return Request(self.service, method, path, "asset", asset_id=path.rpartition("/")[2])
        return Request(self.service, method, path, "stats")


@cache
def cases() -> tuple[Case, ...]:
    """Return every case, in the order of its number."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.json")))


def case(number: int) -> Case:
    """Return the case with this number."""
    return next(each for each in cases() if each.name.startswith(f"{number:03}-"))


def body_of(number: int) -> bytes:
    """Return the body of the case with this number."""
    return case(number).body


def records(service: str) -> tuple[Case, ...]:
    """Return the cases whose bodies are jobs of this service."""
    return tuple(each for each in cases() if each.service == service and each.expect["kind"] == "record")


def _read(path: Path) -> Case:
    file = json.loads(path.read_text("utf-8"))
    if "raw_body" in file:
        text = file["raw_body"]
        body = base64.b64decode(text) if file.get("raw_body_encoding") == "base64" else text.encode()
    else:
        body = json.dumps(file["body"]).encode() if "body" in file else b""
    return Case(
        name=path.stem,
        service=file["service"],
        http_status=file["http_status"],
        request=file["request"],
        headers=file["headers"],
        body=body,
        expect=file["expect"],
        is_transport_fault="transport_error" in file,
    )
