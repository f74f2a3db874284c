"""The table of rate signals, and that a limiter hears exactly what the table says."""

from __future__ import annotations

import pytest

from asyncflow import FlowJob, JobNotFoundError, RateLimitedError, ServiceError, TransportError, UsageError
from asyncflow.protocol import Request
from asyncflow.protocol.rate_signals import RateSignal, rate_signal, record_outcome

READ = Request("google-flow", "GET", "/v1/google-flow/jobs/j1", "job")
ASSET = Request("google-flow", "GET", "/v1/google-flow/assets/a1", "asset")
SUBMIT = Request("google-flow", "POST", "/v1/google-flow/videos", "submission", b"{}")
JOB = FlowJob("j1", status="started", kind="video")


class Limiter:
    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def succeeded(self, now: float, latency: float) -> None:
        self.heard.append(("succeeded", now, latency))

    def throttled(self, now: float, retry_after: float | None) -> None:
        self.heard.append(("throttled", now, retry_after))

    def failed(self, now: float) -> None:
        self.heard.append(("failed", now))

    def cancelled(self) -> None:
        self.heard.append(("cancelled",))


BUSY = ServiceError("busy", status=503, transient=True, retry_after=60.0)
SIGNALS = [
    (JOB, READ, "succeeded"),
    (JOB, None, "succeeded"),
    (None, READ, "cancelled"),
    (None, None, "cancelled"),
    (UsageError("refused"), READ, "cancelled"),
    (UsageError("refused"), None, "cancelled"),
    (RateLimitedError("slow down", status=429, retry_after=3.0), READ, "throttled"),
    (RateLimitedError("slow down", status=429, retry_after=3.0, transient=False), None, "throttled"),
    (BUSY, READ, "throttled"),
    (BUSY, None, "throttled"),
    (BUSY, ASSET, "succeeded"),
    (ServiceError("broken", status=502, transient=True), READ, "failed"),
    (TransportError("no answer", transient=True), None, "failed"),
    (JobNotFoundError("gone", status=404), READ, "succeeded"),
    (JOB, SUBMIT, "cancelled"),
    (RateLimitedError("quota", status=429, retry_after=3.0), SUBMIT, "cancelled"),
]


@pytest.mark.parametrize(("outcome", "request_sent", "signal"), SIGNALS)
def test_the_table(outcome: object, request_sent: Request | None, signal: RateSignal) -> None:
    assert rate_signal(outcome, request_sent) == signal


@pytest.mark.parametrize(("outcome", "request_sent", "signal"), SIGNALS)
def test_a_limiter_hears_what_the_table_says(outcome: object, request_sent: Request | None, signal: RateSignal) -> None:
    limiter = Limiter()
    record_outcome(limiter, outcome, 10.0, 12.5, request_sent)
    details = {"succeeded": (12.5, 2.5), "throttled": (12.5, getattr(outcome, "retry_after", None)), "failed": (12.5,)}
    assert limiter.heard == [(signal, *details.get(signal, ()))]
