"""Sizes as people write and read them: `500k`, `5MB`, `1.2 GB`; k is a thousand.

Pure: no clock, no I/O, no asyncio.
"""

import re

__all__ = ["parse_size", "size"]

_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*([kmg]i?|)b?(?:/s)?")


def parse_size(text: str) -> float:
    """Return the bytes that *text* stands for. `ValueError` for anything else, and for less than one."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError("a size looks like 500k, 5MB or 1GiB")
    value = float(match[1]) * _FACTORS[match[2]]
    if not value >= 1:
        raise ValueError("a size is one byte at least")
    return value


def size(number: float) -> str:
    """Return *number* of bytes in words: `512 B`, `4.2 MB`."""
    if number < 1000:
        return f"{number:.0f} B"
    for unit in ("kB", "MB", "GB"):
        number /= 1000
        if number < 999.5:
            return f"{number:.1f} {unit}" if number < 9.95 else f"{number:.0f} {unit}"
    return f"{number / 1000:.1f} TB"
