"""What a client is given, checked before anything is done with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from inspect import isawaitable
from ipaddress import ip_address
from math import inf, isnan
from typing import TYPE_CHECKING, Literal, cast, get_args

from yarl import URL

from asyncflow.errors import UsageError

if TYPE_CHECKING:
    from asyncflow.polling import Policy

__all__ = [
    "RequestOptions",
    "Token",
    "TransportName",
    "at_least",
    "check_timeout",
    "checked_base_url",
    "checked_token",
    "checked_transport",
    "positive",
]

_log = logging.getLogger("asyncflow.client")

BASE_URL = "https://api.useapi.net"
Token = str | Callable[[], Awaitable[str]]
TransportName = Literal["auto", "fast", "session"]


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What may differ between clients on the same connections."""

    token: Token = field(repr=False)
    base_url: str
    timeout: float
    max_retries: int
    policy: Policy

    async def current_token(self) -> str:
        """Return the token for one request; `UsageError` if the function that was given for it returns none."""
        if isinstance(self.token, str):
            return self.token
        # A function of the user's, which no type checker may have seen.
        asked = cast("object", self.token())
        if not isawaitable(asked):
            raise UsageError("the function that is given for the token must be async", reason="token")
        token = await asked
        if not isinstance(token, str):
            raise UsageError(f"the token is a str, and its function returned {type(token).__name__}", reason="token")
        return _checked_text(token)


def checked_token(token: Token | None) -> Token:
    """Return *token*, or the one of the environment."""
    if token is None:
        token = os.environ.get("USEAPI_TOKEN", "")
    if isinstance(token, str):
        if not token.strip():
            raise UsageError("no token: pass AsyncClient(token) or set USEAPI_TOKEN", reason="token")
        return _checked_text(token)
    if not callable(token):
        raise UsageError("the token is a str, or an async function that returns one", reason="token")
    return token


def _checked_text(token: str) -> str:
    token = token.strip().removeprefix("Bearer ")
    if not token.startswith("user:"):
        raise UsageError("the token must begin with 'user:' (the whole of it, as useapi.net shows it)", reason="token")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("the token holds characters that no token has: was it pasted whole?", reason="token")
    return token


def checked_base_url(base_url: str | None) -> str:
    """Return where the service is, by *base_url*, the environment or default; without the slash or version at its end."""
    text = str(base_url if base_url is not None else os.environ.get("USEAPI_BASE_URL") or BASE_URL).strip()
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    has_extras = url.raw_query_string or url.raw_fragment or url.raw_user or url.raw_password
    # The text and not the URL is looked at for white space, because a URL drops or escapes it.
    if url.scheme not in {"http", "https"} or not url.host or has_extras or " " in text or not text.isprintable():
        raise UsageError("the base URL must look like https://host or http://host:port, without a query", reason="base_url")
    if url.scheme == "http" and not _is_near(url.host):
        _warn_of_clear_text(url.host)
    return str(url).rstrip("/").removesuffix("/v1")


def _is_near(host: str) -> bool:
    """Return whether *host* is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=64)
def _warn_of_clear_text(host: str) -> None:
    """Log, once for each host, that whoever is on the way to it can read the token. A network of one's own may be meant."""
    _log.warning("token_in_clear_text", extra={"host": host})


def checked_transport(transport: TransportName, *, is_borrowed: bool) -> TransportName:
    """Return *transport*, or what the environment has instead of "auto"; a borrowed session is always used as it is."""
    if transport == "fast" and is_borrowed:
        raise UsageError("requests through a session of your own go through that session: leave the transport at 'auto'")
    if transport == "auto":
        transport = cast("TransportName", os.environ.get("ASYNCFLOW_TRANSPORT") or transport)
    if transport not in get_args(TransportName):
        raise UsageError("the transport is 'auto', 'fast' or 'session'")
    return "session" if is_borrowed else transport


def check_timeout(timeout: object) -> None:
    """Refuse what is no number of seconds; a deadline that has passed already is the caller's good right."""
    if timeout is not None and (not isinstance(timeout, int | float) or isnan(timeout)):
        raise UsageError("timeout must be a number of seconds, or None")


def positive(name: str, value: float) -> float:
    """Return *value* if it is a finite number above 0."""
    if not _is_number(value) or not 0 < value < inf:
        raise UsageError(f"{name} must be a positive number of seconds" if name == "timeout" else f"{name} must be positive")
    return value


def at_least(name: str, value: int, least: int) -> int:
    """Return *value* if it is not below *least*."""
    if not _is_number(value) or value < least:
        raise UsageError(f"{name} must be a number, at least {least}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)
