"""Events `aion.event.v1`: what the kernel's stream carries to consoles, sinks and tests.

Apart because the kernel writes them and others, also outside this repository, read them. `seq` rises strictly within a
topic's stream; what was lost is an explicit `gap`, never silence. It must never carry a body unless policy samples it.
"""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

SCHEMA: Final = "aion.event.v1"

SYSCALLS: Final = "kernel.syscalls"
SCHEDULER: Final = "kernel.scheduler"
GC: Final = "kernel.gc"
POLICY: Final = "kernel.policy"
AGENTS: Final = "kernel.agents"
TOPICS: Final = (SYSCALLS, SCHEDULER, GC, POLICY, AGENTS)

SYSCALL: Final = "syscall"
"""The type of an event that is an audit record."""

CHAIN: Final = "chain"
"""The type of an event that tells of a break in an audit chain; and the field that names the chain."""

_OWN = frozenset({"seq", "ts", "topic", "type"})
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])


class Event(msgspec.Struct, frozen=True):
    """One row. `ts` is RFC 3339 in UTC; `fields` stand beside the four on the wire, in one flat object."""

    seq: int
    ts: str
    topic: str
    type: str
    fields: dict[str, Any]


def encode(event: Event) -> bytes:
    """The event as one JSON object."""
    own = {"seq": event.seq, "ts": event.ts, "topic": event.topic, "type": event.type}
    return _encoder.encode({**event.fields, **own})


def decode(text: bytes | str) -> Event:
    """Read one event; raises msgspec.DecodeError."""
    row = _decoder.decode(text)
    own = {key: row[key] for key in _OWN if key in row}
    return msgspec.convert({**own, "fields": {k: v for k, v in row.items() if k not in _OWN}}, Event)


def timestamp(now_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_ms(ts: str) -> int:
    """The milliseconds of a timestamp; 0 where it is none."""
    try:
        return round(datetime.fromisoformat(ts).timestamp() * 1000)
    except (ValueError, OverflowError):
        return 0


def record_of(row: dict[str, Any]) -> dict[str, Any]:
    """The audit record in an event's row, with fields that this version does not know: what its digest is of."""
    return {key: value for key, value in row.items() if key not in _OWN and key != CHAIN}


def gap(*, topic: str, after: int, upto: int, now_ms: int, reason: str) -> Event:
    """The row that stands for events `after` < seq <= `upto` which this reader cannot have."""
    fields = {"after": after, "upto": upto, "lost": upto - after, "reason": reason}
    return Event(upto, timestamp(now_ms), topic, "gap", fields)
