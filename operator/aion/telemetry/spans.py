"""Spans named `kernel.syscall`, made after the call is over and only when somebody will see them.

Apart because tracing costs as much as a whole syscall where every call makes a span: here the coin is tossed before the
SDK is touched, failures are always traced, and without an endpoint the SDK is not even imported (its import is time on
the start path of every agent's Pod). It must never hold up a call: a full queue drops spans, and the exporter counts it.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

SYSCALL = "kernel.syscall"

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 0x01


class Parent(NamedTuple):
    """The span within which a caller made its syscall, from its W3C traceparent."""

    trace_id: str
    span_id: str
    sampled: bool


class Span(NamedTuple):
    """A piece of work that is over. Times are nanoseconds since the epoch; `failure` is empty when all went well."""

    name: str
    started_ns: int
    ended_ns: int
    attributes: Mapping[str, str | int | float]
    parent: Parent | None = None
    failure: str = ""


class Spans(Protocol):
    """Where spans go."""

    @property
    def live(self) -> bool:
        """Whether anybody receives them; if not, nobody need make one."""

    def record(self, span: Span) -> None:
        """Take one span; never blocks, never raises."""

    def close(self) -> None:
        """Send what is queued, within a few seconds."""


class NoSpans:
    """Nobody looks: the default, which imports nothing."""

    live = False

    def record(self, span: Span) -> None:
        """Forget it."""

    def close(self) -> None:
        """Nothing is queued."""


def parent_of(traceparent: str) -> Parent | None:
    """Read a W3C traceparent; None where it is absent, malformed or all zeros."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if not found or not int(found[1], 16) or not int(found[2], 16):
        return None
    return Parent(found[1], found[2], bool(int(found[3], 16) & _SAMPLED))


def wanted(parent: Parent | None, *, failed: bool, ratio: float, toss: Callable[[], float]) -> bool:
    """Whether to make a span: failures always, then as the caller decided, else by ratio. `toss` gives [0, 1)."""
    return failed or (parent is not None and parent.sampled) or (ratio > 0 and toss() < ratio)


def to(endpoint: str, *, service: str, **resource: str) -> Spans:
    """Spans to an OTLP/HTTP endpoint such as `http://otel-collector:4318`; NoSpans where it is empty."""
    if not endpoint:
        return NoSpans()
    from aion.telemetry import otlp

    return otlp.OtlpSpans(endpoint, service=service, resource=resource)
