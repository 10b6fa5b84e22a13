"""The election: win the Lease, keep it, leave it.

Apart from `lease`, which decides, because here are the requests and the waiting. Whoever keeps a Lease holds a `Term`, which ends by itself: `Kube` asks it
before every write, so that a process which was stopped, swapped out or cut off writes nothing when it comes back, whatever its tasks were about to do.
It must never renew what another holds, and never hand a lost Lease back to the caller as something to go on with: `keep` returns once, with the reason.
"""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from aion.controller import errors, lease, metrics
from aion.controller.kube import LEASES, Document, Resource
from aion.controller.lease import Record, Sight, Verdict
from aion.controller.reconcile import utcnow
from aion.telemetry import logs

ATTEMPT_S = lease.RENEW_WITHIN_S / 2
"""One silent request must leave time for another one within the term."""

_log = logs.get("controller.election")


class Leases(Protocol):
    """What an election asks of an API server."""

    async def read(self, resource: Resource, *, namespace: str, name: str) -> Document:
        """The object; raises NotFound."""

    async def put(self, document: Document) -> Document:
        """Create where the document has no resourceVersion, else replace at that version; raises Conflict."""


class Term:
    """Until when this process may write, by its own monotonic clock: CLOCK_MONOTONIC runs on while the process is stopped."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = float("-inf")

    def extend(self, until: float) -> None:
        """The Lease is ours until then."""
        self._until = until

    def end(self) -> None:
        """Nothing may be written from here on."""
        self._until = float("-inf")

    @property
    def left_s(self) -> float:
        """Seconds that are left; negative where it is over."""
        return self._until - self._clock()

    def runs(self) -> bool:
        """Whether a write may be sent."""
        return self.left_s > 0


class Election:
    """One candidate, `me`, for the Lease of one namespace."""

    def __init__(
        self,
        cluster: Leases,
        *,
        namespace: str,
        me: str,
        term: Term,
        clock: Callable[[], float] = time.monotonic,
        today: Callable[[], datetime] = utcnow,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._me = me
        self._term = term
        self._clock = clock
        self._today = today
        self._sight: Sight | None = None
        self.trouble: str | None = "the Lease has not been seen yet"
        """Why this candidate could not take over now; None where the Lease was seen or held at the last attempt."""

    async def win(self) -> None:
        """Wait until this process leads."""
        while not await self._attempt(leading=False):  # noqa: ASYNC110 - what is awaited is on another machine
            await asyncio.sleep(lease.LOOK_S)
        _log.info("election.won", me=self._me)

    async def keep(self) -> str:
        """Renew until that is no longer possible; answers why, for a log."""
        while True:
            await asyncio.sleep(min(lease.RETRY_S, max(0.0, self._term.left_s)))
            if not self._term.runs():
                return f"not renewed within {lease.RENEW_WITHIN_S:.0f} s: {self.trouble or 'this process stood still'}"
            if not await self._attempt(leading=True) and self._judged(leading=True) is Verdict.LOST:
                self._term.end()
                record = self._sight.record if self._sight else None
                return f"held by {record.holder or 'nobody'} now" if record else "the Lease was deleted"

    async def leave(self) -> None:
        """Let the next one take over at once. Call it when nothing more will be written; no error, for there is nobody to help."""
        self._term.end()
        try:
            async with asyncio.timeout(lease.RETRY_S):
                await self._look()  # a renewal that was cancelled may have been written all the same
                record = self._sight.record if self._sight else None
                if record is not None and record.holder == self._me:
                    await self._cluster.put(lease.released(record, namespace=self._namespace, at=self._today()))
                    _log.info("election.left", me=self._me)
        except (errors.KubeError, TimeoutError) as error:
            _log.warning("election.not_released", reason=str(error) or "no answer")

    async def _attempt(self, *, leading: bool) -> bool:
        """Look, unless our own last write is the newest we know of, and take or renew; answers whether the Lease is ours by that."""
        try:
            async with asyncio.timeout(min(ATTEMPT_S, self._term.left_s) if leading else ATTEMPT_S):
                if not leading:
                    await self._look()
                return self._judged(leading=leading) in (Verdict.TAKE, Verdict.RENEW) and await self._write()
        except errors.Conflict:
            return await self._after_conflict()
        except (errors.KubeError, TimeoutError) as error:
            self._troubled(str(error) or f"no answer within {ATTEMPT_S:.0f} s")
            return False

    async def _after_conflict(self) -> bool:
        """Somebody else wrote: who it was decides whether we go on, at the next attempt."""
        try:
            async with asyncio.timeout(ATTEMPT_S):
                await self._look()
        except (errors.KubeError, TimeoutError) as error:
            self._troubled(str(error) or f"no answer within {ATTEMPT_S:.0f} s")
        return False

    async def _look(self) -> None:
        record: Record | None = None
        with contextlib.suppress(errors.NotFound):
            record = lease.read(await self._cluster.read(LEASES, namespace=self._namespace, name=lease.NAME))
        self._sight = lease.look(self._sight, record, now=self._clock())
        self.trouble = None

    async def _write(self) -> bool:
        sent = self._clock()
        record = self._sight.record if self._sight else None
        wanted = lease.held(self._me, record, namespace=self._namespace, at=self._today())
        try:
            stored = lease.read(await self._cluster.put(wanted))
        except errors.NotFound:
            # Deleted under the holder, or together with its namespace; whoever comes first makes it anew.
            self._sight = lease.look(self._sight, None, now=self._clock())
            return False
        metrics.RENEWALS.labels("ok").inc()
        self._sight = Sight(stored, self._clock())
        self._term.extend(sent + lease.RENEW_WITHIN_S)
        self.trouble = None
        return True

    def _judged(self, *, leading: bool) -> Verdict:
        if self._sight is None:
            return Verdict.WAIT
        return lease.judge(self._me, self._sight, leading=leading, now=self._clock())

    def _troubled(self, why: str) -> None:
        metrics.RENEWALS.labels("failed").inc()
        if self.trouble is None:
            _log.warning("election.troubled", me=self._me, reason=why)
        self.trouble = why


def identity() -> str:
    """A name that no other process has or had: the Pod's, which is the host's, and a random part."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"
