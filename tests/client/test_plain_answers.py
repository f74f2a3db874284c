"""Which answers the fast transport reads by itself, and what becomes of the others."""

from __future__ import annotations

import json

import pytest
from service_kit import FLOW_ID

from asyncflow.client.fast_transport import plain_body_at

BODY = json.dumps({"jobid": FLOW_ID, "status": "started"}).encode()
LENGTH = f"Content-Length: {len(BODY)}"
MORE, ODD = 0, -1


def answer(*lines: str, body: bytes = BODY, status: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join((status, *lines, "", "")).encode() + body


PLAIN = {
    "no more than a length": answer(LENGTH),
    "a server's usual lines": answer("Server: x", "Date: Sun, 22 Nov 2026 02:07:18 GMT", LENGTH, "Connection: keep-alive"),
    "small letters": answer(LENGTH.lower(), "connection: keep-alive"),
    "large letters": answer(LENGTH.upper(), "CONNECTION: KEEP-ALIVE"),
    "space around the value": answer(f"content-length:\t {len(BODY)} ", "connection:keep-alive"),
    "no space": answer(f"Content-Length:{len(BODY)}"),
    "what a proxy may say": answer("Vary: Accept-Encoding", "Keep-Alive: timeout=5", LENGTH, 'ETag: W/"14a"'),
    "an offer": answer(LENGTH, "Upgrade: h2c"),
    "other words": answer(LENGTH, status="HTTP/1.1 200 "),
    "no object": answer("Content-Length: 4", body=b"null"),
    "nothing": answer("Content-Length: 0", body=b""),
}
CUT = {
    "nothing but a status": b"HTTP/1.1 200 OK\r\n",
    "half of the head": answer("Server: x", LENGTH)[:40],
    "half of the body": answer(LENGTH)[:-5],
    "no body yet": answer(LENGTH, body=b""),
}
OTHERS = {
    "another status": answer(LENGTH, status="HTTP/1.1 204 No Content"),
    "a refusal": answer(LENGTH, status="HTTP/1.1 404 Not Found"),
    "hints": answer(LENGTH, status="HTTP/1.1 103 Early Hints"),
    "another version": answer(LENGTH, status="HTTP/1.0 200 OK"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "no length": answer("Server: x"),
    "two lengths": answer(LENGTH, "Content-Length: 7", body=b"1234567"),
    "a length of many digits": answer("Content-Length: 123456"),
    "a negative length": answer("Content-Length: -1"),
    "a length that is none": answer("Content-Length: 1_0", body=b"1234567890"),
    "a folded length": answer("Content-Length: 1", " 0", body=b"1234567890"),
    "chunks": answer("Transfer-Encoding: chunked"),
    "chunks and a length": answer(LENGTH, "transfer-encoding: chunked"),
    "a coding": answer(LENGTH, "Content-Encoding: gzip"),
    "a coding in large letters": answer("CONTENT-ENCODING: GZIP", "CONTENT-LENGTH: 2", body=b"\x1f\x8b"),
    "a connection that closes": answer(LENGTH, "Connection: close"),
    "a connection that closes, in small letters": answer(LENGTH.lower(), "connection: close"),
    "two words about the connection": answer(LENGTH, "Connection: keep-alive, close"),
    "an upgrade": answer(LENGTH, "Upgrade: h2c", "Connection: Upgrade"),
    "more than was said": answer("Content-Length: 3"),
    "two answers": answer(LENGTH) + answer(LENGTH),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_answer_is_read(name: str) -> None:
    whole = PLAIN[name]
    start = plain_body_at(whole)
    assert start == whole.index(b"\r\n\r\n") + 4


@pytest.mark.parametrize("name", CUT)
def test_the_rest_of_a_plain_answer_is_waited_for(name: str) -> None:
    assert plain_body_at(CUT[name]) == MORE


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_answer_is_left_to_aiohttp(name: str) -> None:
    assert plain_body_at(OTHERS[name]) == ODD


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_answer_that_comes_byte_by_byte_is_read_at_its_last_one(name: str) -> None:
    whole = PLAIN[name]
    first = len(b"HTTP/1.1 200 ")
    assert {plain_body_at(whole[:size]) for size in range(first, len(whole))} <= {MORE}
    assert plain_body_at(whole) > 0
