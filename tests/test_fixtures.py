"""The service's conformance cases, through the one pure function that every answer goes through.

Each key of a case's `expect` has its check here, by the kind of the case; a key without one fails.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from samples import FOLDER, Case, case, cases

from asyncflow.errors import AccountError, AsyncflowError, TransportError
from asyncflow.protocol import decode_answer, job_request, read_nudge, transport_error, under_asked_id
from asyncflow.records import AssetLink, Cancelled, FlowStats, Job, MusicJob, MusicStats
from asyncflow.services.google_flow.records import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KNOWN_STATUSES = {"created", "started", "pending", "completed", "failed"}
REPEATABLE = {"never": False, "never_blind": False, "after_retry_after_by_caller": False}


def read(of: Case) -> object:
    """Return what the case's answer is to us: a record, or the error raised."""
    request = of.to_request()
    try:
        if of.is_transport_fault:
            raise transport_error(request, TimeoutError())
        return decode_answer(request, of.http_status or 200, of.headers, of.body)
    except AsyncflowError as error:
        return error


def instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def service_word(job: Job) -> str | None:
    """Return the status as the service wrote it; an answer of POST need not have one."""
    record = json.loads(job.raw)
    word: str | None = record.get("status")
    return word


def normal_status(job: Job) -> str:
    word = job.status.strip().lower()
    return word if word in KNOWN_STATUSES else "unknown"


def has_path(value: object, path: str) -> bool:
    for part in path.replace("[", ".[").split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and int(part[1:-1]) < len(value):
            value = value[int(part[1:-1])]
        else:
            return False
    return True


def failure_has(job: Job, expected: dict[str, Any]) -> bool:
    failure = job.failure
    assert failure is not None
    upstream = failure.details or ""
    checks: dict[str, Callable[[Any], bool]] = {
        "message": lambda value: failure.message == value,
        "code": lambda value: failure.code == value,
        "reason": lambda value: failure.reason == value,
        "upstream_status": lambda value: value in upstream,
        "upstream_message": lambda value: value in upstream,
    }
    return all(checks[key](value) for key, value in expected.items())


def is_shown_nowhere(secret: str, *values: object) -> bool:
    return not any(secret in shown for value in values for shown in (str(value), repr(value)))


