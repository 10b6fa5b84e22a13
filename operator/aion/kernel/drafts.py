"""What the kernel writes into the event stream: audit records, and what happens to agents and policy.

It stands apart so that the JSON of an event is made in one place, once, before it has a number. It must never hold a
body of a syscall.
"""

from typing import Any

import msgspec

from aion.api import auditchain, channel, event
from aion.kernel.quotas import Amounts
from aion.kernel.store import Draft

_encode = msgspec.json.Encoder().encode
_fields = msgspec.json.Decoder(dict[str, Any])


def of_audit(text: bytes | msgspec.Raw, *, chain: str) -> Draft:
    """Return the event of one syscall: the record as it came, with fields that this version does not know.

    It is brought into canonical form, so that nobody can hide a second field of a name that was judged; where that
    changes anything, its digest is not the one that the next record names, and the chain breaks. Raises
    msgspec.DecodeError.
    """
    record = channel.decode_record(text)
    line = auditchain.canonical(event.record_of(_fields.decode(text)))
    head = _encode(
        {"ts": event.timestamp(record.ts_ms), "topic": event.SYSCALLS, "type": event.SYSCALL, event.CHAIN: chain}
    )
    first = record.n == 1 and record.prev == chain
    return Draft(
        event.SYSCALLS,
        record.tenant,
        head[:-1] + b"," + line[1:],
        record.n,
        record.audit_id,
        prev="" if first else record.prev,
        digest=auditchain.digest(line),
        used=Amounts(record.micro_usd, record.tokens_in + record.tokens_out),
    )


def of_break(*, chain: str, tenant: str, agent: str, now_ms: int) -> Draft:
    """Return the event of a break in a chain, for the store to add what broke and where."""
    known: dict[str, object] = {"tenant": tenant, "agent": agent, event.CHAIN: chain}
    body = _body(event.SYSCALLS, event.CHAIN, event.timestamp(now_ms), known)
    return Draft(event.SYSCALLS, tenant, body[:-1])


def of_agent(kind: str, *, tenant: str, agent: str, now_ms: int, **fields: str | int) -> Draft:
    """Return an event of topic `kernel.agents`: `connected`, `disconnected`, `registered`, `granted` or `revoked`."""
    known: dict[str, object] = {"tenant": tenant, "agent": agent, **fields}
    return Draft(event.AGENTS, tenant, _body(event.AGENTS, kind, event.timestamp(now_ms), known))


def of_policy(kind: str, *, revision: int, digest: str, now_ms: int) -> Draft:
    """Return an event of topic `kernel.policy`, numbered by its revision; it belongs to no tenant."""
    known: dict[str, object] = {"revision": revision, "digest": digest}
    return Draft(event.POLICY, "", _body(event.POLICY, kind, event.timestamp(now_ms), known), n=revision)


def _body(topic: str, kind: str, ts: str, fields: dict[str, object]) -> bytes:
    return _encode({"ts": ts, "topic": topic, "type": kind, **fields})
