"""An audit trail that was touched says where, whatever was done to it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from aion.api import auditchain, auditcheck, channel, event
from aion.api.auditcheck import Head
from aion.api.auditquery import Query

CHAIN = "uid-1@5"


def trail(count, *, chain=CHAIN, first=1):
    rows, prev = [], chain
    for n in range(1, count + 1):
        record = channel.AuditRecord(
            n=n, prev=prev, ts_ms=n, audit_id=f"sc-{n}", tenant="team", agent="agent://team/a", syscall="tool.invoke",
            decision="allow", latency_ms=0.25 * n, subject="search",
        )  # fmt: skip
        prev = auditchain.digest(auditchain.canonical(record))
        row = {"seq": 100 + n, "ts": "", "topic": event.SYSCALLS, "type": event.SYSCALL, event.CHAIN: chain}
        rows.append({**row, **msgspec.to_builtins(record)})
    return rows[first - 1 :]


def checked(rows, heads=None):
    return auditcheck.check(enumerate(rows, 1), heads)


def found(rows, heads=None):
    return [(each.what, each.n, each.at) for each in checked(rows, heads).breaks]


def head(rows):
    return {CHAIN: Head(rows[-1]["n"], auditchain.digest(auditchain.canonical(event.record_of(rows[-1]))))}


def test_a_whole_trail_of_several_chains_is_whole_however_they_are_mixed():
    rows = [row for pair in zip(trail(9), trail(9, chain="uid-2@5"), strict=True) for row in pair]
    report = checked(rows, head(trail(9)))
    assert (report.whole, report.chains, report.records, report.notes) == (True, 2, 18, [])


@given(some.integers(1, 12), some.sampled_from(["decision", "latency_ms", "subject", "micro_usd", "ts_ms", "agent"]))
def test_a_record_that_was_changed_is_named(n, field):
    rows = trail(12)
    changed = {"latency_ms": 9.5, "micro_usd": 1, "ts_ms": 77}.get(field, "another")
    rows[n - 1] = {**rows[n - 1], field: changed}
    assert found(rows, head(trail(12))) == [("changed", n, n)]


@given(some.integers(2, 11))
def test_a_record_whose_link_was_changed_is_named(n):
    rows = trail(12)
    rows[n - 1] = {**rows[n - 1], "prev": "0" * 64}
    assert found(rows) == [("changed", n, n)]


@given(some.integers(2, 11), some.integers(2, 11))
def test_records_that_were_dropped_are_named(one, other):
    first, last = sorted((one, other))
    rows = [row for row in trail(12) if not first <= row["n"] <= last]
    assert found(rows) == [("missing", first, first)]


@given(some.integers(0, 11))
def test_records_that_were_cut_off_at_the_end_are_known_by_the_kernels_word(kept):
    assert found(trail(12)[:kept], head(trail(12))) == [("missing", kept + 1, 0)]


@given(some.permutations(range(12)))
def test_records_in_another_order_are_named(order):
    rows = trail(12)
    moved = found([rows[at] for at in order])
    assert {what for what, _, _ in moved} <= {"moved"}
    assert bool(moved) == (list(order) != sorted(order))


def test_a_record_that_is_there_twice_and_one_whose_number_another_has_are_told_apart():
    rows = trail(5)
    assert found([*rows, rows[2]]) == [("doubled", 3, 6)]
    assert found([*rows, {**rows[2], "subject": "other"}]) == [("forked", 3, 6)]


def test_a_chain_under_another_name_does_not_pass():
    assert found([{**row, event.CHAIN: "uid-9@5"} for row in trail(3)]) == [("changed", 1, 1)]


def test_what_is_kept_no_more_is_mentioned_and_no_break():
    report = checked(trail(9, first=5))
    assert (report.whole, report.notes) == (True, [f"{CHAIN}: kept from record 5 on, records 1 to 4 are not here"])


def test_what_the_kernel_noted_is_told_again():
    noted = {"type": event.CHAIN, event.CHAIN: CHAIN, "what": "gap", "n": 7, "after": 4}
    (told,) = checked([noted]).breaks
    assert told.said == "the kernel noted when it came: the kernel never had the records between 4 and 7"


def test_a_journals_own_lines_are_read_too():
    rows = [{"journal": "aion.audit.v2"}, *(event.record_of(row) for row in trail(4))]
    assert checked(rows).whole
    assert found(rows[:2] + rows[3:]) == [("missing", 2, 3)]


@given(some.integers(1, 12))
def test_the_time_that_people_read_is_the_records_own(n):
    rows = [{**row, "ts": event.timestamp(row["ts_ms"])} for row in trail(12)]
    assert checked(rows, head(rows)).whole
    rows[n - 1] = {**rows[n - 1], "ts": "2031-01-01T00:00:00.000Z"}  # no digest is of it
    assert found(rows, head(rows)) == [("changed", n, n)]


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}])
@pytest.mark.parametrize("n", [4, 9])
def test_what_has_no_canonical_form_is_a_change_and_no_accident(n, value):
    rows = trail(9)
    rows[n - 1] = {**rows[n - 1], "subject": value}
    assert ("changed", n, n) in found(rows)


@pytest.mark.parametrize("number", ["seven", None, [], {}, 1e400])
def test_what_a_forger_says_that_the_kernel_noted_is_told_whatever_it_is(number):
    noted = {"type": event.CHAIN, event.CHAIN: CHAIN, "what": "gap", "n": number, "after": number}
    assert [each.what for each in checked([*trail(3), noted]).breaks] == ["told"]


def test_a_trail_that_was_made_anew_is_whole_by_itself_and_only_what_is_kept_elsewhere_says_otherwise():
    rows, known = trail(6), head(trail(6))
    forged, prev = [], CHAIN
    for row in rows:
        made = {**row, "prev": prev, "subject": "harmless"}
        prev = auditchain.digest(auditchain.canonical(event.record_of(made)))
        forged.append(made)
    assert checked(forged).whole
    assert [each.what for each in checked(forged, known).breaks] == ["changed"]


def row(**fields):
    return msgspec.json.encode({**trail(1)[0], "ts_ms": 5000, **fields})


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ({}, True),
        ({"tenant": "team"}, True),
        ({"tenant": "rivals"}, False),
        ({"agent": "a"}, True),
        ({"agent": "agent://team/a"}, True),
        ({"agent": "team/a"}, True),
        ({"agent": "b"}, False),
        ({"syscall": "tool.*"}, True),
        ({"syscall": "tool"}, False),
        ({"decision": "deny"}, False),
        ({"code": "E_POLICY"}, False),
        ({"from_ms": 5000, "to_ms": 5001}, True),
        ({"to_ms": 5000}, False),
        ({"from_ms": 5001}, False),
    ],
)
def test_a_query_finds_what_it_says(query, finds):
    assert Query(**query).finds(row()) is finds


def test_breaks_are_found_where_no_syscall_is_asked_for_and_other_events_never():
    broken = msgspec.json.encode({"type": "chain", "tenant": "team", "ts": "2026-01-02T03:04:05.006Z"})
    assert Query(tenant="team", from_ms=1).finds(broken)
    assert not Query(decision="deny").finds(broken)
    assert not Query().finds(b'{"type":"granted"}')
    assert not Query().finds(b"rubbish")
