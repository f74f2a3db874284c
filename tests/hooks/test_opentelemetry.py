"""What the real SDK makes of a watch: spans and metrics by the conventions, and nothing secret in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from secret_watch import leaks

from asyncflow import AsyncClient, AsyncflowError, fixed_interval
from asyncflow.contrib.opentelemetry import OpenTelemetry
from asyncflow.simulator import Answer, Faults, Simulator
from asyncflow.telemetry import EventEmitted, PollAnswered, WatchEnded, digest
from asyncflow.testing import now

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.virtual_time

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class Backend:
    """An SDK that keeps everything in memory, and a hook that feeds it."""

    def __init__(self, **options: bool | int) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])
        self.hook = OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **options)  # type: ignore[arg-type] # parameters

    def spans(self, kind: SpanKind) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.kind is kind]

    def points(self) -> list[HistogramDataPoint]:
        data = self.reader.get_metrics_data()
        assert data is not None
        [scope] = data.resource_metrics[0].scope_metrics
        [metric] = scope.metrics
        assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
        return [point for point in metric.data.data_points if isinstance(point, HistogramDataPoint)]


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def client_of(service: Simulator, backend: Backend) -> AsyncClient:
    return AsyncClient(service.token, base_url=service.url, hooks=[backend.hook], policy=fixed_interval(10))


async def test_an_attempt_is_a_span_by_the_conventions() -> None:
    backend = Backend()
    async with Simulator(port=8081) as service, client_of(service, backend) as client:
        [job_id] = service.seed_jobs(age=600)
        await client.get_job(job_id)
    [span] = backend.spans(SpanKind.CLIENT)
    assert span.name == "GET /v1/google-flow/jobs/{jobid}"
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": 8081,
        "url.scheme": "http",
        "url.template": "/v1/google-flow/jobs/{jobid}",
        "url.full": "http://127.0.0.1:8081/v1/google-flow/jobs/REDACTED",
        "asyncflow.job": digest(job_id),
    }
    assert span.status.status_code is StatusCode.UNSET
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "asyncflow"


async def test_each_attempt_has_its_own_span_and_tells_its_number_and_error() -> None:
    backend = Backend()
    async with Simulator() as service, client_of(service, backend) as client:
        [job_id] = service.seed_jobs(age=600)
        service.play(job_id, [Answer(429, {"Retry-After": "3"}), "reset", Answer(410)])
        with pytest.raises(AsyncflowError):
            await client.get_job(job_id)
    spans = backend.spans(SpanKind.CLIENT)
    names = ("http.response.status_code", "error.type", "http.request.resend_count")
    assert [tuple(attributes(span).get(name) for name in names) for span in spans] == [
        (429, "429", None),
        (None, "transport", 1),
        (410, "410", 2),
    ]
    assert {span.status.status_code for span in spans} == {StatusCode.ERROR}
    assert [span.status.description for span in spans] == [None, "transport", None]


async def test_the_span_of_a_caller_is_the_parent_of_its_requests() -> None:
    backend = Backend()
    async with Simulator() as service, client_of(service, backend) as client:
        [job_id] = service.seed_jobs(age=600)
        with trace.get_tracer("app", tracer_provider=backend.tracers).start_as_current_span("handler") as outer:
            await client.get_job(job_id)
    [span] = backend.spans(SpanKind.CLIENT)
    assert span.parent is not None
    assert span.parent.span_id == outer.get_span_context().span_id


async def test_durations_are_a_histogram_with_the_recommended_buckets() -> None:
    backend = Backend()
    async with Simulator(faults=Faults(latency=0.2)) as service, client_of(service, backend) as client:
        await client.wait_all(service.seed_jobs(3, age=600))
        service.faults = Faults(refuse_with=404)
        with pytest.raises(AsyncflowError):
            await client.get_job(service.seed_jobs()[0])
    good, bad = sorted(backend.points(), key=lambda point: str(point.attributes))
    if "error.type" in (good.attributes or {}):
        good, bad = bad, good
    assert tuple(good.explicit_bounds) == BUCKETS
    assert good.count == 3
    assert good.sum == pytest.approx(0.6)
    measured = dict(good.attributes or {})
    assert measured.pop("server.port")
    assert measured == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "url.scheme": "http",
        "url.template": "/v1/google-flow/jobs/{jobid}",
    }
    assert (bad.count, dict(bad.attributes or {})["error.type"]) == (1, "404")


async def test_a_job_is_one_span_made_at_its_end_with_its_polls_as_events() -> None:
    backend = Backend()
    async with Simulator() as service, client_of(service, backend) as client:
        job_id = service.script_job([(0, "created"), (15, "started"), (3600, "completed")])
        async with client.watch([job_id]) as watcher:
            await anext(watcher)
            assert backend.spans(SpanKind.INTERNAL) == []
            async for _ in watcher:
                pass
        assert now() >= 3600
        polls = watcher.stats().polls
    [span] = backend.spans(SpanKind.INTERNAL)
    assert span.name == "asyncflow job"
    assert attributes(span) == {
        "asyncflow.job": digest(job_id),
        "asyncflow.service": "google-flow",
        "asyncflow.kind": "video",
        "asyncflow.status": "completed",
        "asyncflow.outcome": "succeeded",
        "asyncflow.polls": polls,
        "asyncflow.failed_polls": 0,
    }
    statuses = [dict(event.attributes or {})["asyncflow.status"] for event in span.events]
    assert statuses[:3] == ["created", "created", "started"]
    assert len(statuses) == 16 + 1
    assert statuses[-1] == "completed"
    assert span.start_time is not None
    assert span.start_time <= span.events[0].timestamp
    assert span.parent is None


async def test_what_became_of_a_job_is_in_its_span() -> None:
    backend = Backend(requests=False)
    async with Simulator() as service, client_of(service, backend) as client:
        failed = service.seed_jobs(age=600, fate="failed")
        empty = service.seed_jobs(age=600, fate="refused")
        gone = service.seed_jobs()
        service.play(gone[0], [Answer(503), Answer(503), Answer(410)])
        await client.wait_all([*failed, *empty, *gone])
    assert backend.spans(SpanKind.CLIENT) == []
    spans = {str(attributes(span)["asyncflow.job"]): span for span in backend.spans(SpanKind.INTERNAL)}
    told = {
        name: (attributes(span)["asyncflow.outcome"], attributes(span).get("error.type"), span.status.status_code)
        for name, span in spans.items()
    }
    assert told == {
        digest(failed[0]): ("failed", "failed", StatusCode.ERROR),
        digest(empty[0]): ("no_output", None, StatusCode.UNSET),
        digest(gone[0]): ("abandoned", "expired", StatusCode.ERROR),
    }
    assert attributes(spans[digest(gone[0])])["asyncflow.failed_polls"] == 2
    assert "error.type" in dict(spans[digest(gone[0])].events[0].attributes or {})


async def test_a_watch_that_is_left_leaves_spans_of_its_jobs() -> None:
    backend = Backend(requests=False, open_spans=True)
    async with Simulator() as service, client_of(service, backend) as client:
        ids = service.seed_jobs(3, duration=100)
        async with client.watch(ids) as watcher:
            for _ in ids:
                await anext(watcher)
    spans = backend.spans(SpanKind.INTERNAL)
    assert {attributes(span)["asyncflow.outcome"] for span in spans} == {"pending"}
    assert len(spans) == 3
    assert backend.hook._watched == {}


async def test_spans_of_jobs_can_be_open_from_the_start_or_not_at_all() -> None:
    opened: list[str] = []

    class Spy(SimpleSpanProcessor):
        def on_start(self, span: trace.Span, parent_context: object = None) -> None:  # noqa: ARG002 - the processor's parameters
            opened.append(f"{now():.0f}")

    backend = Backend(requests=False, open_spans=True)
    backend.tracers.add_span_processor(Spy(backend.exporter))
    async with Simulator() as service, client_of(service, backend) as client:
        job_id = service.script_job([(0, "created"), (60, "completed")])
        await client.wait(job_id)
        [span, *_] = backend.spans(SpanKind.INTERNAL)
        assert int(opened[0]) < 12
        assert [dict(event.attributes or {})["asyncflow.status"] for event in span.events][-1] == "completed"
        backend.exporter.clear()
        silent = Backend(requests=False, jobs=False)
        async with client.watch([job_id], hooks=[silent.hook]) as watcher:
            assert len([event async for event in watcher]) == 1
    assert silent.exporter.get_finished_spans() == ()


def test_an_ending_that_comes_from_a_journal_has_a_span_too() -> None:
    backend = Backend()
    backend.hook(EventEmitted(1, "ended", "0123456789", "google-flow", "video", "completed", "succeeded", None))
    backend.hook(EventEmitted(1, "expiring", "0123456789", "google-flow", "video", "completed", "succeeded", None))
    backend.hook(PollAnswered(1, "00", "flowmusic", "music", "pending", None, 1, 0.0, 0.1))
    backend.hook(WatchEnded(2, 0, 0, 0, 0, None, 1.0))
    [span] = backend.spans(SpanKind.INTERNAL)
    assert attributes(span)["asyncflow.polls"] == 0


async def test_without_an_sdk_nothing_happens() -> None:
    async with Simulator() as service, AsyncClient(service.token, base_url=service.url, hooks=[OpenTelemetry()]) as client:
        assert len(await client.wait_all(service.seed_jobs(2, age=600))) == 2


@pytest.mark.parametrize("make", [lambda: Backend(), lambda: Backend(open_spans=True)])  # noqa: PLW0108 - each its own
async def test_no_span_and_no_metric_shows_a_secret(make: Callable[[], Backend]) -> None:
    backend = make()
    async with Simulator(faults=Faults.preset("heavy"), seed=5) as service, client_of(service, backend) as client:
        await client.wait_all(service.seed_jobs(15, kind="mix"), timeout=None, max_failures=None)
        with pytest.raises(AsyncflowError):
            await client.submit("google-flow/jo-ann+flow@example.com", {"prompt": "a kite"})
    shown = [span.to_json() for span in backend.exporter.get_finished_spans()]
    data = backend.reader.get_metrics_data()
    shown.append(data.to_json() if data is not None else "")
    assert len(shown) > 100
    assert [leak for text in shown for leak in leaks(text)] == []
    assert json.loads(shown[0])["attributes"] != {}