RECORD: Mapping[str, Callable[[Any, Any, Case], bool]] = {
    "retry": lambda _job, value, _of: value is False,
    "poll_again": lambda job, value, _of: (not job.is_terminal) is value,
    "must_not_complete": lambda job, value, _of: (not job.is_terminal) is value,
    "status": lambda job, value, _of: normal_status(job) == value,
    "status_raw": lambda job, value, _of: service_word(job) == value,
    "type_raw": lambda job, value, _of: json.loads(job.raw).get("type") == value and job.kind != "",
    "terminal": lambda job, value, _of: job.is_terminal is value,
    "outcome": lambda job, value, _of: job.outcome == value,
    "media_total": lambda job, value, _of: job.media_total == len(job.media) == value,
    "media_ok": lambda job, value, _of: job.media_ok == value,
    "media_failed": lambda job, value, _of: job.media_failed == value,
    "media_unresolved": lambda job, value, _of: job.media_unresolved == value,
    "resolvable": lambda job, value, _of: job.media_resolvable == value,
    "urls": lambda job, value, _of: list(job.urls) == value,
    "inline_artifacts": lambda job, value, _of: sum(media.content is not None for media in job.media) == value,
    "failed_reasons": lambda job, value, _of: list(job.failed_reasons) == value,
    "error": lambda job, value, _of: failure_has(job, value),
    "cancelled": lambda job, value, _of: job.failure.is_cancelled is value,
    "remaining_credits": lambda job, value, _of: job.remaining_credits == value,
    "captcha_attempts": lambda job, value, _of: job.captcha_attempts == value,
    "captcha_failed_attempts": lambda job, value, _of: job.captcha_failed_attempts == value,
    "created": lambda job, value, _of: job.created_at == instant(value),
    "updated": lambda job, value, _of: job.updated_at == instant(value),
    "completed": lambda job, value, _of: job.completed_at == instant(value),
    "duration_ms": lambda job, value, _of: isinstance(job, MusicJob) and job.duration_ms == value,
    "operation": lambda job, value, _of: isinstance(job, MusicJob) and job.operation == value,
    "prompt": lambda job, value, _of: job.prompt == value,
    "reply_ref": lambda job, value, _of: job.reply_ref == value,
    "jobid": lambda job, value, _of: (job.job_id or None) == value,
    "id_kind": lambda job, value, _of: (kind_of(job.job_id) or None) == value,
    "mismatch": lambda job, value, of: (under_asked_id(job, of.asked_id or "").answered_id == job.job_id) is value,
    "raw_preserved": lambda job, value, _of: all(has_path(json.loads(job.raw), path) for path in value),
    "redacted_must_not_contain": lambda job, value, _of: is_shown_nowhere(value, job, *job.media, job.failure),
    "webhook": lambda job, value, of: (read_nudge(of.body) == job.job_id) is value,
    # A stranger's callback is a record like any other here; that it can do no more than nudge is the receiver's promise.
    "untrusted": lambda job, value, of: (read_nudge(of.body) == job.job_id) is value,
    # What to do next is for shells to do; a pure record only has to have what they need for it.
    "follow_up": lambda job, _value, _of: bool(job.job_id),
}
ERROR: Mapping[str, Callable[[Any, Any, Case], bool]] = {
    "retry": lambda error, value, _of: error.transient is value,
    "error_class": lambda error, value, _of: error.kind == value,
    "message": lambda error, value, _of: error.message == value,
    "reason": lambda error, value, _of: error.reason == value,
    "category": lambda error, value, _of: error.category == value,
    "retry_after_s": lambda error, value, _of: error.retry_after == value,
    "jobid": lambda error, value, _of: error.job_id == value,
    "embedded_code": lambda error, value, _of: error.code == value,
    "skip_reasons": lambda error, value, _of: len(error.details) == value,
    "fatal_for_account": lambda error, value, _of: isinstance(error, AccountError) is value,
    "resubmit_same": lambda error, value, _of: error.transient is REPEATABLE[value],
    "outcome_unknown": lambda error, value, _of: (isinstance(error, TransportError) and not error.transient) is value,
    "hint": lambda error, value, _of: "User-Agent" in value and "User-Agent" in error.hint,
    "maybe_expired": lambda error, value, _of: ("expired" in error.hint) is value,
    "follow_up": lambda error, value, _of: error.job_id is not None if value == "poll_jobid" else "get_asset_url" in error.hint,
    "redacted_must_not_contain": lambda error, value, _of: is_shown_nowhere(value, error),
    "webhook": lambda _error, value, of: (read_nudge(of.body) is None) is value,
    "respond_http": lambda _error, _value, of: read_nudge(of.body) is None,
    "note": lambda error, _value, _of: error.retry_after is None,  # of the one case whose Retry-After makes no sense
}
STATS: Mapping[str, Callable[[Any, Any, Case], bool]] = {
    "retry": lambda _stats, value, _of: value is False,
    "emails": lambda stats, value, _of: list(stats.emails) == value,
    "groups": lambda stats, value, _of: list(stats.groups) == value,
    "videos": lambda stats, value, _of: all(
        {"executing": row.executing, "failed": row.failed, "rateLimited": row.rate_limited, "score": row.score} == value[email]
        for email, row in stats.videos.summary.items()
    ),
    "executing_jobs": lambda stats, value, _of: list(stats.executing_jobs) == value,
    "running": lambda stats, value, _of: stats.running == value,
    "max_jobs": lambda stats, value, _of: stats.max_jobs == value,
}
ACK: Mapping[str, Callable[[Any, Any, Case], bool]] = {
    "retry": lambda _ack, value, _of: value is False,
    "credits_refunded": lambda ack, value, _of: ack.credits_refunded is value,
}
ASSET: Mapping[str, Callable[[Any, Any, Case], bool]] = {
    "retry": lambda _link, value, _of: value is False,
    "url": lambda link, value, _of: link.url == value,
}
CHECKS: Mapping[str, tuple[type | tuple[type, ...], Mapping[str, Callable[[Any, Any, Case], bool]]]] = {
    "record": (Job, RECORD),
    "error": (AsyncflowError, ERROR),
    "stats": ((FlowStats, MusicStats), STATS),
    "ack": (Cancelled, ACK),
    "asset": (AssetLink, ASSET),
}


def test_all_cases_are_here() -> None:
    assert len(cases()) == 151


@pytest.mark.parametrize("of", cases(), ids=lambda of: of.name)
def test_answer_is_read_as_expected(of: Case) -> None:
    kind, checks = CHECKS[of.expect["kind"]]
    found = read(of)
    assert isinstance(found, kind)
    wrong = [key for key, value in of.expect.items() if key != "kind" and not checks[key](found, value, of)]
    assert wrong == []


@pytest.mark.parametrize("of", [of for of in cases() if of.to_request().expects == "job" and of.asked_id], ids=lambda of: of.name)
def test_target_of_a_read_is_the_documented_one(of: Case) -> None:
    assert of.asked_id is not None
    target = job_request(of.asked_id).target
    # Flow Music's ids may be written either way; ours are encoded.
    assert (target if of.service == "google-flow" else unquote(target)) == of.request["path"]


@pytest.mark.parametrize("name", sorted(path.stem for path in (FOLDER / "sequences").glob("*.json")))
def test_sequence_ends_as_expected(name: str) -> None:
    sequence = json.loads((FOLDER / "sequences" / f"{name}.json").read_text("utf-8"))
    steps = [case(int(step[:3])) for step in sequence["steps"]]
    gets, last = 0, None
    for step in steps:
        gets += step.request["method"] == "GET"
        last = read(step)
        assert isinstance(last, Job | Cancelled | AsyncflowError)
        if (isinstance(last, Job) and last.is_terminal) or (isinstance(last, AsyncflowError) and not last.transient):
            break
    expect = sequence["expect"]
    checks: dict[str, Callable[[Any], bool]] = {
        "gets": lambda value: gets == value,
        "result": lambda value: isinstance(last, Job) and last.outcome == value,
        "cancelled": lambda value: isinstance(last, Job) and last.failure is not None and last.failure.is_cancelled is value,
        "raises": lambda value: isinstance(last, AsyncflowError) and last.kind == value,
        # How often a read is repeated is the reader's to bound: here it only has to be one that may be.
        "bounded": lambda value: isinstance(last, AsyncflowError) and last.transient is value,
    }
    assert [key for key, value in expect.items() if not checks[key](value)] == []
