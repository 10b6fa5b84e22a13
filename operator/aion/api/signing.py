"""HMAC version 1: how a caller outside the Pod proves who it is. Keys are a tenant's; several are valid in rotation.

Apart because the kernel, the tool runner, the gateway and both SDKs must agree to the byte; `sdk/contract/hmac.json`
holds the vectors. Pure: clock, nonce, keys and memory of nonces come in. It must never say which of key and MAC was
wrong, and never remember a nonce whose MAC was not right (a stranger could fill the memory).
"""

import hashlib
import heapq
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aion.api import errors, ids

ALGORITHM = "AION-HMAC-SHA256"
WINDOW_MS = 30_000
SKEW_MS = 5_000  # two checkers' clocks may differ by this much
MAX_MACS = 4  # MACs in one header: two keys in rotation, and room

TENANT = "X-Tenant-Id"
AGENT = "X-Aion-Agent-Id"
KEY_ID = "X-Aion-Key-Id"
TIMESTAMP = "X-Aion-Timestamp"
NONCE = "X-Aion-Nonce"
SIGNATURE = "X-Sig-HMAC"

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,14}")
_MAC = re.compile(r"v1=([0-9a-f]{64})")
_ABSENT_KEY = b"\0" * 32  # what an unknown key is checked against, so that it takes as long as a wrong one

Keys = Callable[[str, str], bytes | None]
"""(tenant, key id) -> secret, or None where there is no such key."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed. `agent_id` is empty where the request spoke for the tenant as a whole."""

    tenant: ids.Tenant
    agent_id: str
    key_id: str


def string_to_sign(
    *, method: str, target: str, tenant: str, agent_id: str, key_id: str, timestamp: str, nonce: str, body: bytes
) -> bytes:
    """The bytes under the MAC: nine lines. Raises ValueError where a field holds a line break."""
    fields = (ALGORITHM, method, target, tenant, agent_id, key_id, timestamp, nonce, hashlib.sha256(body).hexdigest())
    for field in fields:
        if "\n" in field or "\r" in field:
            raise ValueError(f"got a line break in {field[:60]!r}, expected one line a field")
    return "\n".join(fields).encode()


def sign(
    secret: bytes,
    *,
    method: str,
    target: str,
    tenant: str,
    agent_id: str,
    key_id: str,
    timestamp: str,
    nonce: str,
    body: bytes,
) -> str:
    """The MAC in hex. `target` is path and query as they are sent."""
    text = string_to_sign(
        method=method,
        target=target,
        tenant=tenant,
        agent_id=agent_id,
        key_id=key_id,
        timestamp=timestamp,
        nonce=nonce,
        body=body,
    )
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


def headers(
    secret: bytes,
    *,
    method: str,
    target: str,
    tenant: str,
    key_id: str,
    now_ms: int,
    nonce: str,
    body: bytes = b"",
    agent_id: str = "",
) -> dict[str, str]:
    """The headers of one signed request. Give a fresh nonce each time: `secrets.token_urlsafe(18)`."""
    timestamp = str(now_ms)
    mac = sign(
        secret,
        method=method,
        target=target,
        tenant=tenant,
        agent_id=agent_id,
        key_id=key_id,
        timestamp=timestamp,
        nonce=nonce,
        body=body,
    )
    made = {TENANT: tenant, KEY_ID: key_id, TIMESTAMP: timestamp, NONCE: nonce, SIGNATURE: f"v1={mac}"}
    return {**made, AGENT: agent_id} if agent_id else made


class ReplayCache:
    """Nonces that were used, until their request could no longer pass the window. Full, it refuses everyone."""

    def __init__(self, capacity: int = 100_000) -> None:  # 100k nonces in 35 s: 2800 signed requests a second
        self._capacity = capacity
        self._seen: set[tuple[str, str]] = set()
        self._expiry: list[tuple[int, tuple[str, str]]] = []

    def __len__(self) -> int:
        return len(self._seen)

    def remember(self, tenant: str, nonce: str, *, timestamp_ms: int, now_ms: int) -> None:
        """Take note of a nonce; raises Replay where it was used before or no room is left."""
        while self._expiry and self._expiry[0][0] < now_ms:
            self._seen.discard(heapq.heappop(self._expiry)[1])
        key = (tenant, nonce)
        if key in self._seen:
            raise errors.Replay("this nonce was used before: make a fresh one for every request, also for a retry")
        if len(self._seen) >= self._capacity:
            raise errors.Replay("too many signed requests at once to tell a replay: try again", retry_after_ms=1000)
        self._seen.add(key)
        heapq.heappush(self._expiry, (timestamp_ms + WINDOW_MS + SKEW_MS, key))


