"""A call that is answered by a stream: whatever ends it, seat and money come back once and one record is left."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from syscalls_stage import ME, Stage

from aion.api import errors
from aion.api.generation import Chunk
from aion.api.grant import Limits
from aion.syscalls import testing
from aion.syscalls.router import Reply
from aion.syscalls.stream import Stream
from aion.syscalls.testing import ScriptedStream, granted, request

NAME = "model.generate"


async def begun(stage: Stage, *, dialect: str = "", **fields: object) -> Stream:
    stream = await stage.router.serve(NAME, request(NAME, {"stream": True}, **fields), ME, dialect=dialect)
    assert isinstance(stream, Stream)
    return stream


def at_rest(stage: Stage) -> bool:
    standing = stage.door.standings[testing.AGENT]
    return standing.inflight == 0 and standing.ledger.reserved == 0


async def test_pieces_come_in_order_and_the_record_is_made_at_the_end():
    stage = Stage(ScriptedStream(Chunk(text="a"), Chunk(text="b"), price=100))
    async with await begun(stage) as stream:
        assert not stage.audit.records
        assert [piece async for piece in stream] == [Chunk(text="a"), Chunk(text="b")]
        assert (stream.model, stream.backend, stream.relayed) == ("scripted-1", "scripted", False)
        assert (stream.usage.micro_usd, stream.usage.tokens_out) == (3, 2)
    assert (stage.record.decision, stage.record.micro_usd, stage.record.audit_id) == ("allow", 3, stream.audit_id)
    assert at_rest(stage)
    assert stage.door.standings[testing.AGENT].ledger.spent == 3


async def test_bytes_are_relayed_only_to_a_caller_of_the_backends_dialect():
    stage = Stage(ScriptedStream(b"data: {}\n\n", relays="openai"))
    for dialect, relayed in (("openai", True), ("anthropic", False), ("", False)):
        async with await begun(stage, dialect=dialect) as stream:
            assert stream.relayed is relayed


async def test_a_stream_keeps_its_seat_and_its_money_until_it_is_over():
    handler = ScriptedStream(Chunk(text="a"), price=60)
    stage = Stage(handler, grants=(granted(limits=Limits(max_concurrency=2), budget_micro_usd=100),))
    first = await begun(stage)
    over_budget = await stage.router.serve(NAME, request(NAME), ME)
    assert isinstance(over_budget, Reply)
    assert over_budget.status == 402
    standing = stage.door.standings[testing.AGENT]
    assert (standing.inflight, standing.ledger.reserved) == (1, 60)
    first.leave()
    assert at_rest(stage)
    assert standing.ledger.spent == 1
    second = await begun(stage)
    second.leave()


async def test_who_leaves_pays_for_what_was_seen_and_has_done_nothing_wrong():
    handler = ScriptedStream(Chunk(text="a"), Chunk(text="b"), price=100)
    stage = Stage(handler)
    async with await begun(stage) as stream:
        assert await anext(stream) == Chunk(text="a")
    assert handler.begun[0].closed == 1
    assert (stage.record.decision, stage.record.code, stage.record.tokens_out) == ("allow", "", 1)
    assert at_rest(stage)


async def test_leaving_wakes_whoever_waits_for_the_next_piece():
    stage = Stage(ScriptedStream(Chunk(text="a"), asyncio.Event(), price=5))
    async with await begun(stage) as stream:
        assert await anext(stream) == Chunk(text="a")
        waiting = asyncio.ensure_future(anext(stream, "the end"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        stream.leave()
        assert await waiting == "the end"
    assert stage.record.decision == "allow"
    assert at_rest(stage)


async def test_a_failure_on_the_way_is_raised_and_recorded_with_what_was_used():
    stage = Stage(ScriptedStream(Chunk(text="a"), errors.UpstreamFailed("half an answer"), price=9))
    async with await begun(stage) as stream:
        with pytest.raises(errors.UpstreamFailed, match="half an answer"):
            [piece async for piece in stream]
    assert (stage.record.decision, stage.record.code, stage.record.micro_usd) == ("error", "E_UPSTREAM", 2)
    assert at_rest(stage)


async def test_a_bug_on_the_way_is_told_as_unavailable_without_its_words():
    stage = Stage(ScriptedStream(Chunk(text="a"), ZeroDivisionError("secret")))
    async with await begun(stage) as stream:
        with pytest.raises(errors.Unavailable, match="internal error") as told:
            [piece async for piece in stream]
    assert "secret" not in str(told.value)
    assert stage.record.code == "E_UNAVAILABLE"


async def test_the_deadline_holds_for_the_whole_stream():
    stage = Stage(ScriptedStream(Chunk(text="a"), asyncio.Event(), price=9))
    async with await begun(stage, budget={"latency_ms": 30}) as stream:
        with pytest.raises(errors.TimedOut, match=r"30 ms, the request's budget\.latency_ms"):
            [piece async for piece in stream]
    assert (stage.record.code, stage.record.tokens_out) == ("E_TIMEOUT", 1)
    assert at_rest(stage)


async def test_a_model_may_take_longer_than_other_syscalls():
    stage = Stage(ScriptedStream(asyncio.Event()), grants=(granted(limits=Limits(syscall_timeout_ms=1)),))
    async with await begun(stage) as stream:
        waiting = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        stream.leave()
        await waiting
    assert stage.record.code == ""


async def test_cancelling_the_reader_settles_at_once():
    stage = Stage(ScriptedStream(Chunk(text="a"), asyncio.Event(), price=9))

    async def read() -> None:
        async with await begun(stage) as stream:
            async for _ in stream:
                pass

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0.01)
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    assert at_rest(stage)
    assert stage.record.tokens_out == 1


async def test_a_stream_whose_record_cannot_be_kept_ends_by_saying_so():
    stage = Stage(ScriptedStream(Chunk(text="a"), errors.UpstreamFailed("broken")))
    async with await begun(stage) as stream:
        await anext(stream)
        stage.audit.broken = "disk full"
        with pytest.raises(errors.UnknownOutcome, match="disk full"):
            await anext(stream)
        assert (stage.record.code, stage.record.decision) == ("E_UPSTREAM", "error")
    assert at_rest(stage)


async def test_what_is_refused_is_a_plain_answer():
    stage = Stage(ScriptedStream(), grants=(granted(syscalls=("net.fetch",)),))
    reply = await stage.router.serve(NAME, request(NAME), ME)
    assert isinstance(reply, Reply)
    assert reply.status == 403


async def test_a_handler_that_streams_to_one_who_cannot_read_it_is_a_bug_and_lets_go():
    handler = ScriptedStream(Chunk(text="a"), price=3)
    stage = Stage(handler)
    assert (await stage.call(NAME)).code == "E_UNAVAILABLE"
    assert handler.begun[0].closed == 1
    assert at_rest(stage)


Step = some.sampled_from(["take", "leave", "fail", "cancel"])


@given(some.lists(some.tuples(some.integers(0, 4), Step), max_size=30))
@settings(max_examples=60, deadline=None)
def test_however_streams_end_nothing_stays_reserved_and_each_has_one_record(steps: list[tuple[int, str]]):
    async def play() -> None:
        handler = ScriptedStream(*[Chunk(text="x")] * 3, price=10)
        stage = Stage(handler, grants=(granted(budget_micro_usd=45),))
        open_streams: dict[int, Stream] = {}
        scripts: dict[int, testing.ScriptedPieces] = {}
        asked = 0
        for at, step in steps:
            if at not in open_streams or open_streams[at].ended:
                asked += 1
                reply = await stage.router.serve(NAME, request(NAME), ME)
                if isinstance(reply, Reply):
                    assert reply.status == 402
                    continue
                open_streams[at], scripts[at] = reply, handler.begun[-1]
            stream = open_streams[at]
            if step == "take":
                await anext(stream, None)
            elif step == "fail":
                scripts[at].comes.insert(0, errors.UpstreamFailed("gone"))
                with contextlib.suppress(errors.UpstreamFailed):
                    await anext(stream, None)
            else:
                stream.leave()
        ledger = stage.door.standings[testing.AGENT].ledger
        assert ledger.spent + ledger.reserved <= 45
        for stream in open_streams.values():
            stream.leave()
        assert at_rest(stage)
        assert len(stage.audit.records) == asked
        assert ledger.spent == sum(record.micro_usd for record in stage.audit.records) <= 45

    asyncio.run(play())
