"""Requests as they reach the wire, and what answers mean."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asyncflow.errors import (
    AsyncflowError,
    BadRequestError,
    DecodeError,
    EdgeBlockedError,
    LinkExpiredError,
    RateLimitedError,
    RedirectError,
    ServiceError,
    UsageError,
)
from asyncflow.protocol import (
    Request,
    asset_request,
    cancel_request,
    decode_answer,
    decode_job,
    file_request,
    job_request,
    read_nudge,
    service_of,
    stats_request,
    submit_request,
    transport_error,
    under_asked_id,
)
from asyncflow.protocol.http_errors import MAX_RETRY_AFTER, read_retry_after
from asyncflow.records import AssetLink, Cancelled, FlowStats, Job, MusicStats

FLOW_ID = "j1104093012448120573v-u40417-email:marta.olsen@example.com-bot:google-flow"
MASKED_ID = "j1731859234567v-u12345-email:jo***@example.com-bot:google-flow"
MUSIC_ID = "job:7b1c2d90-4e55-4a0b-9f37-0c6a2b8e11d4-user:40417-marta.olsen@example.com-bot:flowmusic"
THIRD_FORM = "20261104093012448-user:40417-bot:google-flow"
READ = job_request(FLOW_ID)
NOW = datetime(2026, 11, 4, 9, 30, 30, tzinfo=UTC)


def refused(request: Request, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> AsyncflowError:
    with pytest.raises(AsyncflowError) as caught:
        decode_answer(request, status, headers or {}, body, now=NOW)
    return caught.value


class TestRequests:
    @pytest.mark.parametrize("job_id", [FLOW_ID, MASKED_ID, THIRD_FORM])
    def test_flow_id_goes_into_the_path_as_it_is(self, job_id: str) -> None:
        assert job_request(job_id) == Request("google-flow", "GET", f"/v1/google-flow/jobs/{job_id}", "job", job_id=job_id)

    def test_flow_id_is_escaped_where_the_path_would_break(self) -> None:
        assert (
            job_request("j1v-é/?#%+~-bot:google-flow").target == "/v1/google-flow/jobs/j1v-%C3%A9%2F%3F%23%25+~-bot:google-flow"
        )

    def test_music_id_is_encoded_whole(self) -> None:
        target = (
            "/v1/flowmusic/jobs/job%3A7b1c2d90-4e55-4a0b-9f37-0c6a2b8e11d4-user%3A40417-marta.olsen%40example.com-bot%3Aflowmusic"
        )
        assert job_request(MUSIC_ID).target == target
        assert cancel_request(MUSIC_ID) == Request("flowmusic", "DELETE", target, "cancelled", job_id=MUSIC_ID)

    def test_service_overrides_the_one_in_the_id(self) -> None:
        assert job_request("anything", "flowmusic").target == "/v1/flowmusic/jobs/anything"
        assert job_request("anything", "google-flow").target == "/v1/google-flow/jobs/anything"
        assert cancel_request(FLOW_ID, "flowmusic").service == "flowmusic"

    @pytest.mark.parametrize(("detail", "query"), [(None, "summary"), ("executing", "executing"), ("history", "history")])
    def test_statistics_have_details(self, detail: str | None, query: str) -> None:
        assert stats_request("google-flow", detail) == Request(
            "google-flow", "GET", f"/v1/google-flow/jobs/?options={query}", "stats"
        )
        assert stats_request("flowmusic", detail) == Request("flowmusic", "GET", "/v1/flowmusic/jobs", "stats")

    def test_asset_id_goes_into_the_path_as_it_is(self) -> None:
        asset_id = "user:40417-email:6d61727461-video:c0ffee/1"
        request = asset_request(asset_id)
        assert request.target == "/v1/google-flow/assets/user:40417-email:6d61727461-video:c0ffee%2F1"
        assert request.asset_id == asset_id

    @pytest.mark.parametrize(
        "path", ["google-flow/videos", "/google-flow/videos", "v1/google-flow/videos", "/v1/google-flow/videos"]
    )
    def test_submit_posts_json(self, path: str) -> None:
        request = submit_request(path, {"prompt": "x"})
        assert request == Request("google-flow", "POST", "/v1/google-flow/videos", "submission", b'{"prompt":"x"}')

    def test_submit_keeps_a_query_and_escapes_the_rest(self) -> None:
        target = submit_request("google-flow/assets/a@example.com?x=1%20é", {}).target
        assert target == "/v1/google-flow/assets/a@example.com?x=1%20%C3%A9"

    def test_repr_shows_neither_ids_nor_bodies(self) -> None:
        assert repr(READ) == "<Request GET /v1/google-flow/jobs/job 8244f1551f>"
        assert repr(submit_request("google-flow/videos", {"prompt": "secret"})) == "<Request POST /v1/google-flow/videos>"
        assert repr(file_request("https://x.example/v?Signature=abc")) == "<Request GET https://x.example/v?…>"


class TestRefusalsBeforeARequest:
    @pytest.mark.parametrize(
        ("job_id", "says"),
        [
            ("", "the job id is empty"),
            (" ", "white space"),
            ("j1v-bot:google-flow\n", "white space"),
            ("\ufeffj1v-bot:google-flow", "control characters"),
            ("j1v\x00-bot:google-flow", "control characters"),
            ("\udcff-bot:google-flow", "control characters"),
            ("..", "relative path"),
            (f"{'j' * 600}-bot:google-flow", "616 characters"),
            ("job%3A7b1c-bot%3Aflowmusic", "percent-encoded"),
            ("j1v-u1-email:marta@example.com-bot:midjourney", "does not end in -bot:google-flow or -bot:flowmusic"),
        ],
    )
    def test_impossible_id_is_refused_and_not_shown(self, job_id: str, says: str) -> None:
        with pytest.raises(UsageError, match=says) as caught:
            service_of(job_id)
        assert "marta" not in str(caught.value)

    def test_service_given_by_name_still_wants_a_possible_id(self) -> None:
        with pytest.raises(UsageError, match="empty"):
            job_request("", "flowmusic")
        with pytest.raises(UsageError, match="unknown service 'mid journey': use google-flow or flowmusic"):
            job_request("x", "mid journey")

    def test_google_flow_cancels_nothing(self) -> None:
        with pytest.raises(UsageError, match="only Flow Music can") as caught:
            cancel_request(FLOW_ID)
        assert caught.value.job_id == FLOW_ID

    def test_unknown_detail_is_refused(self) -> None:
        with pytest.raises(UsageError, match="summary, executing, history"):
            stats_request("google-flow", "all")

    @pytest.mark.parametrize(("asset_id", "says"), [("", "empty"), ("user:1-marta@example.com-clip:c0ffee", "Flow Music clip")])
    def test_impossible_asset_is_refused(self, asset_id: str, says: str) -> None:
        with pytest.raises(UsageError, match=says):
            asset_request(asset_id)

    @pytest.mark.parametrize(
        "path", ["", "videos", "google-flow", "google-flow/", "google-flow/a b", "google-flow/a\n", "https://x.example/"]
    )
    def test_impossible_path_is_refused(self, path: str) -> None:
        with pytest.raises(UsageError):
            submit_request(path, {})

    def test_body_that_is_no_json_is_refused(self) -> None:
        body: dict[str, Any] = {"prompt": object()}
        with pytest.raises(UsageError, match="JSON"):
            submit_request("google-flow/videos", body)
        body["prompt"] = body
        with pytest.raises(UsageError, match="JSON"):
            submit_request("google-flow/videos", body)


class TestAnswers:
    def test_each_request_has_its_record(self) -> None:
        job = decode_answer(READ, 200, {}, b'{"jobid":"other","status":"started"}')
        assert isinstance(job, Job)
        assert job.job_id == "other"
        assert under_asked_id(job, "other") is job
        asked = under_asked_id(job, FLOW_ID)
        assert (asked.job_id, asked.answered_id, asked.raw) == (FLOW_ID, "other", job.raw)
        assert isinstance(decode_answer(stats_request("google-flow"), 200, {}, b"{}"), FlowStats)
        assert isinstance(decode_answer(stats_request("flowmusic"), 200, {}, b"{}"), MusicStats)
        assert decode_answer(cancel_request(MUSIC_ID), 204, {}, b"") == Cancelled(MUSIC_ID)
        assert decode_answer(file_request("https://x.example/"), 200, {}, b"\x00") == b"\x00"
        link = decode_answer(asset_request("a"), 200, {}, b'{"url":"https://x.example/?Expires=1793900000"}')
        assert link == AssetLink("https://x.example/?Expires=1793900000", "a", datetime.fromtimestamp(1793900000, UTC))

    def test_submission_is_over_only_where_the_service_was_asked_to_wait(self) -> None:
        body = b'{"jobId":"x","media":[{"videoUrl":"https://x.example/"}]}'
        request = submit_request("google-flow/videos", {})
        outcomes = []
        for status in (200, 201):
            job = decode_answer(request, status, {}, body)
            assert isinstance(job, Job)
            outcomes.append(job.outcome)
        assert outcomes == ["succeeded", "pending"]

    def test_callback_is_a_record_like_any_other(self) -> None:
        assert decode_job("flowmusic", b'{"status":"pending"}', "x").job_id == "x"

    @pytest.mark.parametrize("status", [301, 302, 304, 307])
    def test_redirect_is_not_followed(self, status: int) -> None:
        error = refused(READ, status, headers={"Location": "https://elsewhere.example/"})
        assert isinstance(error, RedirectError)
        assert not error.transient

    @pytest.mark.parametrize("status", [405, 409, 418, 499])
    def test_unlisted_4xx_ends_that_job(self, status: int) -> None:
        error = refused(READ, status, b'{"error":"no"}')
        assert isinstance(error, BadRequestError)
        assert (error.kind, error.transient, error.status, error.job_id) == ("client_error", False, status, FLOW_ID)

    @pytest.mark.parametrize("status", [500, 502, 504, 520, 524, 598, 999])
    def test_5xx_is_transient_for_reads_and_cancels_only(self, status: int) -> None:
        assert [refused(request, status).transient for request in (READ, cancel_request(MUSIC_ID))] == [True, True]
        error = refused(submit_request("google-flow/videos", {}), status)
        assert isinstance(error, ServiceError)
        assert (error.kind, error.transient) == ("server", False)

    def test_status_that_is_no_answer_is_undecodable(self) -> None:
        assert refused(READ, 102).kind == "decode_error"

    def test_forbidden_by_a_page_is_the_edge(self) -> None:
        error = refused(READ, 403, b"<html><title> Attention Required! </title></html>")
        assert isinstance(error, EdgeBlockedError)
        assert error.message == "Attention Required!"

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"error code: 1010", "error code: 1010"),
            (b"<html><body>no", "a page instead of JSON"),
            (b"x" * 300, "a text instead of JSON"),
            (b"", ""),
            (b"[" * 5000, "a text instead of JSON"),
            (b'{"message":"said so"}', "said so"),
            (b'{"error":{"status":"UNAVAILABLE"}}', "UNAVAILABLE"),
            (b'{"error":{},"message":"said so"}', "said so"),
            (b'{"error":"plain_word"}', "plain_word"),
            (b'{"error":"two words","message":"more"}', "two words"),
            (b'{"error":[1]}', ""),
            (b'{"error":5}', "5"),
        ],
    )
    def test_message_is_found_wherever_it_is(self, body: bytes, message: str) -> None:
        assert refused(READ, 500, body).message == message

    def test_word_in_place_of_a_message_is_the_reason(self) -> None:
        skips = b'[{"reason":"A"},null,{"reason":null},{"reason":"B"}]'
        body = b'{"error":"no_eligible_account","message":"wait","jobid":"x","skipReasons":%s}' % skips
        error = refused(submit_request("google-flow/videos", {}), 429, body)
        assert (error.message, error.reason, error.details, error.job_id) == ("wait", "no_eligible_account", ("A", "B"), "x")

    def test_code_in_quotes_is_a_number(self) -> None:
        assert refused(READ, 500, b'{"error":"x","code":"503"}').code == 503
        assert refused(READ, 500, b'{"error":{"code":"odd"}}').code == "odd"

    @pytest.mark.parametrize(
        ("code", "transient"),
        [("503", True), ("500", True), ("429", True), ("400", False), ("596", False), ('"odd"', False), ("null", False)],
    )
    def test_error_within_a_success_is_transient_by_its_own_code(
        self,
        code: str,
        transient: bool,  # noqa: FBT001 - a column
    ) -> None:
        body = f'{{"error":{{"code":{code},"message":"x"}}}}'.encode()
        error = refused(READ, 200, body)
        assert (error.kind, error.transient, error.status) == ("upstream_error", transient, 200)
        assert not refused(submit_request("google-flow/videos", {}), 200, body).transient

    @pytest.mark.parametrize("body", [b"", b"null", b'"OK"', b"{}", b"[]", b"[{},{}]", b"<html>", b'{"jobid":', b"\xff"])
    def test_what_is_no_record_is_undecodable(self, body: bytes) -> None:
        error = refused(READ, 200, body)
        assert isinstance(error, DecodeError)
        assert (error.kind, error.transient, error.status, error.job_id) == ("decode_error", True, 200, FLOW_ID)
        assert not refused(submit_request("google-flow/videos", {}), 200, body).transient

    def test_link_that_is_none_is_undecodable(self) -> None:
        assert refused(asset_request("a"), 200, b'{"url":"ftp://x"}').kind == "decode_error"
        assert refused(asset_request("a"), 200, b"{}").kind == "decode_error"

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (401, b"", "url_expired"),
            (403, b"", "url_expired"),
            (410, b"", "url_expired"),
            (400, b"<Code>ExpiredToken</Code>", "url_expired"),
            (400, b"<Code>Other</Code>", "bad_request"),
            (404, b"", "not_found"),
            (503, b"", "unavailable"),
        ],
    )
    def test_refused_file_may_be_an_expired_link(self, status: int, body: bytes, kind: str) -> None:
        error = refused(file_request("https://x.example/v", FLOW_ID), status, body)
        assert (error.kind, error.job_id) == (kind, FLOW_ID)
        assert isinstance(error, LinkExpiredError) is (kind == "url_expired")


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "text", "seconds"),
        [
            ({"Retry-After": "12"}, None, 12.0),
            ({"RETRY-AFTER": " 1.5 "}, None, 1.5),
            ({"retry-after": "0"}, None, 0.0),
            ({"Retry-After": "Wed, 04 Nov 2026 09:31:00 GMT"}, None, 30.0),
            ({"Retry-After": "Wed, 04 Nov 2026 09:31:00 -0000"}, None, 30.0),
            ({"Retry-After": "Wed, 04 Nov 2026 09:31:00 GMT", "date": "Wed, 04 Nov 2026 09:30:50 GMT"}, None, 10.0),
            ({"Retry-After": "Wed, 04 Nov 2020 09:31:00 GMT"}, None, 0.0),
            ({}, "2026-11-04T09:31:15.000Z", 45.0),
            ({"Retry-After": "soon"}, "2026-11-04T09:31:15.000Z", 45.0),
            ({"Retry-After": "-5"}, "2026-11-04T09:31:15.000Z", 45.0),
            ({"Retry-After": "-5"}, None, None),
            ({"Retry-After": "1e999"}, None, None),
            ({"Retry-After": "Wed, 99 Nov 2026 09:31:00 GMT"}, "yesterday-ish", None),
            ({"Retry-After": ""}, "", None),
            ({"Retry-After": str(MAX_RETRY_AFTER)}, None, MAX_RETRY_AFTER),
            ({"Retry-After": "9999999"}, None, 3600.0),
            ({"Retry-After": "9" * 500}, None, 3600.0),
            ({}, "2030-01-01T00:00:00Z", 3600.0),
            ({}, None, None),
        ],
    )
    def test_pause_is_read_in_all_forms(self, headers: dict[str, str], text: str | None, seconds: float | None) -> None:
        assert read_retry_after(headers, text, NOW) == seconds

    def test_instant_without_any_clock_is_no_pause(self) -> None:
        assert read_retry_after({}, "2026-11-04T09:31:15.000Z") is None

    def test_header_comes_before_the_body(self) -> None:
        body = f'{{"error":"x","retryAfter":"{(NOW + timedelta(seconds=45)).isoformat()}"}}'.encode()
        error = refused(READ, 429, body, {"Retry-After": "7"})
        assert isinstance(error, RateLimitedError)
        assert (error.retry_after, error.transient) == (7.0, True)
        assert refused(READ, 429, body).retry_after == 45.0


class TestNudges:
    @pytest.mark.parametrize(
        "body", [f'{{"jobid":"{FLOW_ID}"}}', f'{{"jobId":"{FLOW_ID}"}}', f'[{{"jobid":"{FLOW_ID}","status":5}}]']
    )
    def test_callback_names_its_job(self, body: str) -> None:
        assert read_nudge(body.encode()) == FLOW_ID

    @pytest.mark.parametrize(
        "body", [b"", b"not json", b"{}", b"[]", b'{"jobid":5}', b'{"jobid":""}', b'{"jobid":"a b"}', b"[" * 100_000]
    )
    def test_callback_that_names_none_is_ignored(self, body: bytes) -> None:
        assert read_nudge(body) is None


class TestTransport:
    @pytest.mark.parametrize(
        ("request_", "transient"),
        [(READ, True), (cancel_request(MUSIC_ID), True), (submit_request("google-flow/videos", {}), False)],
    )
    def test_lost_answer_is_transient_unless_the_work_may_have_begun(self, request_: Request, transient: bool) -> None:  # noqa: FBT001 - a column
        error = transport_error(request_, ConnectionResetError("https://x.example/?Signature=abc"))
        assert (error.kind, error.transient, error.job_id) == ("transport", transient, request_.job_id)
        assert "ConnectionResetError" in str(error)
        assert not [secret for secret in ("marta", "Signature", "abc") if secret in str(error)]

    def test_cause_may_be_unknown(self) -> None:
        assert str(transport_error(READ)).endswith("no whole answer")


@pytest.mark.parametrize("padding", ["", "kite " * 1000])
def test_an_answer_that_has_not_changed_is_the_same_record(padding: str) -> None:
    request = job_request(FLOW_ID)
    bodies = [json.dumps({"jobid": FLOW_ID, "status": status, "request": {"prompt": padding}}).encode() for status in ("a", "b")]
    first, second = (decode_answer(request, 200, {}, body) for body in bodies)
    assert (first, second) == tuple(decode_answer(request, 200, {}, bytes(bytearray(body))) for body in bodies)
    assert first != second
    assert (decode_answer(request, 200, {}, bodies[0]) is first) == (not padding)
    for _ in range(2):
        with pytest.raises(DecodeError):
            decode_answer(request, 200, {}, b"no record")
