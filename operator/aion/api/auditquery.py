"""Which audit records are asked for: by tenant, agent, syscall, decision, code and time.

Apart because the kernel's API and `aionctl audit`, which follows the stream and reads files by itself, must find the same.
Pure. It must never decide who may see a record: the tenant of a caller is put in by whoever proved it.
"""

import msgspec

from aion.api import event, patterns


class Told(msgspec.Struct):
    """What of an audit event is asked by."""

    type: str = event.SYSCALL
    tenant: str = ""
    agent: str = ""
    syscall: str = ""
    decision: str = ""
    code: str = ""
    ts_ms: int = 0
    ts: str = ""


_told = msgspec.json.Decoder(Told)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; what is empty asks nothing. `syscall` may be a pattern, `agent` an id or its last part.

    `from_ms` is included, `to_ms` is not.
    """

    tenant: str | None = None
    agent: str = ""
    syscall: str = ""
    decision: str = ""
    code: str = ""
    from_ms: int = 0
    to_ms: int = 0

    def finds(self, row: bytes) -> bool:
        """Is this event one of them? A break in a chain is, where neither syscall, decision nor code is asked for."""
        try:
            told = _told.decode(row)
        except msgspec.DecodeError:
            return False
        if told.type != event.SYSCALL and (told.type != event.CHAIN or self.syscall or self.decision or self.code):
            return False
        ms = told.ts_ms or event.epoch_ms(told.ts)
        return (
            self.tenant in (None, told.tenant)
            and (not self.agent or self.agent == told.agent or told.agent.endswith("/" + self.agent))
            and (not self.syscall or patterns.covers(self.syscall, told.syscall))
            and (not self.decision or self.decision == told.decision)
            and (not self.code or self.code == told.code)
            and (not self.from_ms or ms >= self.from_ms)
            and (not self.to_ms or ms < self.to_ms)
        )
