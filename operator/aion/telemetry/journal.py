"""The audit journal: a file of JSON lines that holds each record until the kernel says it has it.

Apart because "every syscall leaves a record" must survive a restart of the process and an absent kernel, without the
path of a call waiting for either. Records are buffered for at most 20 ms, or written at once where the answer must not
go out before them. There is no fsync: the file lives in the Pod's own emptyDir, which a crash of the process survives
and a crash of the node does not, synced or not. It must never drop a record to make room: full or unwritable, `check`
refuses the next syscall.

    header  {"journal":"aion.audit.v1","acked":"00000000000000000042"}   fixed width, rewritten in place
    record  {"n":43,"ts_ms":…}
    …
"""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from aion.api import channel, errors

FLUSH_S = 0.02
MAX_PENDING_BYTES = 32 << 20  # some 100k records of 320 bytes: what waits for the kernel, on disk and not in memory
_COMPACT_BYTES = 4 << 20  # acknowledged bytes that may lie about before the file is rewritten
_RETRY_S = 1.0  # after a failed write, the next attempt

_HEADER = '{{"journal":"aion.audit.v1","acked":"{:020d}"}}\n'
_HEADER_BYTES = len(_HEADER.format(0))

Later = Callable[[float, Callable[[], None]], object]
"""Run something after so many seconds: `loop.call_later`."""


class _Numbered(msgspec.Struct):
    n: int


_numbered = msgspec.json.Decoder(_Numbered)
_encode = msgspec.json.Encoder().encode


class Batch(NamedTuple):
    """Records as they stand in the file, to be sent up as one frame."""

    lines: list[bytes]
    last: int


