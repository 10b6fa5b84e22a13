"""The audit of the syscalls that the kernel answers itself: in the store before the answer leaves.

It stands apart because a caller outside has no journal on disk beside it: here the store is the only memory, so the
answer waits for it. Calls that end while a write is under way share the next one. A record that could not be written is
kept and tried again, and until it is written no further call is begun. It must never drop one.
"""

import asyncio
import contextlib

import structlog

from aion.api import auditchain, channel, errors
from aion.kernel import drafts
from aion.kernel.clock import wall_ms
from aion.kernel.metrics import KernelMetrics
from aion.kernel.store import Store

BATCH = 500
RETRY_S = 1.0

_log = structlog.get_logger()


class Recorder:
    """An `aion.syscalls.router.AuditSink` over the store. `chain` names this process's records (see `auditchain`)."""

    def __init__(self, store: Store, *, chain: str, metrics: KernelMetrics) -> None:
        self._store = store
        self._chain = chain
        self._metrics = metrics
        self._place = auditchain.Place(1, chain)
        self._waiting: list[tuple[int, bytes]] = []
        self._failure: errors.Unavailable | None = None
        self._writing = asyncio.Lock()

    def check(self, *, harmless: bool = False) -> None:  # noqa: ARG002 - without a store nothing is harmless
        """Raise Unavailable while records wait that could not be written."""
        if self._failure is not None:
            raise errors.Unavailable(f"the audit cannot be written: {self._failure.message}", retry_after_ms=1000)

    def place(self) -> auditchain.Place:
        """Return where the next record belongs."""
        return self._place

    def append(self, record: channel.AuditRecord, *, urgent: bool, done: bool) -> None:  # noqa: ARG002 - each is awaited
        """Take a record; `kept` writes it."""
        line = auditchain.canonical(record)
        self._place = auditchain.Place(record.n + 1, auditchain.digest(line))
        self._waiting.append((record.n, line))

    async def kept(self) -> None:
        """Return when every record taken so far is in the store; raises Unavailable."""
        upto = self._place.n - 1
        async with self._writing:
            while self._waiting and self._waiting[0][0] <= upto:
                await self._write()

    async def run(self) -> None:
        """Try again what could not be written, until cancelled; also when no caller comes to wait for it."""
        while True:
            await asyncio.sleep(RETRY_S)
            if self._failure is not None:
                with contextlib.suppress(errors.Unavailable):
                    await self.kept()

    async def close(self) -> None:
        """Write what still waits, once; what cannot be written is lost with the process, and the log says so."""
        try:
            await self.kept()
        except errors.Unavailable as unavailable:
            _log.error("audit.lost", records=len(self._waiting), reason=str(unavailable))

    async def _write(self) -> None:
        batch = self._waiting[:BATCH]
        try:
            rows = [drafts.of_audit(line, chain=self._chain) for _, line in batch]
            broken = drafts.of_break(chain=self._chain, tenant="", agent="", now_ms=wall_ms())
            kept = await self._store.record(self._chain, rows, broken=broken)
        except errors.Unavailable as unavailable:
            if self._failure is None:
                _log.error("audit.waiting", records=len(self._waiting), reason=str(unavailable))
            self._failure = unavailable
            raise
        del self._waiting[: len(batch)]
        self._failure = None
        self._metrics.audit_records.inc(kept.fresh)
