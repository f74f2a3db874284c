"""What must not be shown, found by means of its own: nothing here is shared with asyncflow.redaction.

`leaks` looks into a text. `LogWatch` listens to every logger while a test runs; tests/conftest.py attaches one to each of them.
"""

from __future__ import annotations

import logging
import re

_AT = r"(?:@|%(?:25)*40)"
_FORMS = {
    "an e-mail address": re.compile(rf"[\w.+'-]+{_AT}[\w-]+(?:\.[\w-]+)+", re.IGNORECASE),
    "a token": re.compile(r"user(?::|%(?:25)*3A)\d+-[\w~+/.-]", re.IGNORECASE),
    "a signed link": re.compile(r"[?&](?:Signature|Expires|KeyName|Policy|sig|X-\w+-Signature)=\w", re.IGNORECASE),
}
_HEX = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{2}){8,}(?![0-9a-f])", re.IGNORECASE)
_PLAIN_EMAIL = re.compile(rb"[\w.+'-]+@[\w-]+\.[\w.-]+")


def leaks(text: str) -> list[str]:
    """Return what *text* shows that it must not; addresses that the service has masked ("ma***@example.com") are no secret."""
    found = [f"{name}: {match[0]}" for name, form in _FORMS.items() for match in form.finditer(text)]
    spelt = [match[0] for match in _HEX.finditer(text) if _PLAIN_EMAIL.search(bytes.fromhex(match[0]))]
    return found + [f"an e-mail address in hexadecimal digits: {digits}" for digits in spelt]


class LogWatch(logging.Handler):
    """Notes what log records show, their extra values and tracebacks included.

    The simulator's web server is not ours. Nor is what asyncio, in its debug mode, says of callbacks that took long: it cuts the
    arguments itself, and in tests most of them are the test's own.
    """

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.leaks: list[str] = []
        self.records = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith("aiohttp.server") or (record.name == "asyncio" and record.msg.startswith("Executing")):
            return
        self.records += 1
        shown = {name: value for name, value in vars(record).items() if name not in {"pathname", "exc_info"}}
        text = f"{logging.Formatter().format(record)}\n{shown!r}"
        self.leaks += [f"{record.name}: {leak}" for leak in leaks(text)]
