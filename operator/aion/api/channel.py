"""The channel between a gateway and the kernel: JSON text frames on the WebSocket `/v1/channel`.

Apart because both ends compile against it. What goes up: who I am, that I live, what happened. What comes down: what
this agent may do, and that it may no more. It must never carry a secret: keys travel by mounted Secrets.

    gateway -> kernel   hello, heartbeat, audit, lease
    kernel -> gateway   granted, revoked, ack, leased
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aion.api import grant as grants

PATH = "/v1/channel"

Amount = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""What is used, held or wanted: exact in every JSON reader, and never less than nothing, which would pay a tenant its quota."""

Decision = Literal["allow", "deny", "error"]


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One syscall, as it was decided and what came of it.

    `n` rises by one in each gateway's journal, so that a batch sent twice is kept once; `prev` is the digest of record
    n-1, as `auditchain` has it. `parent` is the audit id of the call within which this one was made; `subject` is what it
    was about: a tool's name, a host. `bytes_out` went to the network and `bytes_in` came from there; a tunnel's `latency_ms`
    is until it was open and `held_ms` how long it then was.
    """

    n: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    ts_ms: Annotated[int, Meta(ge=0, lt=253_402_300_800_000)]  # until the year 10000
    audit_id: str
    tenant: str
    agent: str
    syscall: str
    decision: Decision
    prev: str = ""
    code: str = ""
    rule: str = ""
    latency_ms: float = 0.0
    micro_usd: Amount = 0
    tokens_in: Amount = 0
    tokens_out: Amount = 0
    engine: str = ""
    trace_id: str = ""
    task_id: str = ""
    parent: str = ""
    policy_revision: int = 0
    subject: str = ""
    bytes_in: Amount = 0
    bytes_out: Amount = 0
    held_ms: float = 0.0


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent has used since its gateway started."""

    syscalls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    micro_usd: int = 0


class Hello(msgspec.Struct, frozen=True, tag_field="t", tag="hello"):
    """The first frame. `pod` must be the Pod that the token was issued to; `version` is the gateway's.

    `chain` names the audit chain that its records belong to (see `auditchain`).
    """

    pod: str
    agent_id: str
    version: str
    chain: str


class Heartbeat(msgspec.Struct, frozen=True, tag_field="t", tag="heartbeat"):
    """I live, with so many calls under way, and have used so much."""

    ts_ms: int
    inflight: int
    usage: Totals = Totals()


class Audit(msgspec.Struct, frozen=True, tag_field="t", tag="audit"):
    """A batch of AuditRecords with rising `n`, each in its canonical form.

    Raw, because the digest is of these bytes: a kernel that is older than its gateway keeps fields it does not know.
    """

    records: list[msgspec.Raw]


class Lease(msgspec.Struct, frozen=True, tag_field="t", tag="lease", kw_only=True):
    """What I hold of my tenant's quota, and what I want beside it. Holding nothing and wanting nothing gives all back.

    It follows every record of what was spent before it, so that held and spent together are what was ever leased.
    """

    held_micro_usd: Amount = 0
    held_tokens: Amount = 0
    want_micro_usd: Amount = 0
    want_tokens: Amount = 0


class Granted(msgspec.Struct, frozen=True, tag_field="t", tag="granted"):
    """What the agent may do from now on; replaces what was granted before."""

    grant: grants.Grant


class Revoked(msgspec.Struct, frozen=True, tag_field="t", tag="revoked"):
    """The agent may do nothing from now on."""

    reason: str


class Ack(msgspec.Struct, frozen=True, tag_field="t", tag="ack"):
    """Every record up to and with `upto` is kept; the journal may forget them."""

    upto: int


class Leased(msgspec.Struct, frozen=True, tag_field="t", tag="leased", kw_only=True):
    """So much more of the tenant's quota is yours, and what you hold is, for `ttl_s` from now.

    Where it is less than what was wanted, `refused` says why, and `retry_after_ms` when more may be free.
    """

    micro_usd: int = 0
    tokens: int = 0
    ttl_s: float = 0.0
    refused: str = ""
    retry_after_ms: int = 0


Up = Hello | Heartbeat | Audit | Lease
Down = Granted | Revoked | Ack | Leased

_up: msgspec.json.Decoder[Up] = msgspec.json.Decoder(Up)
_down: msgspec.json.Decoder[Down] = msgspec.json.Decoder(Down)
_record = msgspec.json.Decoder(AuditRecord)
_encoder = msgspec.json.Encoder()


def encode(frame: Up | Down) -> bytes:
    """One text frame, in UTF-8."""
    return _encoder.encode(frame)


def decode_up(text: bytes | str) -> Up:
    """Read a frame that the kernel received; raises msgspec.DecodeError."""
    return _up.decode(text)


def decode_down(text: bytes | str) -> Down:
    """Read a frame that a gateway received; raises msgspec.DecodeError."""
    return _down.decode(text)


def decode_record(text: bytes | msgspec.Raw) -> AuditRecord:
    """Read one record of an Audit frame, or a line of a journal; raises msgspec.DecodeError."""
    return _record.decode(text)
