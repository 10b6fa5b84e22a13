"""What the kernel writes into the event stream: audit records, and what happens to agents and policy.

It stands apart so that the JSON of an event is made in one place, once, before it has a number. It must never hold a
body of a syscall.
"""

import msgspec

from aion.api import event
from aion.api.channel import AuditRecord
from aion.kernel.store import Draft

_encode = msgspec.json.Encoder().encode


def of_audit(record: AuditRecord) -> Draft:
    """Return the event of one syscall."""
    made = event.of_audit(record, seq=0)
    return Draft(
        made.topic, record.tenant, _body(made.topic, made.type, made.ts, made.fields), record.n, record.audit_id
    )


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
