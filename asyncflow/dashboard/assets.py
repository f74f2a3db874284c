"""The files that make up the page, as they are shipped."""

from __future__ import annotations

import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from asyncflow.dashboard.http import WebResponse

if TYPE_CHECKING:
    from asyncflow.dashboard.http import WebRequest

__all__ = ["page_file"]

_FOLDER = Path(__file__).parent / "static"
_NAME = re.compile(r"(?:^|/)([a-z]+\.(?:css|js|svg))$")
_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}


def page_file(ask: WebRequest) -> WebResponse | None:
    """Return the file that a request asks for; None if it is none of the page's. Any place that ends with a slash is the page."""
    if ask.path.endswith("/"):
        return _fresh(ask, "index.html")
    if not ask.path:
        # Mounted without a slash at its end: what the page asks for would go astray.
        return WebResponse(308, b"", {"location": f"{ask.whole_path.rpartition('/')[2]}/"})
    found = _NAME.search(ask.path)
    return _fresh(ask, found[1]) if found is not None and found[1] in _names() else None


def _fresh(ask: WebRequest, name: str) -> WebResponse:
    content, tag = _load(name)
    headers = {"etag": tag, "cache-control": "no-cache", "content-type": f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"}
    return WebResponse(304, b"", headers) if ask.headers.get("if-none-match") == tag else WebResponse(200, content, headers)


@cache
def _names() -> frozenset[str]:
    return frozenset(path.name for path in _FOLDER.iterdir())


@cache
def _load(name: str) -> tuple[bytes, str]:
    content = (_FOLDER / name).read_bytes()
    return content, f'"{sha256(content).hexdigest()[:20]}"'
