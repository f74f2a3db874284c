"""Durations as people write and read them: `90s`, `30m`, `1h30m`; `0:43`, `1 min 43 s`.

Pure: no clock, no I/O, no asyncio.
"""

import re

from asyncflow.report.formatting import span

__all__ = ["clock", "parse_duration", "span"]

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d)\s*")
_PLAIN = re.compile(r"\d+(?:\.\d+)?")
_LONGEST = 366 * 86400.0


def parse_duration(text: str) -> float:
    """Return *text* in seconds: a number with its unit (ms, s, m, h, d), several of them, or a number of seconds.

    `ValueError` for anything else, for nothing and for more than a year.
    """
    word = text.strip().lower()
    if _PLAIN.fullmatch(word):
        seconds = float(word)
    else:
        parts = list(_PART.finditer(word))
        if not parts or "".join(part[0] for part in parts) != word:
            raise ValueError("a duration looks like 90s, 30m, 2h or 1h30m")
        seconds = sum(float(part[1]) * _SECONDS[part[2]] for part in parts)
    if not 0 < seconds <= _LONGEST:
        raise ValueError("a duration is more than nothing and at most a year")
    return seconds


def clock(seconds: float) -> str:
    """Return *seconds* as on a stopwatch, `0:07` or `1:02:03`; fractions are dropped."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
