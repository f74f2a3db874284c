"""What goes out with a submit, how its line is known again, and which of its ends leave the outcome open."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncflow.errors import (
    AccountError,
    AsyncflowError,
    BadRequestError,
    DecodeError,
    OutcomeUnknownError,
    RateLimitedError,
    ServiceError,
    TransportError,
    UsageError,
)
from asyncflow.protocol import PreparedSubmit, SubmitRequest, is_ambiguous, order_of

REF = "asyncflow-1"


def sent(order: PreparedSubmit) -> dict[str, Any]:
    assert order.request.body is not None
    return msgspec.json.decode(order.request.body, type=dict[str, Any])


@pytest.mark.parametrize(
    ("path", "extras"),
    [
        ("google-flow/videos", {"async": True, "replyRef": REF}),
        ("/v1/google-flow/videos/", {"async": True, "replyRef": REF}),
        ("google-flow/videos?x=1", {"async": True, "replyRef": REF}),
        ("google-flow/videos/extend", {"async": True, "replyRef": REF}),
        ("google-flow/videos/upscale", {"async": True, "replyRef": REF}),
        ("google-flow/videos/gif", {}),
        ("google-flow/videos/concatenate", {}),
        ("google-flow/images", {"replyRef": REF}),
        ("google-flow/images/upscale", {}),
        ("flowmusic/music", {"mode": "async", "replyRef": REF}),
        ("flowmusic/music/edit", {"mode": "async", "replyRef": REF}),
        ("google-flow/of-tomorrow", {}),
    ],
)
def test_each_endpoint_is_told_what_it_takes(path: str, extras: dict[str, Any]) -> None:
    order = order_of(path, {"prompt": "x"}, REF)
    assert sent(order) == {"prompt": "x"} | extras
    assert (order.reply_ref, order.is_own_ref) == (extras.get("replyRef"), False)
    assert order.request.method == "POST"


def test_the_callers_words_go_first() -> None:
    body = {"async": False, "replyRef": "mine"}
    order = order_of("google-flow/videos", body, REF)
    assert (sent(order), order.reply_ref, order.is_own_ref) == (body, "mine", True)
    assert sent(order_of("flowmusic/music", {"mode": "sync"}, REF)) == {"mode": "sync", "replyRef": REF}
    assert order_of("google-flow/of-tomorrow", {"replyRef": "mine"}, REF).reply_ref == "mine"


def test_the_voices_of_a_song_take_neither_mode_nor_reply_ref() -> None:
    body = {"operation": "stems", "clip": "c"}
    assert sent(order_of("flowmusic/music/edit", body, REF)) == body


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("google-flow/videos", [("prompt", "x")], "is a mapping"),
        ("google-flow/videos", "prompt", "is a mapping"),
        ("google-flow/videos", {"replyRef": 12}, "is text"),
        ("google-flow/videos", {"prompt": object()}, "as JSON"),
        ("google-flow", {}, "an endpoint"),
        ("runway/videos", {}, "unknown service"),
    ],
)
def test_what_cannot_be_sent_is_refused(path: str, body: Any, words: str) -> None:  # noqa: ANN401 - what a user may pass
    with pytest.raises(UsageError, match=words):
        order_of(path, body, REF)


def test_a_line_may_be_a_mapping() -> None:
    value = {"path": "google-flow/videos", "body": {"prompt": "x"}, "key": "a"}
    assert SubmitRequest.of(value) == SubmitRequest("google-flow/videos", {"prompt": "x"}, "a")
    line = SubmitRequest("google-flow/images", {"prompt": "x"})
    assert SubmitRequest.of(line) is line


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["google-flow/videos"], "object with a path"),
        ({}, "missing required field `path`"),
        ({"path": 1}, "expected `str`"),
        ({"path": "google-flow/videos", "prompt": "x"}, "unknown field `prompt`"),
        ({"path": "google-flow/videos", "body": []}, "expected `object`"),
        ({"path": "google-flow/videos", "key": " "}, "the key"),
        ({"path": "google-flow/videos", "key": "a\nb"}, "the key"),
        ({"path": "google-flow/videos", "key": "k" * 201}, "the key"),
        ({"path": "videos"}, "unknown service"),
        (SubmitRequest("google-flow/videos", {"replyRef": 1}), "is text"),
        ({"path": "google-flow/videos", "body": {"deep": nested(100_000)}}, "recursion|as JSON"),
    ],
)
def test_a_line_that_cannot_be_sent_is_refused(value: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SubmitRequest.of(value)


def test_a_content_is_the_same_in_any_order_and_another_for_any_change() -> None:
    line = SubmitRequest("google-flow/videos", {"prompt": "x", "seed": 1}, "a")
    assert line.content == SubmitRequest("/v1/google-flow/videos", {"seed": 1, "prompt": "x"}, "b").content
    others = [SubmitRequest("google-flow/images", dict(line.body)), SubmitRequest(line.path, {"prompt": "x", "seed": 2})]
    assert len({other.content for other in (line, *others)}) == 3
    with pytest.raises(UsageError, match="as JSON"):
        _ = SubmitRequest("google-flow/videos", {"prompt": object()}).content


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_any_body_of_json_has_a_content(body: dict[str, Any]) -> None:
    try:
        line = SubmitRequest.of({"path": "google-flow/of-tomorrow", "body": body})
    except UsageError:
        return
    assert line.content == SubmitRequest(line.path, dict(reversed(body.items()))).content


def test_equal_lines_are_known_apart_and_keys_are_single() -> None:
    seen: Counter[str] = Counter()
    line, other = SubmitRequest("google-flow/videos", {"prompt": "x"}), SubmitRequest("google-flow/videos", {"prompt": "y"})
    names = [each.known_as(seen) for each in (line, other, line, other)]
    assert names == [f"{each.content[:16]}-{number}" for number in (1, 2) for each in (line, other)]
    assert SubmitRequest("google-flow/videos", {}, names[0]).known_as(seen) == names[0]
    with pytest.raises(UsageError, match="the same key"):
        SubmitRequest("google-flow/images", {}, names[0]).known_as(seen)


def test_a_line_shows_nothing_of_its_body() -> None:
    assert repr(SubmitRequest("google-flow/videos", {"prompt": "secret"}, "a")) == "<SubmitRequest a google-flow/videos>"
    assert "secret" not in repr(SubmitRequest("google-flow/videos", {"prompt": "secret"}))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OutcomeUnknownError(), True),
        (DecodeError("no JSON", status=200), True),
        (TransportError("reset", transient=False), True),
        (TransportError("no connection", transient=True), False),
        (ServiceError("late", status=408, job_id="j"), False),
        (ServiceError("late", status=408), True),
        (ServiceError("no captcha", status=503, code=503), False),
        (ServiceError("no captcha", status=503, retry_after=20.0), False),
        (ServiceError("a page", status=503), True),
        (ServiceError("who knows", status=500, code=500), True),
        (ServiceError("bad gateway", status=502), True),
        (ServiceError("an error inside a 200", kind="upstream_error", status=200), False),
        (ServiceError("of no status"), False),
        (RateLimitedError("busy", status=429), False),
        (AccountError("dead", status=596), False),
        (BadRequestError("no", status=400), False),
        (AsyncflowError("strange"), False),
    ],
)
def test_an_end_is_ambiguous_where_nobody_has_said(error: AsyncflowError, expected: bool) -> None:  # noqa: FBT001 - a column
    assert is_ambiguous(error) is expected
