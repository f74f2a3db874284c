"""Hooks of every kind on one client, and all that they show of what they heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry, generate_latest

from asyncflow.contrib.opentelemetry import OpenTelemetry
from asyncflow.contrib.prometheus import Metrics
from asyncflow.logs import log_facts

if TYPE_CHECKING:
    from asyncflow.telemetry import Hook, TelemetryEvent


class Telemetry:
    """Spans, metrics, logs and the facts themselves."""

    def __init__(self) -> None:
        self.facts: list[TelemetryEvent] = []
        self.metrics = Metrics()
        self._spans, self._points = InMemorySpanExporter(), InMemoryMetricReader()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        tracing = OpenTelemetry(tracer_provider=tracers, meter_provider=MeterProvider([self._points]))
        self.hooks: list[Hook] = [self.facts.append, self.metrics, tracing, log_facts]

    def shown(self) -> list[str]:
        """Return what is shown, by whichever of them."""
        registry = CollectorRegistry()
        registry.register(self.metrics)
        data = self._points.get_metrics_data()
        return [
            *(repr(fact) for fact in self.facts),
            *(msgspec.json.encode(fact).decode() for fact in self.facts),
            *(span.to_json() for span in self._spans.get_finished_spans()),
            generate_latest(registry).decode(),
            "" if data is None else data.to_json(),
        ]
