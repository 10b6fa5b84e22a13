"""One syscall on its way: its bytes, its deadline, and what may be tried again. No sockets, no sleeping.

Apart so that the plain and the asyncio client make the same decisions, and a test can ask them without a server.
It must never let a call that may have been executed be sent again, unless its author or the contract calls it idempotent.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aion_sdk import errors
from aion_sdk.address import Address

ATTEMPTS = 5
FIRST_PAUSE_S = 0.05  # 0.05, 0.1, 0.2, 0.4: a gateway that restarts is missed for 0.75 s at most
MAX_TIMEOUT_S = 86_400.0  # a day: more is a mistake of units
# Reading twice gives what reading once gives; writes and money are the author's to judge.
IDEMPOTENT = frozenset(
    {"memory.get", "memory.query", "memory.history", "fs.read", "fs.list", "fs.stat", "schedule.status"}
)

_AGENT_ID = re.compile(r"agent://([A-Za-z0-9._-]{1,63})/[A-Za-z0-9._-]{1,63}")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class Identity(NamedTuple):
    """Who calls. The secret is used over http(s) only, and never shown."""

    agent_id: str
    tenant: str
    secret: bytes | None
    key_id: str

    def __repr__(self) -> str:
        return f"Identity({self.agent_id!r}, key_id={self.key_id!r})"


def identify(agent_id: str, *, tenant: str | None, secret: str | bytes | None, key_id: str) -> Identity:
    """Who calls. Raises ValueError where the id does not fit its form or the tenant."""
    found = _AGENT_ID.fullmatch(agent_id)
    if not found:
        raise ValueError(f"agent_id: expected agent://<tenant>/<name>, got {agent_id!r}")
    if tenant is not None and tenant != found[1]:
        raise ValueError(f"tenant {tenant!r} is not the one in {agent_id!r}")
    if not _KEY_ID.fullmatch(key_id):
        raise ValueError(f"key_id: expected letters, digits, '.', '_' or '-', got {key_id!r}")
    return Identity(agent_id, found[1], secret.encode() if isinstance(secret, str) else secret, key_id)


class Call(NamedTuple):
    """One syscall, encoded once; each attempt makes its own request."""

    name: str
    body: bytes
    idempotent: bool
    deadline: float  # time.monotonic()
    timeout: float
    traceparent: str | None

    def request(self, address: Address, who: Identity) -> bytes:
        """The bytes of one attempt, with a fresh time and nonce where it is signed: make it just before it is sent."""
        target = f"{address.prefix}/v1/syscall/{self.name}"
        headers = {
            "Host": address.host_header,
            "Content-Type": "application/json",
            "Content-Length": str(len(self.body)),
        }
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        if who.secret is not None and not address.is_unix:
            headers |= _signature(who, who.secret, target, self.body)
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body

    def left(self) -> float:
        """Seconds until the deadline; raises TimeoutError where none are left."""
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
        import random  # only here: a call that succeeds has no need of it

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
    """Encode a call; `latency` says that its timeout is also the gateway's. Raises ValueError or TypeError."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a syscall's name is like 'tool.invoke', got {name!r}")
    if isinstance(caps_required, str):
        raise TypeError(f"caps_required: expected a list such as ['network'], got the string {caps_required!r}")
    if traceparent is not None and not _TRACEPARENT.fullmatch(traceparent):
        raise ValueError(f"traceparent: expected 00-<32 hex>-<16 hex>-<2 hex>, got {traceparent[:80]!r}")
    trace = traceparent or current_traceparent()
    limits = _limits(budget)
    if latency:
        limits.setdefault("latency_ms", max(1, int(seconds(timeout) * 1000)))
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
    body = _encode(request).encode()
    safe = name in IDEMPOTENT if idempotent is None else idempotent
    return Call(name, body, safe, time.monotonic() + timeout, timeout, trace)


def seconds(timeout: float) -> float:
    """The same time-out, checked; raises ValueError."""
    if not 0 < timeout <= MAX_TIMEOUT_S:  # also where it is not a number at all
        raise ValueError(f"timeout: expected seconds above 0, at most {MAX_TIMEOUT_S:g}, got {timeout}")
    return timeout


def current_traceparent() -> str | None:
    """The W3C traceparent of the running OpenTelemetry span, where the agent uses OpenTelemetry; else None."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span().get_span_context()
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}" if span.is_valid else None


def _limits(budget: Mapping[str, Any] | None) -> dict[str, Any]:
    """The budget as JSON: a Decimal goes out as the decimal string it means, without a detour through binary."""
    limits = dict(budget or {})
    decimal = sys.modules.get("decimal")  # where nobody loaded it, nobody holds a Decimal
    if decimal is None:
        return limits
    for key, value in limits.items():
        if isinstance(value, decimal.Decimal):
            if not value.is_finite():
                raise ValueError(f"budget.{key}: expected a finite amount, got {value}")
            limits[key] = f"{value:f}"
    return limits


def _signature(who: Identity, secret: bytes, target: str, body: bytes) -> dict[str, str]:
    import secrets  # with the signing, not loaded in a Pod: over the socket nothing is signed

    from aion_sdk import signing

    return signing.headers(
        secret,
        method="POST",
        target=target,
        tenant=who.tenant,
        agent_id=who.agent_id,
        key_id=who.key_id,
        now_ms=time.time_ns() // 1_000_000,
        nonce=secrets.token_urlsafe(18),
        body=body,
    )
