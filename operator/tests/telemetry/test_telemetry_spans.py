"""Spans: which are made, and what of them arrives at a collector that speaks OTLP."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as some
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from aion.telemetry import otlp, spans

TRACE, PARENT = "ab" * 16, "cd" * 8


@pytest.mark.parametrize(
    ("text", "sampled"),
    [(f"00-{TRACE}-{PARENT}-01", True), (f"00-{TRACE}-{PARENT}-00", False), (f"00-{TRACE}-{PARENT}-ff", True)],
)
def test_a_traceparent_is_read_by_the_w3c(text: str, sampled: bool):
    assert spans.parent_of(text) == spans.Parent(TRACE, PARENT, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "rubbish",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01\n",
        f"ff-{TRACE}-{PARENT}-01",
    ],
)
def test_what_is_no_traceparent_is_no_parent(text: str):
    assert spans.parent_of(text) is None


@given(some.booleans(), some.sampled_from([None, True, False]), some.floats(0, 1), some.floats(0, 1, exclude_max=True))
def test_failures_are_always_traced_and_the_rest_as_the_caller_decided_or_by_ratio(failed, sampled, ratio, luck):
    parent = None if sampled is None else spans.Parent(TRACE, PARENT, sampled)
    wanted = spans.wanted(parent, failed=failed, ratio=ratio, toss=lambda: luck)
    assert wanted == (failed or sampled is True or luck < ratio)


def test_without_an_endpoint_nothing_is_imported_and_nobody_looks():
    nobody = spans.to("", service="aion-gateway")
    nobody.record(spans.Span("kernel.syscall", 1, 2, {}))
    nobody.close()
    assert not nobody.live
    asks = (
        "import sys; from aion.telemetry import spans; spans.to('', service='x'); print('opentelemetry' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True).stdout == "False\n"


@contextmanager
def collector(status: int = 200) -> Iterator[tuple[str, list[tuple[str, ExportTraceServiceRequest]]]]:
    """A collector on loopback that decodes what it is sent."""
    taken: list[tuple[str, ExportTraceServiceRequest]] = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", taken
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_span_arrives_with_its_own_times_its_parent_and_its_attributes():
    with collector() as (endpoint, taken):
        tracer = spans.to(endpoint + "/", service="aion-gateway", **{"k8s.pod.name": "researcher-1"})
        assert tracer.live
        about = {"aion.syscall": "tool.invoke", "aion.policy.revision": 7, "gen_ai.tool.name": "echo"}
        tracer.record(spans.Span(spans.SYSCALL, 1_000, 2_500, about, spans.Parent(TRACE, PARENT, True)))
        tracer.record(
            spans.Span(spans.SYSCALL, 3_000, 4_000, {}, spans.Parent(TRACE, PARENT, False), failure="E_POLICY: no")
        )
        tracer.record(spans.Span(spans.SYSCALL, 5_000, 6_000, {}))
        tracer.close()
    ((path, request),) = taken
    assert path == "/v1/traces"
    (resource,) = request.resource_spans
    described = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    assert (described["service.name"], described["k8s.pod.name"]) == ("aion-gateway", "researcher-1")
    first, denied, own = resource.scope_spans[0].spans
    assert (first.name, first.kind) == ("kernel.syscall", Span.SPAN_KIND_SERVER)
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (1_000, 2_500)
    assert (first.trace_id.hex(), first.parent_span_id.hex()) == (TRACE, PARENT)
    values = {pair.key: pair.value.string_value or pair.value.int_value for pair in first.attributes}
    assert values == about
    assert first.status.code == Status.STATUS_CODE_UNSET
    assert (denied.status.code, denied.status.message) == (Status.STATUS_CODE_ERROR, "E_POLICY: no")
    assert denied.trace_id.hex() == TRACE
    assert (own.parent_span_id, len(own.trace_id)) == (b"", 16)
    assert len({span.span_id for span in (first, denied, own)}) == 3


@pytest.mark.parametrize("way", ["fails", "gone", "silent"])
def test_a_collector_that_is_of_no_use_holds_up_neither_call_nor_end(way: str, monkeypatch):
    monkeypatch.setattr(otlp, "_DRAIN_S", 0.3)
    with collector(status=503) as (failing, _), socket.create_server(("127.0.0.1", 0)) as silent:
        where = {
            "fails": failing,
            "gone": "http://127.0.0.1:9",
            "silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        tracer = spans.to(where[way], service="aion-gateway")
        began = time.monotonic()
        for _ in range(3000):
            tracer.record(spans.Span(spans.SYSCALL, 1, 2, {}))
        assert time.monotonic() - began < 1.5
        began = time.monotonic()
        tracer.close()
        assert time.monotonic() - began < 1.5
