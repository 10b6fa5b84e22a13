"""Frames between gateway, kernel and tool runner: what one end writes, the other reads."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import auditchain, channel, event, grant, toolcall

TEXT = st.text(max_size=12)
COUNT = st.integers(0, 1 << 40)
RAW = st.sampled_from([b"{}", b"null", b'{"a": [1, "\xc3\xa9"]}', b"[1,2]"]).map(msgspec.Raw)

RECORDS = st.builds(
    channel.AuditRecord,
    n=COUNT, ts_ms=COUNT, audit_id=TEXT, tenant=TEXT, agent=TEXT, syscall=TEXT,
    decision=st.sampled_from(["allow", "deny", "error"]), code=TEXT, rule=TEXT, micro_usd=COUNT, subject=TEXT,
)  # fmt: skip
GRANTS = st.builds(
    grant.Grant,
    agent_id=TEXT, tenant=TEXT, name=TEXT, version=TEXT, capabilities=st.just(("network",)), syscalls=st.just(("net.fetch",)),
    tools=st.lists(st.builds(grant.ToolGrant, name=TEXT, version=TEXT, endpoint=TEXT, input_schema=st.just({"type": "object"})),
                   max_size=2).map(tuple),
    fetch=st.lists(st.builds(grant.FetchRule, TEXT), max_size=2).map(tuple), budget_micro_usd=st.none() | COUNT,
    refused=st.dictionaries(TEXT, TEXT, max_size=2),
)  # fmt: skip
UP = st.one_of(
    st.builds(channel.Lease, held_micro_usd=COUNT, held_tokens=COUNT, want_micro_usd=COUNT, want_tokens=COUNT),
    st.builds(channel.Hello, TEXT, TEXT, TEXT, TEXT),
    st.builds(channel.Heartbeat, COUNT, COUNT, st.builds(channel.Totals, syscalls=COUNT, micro_usd=COUNT)),
    st.builds(
        channel.Audit, st.lists(RECORDS.map(lambda record: msgspec.Raw(auditchain.canonical(record))), max_size=3)
    ),
)
DOWN = st.one_of(
    st.builds(channel.Leased, micro_usd=COUNT, tokens=COUNT, refused=TEXT, retry_after_ms=COUNT),
    st.builds(channel.Granted, GRANTS),
    st.builds(channel.Revoked, TEXT),
    st.builds(channel.Ack, COUNT),
)
CONTEXT = st.builds(toolcall.CallContext, agent_id=TEXT, tenant=TEXT, task_id=TEXT)
TO_RUNNER = st.one_of(
    st.builds(toolcall.Invoke, COUNT, CONTEXT, COUNT, RAW),
    st.builds(
        toolcall.Answer,
        COUNT,
        COUNT,
        st.sampled_from(["ok", "error"]),
        RAW,
        st.none() | st.builds(toolcall.CallError, TEXT, TEXT),
    ),
    st.builds(toolcall.Cancel, COUNT),
)
FROM_RUNNER = st.one_of(
    st.builds(toolcall.Syscall, COUNT, COUNT, TEXT, RAW),
    st.builds(toolcall.Result, COUNT, RAW),
    st.builds(toolcall.Failure, COUNT, TEXT, TEXT),
)


def plain(frame):
    return msgspec.json.decode(msgspec.json.encode(frame))


@given(UP)
def test_what_a_gateway_sends_the_kernel_reads(frame):
    assert plain(channel.decode_up(channel.encode(frame))) == plain(frame)


@given(DOWN)
def test_what_the_kernel_sends_a_gateway_reads(frame):
    assert channel.decode_down(channel.encode(frame)) == frame


@given(TO_RUNNER)
def test_what_a_caller_sends_a_runner_reads(frame):
    assert plain(toolcall.decode_to_runner(toolcall.encode(frame))) == plain(frame)


@given(FROM_RUNNER)
def test_what_a_runner_sends_a_caller_reads(frame):
    assert plain(toolcall.decode_from_runner(toolcall.encode(frame))) == plain(frame)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"t":"hello"}', '{"t":"granted"}', '{"t":"hello","pod":1}', b"\xff"])
def test_a_frame_that_a_gateway_may_not_send_is_refused(text):
    with pytest.raises(msgspec.DecodeError):
        channel.decode_up(text)


def test_ends_cannot_be_exchanged():
    with pytest.raises(msgspec.ValidationError):
        channel.decode_down(channel.encode(channel.Hello("pod", "agent", "1", "chain")))
    with pytest.raises(msgspec.ValidationError):
        toolcall.decode_to_runner(toolcall.encode(toolcall.Result(1)))


def test_a_field_of_a_newer_peer_is_passed_over():
    assert channel.decode_down(b'{"t":"ack","upto":3,"later":true}') == channel.Ack(3)


def test_a_runners_document_is_read_with_its_defaults():
    read = toolcall.runner_tool('{"name":"x","version":"1.0.0","kind":"wasm","input_schema":{"type":"object"}}')
    assert (read.timeout_ms, read.memory_mb, read.capabilities, read.config) == (30_000, 128, (), {})
    with pytest.raises(msgspec.ValidationError):
        toolcall.runner_tool('{"name":"x","version":"1.0.0","kind":"mcp","input_schema":{}}')


@given(COUNT.map(lambda ms: ms % 4_000_000_000_000), RECORDS)
def test_an_event_is_one_flat_object_that_is_read_back(now, record):
    fields = {**msgspec.to_builtins(record), event.CHAIN: "pod@1"}
    made = event.Event(7, event.timestamp(now), event.SYSCALLS, event.SYSCALL, fields)
    row = msgspec.json.decode(event.encode(made))
    assert (row["seq"], row["topic"], row["syscall"]) == (7, event.SYSCALLS, record.syscall)
    assert event.decode(event.encode(made)) == made
    assert auditchain.canonical(event.record_of(row)) == auditchain.canonical(record)


def test_what_a_reader_cannot_have_is_a_gap_and_not_silence():
    gap = event.gap(topic=event.AGENTS, after=4, upto=9, now_ms=0, reason="trimmed")
    assert (gap.seq, gap.type, gap.fields["lost"], gap.ts) == (9, "gap", 5, "1970-01-01T00:00:00.000Z")


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"seq":1,"ts":"x","topic":"y"}', '{"seq":"1","ts":"x","topic":"y","type":"z"}']
)
def test_a_row_that_is_no_event_is_refused(text):
    with pytest.raises(msgspec.DecodeError):
        event.decode(text)
