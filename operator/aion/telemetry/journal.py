"""The audit journal: a file of JSON lines that holds each record until the kernel says it has it.

Apart because "every syscall leaves a record" must survive a restart of the process and an absent kernel, without the
path of a call waiting for either. Records are buffered for at most 20 ms, or written at once where the answer must not
go out before them. There is no fsync: the file lives in the Pod's own emptyDir, which a crash of the process survives
and a crash of the node does not, synced or not. It must never drop a record to make room: full or unwritable, `check`
refuses the next syscall, and what could do harm before what could not.

Each record names the digest of the one before it (`aion.api.auditchain`). The header holds the digest of the last record
that was acknowledged and forgotten, so the chain goes on where it was when the container restarts; and what was spent until
then, so that a Pod's budget does not begin anew with its gateway.

    header  {"journal":"aion.audit.v2","chain":"<Pod uid>@<ms>","acked":"0…42","spent":"0…17","head":"<hex>"}
    record  {"agent":…,"n":43,"prev":"<hex>",…}
    …

The header's width never changes: it is rewritten in place.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from aion.api import auditchain, channel, errors

FLUSH_S = 0.02
MAX_PENDING_BYTES = 32 << 20  # some 100k records of 320 bytes: what waits for the kernel, on disk and not in memory
_RESERVE = 8  # an eighth on top, for denials and harmless calls: they go on when the others are stopped already
_COMPACT_BYTES = 4 << 20  # acknowledged bytes that may lie about before the file is rewritten
_RETRY_S = 1.0  # after a failed write, the next attempt
_PROBE = b" " * 1024  # more than most records: where this fits, the next record does
_MONEY = b'"micro_usd":'
_CHUNK = 256 << 10  # of the file in memory at a time, when it is read or rewritten: the gateway is small

_HEADER = '{{"journal":"aion.audit.v2","chain":"{}","acked":"{:020d}","spent":"{:020d}","head":"{:<64}"}}\n'
_LONGEST_HEADER = 512

Later = Callable[[float, Callable[[], None]], object]
"""Run something after so many seconds: `loop.call_later`."""


class _Header(msgspec.Struct):
    journal: Literal["aion.audit.v2"]
    chain: str
    acked: str
    spent: str
    head: str


class _Numbered(msgspec.Struct):
    n: int
    micro_usd: int = 0


_read_header = msgspec.json.Decoder(_Header)
_numbered = msgspec.json.Decoder(_Numbered)


class Batch(NamedTuple):
    """Records as they stand in the file, to be sent up as one frame."""

    lines: list[bytes]
    last: int


class _Sent(NamedTuple):
    """A batch that waits for its acknowledgement: its last record, what was spent in it, where it ends in the file."""

    last: int
    digest: str
    spent: int
    end: int


class Journal:
    """An append-only file with a read position (what was sent) behind its end and an ack position behind that."""

    def __init__(
        self,
        path: Path,
        *,
        later: Later,
        clock: Callable[[], float],
        genesis: str,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        compact_bytes: int = _COMPACT_BYTES,
    ) -> None:
        """Open the journal and find what is still unacknowledged in it; raises OSError where it cannot be opened.

        `genesis` names the chain that begins where there is no journal yet.
        """
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
        self._sent: deque[_Sent] = deque()
        self._waiter: Callable[[], None] | None = None
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._acked_spent = 0
        self._chain, self._acked_n, self._acked_head, self._header_bytes = self._begin(genesis)
        self.spent = self._acked_spent
        """Micro-USD that its records tell of, from the first on, when it was opened."""
        self._last_n, self._head, self._acked_at, self._end = self._scan()
        self._sent_at = self._acked_at

    @property
    def pending_bytes(self) -> int:
        """How much waits for an acknowledgement, in the file or on its way there."""
        return self._end - self._acked_at + sum(len(line) + 1 for line in self._buffer)

    @property
    def chain(self) -> str:
        """The name of the chain that the records belong to."""
        return self._chain

    @property
    def last_n(self) -> int:
        """The number of the newest record."""
        return self._last_n

    def on_written(self, call: Callable[[], None]) -> None:
        """Have `call` run whenever there is something new to send."""
        self._waiter = call

    def check(self, *, harmless: bool = False) -> None:
        """Raise Unavailable where the next syscall's record could not be kept.

        What is harmless has an eighth more room than what has effects, so that a kernel that is long away stops those
        first, and an agent can still look about and be told no.
        """
        if self._broken is not None:
            if self._clock() >= self._retry_at:
                self._try_again()
            if self._broken is not None:
                raise self._unwritable()
        most = self._max_pending + self._max_pending // _RESERVE if harmless else self._max_pending
        if self._end - self._acked_at > most:
            raise errors.Unavailable(
                f"the audit journal is full: {self._end - self._acked_at} bytes wait for the kernel, "
                f"expected at most {most}",
                retry_after_ms=1000,
            )

    def _unwritable(self) -> errors.Unavailable:
        return errors.Unavailable(f"the audit journal cannot be written: {self._broken}", retry_after_ms=1000)

    def place(self) -> auditchain.Place:
        """Where the next record belongs in the chain."""
        return auditchain.Place(self._last_n + 1, self._head)

    def append(self, record: channel.AuditRecord, *, urgent: bool, done: bool) -> None:
        """Keep a record that was made for `place`: within 20 ms, or before this returns where it is urgent.

        Where an urgent record cannot be kept this raises Unavailable. That of a call that was not `done` is forgotten
        then: the caller answers E_UNAVAILABLE, and nothing happened that would need it. The others wait in memory, and
        `check` lets no more calls begin.
        """
        if urgent and not done:  # that a call found the journal full needs no room in it
            self.check(harmless=record.code != errors.Unavailable.code)
        line, before = auditchain.canonical(record), (self._last_n, self._head)
        self._buffer.append(line)
        self._last_n, self._head = record.n, auditchain.digest(line)
        if urgent:
            self._flush()
            if self._broken is not None:
                if not done:
                    self._buffer.pop()
                    self._last_n, self._head = before
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
        spent = sum(_numbered.decode(line).micro_usd for line in lines if _MONEY in line)
        self._sent.append(_Sent(last, auditchain.digest(lines[-1]), spent, self._sent_at))
        return Batch(lines, last)

    def rewind(self) -> None:
        """Send again whatever was not acknowledged: the connection is a new one."""
        self._sent.clear()
        self._sent_at = self._acked_at

    def acknowledge(self, upto: int) -> None:
        """Forget every batch that ends at or before record `upto`."""
        moved = False
        while self._sent and self._sent[0].last <= upto:
            self._acked_n, self._acked_head, spent, self._acked_at = self._sent.popleft()
            self._acked_spent += spent
            moved = True
        if not moved:
            return
        with contextlib.suppress(OSError):  # nothing is lost: what lies about is tidied up by the next acknowledgement
            self._forget()

    def _forget(self) -> None:
        # The header first: a crash between the two must not make the next run give out old numbers again, which the
        # kernel would take for records it has.
        self._write(self._header(), 0)
        if self._acked_at == self._end and self._end > self._header_bytes:
            os.ftruncate(self._fd, self._header_bytes)
            self._end = self._acked_at = self._sent_at = self._header_bytes
        elif self._acked_at - self._header_bytes > self._compact_at:
            self._compact()

    def _compact(self) -> None:
        """Rewrite the file without its acknowledged part; the old one stays whole until the new one has its name."""
        moved = self._acked_at - self._header_bytes
        fresh = self._path.with_name(self._path.name + ".new")
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(fd, self._header(), 0)
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
        self._acked_at = self._header_bytes
        self._sent = deque(each._replace(end=each.end - moved) for each in self._sent)

    def _header(self) -> bytes:
        return _HEADER.format(self._chain, self._acked_n, self._acked_spent, self._acked_head).encode()

    def _begin(self, genesis: str) -> tuple[str, int, str, int]:
        """Read the header, or write one: (chain, last acked n, its digest, width of the header)."""
        first = os.pread(self._fd, _LONGEST_HEADER, 0).partition(b"\n")
        try:
            found = _read_header.decode(first[0]) if first[1] else None
        except msgspec.DecodeError:
            found = None
        if found is None:  # a new file, or one whose first line was torn by a crash: no record was ever in it
            made = _HEADER.format(genesis, 0, 0, "").encode()
            os.ftruncate(self._fd, 0)
            self._write(made, 0)
            return genesis, 0, "", len(made)
        self._acked_spent = int(found.spent)
        return found.chain, int(found.acked), found.head.strip(), len(first[0]) + 1

    def _scan(self) -> tuple[int, str, int, int]:
        """Where the last run stopped: (last n, its digest, offset of the first unacked record, end of the file)."""
        acked, newest = self._acked_n, b""
        at, first_pending, last = self._header_bytes, self._header_bytes, acked
        with open(self._fd, "rb", buffering=_CHUNK, closefd=False) as lines:
            lines.seek(self._header_bytes)
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # torn by a crash: its syscall was never answered, and the next write covers it
                record = _numbered.decode(line)
                at += len(line)
                if record.n <= acked:
                    first_pending = at
                else:
                    last, newest = record.n, line
                    self.spent += record.micro_usd
        os.ftruncate(self._fd, at)
        head = auditchain.digest(newest[:-1]) if newest else self._acked_head
        return last, head or self._chain, first_pending, at

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
