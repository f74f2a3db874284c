"""Spans and metrics for OpenTelemetry, out of the facts that clients and watches tell their hooks (extra `otel`).

    client = AsyncClient(hooks=[OpenTelemetry()])

One span is made for each job that was watched, when it has ended, with its polls as events; and one for each attempt at a
request, when that is over, by the stable semantic conventions for HTTP clients. So no span stays open for the hours that a job
may take, and none is lost if the process is. Only opentelemetry-api is needed; without an SDK nothing is recorded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode

from asyncflow import __version__
from asyncflow.telemetry import EventEmitted, PollAnswered, RequestMade, TelemetryEvent, WatchEnded

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider
    from opentelemetry.util.types import AttributeValue

__all__ = ["OpenTelemetry"]

_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"
_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
"""As the conventions have it for http.client.request.duration: https://opentelemetry.io/docs/specs/semconv/http/http-metrics/"""

_FAILED = frozenset({"failed"})


@dataclass(slots=True)
class _WatchSpan:
    """What is known of a job until its span is made; instants are in nanoseconds since 1970."""

    since: int
    span: Span | None = None
    service: str = ""
    kind: str = ""
    status: str = ""
    polls: int = 0
    failed_polls: int = 0
    events: list[tuple[str, int, dict[str, AttributeValue]]] = field(
        default_factory=list[tuple[str, int, dict[str, "AttributeValue"]]]
    )


class OpenTelemetry:
    """A hook: give it to `AsyncClient` or `JobWatcher`, one for as many of them as you like.

    Without *tracer_provider* or *meter_provider* the global ones are used. *jobs* and *requests* say which spans are made; the
    histogram of request durations is kept in any case. *poll_events* is how many polls of a job are noted in its span one by one,
    the first ones; later polls are counted, and noted if they brought a change or an error. With *open_spans* the span of a job
    is there from its first poll on, and open for as long as the job takes.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        jobs: bool = True,
        requests: bool = True,
        poll_events: int = 16,
        open_spans: bool = False,
    ) -> None:
        self._tracer = trace.get_tracer("asyncflow", __version__, tracer_provider, _SCHEMA)
        self._seconds = metrics.get_meter("asyncflow", __version__, meter_provider, _SCHEMA).create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._has_jobs = jobs
        self._has_requests = requests
        self._poll_events = poll_events
        self._has_open_spans = open_spans
        self._watched: dict[tuple[int, str], _WatchSpan] = {}

    def __call__(self, fact: TelemetryEvent) -> None:
        """Hear *fact*."""
        match fact:
            case RequestMade():
                self._request(fact)
            case PollAnswered() if self._has_jobs:
                self._poll(fact)
            case EventEmitted() if self._has_jobs and fact.event != "expiring":
                self._event(fact)
            case WatchEnded() if self._has_jobs:
                self._leave(fact.watch)
            case _:
                pass

    # -- requests ----------------------------------------------------------------------------------------------------------

    def _request(self, fact: RequestMade) -> None:
        now = time.time_ns()
        measured: dict[str, AttributeValue] = {
            "http.request.method": fact.method,
            "server.address": fact.server,
            "server.port": fact.port,
            "url.scheme": fact.scheme,
            "url.template": fact.route,
        }
        error = _error_type(fact)
        if fact.status is not None:
            measured["http.response.status_code"] = fact.status
        if error is not None:
            measured["error.type"] = error
        self._seconds.record(fact.seconds, measured)
        if not self._has_requests:
            return
        # The conventions want the whole URL, and say that what is sensitive in it is to be replaced.
        attributes = measured | {"url.full": f"{fact.scheme}://{fact.server}:{fact.port}{_redacted(fact.route)}"}
        if fact.resends:
            attributes["http.request.resend_count"] = fact.resends
        if fact.job:
            attributes["asyncflow.job"] = fact.job
        span = self._tracer.start_span(
            f"{fact.method} {fact.route}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=now - int(fact.seconds * 1e9),
        )
        if error is not None:
            # A status code says enough by itself.
            span.set_status(Status(StatusCode.ERROR, None if fact.status is not None else fact.error))
        span.end(now)

    # -- jobs --------------------------------------------------------------------------------------------------------------

    def _poll(self, fact: PollAnswered) -> None:
        now = time.time_ns()
        job = self._watched.get((fact.watch, fact.job))
        if job is None:
            job = self._watched[fact.watch, fact.job] = _WatchSpan(now - int(fact.seconds * 1e9))
            if self._has_open_spans:
                job.span = self._start(fact.job, job)
        job.polls += 1
        job.failed_polls += fact.error is not None
        is_news = fact.error is not None or fact.status != job.status
        if fact.status is not None:
            job.service, job.kind, job.status = fact.service, fact.kind, fact.status
        if job.polls <= self._poll_events or is_news:
            told = {"asyncflow.status": fact.status, "error.type": fact.error}
            attributes: dict[str, AttributeValue] = {name: value for name, value in told.items() if value is not None}
            attributes["asyncflow.seconds"] = fact.seconds
            if job.span is not None:
                job.span.add_event("poll", attributes, now)
            else:
                job.events.append(("poll", now, attributes))

    def _event(self, fact: EventEmitted) -> None:
        if fact.event not in {"ended", "abandoned"}:
            return
        # An ending that a journal has kept from an earlier process comes without a poll.
        job = self._watched.pop((fact.watch, fact.job), None) or _WatchSpan(time.time_ns())
        if fact.service:
            job.service, job.kind, job.status = fact.service, fact.kind, fact.status
        self._finish(fact.job, job, fact.outcome or "abandoned", fact.error or ("failed" if fact.outcome in _FAILED else None))

    def _leave(self, watch: int) -> None:
        """Make the spans of the jobs that the watch has left behind."""
        for number, digest in [key for key in self._watched if key[0] == watch]:
            self._finish(digest, self._watched.pop((number, digest)), "pending", None)

    def _start(self, digest: str, job: _WatchSpan) -> Span:
        # A span of its own: what happens to run when a job is first polled has nothing to do with the job.
        return self._tracer.start_span("asyncflow job", Context(), attributes={"asyncflow.job": digest}, start_time=job.since)

    def _finish(self, digest: str, job: _WatchSpan, outcome: str, error: str | None) -> None:
        span = job.span or self._start(digest, job)
        for name, at, attributes in job.events:
            span.add_event(name, attributes, at)
        told = {"asyncflow.service": job.service, "asyncflow.kind": job.kind, "asyncflow.status": job.status, "error.type": error}
        span.set_attributes({name: value for name, value in told.items() if value})
        span.set_attributes(
            {"asyncflow.outcome": outcome, "asyncflow.polls": job.polls, "asyncflow.failed_polls": job.failed_polls}
        )
        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()


def _error_type(fact: RequestMade) -> str | None:
    """Return the low-cardinality reason of a failure: the status code as a word, or the kind of the error."""
    if fact.status is not None and fact.status >= 400:
        return str(fact.status)
    return fact.error


def _redacted(route: str) -> str:
    head, brace, _ = route.partition("{")
    return f"{head}REDACTED" if brace else route
