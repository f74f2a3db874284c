"""Every answer of the service that is no record, and every way in which it gives none: what a watch says of each first.

The page docs/faults.md has a row for each of these (see test_faults_page.py).
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from fault_kit import FLOW_ID, TransportName, client_in, on_each_transport, watched

from asyncflow.simulator import Answer, Simulator

HTML = {"Content-Type": "text/html"}


class Case(NamedTuple):
    """What is answered again and again, and what a watch says of it first."""

    answer: Answer
    word: str


def refused(status: int, body: bytes = b"", **headers: str) -> Answer:
    return Answer(status, headers or {"Content-Type": "application/json"}, body)


CASES: dict[str, Case] = {
    "400": Case(refused(400, b'{"error": "Invalid job ID format"}'), "abandoned bad_request"),
    "401": Case(refused(401, b'{"error": "Unauthorized"}'), "raises unauthorized"),
    "402": Case(refused(402, b'{"error": "Account has no subscription or subscription expired"}'), "raises payment_required"),
    "403": Case(refused(403, b'{"error": "Access denied - job belongs to different user"}'), "abandoned forbidden"),
    "403 edge": Case(Answer(403, HTML, b"error code: 1010"), "abandoned edge_blocked"),
    "404": Case(refused(404, b'{"error": "Job not found"}'), "abandoned not_found"),
    "408": Case(refused(408, b'{"error": "Polling timeout"}'), "unreachable timeout"),
    "410": Case(refused(410, b'{"error": "Job has expired"}'), "abandoned expired"),
    "412": Case(refused(412, b'{"error": "Not enough credits", "code": 412}'), "abandoned insufficient_credits"),
    "413": Case(Answer(413, HTML, b"<html>413</html>"), "abandoned payload_too_large"),
    "422": Case(refused(422, b'{"error": "moderated"}'), "abandoned moderated"),
    "429": Case(refused(429, b'{"error": {"code": 429}}', **{"Retry-After": "1800"}), "unreachable rate_limited"),
    "4xx": Case(refused(418, b'{"error": "?"}'), "abandoned client_error"),
    "500": Case(refused(500, b'{"error": "Internal Server Error"}'), "unreachable server"),
    "502 page": Case(Answer(502, HTML, b"<html><title>502</title></html>"), "unreachable server"),
    "503": Case(refused(503, b'{"error": {"code": 503, "status": "UNAVAILABLE"}}'), "unreachable unavailable"),
    "524": Case(Answer(524, HTML, b"<html></html>"), "unreachable server"),
    "596": Case(refused(596, b'{"error": "Failed to refresh session", "code": 596}'), "abandoned account_error"),
    "redirect": Case(Answer(302, {"Location": "https://other.example/"}), "abandoned redirect"),
    "an error in a 200": Case(refused(200, b'{"error": "overloaded", "code": 503}'), "unreachable upstream_error"),
    "no JSON": Case(Answer(200, HTML, b"<html>sign in</html>"), "unreachable decode_error"),
    "half of a record": Case(Answer(200, {}, b'{"jobid": "j1", "sta'), "unreachable decode_error"),
    "reset": Case(Answer(fault="reset"), "unreachable transport"),
    "reset midway": Case(Answer(body=b'{"jobid": ""}', fault="reset_midway"), "unreachable transport"),
    "cut short": Case(Answer(body=b'{"jobid": ""}', fault="truncate"), "unreachable transport"),
    "hang": Case(Answer(fault="hang"), "unreachable transport"),
}


@on_each_transport
@pytest.mark.asyncio
@pytest.mark.parametrize("name", CASES)
async def test_an_answer_of_the_service_means_the_same_in_every_watch(name: str, transport: TransportName) -> None:
    answer, expected = CASES[name]
    timeout = 0.3 if name == "hang" else 30
    async with Simulator() as simulator, client_in(transport, simulator.url, timeout=timeout) as client:
        simulator.play(FLOW_ID, [answer])
        [first] = await watched(client.watch([FLOW_ID]), most=1)
        assert first == expected
