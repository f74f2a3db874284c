"""Records that are not as documented: a record or an error of ours comes of each, and never an end that it does not state."""

from __future__ import annotations

import json
import os
from copy import deepcopy
from typing import Any

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st
from samples import cases

from asyncflow.errors import AsyncflowError
from asyncflow.events import Changed
from asyncflow.protocol import Request, decode_answer, read_nudge
from asyncflow.records import AnyJob, Job

LONG = 4000 if os.environ.get("ASYNCFLOW_LONG") else 100

SAMPLES = [
    (of.service, json.loads(of.body))
    for of in cases()
    if of.expect["kind"] == "record" and not of.is_transport_fault and len(of.body) < 20_000
]
WORDS = [
    "created",
    "started",
    "pending",
    "completed",
    "failed",
    "COMPLETED",
    " failed ",
    "queued",
    "moderated",
    "cancelled",
    "done",
    "",
]
KEYS = [
    "jobid",
    "jobId",
    "status",
    "type",
    "error",
    "response",
    "media",
    "operations",
    "clips",
    "request",
    "video",
    "captcha",
    "code",
]

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [*WORDS, "\ud800", "PUBLIC_ERROR_MINOR", "https://x.example/v?Expires=99999999999999", "2026-11-04T09:30:12Z", "12"]
    ),
)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3), max_leaves=6
)


def spots(value: object) -> list[tuple[Any, Any]]:
    """Return every place in a JSON value, as its container and the key there."""
    if isinstance(value, dict):
        return [spot for key in value for spot in ((value, key), *spots(value[key]))]
    if isinstance(value, list):
        return [spot for index in range(len(value)) for spot in ((value, index), *spots(value[index]))]
    return []


@st.composite
def mutated(draw: st.DrawFn) -> tuple[str, Any]:
    """Draw a record with some of its fields dropped, nulled, retyped, renamed, nested or given another word."""
    service, sample = draw(st.sampled_from(SAMPLES))
    record = deepcopy(sample)
    for _ in range(draw(st.integers(1, 4))):
        places = spots(record)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["drop", "null", "retype", "rename", "nest", "status", "wrap"])):
            case "drop":
                del container[key]
            case "null":
                container[key] = None
            case "retype":
                container[key] = draw(values)
            case "rename" if isinstance(container, dict):
                container[draw(st.sampled_from(KEYS))] = container.pop(key)
            case "nest":
                container[key] = {draw(st.sampled_from(KEYS)): container[key]}
            case "status" if isinstance(record, dict):
                record["status"] = draw(st.sampled_from(WORDS) | values)
            case _:
                record = [record]
    return service, record


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw the bytes of a mutated record, perhaps cut off, garbled or dressed up."""
    service, record = draw(mutated())
    body = json.dumps(record, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1]))).encode(
        "utf-8", "surrogatepass"
    )
    at = draw(st.integers(0, len(body)))
    match draw(st.sampled_from(["whole", "whole", "cut", "garbled", "inserted", "marked", "spaced"])):
        case "cut":
            body = body[:at]
        case "garbled":
            body = body[:at] + draw(st.binary(min_size=1, max_size=3)) + body[at + 1 :]
        case "inserted":
            body = body[:at] + draw(st.sampled_from([b"\xff", b"\x00", b"\xed\xa0\x80", b'"', b"{", b"\n"])) + body[at:]
        case "marked":
            body = b"\xef\xbb\xbf" + body
        case "spaced":
            body = b"\r\n " + body + b"\n"
        case _:
            pass
    return service, body


def stated_end(body: bytes) -> str | None:
    """Return the end that *body* states, read by other means: the last status of the object, or of the one object in a list."""
    value = json.loads(body.decode("utf-8", "replace").removeprefix("\ufeff"), strict=False)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    word = value.get("status") if isinstance(value, dict) else None
    word = word.strip().lower() if isinstance(word, str) else None
    return word if word in {"completed", "failed"} else None


def read(request: Request, status: int, body: bytes) -> Job | AsyncflowError:
    try:
        job = decode_answer(request, status, {}, body)
    except AsyncflowError as error:
        return error
    assert isinstance(job, Job)
    return job


def check(service: str, body: bytes, method: str) -> None:
    request = Request(service, method, "/v1/x", "job", job_id="asked")
    job = read(request, 200, body)
    if isinstance(job, AsyncflowError):
        event(job.kind)
        assert job.kind in {"decode_error", "upstream_error"}
        assert method == "GET" or not job.transient
        str(job).encode()
        return
    event(job.outcome)
    end = stated_end(body)
    assert job.is_terminal is (end is not None)
    assert (job.outcome == "failed") is (end == "failed")
    assert job.outcome != "succeeded" or (job.media and job.media_ok == job.media_total)
    assert all(url.startswith("http") for url in job.urls)
    assert not (end == "failed" and job.failure is None)
    assert job.duration is None or job.duration >= 0
    repr((job, *job.media, job.failure)).encode()
    json.loads(job.raw)
    assert job.prompt is None or isinstance(job.prompt, str)
    line = msgspec.json.encode(Changed(job))
    assert b"\n" not in line
    line.decode()
    assert isinstance(msgspec.json.decode(line, type=Changed).job, AnyJob)


@settings(max_examples=LONG, deadline=None)
@given(damaged(), st.sampled_from(["GET", "POST"]))
def test_odd_record_is_a_record_or_an_error_and_ends_only_as_stated(case: tuple[str, bytes], method: str) -> None:
    check(*case, method)


@settings(max_examples=LONG, deadline=None)
@given(mutated(), st.sampled_from(["GET", "POST"]))
def test_odd_but_whole_record_is_never_falsely_over(case: tuple[str, Any], method: str) -> None:
    service, record = case
    check(service, json.dumps(record).encode(), method)


@settings(max_examples=LONG, deadline=None)
@given(
    st.sampled_from(["google-flow", "flowmusic"]), st.binary(max_size=60) | values.map(lambda value: json.dumps(value).encode())
)
def test_anything_else_is_an_error_or_not_over(service: str, body: bytes) -> None:
    check(service, body, "GET")
    assert read_nudge(body) is None or isinstance(read_nudge(body), str)


@settings(max_examples=LONG, deadline=None)
@given(mutated(), st.sampled_from([200, 201, 202]))
def test_submission_ends_only_if_it_says_so_or_brings_files(case: tuple[str, Any], status: int) -> None:
    service, record = case
    body = json.dumps(record).encode()
    job = read(Request(service, "POST", "/v1/x", "submission"), status, body)
    if isinstance(job, AsyncflowError):
        assert not job.transient
        return
    assert not job.is_terminal or stated_end(body) is not None or (status == 200 and job.media_total > 0)
