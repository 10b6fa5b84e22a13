"""HMAC version 1, the side that signs: for agents outside the cluster, where no socket says who calls.

Apart because `sdk/contract/hmac.json` holds every implementation to the same bytes. It must never log a secret, and never
be used over the unix socket: inside a Pod the agent has no secret.
"""

from __future__ import annotations

import hashlib
import hmac


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
    """The MAC in hex over the nine lines of the contract. Raises ValueError where a field holds a line break."""
    digest = hashlib.sha256(body).hexdigest()
    lines = ("AION-HMAC-SHA256", method, target, tenant, agent_id, key_id, timestamp, nonce, digest)
    for line in lines:
        if "\n" in line or "\r" in line:
            raise ValueError(f"a signed field must be one line, got {line!r}")
    return hmac.new(secret, "\n".join(lines).encode(), hashlib.sha256).hexdigest()


def headers(
    secret: bytes,
    *,
    method: str,
    target: str,
    tenant: str,
    agent_id: str,
    key_id: str,
    now_ms: int,
    nonce: str,
    body: bytes,
) -> dict[str, str]:
    """The headers of one signed request. Every request needs a fresh nonce, a retry too."""
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
    return {
        "X-Tenant-Id": tenant,
        "X-Aion-Agent-Id": agent_id,
        "X-Aion-Key-Id": key_id,
        "X-Aion-Timestamp": timestamp,
        "X-Aion-Nonce": nonce,
        "X-Sig-HMAC": f"v1={mac}",
    }