class Journal:
    """An append-only file with a read position (what was sent) behind its end and an ack position behind that."""

    def __init__(
        self,
        path: Path,
        *,
        later: Later,
        clock: Callable[[], float],
        max_pending_bytes: int = MAX_PENDING_BYTES,
        compact_bytes: int = _COMPACT_BYTES,
    ) -> None:
        """Open the journal and find what is still unacknowledged in it; raises OSError where it cannot be opened."""
        self._path = path
        self._later = later
        self._clock = clock
        self._max_pending = max_pending_bytes
        self._compact_at = compact_bytes
        self._buffer: list[bytes] = []
        self._flush_due = False
        self._broken: str | None = None
        self._retry_at = 0.0
        self._sent: deque[tuple[int, int]] = deque()  # (last n, offset after it) of every batch sent and not acked
        self._waiter: Callable[[], None] | None = None
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._acked_n, self._last_n, self._acked_at, self._end = self._scan()
        self._sent_at = self._acked_at

    @property
    def pending_bytes(self) -> int:
        """How much waits for an acknowledgement."""
        return self._end - self._acked_at

    @property
    def last_n(self) -> int:
        """The number of the newest record."""
        return self._last_n

    def on_written(self, call: Callable[[], None]) -> None:
        """Have `call` run whenever there is something new to send."""
        self._waiter = call

    def check(self) -> None:
        """Raise Unavailable where the next syscall's record could not be kept."""
        if self._broken is not None:
            if self._clock() >= self._retry_at:
                self._flush()
            if self._broken is not None:
                raise self._unwritable()
        if self._end - self._acked_at > self._max_pending:
            raise errors.Unavailable(
                f"the audit journal is full: {self._end - self._acked_at} bytes wait for the kernel, "
                f"expected at most {self._max_pending}",
                retry_after_ms=1000,
            )

    def _unwritable(self) -> errors.Unavailable:
        return errors.Unavailable(f"the audit journal cannot be written: {self._broken}", retry_after_ms=1000)

    def next_n(self) -> int:
        """The number of the next record."""
        self._last_n += 1
        return self._last_n

    def append(self, record: channel.AuditRecord, *, urgent: bool) -> None:
        """Keep a record: within 20 ms, or before this returns where it is urgent.

        An urgent record that cannot be kept raises Unavailable and is forgotten: the caller answers E_UNAVAILABLE, so
        nothing was done that would need it. The others were done: they wait in memory, and `check` lets no more pass.
        """
        if urgent:
            self.check()
        self._buffer.append(_encode(record))
        if urgent:
            self._flush()
            if self._broken is not None:
                self._buffer.pop()
                raise self._unwritable()
        elif not self._flush_due:
            self._flush_due = True
            self._later(FLUSH_S, self._flush)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._buffer:
            return
        data = b"\n".join(self._buffer) + b"\n"
        try:
            self._write(data, self._end)
        except OSError as error:
            # Kept in memory and tried again; what was written of it is overwritten, for the end has not moved.
            self._broken = error.strerror or repr(error)
            self._retry_at = self._clock() + _RETRY_S
            return
        self._broken = None
        self._buffer.clear()
        self._end += len(data)
        if self._waiter is not None:
            self._waiter()

    def _write(self, data: bytes, at: int) -> None:
        view = memoryview(data)
        while view:
            written = os.pwrite(self._fd, view, at)
            view, at = view[written:], at + written

    def batch(self, *, max_bytes: int = 256 << 10) -> Batch | None:
        """The next records that were not sent on this connection yet; None where there are none."""
        if self._sent_at >= self._end:
            return None
        wanted = min(max_bytes, self._end - self._sent_at)
        chunk = os.pread(self._fd, wanted, self._sent_at)
        cut = chunk.rfind(b"\n") + 1
        if not cut:  # one record longer than max_bytes: take it alone
            chunk = os.pread(self._fd, self._end - self._sent_at, self._sent_at)
            cut = chunk.find(b"\n") + 1
        lines = chunk[: cut - 1].split(b"\n")
        last = _numbered.decode(lines[-1]).n
        self._sent_at += cut
        self._sent.append((last, self._sent_at))
        return Batch(lines, last)

    def rewind(self) -> None:
        """Send again whatever was not acknowledged: the connection is a new one."""
        self._sent.clear()
        self._sent_at = self._acked_at

    def acknowledge(self, upto: int) -> None:
        """Forget every batch that ends at or before record `upto`."""
        moved = False
        while self._sent and self._sent[0][0] <= upto:
            self._acked_n, self._acked_at = self._sent.popleft()
            moved = True
        if not moved:
            return
        try:
            self._forget()
        except OSError as error:
            self._broken = error.strerror or repr(error)
            self._retry_at = self._clock() + _RETRY_S

    def _forget(self) -> None:
        # The header first: a crash between the two must not make the next run give out old numbers again, which the
        # kernel would take for records it has.
        self._write(_HEADER.format(self._acked_n).encode(), 0)
        if self._acked_at == self._end and self._end > _HEADER_BYTES:
            os.ftruncate(self._fd, _HEADER_BYTES)
            self._end = self._acked_at = self._sent_at = _HEADER_BYTES
        elif self._acked_at - _HEADER_BYTES > self._compact_at:
            self._compact()

    def _compact(self) -> None:
        """Rewrite the file without its acknowledged part; the old one stays whole until the new one has its name."""
        tail = os.pread(self._fd, self._end - self._acked_at, self._acked_at)
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        old, self._fd = self._fd, fd
        try:
            self._write(_HEADER.format(self._acked_n).encode() + tail, 0)
            fresh.replace(self._path)
        except OSError:
            self._fd = old
            os.close(fd)
            raise
        os.close(old)
        moved = self._acked_at - _HEADER_BYTES
        self._end -= moved
        self._sent_at -= moved
        self._acked_at = _HEADER_BYTES
        self._sent = deque((n, at - moved) for n, at in self._sent)

    def _scan(self) -> tuple[int, int, int, int]:
        """Where the last run stopped: (last acked n, last n, offset of the first unacked record, end of the file)."""
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        header = data[:_HEADER_BYTES]
        if len(header) < _HEADER_BYTES or not header.startswith(b'{"journal":"aion.audit.v1"'):
            os.ftruncate(self._fd, 0)
            self._write(_HEADER.format(0).encode(), 0)
            return 0, 0, _HEADER_BYTES, _HEADER_BYTES
        acked = int(header[-23:-3])
        at, first_pending, last = _HEADER_BYTES, _HEADER_BYTES, acked
        for line in data[_HEADER_BYTES:].splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break  # torn by a crash: its syscall was never answered, and the next write covers it
            last = _numbered.decode(line).n
            at += len(line)
            if last <= acked:
                first_pending = at
        os.ftruncate(self._fd, at)
        return acked, max(acked, last), first_pending, at

    def close(self) -> None:
        """Write what is buffered and close the file."""
        self._flush()
        os.close(self._fd)
