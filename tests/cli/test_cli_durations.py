from __future__ import annotations

import pytest

from asyncflow.cli.formatting import clock, parse_duration, span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("30min", 1800),
        ("2h", 7200),
        ("1d", 86400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("500ms", 0.5),
        ("1.5h", 5400),
        ("45", 45),
        (" 0.5 ", 0.5),
        ("2H", 7200),
    ],
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "abc", "5x", "-5s", "s", "1h30", "30m!", "inf", "nan", "1e3", "0", "0s", "400d", "1:30"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0:00"), (0, "0:00"), (7.9, "0:07"), (61, "1:01"), (3599.9, "59:59"), (3723, "1:02:03")]
)
def test_a_stopwatch_drops_fractions(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.84, "0.8 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (103, "1 min 43 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (200_000, "2 d 8 h"),
    ],
)
def test_a_span_is_rounded_to_what_matters(seconds: float, text: str) -> None:
    assert span(seconds) == text
