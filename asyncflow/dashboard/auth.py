"""Who may ask: the host that was meant, the page the request came from, and the token.

Pure: no clock, no I/O, no asyncio. A website that its visitor's browser brings here has a foreign Origin or, if it has its name
lead to this machine, a foreign Host; a program of another user on the machine has neither, and no token.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncflow.dashboard.http import WebRequest

__all__ = ["HEADERS", "AccessGuard"]

_POLICY = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "media-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)

HEADERS = {
    "content-security-policy": "; ".join(_POLICY),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""What every answer says to the browser."""

_NAME = re.compile(r"[a-z0-9._-]+")


class AccessGuard:
    """Lets requests pass that are meant for one of *hosts* and, where a token is asked for, have *token*.

    Addresses need not be named: a website cannot make its own name one. *token* None asks for none.
    """

    def __init__(self, token: str | None, hosts: Iterable[str] = ()) -> None:
        self._hosts = {host.lower() for host in hosts}
        # The token itself is not kept: what is not there cannot be shown.
        self._token = None if token is None else sha256(token.encode()).digest()

    def stranger(self, ask: WebRequest) -> str | None:
        """Return why a request must not even see the page, None if it may."""
        host = ask.headers.get("host", "")
        if not self._is_known(host):
            return "this name is not one of the dashboard's hosts"
        origin = ask.headers.get("origin")
        if origin is not None and not _is_same(origin, host):
            return "the request comes from another site"
        site = ask.headers.get("sec-fetch-site", "none")
        # A link on another site may lead to the page, which is empty without a token; nothing else may be reached from there.
        if site not in {"same-origin", "none"} and ask.headers.get("sec-fetch-mode") != "navigate":
            return "the request comes from another site"
        return None

    def is_owner(self, ask: WebRequest) -> bool:
        """Return whether a request has the token."""
        if self._token is None:
            return True
        scheme, _, token = ask.headers.get("authorization", "").partition(" ")
        offered = sha256(token.strip().encode("utf-8", "surrogatepass")).digest()
        return hmac.compare_digest(offered, self._token) and scheme.lower() == "bearer"

    def may_act(self, ask: WebRequest) -> bool:
        """Return whether a request that changes something comes from the page itself: browsers say so with every POST."""
        return "origin" in ask.headers and self.is_owner(ask)

    def _is_known(self, host: str) -> bool:
        name = _name_of(host)
        return name is not None and (name in self._hosts or _is_local(name))


def _name_of(host: str) -> str | None:
    """Return the name in a Host header, without its port; None if it is none."""
    name, bracket, _ = host.lower().partition("]")
    if bracket:
        return name.removeprefix("[")
    name = name.partition(":")[0].removesuffix(".")
    return name if _NAME.fullmatch(name) else None


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin.lower())
    except ValueError:
        return False
    default = {"http": ":80", "https": ":443"}.get(parts.scheme)
    return default is not None and parts.netloc.removesuffix(default) == host.lower().removesuffix(default)
