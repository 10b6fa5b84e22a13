"""One syscall on its way: its bytes, its deadline, and what may be tried again. No sockets, no sleeping.

Apart so that the plain and the asyncio client make the same decisions, and a test can ask them without a server.
It must never let a call that may have been executed be sent again, unless its author or the contract calls it idempotent.
"""

from __future__ import annotations

import json
import random
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aion_sdk import errors, signing
from aion_sdk.address import Address

ATTEMPTS = 5
FIRST_PAUSE_S = 0.05  # 0.05, 0.1, 0.2, 0.4: a gateway that restarts is missed for 0.75 s at most
# Reading twice gives what reading once gives; writes and money are the author's to judge.
IDEMPOTENT = frozenset(
    {"memory.get", "memory.query", "memory.history", "fs.read", "fs.list", "fs.stat", "schedule.status"}
)


@dataclass(frozen=True)
class Identity:
    """Who calls. The secret is used over http(s) only."""

    agent_id: str
    tenant: str
    secret: bytes | None
    key_id: str


@dataclass(frozen=True)
class Call:
    """One syscall, encoded once; each attempt makes its own head."""

    name: str
    body: bytes
    idempotent: bool
    deadline: float  # time.monotonic()
    timeout: float
    traceparent: str | None

    def head(self, address: Address, who: Identity) -> bytes:
        """Request line and headers of one attempt, with a fresh nonce where it is signed."""
        target = f"{address.prefix}/v1/syscall/{self.name}"
        headers = {
            "Host": address.host_header,
            "Content-Type": "application/json",
            "Content-Length": str(len(self.body)),
        }
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        if who.secret is not None and not address.is_unix:
            headers |= signing.headers(
                who.secret,
                method="POST",
                target=target,
                tenant=who.tenant,
                agent_id=who.agent_id,
                key_id=who.key_id,
                now_ms=time.time_ns() // 1_000_000,
                nonce=secrets.token_urlsafe(18),
                body=self.body,
            )
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def left(self) -> float:
        """Seconds until the deadline; raises TimedOut where none are left."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def out_of_time(self, *, sent: bool) -> errors.TimedOut:
        """The error for a deadline that passed here."""
        doubt = "" if self.idempotent or not sent else ": it may still be done, look before asking again"
        return errors.TimedOut(f"{self.name}: no answer within {self.timeout:g} s{doubt}", details={"sent": sent})

    def pause(self, error: errors.SyscallError, *, attempt: int, sent: bool) -> float | None:
        """Seconds to wait before the next attempt, or None where this error is the end."""
        if attempt >= ATTEMPTS:
            return None
        if sent:
            lost = isinstance(error, errors.UnknownOutcome) and error.audit_id is None
            later = isinstance(error, (errors.Throttled, errors.Unavailable)) and error.retry_after is not None
            if not self.idempotent or not (lost or later):
                return None
        wait = FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311  (jitter, not a secret)
        wait = max(wait, error.retry_after or 0.0)
        return wait if time.monotonic() + wait < self.deadline else None


def prepare(
    who: Identity,
    name: str,
    params: Mapping[str, Any],
    *,
    seq: int,
    timeout: float,
    latency: bool,
    budget: Mapping[str, Any] | None,
    task_id: str | None,
    idempotent: bool | None,
    caps_required: Sequence[str],
    traceparent: str | None,
) -> Call:
    """Encode a call. Raises ValueError or TypeError where it cannot be one."""
    if not name or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        raise ValueError(f"a syscall's name is like 'tool.invoke', got {name!r}")
    if timeout <= 0:
        raise ValueError(f"timeout must be above 0 s, got {timeout}")
    trace = traceparent or current_traceparent()
    limits = dict(budget or {})
    if latency:
        limits.setdefault("latency_ms", max(1, int(timeout * 1000)))
    context: dict[str, Any] = {"seq": seq}
    if task_id:
        context["task_id"] = task_id
    if trace:
        context["traceparent"] = trace
    request = {
        "schema": "aion.syscall.v1",
        "syscall": name,
        "agent_id": who.agent_id,
        "context": context,
        "caps_required": list(caps_required),
        "params": dict(params),
        "budget": limits,
    }
    body = json.dumps(request, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    safe = name in IDEMPOTENT if idempotent is None else idempotent
    return Call(name, body, safe, time.monotonic() + timeout, timeout, trace)


def current_traceparent() -> str | None:
    """The W3C traceparent of the running OpenTelemetry span, where the agent uses OpenTelemetry; else None."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}" if span.is_valid else None
