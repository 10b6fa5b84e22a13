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

import contextlib
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
_PROBE = b" " * 1024  # more than most records: where this fits, the next record does
_CHUNK = 256 << 10  # of the file in memory at a time, when it is read or rewritten: the gateway is small

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
        self._flush_due = self._retry_due = False
        self._closed = False
        self._broken: str | None = None
        self._retry_at = 0.0
        self._sent: deque[tuple[int, int]] = deque()  # (last n, offset after it) of every batch sent and not acked
        self._waiter: Callable[[], None] | None = None
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._acked_n, self._last_n, self._acked_at, self._end = self._scan()
        self._sent_at = self._acked_at

    @property
    def pending_bytes(self) -> int:
        """How much waits for an acknowledgement, in the file or on its way there."""
        return self._end - self._acked_at + sum(len(line) + 1 for line in self._buffer)

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
                self._try_again()
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
            self._later(FLUSH_S, self._flush_in_time)

    def _flush_in_time(self) -> None:
        self._flush_due = False
        self._flush()

    def _flush(self) -> None:
        if not self._buffer or self._closed:
            return
        data = b"\n".join(self._buffer) + b"\n"
        try:
            self._write(data, self._end)
        except OSError as error:
            # Kept in memory and tried again; what was written of it is overwritten, for the end has not moved.
            self._fails(error)
            return
        self._broken = None
        self._buffer.clear()
        self._end += len(data)
        if self._waiter is not None:
            self._waiter()

    def _fails(self, error: OSError) -> None:
        """Note why nothing can be written, and try again by itself: who waits for these records may be nobody's call."""
        self._broken = error.strerror or repr(error)
        self._retry_at = self._clock() + _RETRY_S
        if not self._retry_due:
            self._retry_due = True
            self._later(_RETRY_S, self._retry)

    def _retry(self) -> None:
        self._retry_due = False
        self._try_again()

    def _try_again(self) -> None:
        """Write what waits; where nothing does, find out whether it could be."""
        self._flush()
        if self._broken is None or self._buffer or self._closed:
            return
        try:
            self._write(_PROBE, self._end)
            os.ftruncate(self._fd, self._end)
        except OSError as error:
            self._fails(error)
        else:
            self._broken = None

    def _write(self, data: bytes, at: int) -> None:
        _write(self._fd, data, at)

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
        with contextlib.suppress(OSError):  # nothing is lost: what lies about is tidied up by the next acknowledgement
            self._forget()

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
        moved = self._acked_at - _HEADER_BYTES
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, _HEADER.format(self._acked_n).encode(), 0)
            for at in range(self._acked_at, self._end, _CHUNK):
                _write(fd, os.pread(self._fd, min(_CHUNK, self._end - at), at), at - moved)
            fresh.replace(self._path)
        except OSError:
            os.close(fd)
            fresh.unlink(missing_ok=True)
            raise
        os.close(self._fd)
        self._fd = fd
        self._end -= moved
        self._sent_at -= moved
        self._acked_at = _HEADER_BYTES
        self._sent = deque((n, at - moved) for n, at in self._sent)

    def _scan(self) -> tuple[int, int, int, int]:
        """Where the last run stopped: (last acked n, last n, offset of the first unacked record, end of the file)."""
        header = os.pread(self._fd, _HEADER_BYTES, 0)
        if len(header) < _HEADER_BYTES or not header.startswith(b'{"journal":"aion.audit.v1"'):
            os.ftruncate(self._fd, 0)
            self._write(_HEADER.format(0).encode(), 0)
            return 0, 0, _HEADER_BYTES, _HEADER_BYTES
        acked = int(header[-23:-3])
        at, first_pending, last = _HEADER_BYTES, _HEADER_BYTES, acked
        with open(self._fd, "rb", buffering=_CHUNK, closefd=False) as lines:
            lines.seek(_HEADER_BYTES)
            for line in lines:
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
        self._closed = True  # a flush that is due yet must not write to whatever is given this descriptor next
        os.close(self._fd)


def _write(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written
