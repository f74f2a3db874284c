"""What `asyncflow doctor` finds on the way to the service: name, connection, TLS, clock, token.

The token goes out with the last question alone, through `AsyncClient`; the others are asked without.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from asyncflow import AsyncflowError
from asyncflow.cli.client import open_client
from asyncflow.cli.doctor.environment import Finding
from asyncflow.cli.errors import error_text
from asyncflow.cli.exits import CommandExit
from asyncflow.cli.formatting import count, one_line, span

__all__ = ["certificate_of", "look_at_service", "skew_of"]

_MOST_HEADERS = 100
_SKEW_NOTED = 30.0
_SKEW_BAD = 300.0
_DAYS_LEFT = 14


class DiskPlace(NamedTuple):
    """Where the service is."""

    host: str
    port: int
    is_secure: bool


async def look_at_service(timeout: float) -> AsyncIterator[Finding]:
    """Yield findings about the service; each question may take *timeout* seconds. What depends on a failed one is skipped."""
    try:
        place = _place()
    except ValueError:
        yield Finding("service", "skip", "the base URL leads nowhere")
        return
    is_reached = True
    for ask in (_look_up, _connect):
        finding = await ask(place, timeout)
        yield finding
        if finding.state == "fail":
            is_reached = False
            break
    if is_reached:
        async for finding in _talk(place, timeout):
            yield finding
        yield await _ask_with_token(timeout)


def _place() -> DiskPlace:
    parts = urlsplit(os.environ.get("USEAPI_BASE_URL") or "https://api.useapi.net")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("no address")
    is_secure = parts.scheme == "https"
    return DiskPlace(parts.hostname, parts.port or (443 if is_secure else 80), is_secure)


async def _look_up(place: DiskPlace, timeout: float) -> Finding:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(timeout):
            found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return Finding("name", "fail", f"no answer about {one_line(place.host)} in {span(timeout)}", "is the network up?")
    except OSError as error:
        reason = one_line((error.strerror or "unknown").lower())
        return Finding("name", "fail", f"{one_line(place.host)}: {reason}", "is the network up, and USEAPI_BASE_URL right?")
    number = len({entry[4][0] for entry in found})
    addresses = "1 address" if number == 1 else f"{number} addresses"
    return Finding("name", "ok", f"{one_line(place.host)} has {addresses} ({_ms(loop.time() - began)})")


async def _connect(place: DiskPlace, timeout: float) -> Finding:
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(place.host, place.port)
    except TimeoutError:
        return Finding("connection", "fail", f"port {place.port}: nothing in {span(timeout)}", "a firewall may be in between")
    except OSError as error:
        reason = one_line((os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or "refused").lower())
        return Finding("connection", "fail", f"port {place.port}: {reason}", "is USEAPI_BASE_URL right?")
    took = loop.time() - began
    writer.close()
    return Finding("connection", "ok", f"port {place.port} ({_ms(took)})")


async def _talk(place: DiskPlace, timeout: float) -> AsyncIterator[Finding]:
    """Shake hands, and ask for the time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(timeout):
            context = ssl.create_default_context() if place.is_secure else None
            reader, writer = await asyncio.open_connection(place.host, place.port, ssl=context)
    except ssl.SSLError as error:
        words = getattr(error, "verify_message", "") or (error.reason or "it failed").replace("_", " ").lower()
        advice = "are the system's certificates installed and its clock right? Something in between may break TLS open"
        yield Finding("TLS", "fail", one_line(words), advice)
        return
    except (OSError, TimeoutError):
        yield Finding("TLS", "fail", f"no handshake in {span(timeout)}", "something in between does not let it pass")
        return
    try:
        if place.is_secure:
            yield certificate_of(writer.get_extra_info("ssl_object"), loop.time() - began, datetime.now(UTC))
        yield await _clock(place, reader, writer, timeout)
    finally:
        writer.close()


def certificate_of(connection: ssl.SSLObject, took: float, now: datetime) -> Finding:
    """Return what a *connection*, made in so many seconds, says of the service's certificate."""
    until = (connection.getpeercert() or {}).get("notAfter")
    days = (ssl.cert_time_to_seconds(until) - now.timestamp()) / 86400 if isinstance(until, str) else _DAYS_LEFT
    told = f"{connection.version()} ({_ms(took)})"
    if days < _DAYS_LEFT:
        return Finding("TLS", "warn", f"{told}; the certificate ends in {days:.0f} days", "this is the service's to mend")
    return Finding("TLS", "ok", told)


async def _clock(place: DiskPlace, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float) -> Finding:
    host = f"[{place.host}]" if ":" in place.host else place.host
    headers = ("HEAD / HTTP/1.1", f"Host: {host}:{place.port}", "User-Agent: asyncflow-doctor", "Connection: close")
    writer.write("".join(f"{header}\r\n" for header in (*headers, "")).encode())
    date = ""
    try:
        async with asyncio.timeout(timeout):
            await writer.drain()
            for _ in range(_MOST_HEADERS):
                line = await reader.readline()
                name, _, value = line.decode("latin-1").partition(":")
                if name.lower() == "date":
                    date = value.strip()
                if not line.strip():
                    break
    except (OSError, TimeoutError, ValueError):
        return Finding("clock", "warn", "no answer to compare it with")
    return skew_of(date, datetime.now(UTC))


def skew_of(date: str, now: datetime) -> Finding:
    """Return what an HTTP *date* says of the clock that shows *now*."""
    try:
        there = parsedate_to_datetime(date)
    except ValueError:
        return Finding("clock", "warn", "the service does not tell the time")
    if there.tzinfo is None:
        there = there.replace(tzinfo=UTC)
    skew = (now - there).total_seconds()
    if abs(skew) < _SKEW_NOTED:
        return Finding("clock", "ok", "like the service's")
    told = f"{span(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the service's"
    advice = "set the clock, by NTP for instance: ages of jobs and ends of links are reckoned by it"
    return Finding("clock", "fail" if abs(skew) > _SKEW_BAD else "warn", told, advice)


async def _ask_with_token(timeout: float) -> Finding:
    try:
        async with open_client(timeout=timeout, max_retries=0) as client:
            found = await client.get_stats("google-flow")
    except CommandExit:
        return Finding("service", "skip", "not asked, since there is no token that can be sent")
    except AsyncflowError as error:
        return Finding("service", "fail", one_line(error_text(error)), _advice(error))
    return Finding("service", "ok", f"it takes the token, and tells of {count(len(found.emails), 'Google Flow account')}")


def _advice(error: AsyncflowError) -> str:
    if error.kind == "unauthorized":
        return "the service does not know this token: copy it again from useapi.net"
    if error.kind == "payment_required":
        return "the subscription has ended: see useapi.net"
    return "try again in a moment" if error.transient else ""


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
