"""The audit of the syscalls that the kernel answers itself: in the store before the answer leaves.

It stands apart because a caller outside has no journal on disk beside it: here the store is the only memory, so the
answer waits for it. Calls that end while a write is under way share the next one. A record that could not be written is
kept and tried again, and until it is written no further call is begun. It must never drop one.
"""

import asyncio
import contextlib

import structlog

from aion.api import channel, errors
from aion.kernel import drafts
from aion.kernel.metrics import KernelMetrics
from aion.kernel.store import Store

BATCH = 500
RETRY_S = 1.0

_log = structlog.get_logger()


class Recorder:
    """An `aion.syscalls.router.AuditSink` over the store. `source` names this process's numbering."""

    def __init__(self, store: Store, *, source: str, metrics: KernelMetrics) -> None:
        self._store = store
        self._source = source
        self._metrics = metrics
        self._last = 0
        self._waiting: list[channel.AuditRecord] = []
        self._failure: errors.Unavailable | None = None
        self._writing = asyncio.Lock()

    def check(self) -> None:
        """Raise Unavailable while records wait that could not be written."""
        if self._failure is not None:
            raise errors.Unavailable(f"the audit cannot be written: {self._failure.message}", retry_after_ms=1000)

    def next_n(self) -> int:
        """Return the number of the next record."""
        self._last += 1
        return self._last

    def append(self, record: channel.AuditRecord, *, urgent: bool) -> None:  # noqa: ARG002 - every record here is awaited
        """Take a record; `kept` writes it."""
        self._waiting.append(record)

    async def kept(self) -> None:
        """Return when every record taken so far is in the store; raises Unavailable."""
        upto = self._last
        async with self._writing:
            while self._waiting and self._waiting[0].n <= upto:
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
            kept = await self._store.record(self._source, [drafts.of_audit(record) for record in batch])
        except errors.Unavailable as unavailable:
            if self._failure is None:
                _log.error("audit.waiting", records=len(self._waiting), reason=str(unavailable))
            self._failure = unavailable
            raise
        del self._waiting[: len(batch)]
        self._failure = None
        self._metrics.audit_records.inc(kept.fresh)
