"""What an answer of a media host is worth: only what is exactly the rest of what is held goes behind it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow import AsyncflowError, DownloadError, LinkExpiredError, ServiceError
from asyncflow.download.range_responses import (
    AFRESH,
    NOTHING,
    WHOLE,
    Body,
    PartialState,
    judge,
    request_headers,
    retry_after,
    validator_of,
)

MOST = 10_000
TAG = '"abc"'
HELD = PartialState(400, TAG, 1000)
CHANGED, LATER, SOON = "Wed, 04 Nov 2026 09:30:12 GMT", "Wed, 04 Nov 2026 09:31:12 GMT", "Wed, 04 Nov 2026 09:31:11 GMT"
REST = {"Content-Range": "bytes 400-999/1000", "Content-Length": "600", "ETag": TAG}


def test_the_whole_is_asked_for_where_nothing_is_held() -> None:
    assert request_headers(NOTHING) == {"Accept": "*/*", "Accept-Encoding": "identity"}
    assert "Range" not in request_headers(PartialState(400, None, 1000))
    assert "Range" not in request_headers(PartialState(0, TAG, 1000))


def test_the_rest_is_asked_for_on_the_condition_that_it_is_the_rest() -> None:
    headers = request_headers(HELD)
    assert (headers["Range"], headers["If-Range"]) == ("bytes=400-", TAG)


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({}, None),
        ({"ETag": TAG}, TAG),
        ({"ETag": f"W/{TAG}"}, None),
        ({"ETag": "abc"}, None),
        ({"ETag": '"a"b"'}, None),
        ({"ETag": '""'}, '""'),
        ({"ETag": 'W/"a"', "Last-Modified": CHANGED, "Date": LATER}, CHANGED),
        ({"Last-Modified": CHANGED, "Date": LATER}, CHANGED),
        ({"Last-Modified": CHANGED, "Date": SOON}, None),
        ({"Last-Modified": CHANGED}, None),
        ({"Last-Modified": "yesterday", "Date": LATER}, None),
        ({"Last-Modified": CHANGED, "Date": "04 Nov 2026 09:31:12 -0000"}, None),
    ],
)
def test_only_strong_validators_name_a_version(headers: dict[str, str], validator: str | None) -> None:
    assert validator_of(headers) == validator


@pytest.mark.parametrize("held", [NOTHING, HELD])
def test_a_200_begins_anew_whatever_was_asked_for(held: PartialState) -> None:
    headers = {"Content-Length": "1000", "ETag": '"new"'}
    assert judge(200, headers, held, most_bytes=MOST) == Body(0, 1000, 1000, '"new"')


def test_a_length_that_is_not_told_is_not_known() -> None:
    assert judge(200, {}, NOTHING, most_bytes=MOST) == Body(0, None, None, None)
    assert judge(200, {"Content-Length": "many"}, NOTHING, most_bytes=MOST) == Body(0, None, None, None)


@pytest.mark.parametrize("without", [(), ("ETag",), ("Content-Length",)])
def test_the_rest_goes_behind_what_is_held(without: tuple[str, ...]) -> None:
    headers = {name: value for name, value in REST.items() if name not in without}
    assert judge(206, headers, HELD, most_bytes=MOST) == Body(400, 600, 1000, TAG)


def test_a_part_of_the_rest_is_taken_too() -> None:
    headers = {"Content-Range": "bytes 400-499/1000", "Content-Length": "100"}
    assert judge(206, headers, HELD, most_bytes=MOST) == Body(400, 100, 1000, TAG)


@pytest.mark.parametrize(
    "changes",
    [
        {"Content-Range": ""},
        {"Content-Range": "bytes 401-999/1000"},
        {"Content-Range": "bytes 0-999/1000"},
        {"Content-Range": "bytes 400-999/1001"},
        {"Content-Range": "bytes 400-999/*"},
        {"Content-Range": "bytes */1000"},
        {"Content-Range": "bytes 400-1000/1000"},
        {"Content-Range": "bytes 400-399/1000"},
        {"Content-Range": "lines 400-999/1000"},
        {"Content-Range": "bytes 400-999/99999999999999999999"},
        {"Content-Length": "599"},
        {"ETag": '"other"'},
        {"Content-Type": "multipart/byteranges; boundary=x", "Content-Range": "multipart"},
    ],
)
def test_any_other_part_begins_the_file_anew(changes: dict[str, str]) -> None:
    assert judge(206, REST | changes, HELD, most_bytes=MOST) is AFRESH


def test_a_part_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(DownloadError, match="unasked") as refusal:
        judge(206, REST, NOTHING, most_bytes=MOST)
    assert refusal.value.reason == "wrong_answer"


@pytest.mark.parametrize(
    ("content_range", "held", "verdict"),
    [
        ("bytes */1000", PartialState(1000, TAG, 1000), WHOLE),
        ("bytes */1000", HELD, AFRESH),
        ("bytes */900", PartialState(1000, TAG, 1000), AFRESH),
        ("bytes */1000", PartialState(1000, TAG, None), AFRESH),
        ("", PartialState(1000, TAG, 1000), AFRESH),
    ],
)
def test_a_range_that_cannot_be_had_confirms_the_whole_or_begins_anew(
    content_range: str, held: PartialState, verdict: object
) -> None:
    assert judge(416, {"Content-Range": content_range}, held, most_bytes=MOST) is verdict


@pytest.mark.parametrize(
    ("status", "kind", "reason", "transient"),
    [
        (400, LinkExpiredError, None, False),
        (401, LinkExpiredError, None, False),
        (403, LinkExpiredError, None, False),
        (410, LinkExpiredError, None, False),
        (404, DownloadError, "gone", False),
        (408, ServiceError, None, True),
        (429, ServiceError, None, True),
        (500, ServiceError, None, True),
        (503, ServiceError, None, True),
        (204, DownloadError, "wrong_answer", False),
        (304, DownloadError, "wrong_answer", False),
        (416, DownloadError, "wrong_answer", False),
        (418, DownloadError, "wrong_answer", False),
    ],
)
def test_every_other_status_is_an_error(status: int, kind: type[AsyncflowError], reason: str | None, *, transient: bool) -> None:
    with pytest.raises(kind) as refusal:
        judge(status, {}, NOTHING, most_bytes=MOST)
    assert (refusal.value.reason, refusal.value.transient, refusal.value.status) == (reason, transient, status)


@pytest.mark.parametrize(("text", "seconds"), [("3", 3.0), ("86400", 600.0), ("", None), ("soon", None), ("-1", None)])
def test_a_pause_is_as_long_as_the_host_asks_within_reason(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text}) == seconds


def test_compressed_answers_are_refused() -> None:
    with pytest.raises(DownloadError, match="compressed"):
        judge(200, {"Content-Encoding": "gzip"}, NOTHING, most_bytes=MOST)
    assert isinstance(judge(200, {"Content-Encoding": "Identity"}, NOTHING, most_bytes=MOST), Body)


@pytest.mark.parametrize("headers", [{"Content-Length": "10001"}, {"Content-Length": "999999999999999999"}])
def test_a_file_beyond_the_cap_is_refused_before_its_body(headers: dict[str, str]) -> None:
    with pytest.raises(DownloadError) as refusal:
        judge(200, headers, NOTHING, most_bytes=MOST)
    assert refusal.value.reason == "too_large"


NUMBERS = st.integers(0, 2000)


@given(
    status=st.sampled_from([200, 206, 416]),
    held=st.builds(PartialState, NUMBERS, st.sampled_from([None, TAG]), st.one_of(st.none(), NUMBERS)),
    first=NUMBERS,
    last=NUMBERS,
    total=NUMBERS,
    length=st.one_of(st.none(), NUMBERS),
)
def test_no_answer_leaves_a_hole_or_goes_over(
    status: int, held: PartialState, first: int, last: int, total: int, length: int | None
) -> None:
    headers = {"Content-Range": f"bytes {first}-{last}/{total}"} | ({} if length is None else {"Content-Length": str(length)})
    try:
        verdict = judge(status, headers, held, most_bytes=MOST)
    except AsyncflowError:
        return
    if isinstance(verdict, Body):
        assert verdict.offset in {0, held.size_bytes}
        if verdict.offset:
            assert held.is_resumable
            assert held.total_bytes in {None, verdict.total_bytes}
            assert verdict.length_bytes is not None
            assert verdict.total_bytes is not None
            assert verdict.offset + verdict.length_bytes <= verdict.total_bytes


@given(value=st.text(max_size=40), status=st.integers(100, 599))
def test_no_header_is_worse_than_an_error_of_ours(value: str, status: int) -> None:
    names = ("Content-Range", "Content-Length", "ETag", "Last-Modified", "Date", "Content-Encoding", "Retry-After")
    for held in (NOTHING, HELD):
        try:
            judge(status, dict.fromkeys(names, value), held, most_bytes=MOST)
        except AsyncflowError as error:
            assert value not in str(error) or len(value) < 3  # noqa: PT017 - whichever error it is
