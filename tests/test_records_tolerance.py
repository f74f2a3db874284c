"""Repair, one value at a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from msgspec import Struct

from asyncflow.errors import DecodeError
from asyncflow.services.lenient import (
    Json,
    deepest_reason,
    faithful,
    forgive,
    load_object,
    loads,
    number,
    parse_expiry,
    parse_time,
    plain_code,
)


class Inner(Struct):
    word: str | None = None


class Shape(Struct, rename="camel"):
    some_text: str | None = None
    some_int: int | None = None
    some_float: float | None = None
    some_bool: bool | None = None
    inner: Inner | None = None
    inners: list[Inner | None] | None = None
    either: Inner | str | None = None
    nothing: None = None
    kept: int = 7


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"someText": "x"}, Shape("x")),
        ({"someText": 5}, Shape("5")),
        ({"someText": 1.5}, Shape("1.5")),
        ({"someText": True}, Shape()),
        ({"someText": []}, Shape()),
        ({"someText": "\ud83d é"}, Shape("\ufffd é")),
        ({"someInt": 5}, Shape(some_int=5)),
        ({"someInt": "5"}, Shape(some_int=5)),
        ({"someInt": 5.0}, Shape(some_int=5)),
        ({"someInt": 5.5}, Shape()),
        ({"someInt": True}, Shape()),
        ({"someInt": "many"}, Shape()),
        ({"someInt": {}}, Shape()),
        ({"someFloat": "5.5"}, Shape(some_float=5.5)),
        ({"someFloat": float("inf")}, Shape()),
        ({"someBool": True}, Shape(some_bool=True)),
        ({"someBool": "False"}, Shape(some_bool=False)),
        ({"someBool": "perhaps"}, Shape()),
        ({"someBool": 1}, Shape()),
        ({"inner": {"word": 1, "more": 2}}, Shape(inner=Inner("1"))),
        ({"inner": "x"}, Shape()),
        ({"inners": [{"word": "x"}, None, 5]}, Shape(inners=[Inner("x"), None, None])),
        ({"inners": {"word": "x"}}, Shape(inners=[Inner("x")])),
        ({"inners": "x"}, Shape()),
        ({"either": {"word": "x"}}, Shape(either=Inner("x"))),
        ({"either": "x"}, Shape(either="x")),
        ({"either": []}, Shape()),
        ({"nothing": 5}, Shape()),
        ({"kept": None}, Shape()),
        ([], Shape()),
        (None, Shape()),
    ],
)
def test_value_is_mended_or_dropped_and_the_rest_stays(value: object, expected: Shape) -> None:
    assert forgive(json.loads(json.dumps(value)), Shape) == expected


@pytest.mark.parametrize(
    ("body", "value"),
    [(b'\xef\xbb\xbf{"a":1}', {"a": 1}), (b'{"a":NaN}', {"a": None}), (b'{"a":"\xff\t"}', {"a": "\ufffd\t"}), (b"5", 5)],
)
def test_flawed_json_is_read(body: bytes, value: object) -> None:
    assert loads(body) == value


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"<html>", "HTML"),
        (b"x", "no JSON"),
        (b'{"a":', "no JSON"),
        (b"[" * 100_000, "too deeply"),
        (b"5", "no object: int"),
        (b"[{},{}]", "no object: list"),
        (b"null", "no object: NoneType"),
    ],
)
def test_what_is_no_object_is_said_in_words(body: bytes, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        load_object(body)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"a": 1}', b'{"a": 1}'),
        (b'{"a":\r\n 1}\n', b'{"a":   1}'),
        (b'[{"a": 1}]', b'{"a": 1}'),
        (b'{"a":"\xff"}', b'{"a": "\\ufffd"}'),
        (b'{"a":["\\ud83d",{"\\ud83d":null}]}', b'{"a": ["\\ufffd", {"\\ufffd": null}]}'),
        (b'{"a": "\xff", "b": [1E999, -1E999]}', b'{"a": "\\ufffd", "b": [null, null]}'),
    ],
)
def test_copy_is_the_answer_itself_where_others_can_read_it(body: bytes, kept: bytes) -> None:
    assert bytes(faithful(body, load_object(body))) == kept


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-04T09:30:12.448Z", datetime(2026, 11, 4, 9, 30, 12, 448000, tzinfo=UTC)),
        ("2026-11-04T09:30:12.448120999Z", datetime(2026, 11, 4, 9, 30, 12, 448120, tzinfo=UTC)),
        ("2026-11-04 11:30:12+02:00", datetime(2026, 11, 4, 9, 30, 12, tzinfo=UTC)),
        ("2026-11-04T09:30:12", datetime(2026, 11, 4, 9, 30, 12, tzinfo=UTC)),
        ("1793784612448", datetime(2026, 11, 4, 9, 30, 12, 448000, tzinfo=UTC)),
        ("1793784612.5", datetime(2026, 11, 4, 9, 30, 12, 500000, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday-ish", None),
        ("-5", None),
        ("9" * 30, None),
        ("", None),
        (None, None),
    ],
)
def test_instant_is_utc_or_none(text: str | None, instant: datetime | None) -> None:
    assert parse_time(text) == instant
    assert instant is None or instant.tzinfo is UTC


@pytest.mark.parametrize(
    ("query", "instant"),
    [
        ("Expires=1793784612&Signature=x", datetime(2026, 11, 4, 9, 30, 12, tzinfo=UTC)),
        ("a=1&expires=1793784612448", datetime(2026, 11, 4, 9, 30, 12, 448000, tzinfo=UTC)),
        ("X-Goog-Date=20261104T093012Z&X-Goog-Expires=60&X-Goog-Signature=x", datetime(2026, 11, 4, 9, 31, 12, tzinfo=UTC)),
        ("X-Amz-Expires=60&X-Amz-Date=20261104T093012Z", datetime(2026, 11, 4, 9, 31, 12, tzinfo=UTC)),
        ("X-Goog-Date=20261399T093012Z&X-Goog-Expires=60", None),
        ("Expires=never", None),
        ("Expires=", None),
        ("Expires=99999999999999999999", None),
        ("Signature=x", None),
    ],
)
def test_link_says_when_it_ends(query: str, instant: datetime | None) -> None:
    assert parse_expiry(f"https://x.example/v?{query}") == instant


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5), ("-5", -5), ("1.5", 1.5), ("inf", None), ("nan", None), ("x", None), ("", None)]
)
def test_number_is_finite_or_none(text: str, value: float | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    ("codes", "code"),
    [((None, "429"), 429), (("moderated", 5), "moderated"), ((0, 5), 0), ((None, None), None), (("5.0",), 5), ((), None)],
)
def test_first_code_counts(codes: tuple[int | str | None, ...], code: int | str | None) -> None:
    assert plain_code(*codes) == code


def test_deepest_reason_wins_and_echoes_do_not_count() -> None:
    assert (
        deepest_reason({"a": "PUBLIC_ERROR_A", "b": [{"c": "is PUBLIC_ERROR_B."}], "d": {"e": "PUBLIC_ERROR_D"}})
        == "PUBLIC_ERROR_B"
    )
    assert deepest_reason({"a": "PUBLIC_ERROR_A, PUBLIC_ERROR_B"}) == "PUBLIC_ERROR_A"
    assert deepest_reason({"request": {"prompt": "PUBLIC_ERROR_A"}, "prompt": "PUBLIC_ERROR_B", "n": 5}) is None


def test_reason_deeper_than_any_record_is_not_looked_for() -> None:
    value: Json = "PUBLIC_ERROR_A"
    for _ in range(101):
        value = [value]
    assert deepest_reason(value) is None
