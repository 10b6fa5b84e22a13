"""The audit journal: what was written survives any crash, what cannot be written stops the next call, no number repeats."""

import os
import resource
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aion.api import auditchain, channel, errors
from aion.telemetry.journal import Journal

GENESIS = auditchain.genesis("a-pods-uid", 1_760_000_000_000)


class Timers:
    """Time, and what is to be done later."""

    def __init__(self) -> None:
        self.now = 100.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._due.append((self.now + seconds, call))

    def clock(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        due = [call for at, call in self._due if at <= self.now]
        self._due = [(at, call) for at, call in self._due if at > self.now]
        for call in due:
            call()

    @property
    def waiting(self) -> int:
        return len(self._due)


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.journal"


def opened(path: Path, timers: Timers, **limits: int) -> Journal:
    return Journal(path, later=timers.later, clock=timers.clock, genesis=GENESIS, **limits)


def write(journal: Journal, *, urgent: bool = False, done: bool | None = None, subject: str = "") -> int:
    n, prev = journal.place()
    record = channel.AuditRecord(
        n=n,
        prev=prev,
        ts_ms=1,
        audit_id=f"sc-{n}-{subject[:8]}",
        tenant="t",
        agent="a",
        syscall="s",
        decision="allow",
        subject=subject,
    )
    journal.append(record, urgent=urgent, done=not urgent if done is None else done)
    return n


def sent(journal: Journal, **limits: int) -> list[int]:
    """Every record that is to be sent, in order; each names the one before it."""
    found: list[int] = []
    before: bytes | None = None
    while (batch := journal.batch(**limits)) is not None:
        records = [msgspec.json.decode(line, type=channel.AuditRecord) for line in batch.lines]
        assert batch.last == records[-1].n
        for line, record in zip(batch.lines, records, strict=True):
            assert before is None or record.prev == auditchain.digest(before)
            before = line
        found += [record.n for record in records]
    return found


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process grows beyond `size` bytes: a write across it is cut short, the next one fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_record_is_in_the_file_after_20_ms_and_an_urgent_one_at_once(path, timers):
    journal = opened(path, timers)
    write(journal)
    assert sent(journal) == []
    timers.wait(0.02)
    assert sent(journal) == [1]
    write(journal)
    write(journal, urgent=True)
    assert sent(journal) == [2, 3]
    assert path.read_bytes().count(b"\n") == 4
    journal.close()


def test_many_records_within_20_ms_cost_one_timer_and_one_write(path, timers):
    journal = opened(path, timers)
    news: list[int] = []
    journal.on_written(lambda: news.append(journal.pending_bytes))
    for _ in range(100):
        write(journal)
    assert (timers.waiting, news) == (1, [])
    timers.wait(0.02)
    assert len(news) == 1
    assert sent(journal) == list(range(1, 101))
    journal.close()


def test_what_waits_is_counted_from_the_moment_it_is_taken(path, timers):
    journal = opened(path, timers)
    write(journal)
    waiting = journal.pending_bytes
    assert waiting > 0
    timers.wait(0.02)
    assert journal.pending_bytes == waiting
    assert sent(journal) == [1]
    journal.acknowledge(1)
    assert journal.pending_bytes == 0
    journal.close()


def test_a_batch_holds_whole_records_up_to_its_size_and_a_longer_one_alone(path, timers):
    journal = opened(path, timers)
    for length in (10, 10, 5000, 10):
        write(journal, urgent=True, subject="x" * length)
    sizes = []
    while (batch := journal.batch(max_bytes=500)) is not None:
        sizes.append(len(batch.lines))
    assert sizes == [2, 1, 1]
    journal.close()


def test_what_was_sent_and_not_acknowledged_is_sent_again_on_the_next_connection(path, timers):
    journal = opened(path, timers)
    for _ in range(4):
        write(journal, urgent=True)
    assert sent(journal, max_bytes=440) == [1, 2, 3, 4]  # in two batches
    journal.acknowledge(2)
    journal.rewind()
    assert sent(journal) == [3, 4]
    journal.acknowledge(3)  # within a batch: its end is not known to be kept
    journal.rewind()
    assert sent(journal) == [3, 4]
    journal.acknowledge(4)
    journal.rewind()
    assert sent(journal) == []
    journal.close()


def test_an_acknowledged_journal_is_empty_again_and_goes_on_counting_after_a_restart(path, timers):
    journal = opened(path, timers)
    write(journal, urgent=True)
    empty = path.stat().st_size
    write(journal, urgent=True)
    sent(journal)
    journal.acknowledge(2)
    assert path.stat().st_size < empty
    journal.close()
    again = opened(path, timers)
    assert (again.last_n, again.pending_bytes, sent(again)) == (2, 0, [])
    assert write(again, urgent=True) == 3
    again.close()


def test_acknowledged_records_are_cut_off_before_the_file_grows(path, timers):
    journal = opened(path, timers, compact_bytes=2000)
    for _ in range(50):
        for _ in range(4):
            write(journal, urgent=True)
        first = journal.batch(max_bytes=500)
        assert first is not None
        sent(journal)
        journal.acknowledge(first.last)
        journal.rewind()
        journal.acknowledge(0)
        rest = sent(journal)
        assert rest == list(range(first.last + 1, journal.last_n + 1))
        assert path.stat().st_size < 300 + 2000 + journal.pending_bytes
    journal.close()
    again = opened(path, timers)
    assert sent(again) == rest
    again.close()


def test_a_full_journal_stops_the_next_call_until_the_kernel_has_taken_some(path, timers):
    journal = opened(path, timers, max_pending_bytes=500)
    while journal.pending_bytes <= 500:
        journal.check()
        write(journal, urgent=True)
    with pytest.raises(errors.Unavailable, match="the audit journal is full: "):
        journal.check()
    taken = sent(journal)
    assert taken == list(range(1, len(taken) + 1))
    journal.acknowledge(taken[-1])
    journal.check()
    journal.close()


def test_a_full_journal_has_room_for_denials_and_harmless_calls_that_it_has_no_more_for_others(path, timers):
    journal = opened(path, timers, max_pending_bytes=8000)
    while journal.pending_bytes <= 8000:
        write(journal, urgent=True)
    with pytest.raises(errors.Unavailable, match="expected at most 8000"):
        journal.check()
    journal.check(harmless=True)
    while journal.pending_bytes <= 9000:
        write(journal, urgent=True)
    for refused in (lambda: journal.check(harmless=True), lambda: write(journal, urgent=True)):
        with pytest.raises(errors.Unavailable, match="expected at most 9000"):
            refused()
    n = journal.last_n
    assert write(journal, urgent=True, done=True) == n + 1  # it was under way: whatever it did is told
    assert sent(journal) == list(range(1, n + 2))
    journal.close()


def test_a_record_of_something_that_was_done_outlives_a_disk_that_did_not_take_it(path, timers):
    journal = opened(path, timers)
    with full_disk(path.stat().st_size + 20):
        with pytest.raises(errors.Unavailable):
            write(journal, urgent=True, done=True)
        with pytest.raises(errors.Unavailable):
            write(journal, urgent=True)
    timers.wait(1.0)
    assert write(journal, urgent=True) == 2
    assert sent(journal) == [1, 2]
    journal.close()


def test_the_chain_begins_with_its_name_and_goes_on_after_a_restart_whatever_was_acknowledged(path, timers):
    journal = opened(path, timers)
    assert (journal.chain, journal.place()) == (GENESIS, (1, GENESIS))
    for taken in range(4):
        write(journal, urgent=True)
        place = journal.place()
        assert place.n == taken + 2
        if taken % 2:
            sent(journal)
            journal.acknowledge(taken + 1)
        journal.close()
        journal = Journal(path, later=timers.later, clock=timers.clock, genesis=auditchain.genesis("another", 5))
        assert (journal.chain, journal.place()) == (GENESIS, place)
    journal.close()


def test_what_was_spent_is_known_after_a_restart_whatever_was_acknowledged(path, timers):
    journal, spent = opened(path, timers), 0
    for n in range(12):
        place = journal.place()
        record = channel.AuditRecord(
            n=place.n,
            prev=place.prev,
            ts_ms=1,
            audit_id="sc",
            tenant="t",
            agent="a",
            syscall="s",
            decision="allow",
            micro_usd=n,
        )
        journal.append(record, urgent=True, done=True)
        spent += n
        if n % 3 == 1:
            first = journal.batch(max_bytes=500)
            journal.acknowledge(first.last)
        if n % 2:
            journal.close()
            journal = opened(path, timers)
            assert journal.spent == spent
    journal.close()


def test_a_crash_at_any_byte_of_the_last_record_loses_that_record_alone(path, timers):
    journal = opened(path, timers)
    for _ in range(3):
        write(journal, urgent=True)
    journal.close()
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        again = opened(path, timers)
        assert sent(again) == [1, 2]
        assert write(again, urgent=True) == 3
        assert sent(again) == [3]
        again.close()


def test_a_crash_while_the_very_first_line_is_written_is_a_fresh_start(path, timers):
    opened(path, timers).close()
    header = path.read_bytes()
    for cut in range(len(header)):
        path.write_bytes(header[:cut])
        journal = opened(path, timers)
        assert write(journal, urgent=True) == 1
        journal.close()


def test_a_crash_between_header_and_truncation_gives_out_no_number_twice(path, timers):
    journal = opened(path, timers)
    write(journal, urgent=True)
    write(journal, urgent=True)
    before = path.read_bytes()
    sent(journal)
    journal.acknowledge(2)
    journal.close()
    header = path.read_bytes()
    path.write_bytes(header + before[len(header) :])
    again = opened(path, timers)
    assert sent(again) == []
    assert write(again, urgent=True) == 3
    again.close()


def test_a_left_over_of_a_compaction_that_crashed_is_no_harm(path, timers):
    path.with_name(path.name + ".new").write_bytes(b"half a fi")
    journal = opened(path, timers, compact_bytes=100)
    for _ in range(9):
        write(journal, urgent=True)
    first = journal.batch(max_bytes=500)
    assert first is not None
    journal.acknowledge(first.last)
    journal.rewind()
    assert sent(journal) == list(range(first.last + 1, 10))
    journal.close()


def test_an_urgent_record_that_the_disk_does_not_take_is_refused_and_the_journal_heals_by_itself(path, timers):
    journal = opened(path, timers)
    write(journal, urgent=True)
    with full_disk(path.stat().st_size + 20):
        with pytest.raises(errors.Unavailable, match="cannot be written: File too large") as refused:
            write(journal, urgent=True)
        assert refused.value.retry_after_ms == 1000
        with pytest.raises(errors.Unavailable):
            journal.check()
        timers.wait(1.0)
        with pytest.raises(errors.Unavailable):
            journal.check()
    with pytest.raises(errors.Unavailable):
        journal.check()  # not a write for every call: the next attempt is a second away
    timers.wait(1.0)
    journal.check()
    assert write(journal, urgent=True) == 2
    assert sent(journal) == [1, 2]
    journal.close()
    again = opened(path, timers)
    assert sent(again) == [1, 2]
    again.close()


def test_records_of_calls_that_were_done_wait_in_memory_and_are_written_without_another_call(path, timers):
    journal = opened(path, timers)
    news: list[None] = []
    journal.on_written(lambda: news.append(None))
    with full_disk(path.stat().st_size + 300):
        for _ in range(5):
            write(journal)
        timers.wait(0.02)
        with pytest.raises(errors.Unavailable):
            journal.check()
        write(journal)  # one that was under way
        timers.wait(0.02)
        waiting = journal.pending_bytes
        for _ in range(60):
            timers.wait(1.0)
        assert (timers.waiting, news, journal.pending_bytes) == (1, [], waiting)
    timers.wait(1.0)
    assert (sent(journal), news) == ([1, 2, 3, 4, 5, 6], [None])
    journal.check()
    journal.close()


def test_a_full_disk_keeps_the_old_file_when_it_cannot_be_rewritten(path, timers):
    journal = opened(path, timers, compact_bytes=500)
    for _ in range(20):
        write(journal, urgent=True)
    first = journal.batch(max_bytes=1000)
    assert first is not None
    with full_disk(400):
        journal.acknowledge(first.last)
    assert not path.with_name(path.name + ".new").exists()
    journal.check()
    assert sent(journal) == list(range(first.last + 1, 21))
    journal.acknowledge(20)
    assert write(journal, urgent=True) == 21
    journal.close()


def test_where_there_is_no_file_to_be_had_nothing_starts(tmp_path, timers):
    for impossible, why in (
        (tmp_path / "absent" / "journal", "No such file"),
        (Path("/dev/full"), "Invalid argument"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(OSError, match=why):
            opened(impossible, timers)


def test_closing_writes_what_is_left_and_a_late_timer_touches_no_other_file(path, timers, tmp_path):
    journal = opened(path, timers)
    write(journal)
    with full_disk(path.stat().st_size):
        journal.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)  # very likely the same descriptor
    timers.wait(0.02)
    timers.wait(1.0)
    assert os.fstat(other).st_size == 0
    os.close(other)
    kept = opened(path, timers)
    write(kept)
    kept.close()
    assert sent(opened(path, timers)) == [1]


def test_a_long_journal_is_opened_without_holding_it_in_memory(path, timers):
    journal = opened(path, timers)
    for _ in range(2000):
        write(journal, subject="x" * 2000)
    timers.wait(0.02)
    journal.close()
    tracemalloc.start()
    again = opened(path, timers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert again.pending_bytes > 4_000_000
    assert peak < 1_000_000
    again.close()


class Life(RuleBasedStateMachine):
    """A gateway that writes, sends, loses its connection, meets a full disk and crashes, and a kernel that keeps."""

    @initialize(compact=some.integers(0, 2000))
    def begin(self, compact):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "journal"
        self.timers = Timers()
        self.compact = compact
        self.kept: dict[int, bytes] = {}
        self.acked = 0
        self.written: dict[int, str] = {}
        """What may not be lost any more: flushed, or urgent."""
        self.buffered: dict[int, str] = {}
        self.life = 0
        self.journal = self.open()

    def open(self):
        self.life += 1
        journal = opened(self.path, self.timers, compact_bytes=self.compact)
        journal.on_written(self.flushed)
        return journal

    def flushed(self):
        self.written |= self.buffered
        self.buffered = {}

    @rule(urgent=some.booleans(), length=some.integers(0, 400))
    def write(self, urgent, length):
        n, prev = self.journal.place()
        made = f"{self.life}.{n}"
        self.buffered[n] = made
        record = channel.AuditRecord(
            n=n,
            prev=prev,
            ts_ms=1,
            audit_id=made,
            tenant="t",
            agent="a",
            syscall="s",
            decision="allow",
            subject="x" * length,
        )
        self.journal.append(record, urgent=urgent, done=True)
        assert not urgent or n in self.written

    @rule(room=some.integers(0, 300), done=some.booleans())
    def write_to_a_full_disk(self, room, done):
        n, prev = self.journal.place()
        made = f"{self.life}.{n}"
        record = channel.AuditRecord(
            n=n,
            prev=prev,
            ts_ms=1,
            audit_id=made,
            tenant="t",
            agent="a",
            syscall="s",
            decision="deny",
            subject="x" * 300,
        )
        if done:
            self.buffered[n] = made
        with full_disk(self.path.stat().st_size + room), pytest.raises(errors.Unavailable):
            self.journal.append(record, urgent=True, done=done)
        self.timers.wait(1.0)
        self.journal.check()

    @rule()
    def wait(self):
        self.timers.wait(0.02)
        assert not self.buffered

    @rule(size=some.integers(1, 3000), acks=some.booleans())
    def send(self, size, acks):
        batch = self.journal.batch(max_bytes=size)
        if batch is None:
            return
        for line in batch.lines:
            self.keep(line)
        if acks:
            self.acked = max(self.kept)
            self.journal.acknowledge(self.acked)

    @rule()
    def reconnect(self):
        self.journal.rewind()

    @rule(torn=some.integers(0, 200), data=some.data())
    def crash(self, torn, data):
        os.close(self.journal._fd)
        if self.buffered:  # it may have died in the middle of that write
            first = msgspec.json.encode({"n": min(self.buffered), "x": "y" * torn})
            with self.path.open("ab") as file:
                file.write(first[: data.draw(some.integers(0, len(first)))])
        self.buffered = {}
        self.timers = Timers()
        self.journal = self.open()

    @precondition(lambda self: hasattr(self, "journal"))
    @invariant()
    def nothing_is_given_twice(self):
        assert self.journal.last_n >= max([0, *self.kept, *self.written])

    def keep(self, line):
        record = msgspec.json.decode(line, type=channel.AuditRecord)
        assert self.kept.setdefault(record.n, line) == line

    def teardown(self):
        if not hasattr(self, "journal"):
            return
        self.timers.wait(0.02)
        self.journal.rewind()
        while (batch := self.journal.batch()) is not None:
            for line in batch.lines:
                self.keep(line)
        ids = {n: msgspec.json.decode(line)["audit_id"] for n, line in self.kept.items()}
        assert self.written.items() <= ids.items()
        assert sorted(ids) == list(range(1, self.journal.last_n + 1))
        prev = GENESIS
        for _, line in sorted(self.kept.items()):
            assert msgspec.json.decode(line)["prev"] == prev
            prev = auditchain.digest(line)
        self.journal.close()
        self.folder.cleanup()


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestLife = Life.TestCase
