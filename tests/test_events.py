"""Events are lines of JSON that give the events back, and show nothing secret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import pytest
from samples import Case, cases, records

from asyncflow.errors import AsyncflowError, RateLimitedError
from asyncflow.events import Abandoned, Changed, Ended, ErrorInfo, Event, Expiring, SubmitResult, Unreachable
from asyncflow.protocol import decode_job

if TYPE_CHECKING:
    from asyncflow.records import Job

JOB_ID = "j1104093012448120573v-u40417-email:marta.olsen@example.com-bot:google-flow"
ERROR = RateLimitedError(
    "account nobody@example.com: slow down",
    transient=True,
    retry_after=12.0,
    status=429,
    code=429,
    reason="no_eligible_account",
    job_id=JOB_ID,
    details=("PUBLIC_ERROR_USER_QUOTA_REACHED",),
)
SINCE = datetime(2026, 11, 4, 9, 30, 12, tzinfo=UTC)


def events_of(job: Job) -> tuple[Event, ...]:
    problem = ErrorInfo.of(ERROR)
    return (
        Changed(job),
        Changed(job, "created"),
        Ended(job),
        Abandoned(job.job_id, problem),
        Abandoned(job.job_id, problem, job),
        Expiring(job, SINCE, "links"),
        Unreachable(job.job_id, SINCE, problem),
    )


def every_record() -> list[Case]:
    return [*records("google-flow"), *records("flowmusic")]


@pytest.mark.parametrize("of", every_record(), ids=lambda of: of.name)
def test_event_is_one_line_of_json_that_gives_it_back(of: Case) -> None:
    for body in (of.body, of.body.replace(b"{", b"{\r\n\t").replace(b"}", b"\n} \n")):
        for event in events_of(decode_job(of.service, body, of.asked_id)):
            line = msgspec.json.encode(event)
            assert b"\n" not in line
            line.decode()
            again = msgspec.json.decode(line, type=Event)
            assert again == event
            assert type(again) is type(event)
            assert msgspec.json.decode(line)["type"] == event.type


@pytest.mark.parametrize("of", every_record(), ids=lambda of: of.name)
def test_repr_shows_no_secret(of: Case) -> None:
    for event in events_of(decode_job(of.service, of.body, of.asked_id)):
        for shown in (repr(event), str(event), str(event.__rich_repr__())):
            assert not [secret for secret in ("@", "Signature", "email:", "Paper boats") if secret in shown]


def test_type_and_service_are_tags() -> None:
    job = decode_job("google-flow", cases()[0].body)
    value = msgspec.json.decode(msgspec.json.encode(Changed(job)))
    assert (value["type"], value["job"]["service"]) == ("changed", "google-flow")
    assert value["job"]["raw"]["jobid"] == JOB_ID


def test_problem_gives_the_error_back() -> None:
    job = decode_job("google-flow", cases()[0].body)
    again = ErrorInfo.of(ERROR).exception(JOB_ID, job)
    assert type(again) is RateLimitedError
    assert again.message == "account <e-mail>: slow down"
    assert again.job is job
    names = ("kind", "transient", "retry_after", "status", "code", "reason", "job_id", "details")
    assert [getattr(again, name) for name in names] == [getattr(ERROR, name) for name in names]
    assert type(ErrorInfo("what is this").exception()) is AsyncflowError
    assert repr(ErrorInfo.of(ERROR)) == "<ErrorInfo rate_limited: account <e-mail>: slow down>"


def test_a_repeated_event_has_the_same_key() -> None:
    job = decode_job("google-flow", cases()[0].body, JOB_ID)
    for event in events_of(job):
        again = msgspec.json.decode(msgspec.json.encode(event), type=Event)
        assert again.key == event.key
        assert event.key[0] == JOB_ID
    assert Ended(job).key == (JOB_ID, job.status)
    assert len({event.key for event in events_of(job) if not isinstance(event, Changed)}) > 2


@pytest.mark.parametrize("of", every_record(), ids=lambda of: of.name)
def test_submission_is_one_line_of_json_that_gives_it_back(of: Case) -> None:
    job = decode_job(of.service, of.body, of.asked_id)
    submission = SubmitResult("k", 3, "submitted", "google-flow/videos", job.job_id, job, requested_at=SINCE, content="c0")
    line = msgspec.json.encode(submission)
    assert b"\n" not in line
    assert msgspec.json.decode(line, type=SubmitResult) == submission
    assert msgspec.json.decode(line)["type"] == submission.type == "submission"
    assert not [secret for secret in ("@", "Signature", "email:", "Paper boats") if secret in repr(submission)]


def test_submission_tells_its_job_or_why_there_is_none() -> None:
    assert repr(SubmitResult("kite", 1, "submitted", job_id=JOB_ID)) == "<SubmitResult kite submitted: job 8244f1551f>"
    assert repr(SubmitResult("kite", 1, "submitted")) == "<SubmitResult kite submitted: without a job>"
    refused = SubmitResult("a\nb", 1, "refused", error=ErrorInfo.of(ERROR))
    assert repr(refused) == "<SubmitResult a b refused: <ErrorInfo rate_limited: account <e-mail>: slow down>>"