def verify(
    headers: Mapping[str, str], method: str, target: str, body: bytes, *, keys: Keys, now_ms: int, seen: ReplayCache
) -> Caller:
    """Say who signed this request. Raises BadSignature, ClockSkew or Replay. Header names may be in any case."""
    given = {name.lower(): value for name, value in headers.items()}
    tenant, agent_id, key_id = (
        given.get("x-tenant-id", ""),
        given.get("x-aion-agent-id", ""),
        given.get("x-aion-key-id", ""),
    )
    timestamp, nonce = given.get("x-aion-timestamp", ""), given.get("x-aion-nonce", "")
    macs = _macs(given.get("x-sig-hmac", ""))
    _check_form(tenant=tenant, agent_id=agent_id, key_id=key_id, timestamp=timestamp, nonce=nonce)
    if abs(now_ms - int(timestamp)) > WINDOW_MS:
        ahead = int(timestamp) - now_ms
        raise errors.ClockSkew(
            f"the request's time is {abs(ahead) / 1000:.1f} s {'ahead of' if ahead > 0 else 'behind'} this clock, "
            f"expected within {WINDOW_MS // 1000} s: synchronise clocks, and sign again for a retry"
        )
    secret = keys(tenant, key_id)
    try:
        expected = sign(
            secret if secret is not None else _ABSENT_KEY,
            method=method,
            target=target,
            tenant=tenant,
            agent_id=agent_id,
            key_id=key_id,
            timestamp=timestamp,
            nonce=nonce,
            body=body,
        )
    except ValueError as error:
        raise errors.BadSignature(str(error)) from None
    right = [hmac.compare_digest(mac, expected) for mac in macs]  # all of them: no early way out
    if secret is None or not any(right):
        raise errors.BadSignature("no valid key of this tenant made this MAC over this request")
    seen.remember(tenant, nonce, timestamp_ms=int(timestamp), now_ms=now_ms)
    return Caller(ids.Tenant(tenant), agent_id, key_id)


def _macs(header: str) -> list[str]:
    parts = [part.strip() for part in header.split(",")]
    found = [match[1] for part in parts if (match := _MAC.fullmatch(part))]
    if not found:
        raise errors.BadSignature(f"{SIGNATURE} is missing or not of the form v1=<64 hex>[,v1=<64 hex>]")
    if len(parts) > MAX_MACS:
        raise errors.BadSignature(f"{SIGNATURE} holds {len(parts)} MACs, expected at most {MAX_MACS}")
    return found


def _check_form(*, tenant: str, agent_id: str, key_id: str, timestamp: str, nonce: str) -> None:
    if not ids.is_tenant(tenant):
        raise errors.BadSignature(f"{TENANT} is missing or not a tenant's name")
    if not _KEY_ID.fullmatch(key_id):
        raise errors.BadSignature(f"{KEY_ID} is missing or not of the form [A-Za-z0-9._-]{{1,64}}")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise errors.BadSignature(f"{TIMESTAMP} is missing or not a time in milliseconds")
    if not _NONCE.fullmatch(nonce):
        raise errors.BadSignature(f"{NONCE} is missing or not of the form [A-Za-z0-9_-]{{16,64}}")
    if agent_id:
        try:
            spoken_for, _ = ids.parse_agent_id(agent_id)
        except ValueError as error:
            raise errors.BadSignature(f"{AGENT}: {error}") from None
        if spoken_for != tenant:
            raise errors.BadSignature(f"{AGENT} speaks for tenant {spoken_for!r}, {TENANT} says {tenant!r}")
