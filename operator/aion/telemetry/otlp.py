"""Spans through the OpenTelemetry SDK to an OTLP/HTTP collector.

Apart from `spans` because importing the SDK costs a tenth of a second: only a process that was given an endpoint comes
here. It must never sample: who calls `record` has decided already.
"""

import threading
from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from aion.telemetry import spans

_DRAIN_S = 3.0
"""For the last spans, and for one batch: a collector that is gone must not keep a process from its end."""


class OtlpSpans:
    """The live kind of Spans."""

    live = True

    def __init__(
        self, endpoint: str, *, service: str, resource: Mapping[str, str], exporter: SpanExporter | None = None
    ) -> None:
        described = Resource.create({"service.name": service, **resource})
        self._provider = TracerProvider(resource=described, sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._exporter = exporter or OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=_DRAIN_S)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("aion")

    def record(self, span: spans.Span) -> None:
        """Make the span with the times it really had, below the caller's."""
        context = None
        if span.parent is not None:
            above = trace.SpanContext(
                trace_id=int(span.parent.trace_id, 16),
                span_id=int(span.parent.span_id, 16),
                is_remote=True,
                trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
            )
            context = trace.set_span_in_context(trace.NonRecordingSpan(above))
        made = self._tracer.start_span(
            span.name,
            context=context,
            kind=trace.SpanKind.SERVER,
            start_time=span.started_ns,
            attributes=dict(span.attributes),
        )
        if span.failure:
            made.set_status(trace.StatusCode.ERROR, span.failure)
        made.end(span.ended_ns)

    def close(self) -> None:
        """Send what is queued, as far as it goes within `_DRAIN_S`.

        In a thread, for the SDK's own shutdown waits half a minute and takes no argument; then the exporter is told to
        stop, which ends its retries.
        """
        ending = threading.Thread(target=self._provider.shutdown, name="otlp-close", daemon=True)
        ending.start()
        ending.join(_DRAIN_S)
        if ending.is_alive():
            self._exporter.shutdown()
