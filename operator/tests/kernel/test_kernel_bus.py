"""The bus: every event once and in order, or a gap that names what is missing."""

import asyncio
import json
import time
from contextlib import aclosing, asynccontextmanager, suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_scene import until

from aion.api import errors
from aion.kernel.bus import Bus, Interest, Subscription
from aion.kernel.memorystore import MemoryStore
from aion.kernel.store import Draft, Row

ALL = Interest(frozenset({"kernel.agents", "kernel.syscalls"}), None)
AGENTS = Interest(frozenset({"kernel.agents"}), "team")


def row(seq, topic="kernel.agents", tenant="team"):
    return Row(seq, topic, tenant, b'{"topic":"%s","tenant":"%s"}' % (topic.encode(), tenant.encode()))


def draft(topic="kernel.agents", tenant="team"):
    return Draft(topic, tenant, b'{"topic":"%s","tenant":"%s"}' % (topic.encode(), tenant.encode()))


def read(batch):
    """Numbers of rows, and (from, to) of gaps."""
    rows = [json.loads(each) for each in batch]
    return [(each["from"], each["to"]) if each.get("type") == "gap" else each["seq"] for each in rows]


@asynccontextmanager
async def running(store, **over):
    bus = Bus(store, **over)
    task = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def following(bus, interest=ALL, **over):
    async with aclosing(bus.follow(interest, **over)) as stream:
        yield lambda: asyncio.wait_for(anext(stream), 2)


async def listening(bus, count=1):
    await until(lambda: len(bus._subscriptions) == count)


async def test_what_happens_now_reaches_everyone_who_may_see_it():
    store = MemoryStore(time.monotonic)
    async with running(store) as bus, following(bus) as everything, following(bus, AGENTS) as own:
        both = asyncio.gather(everything(), own())
        await listening(bus, 2)
        await store.publish([draft(), draft("kernel.syscalls"), draft(tenant="rivals"), draft()])
        seen = [read(batch) for batch in await both]
    assert seen == [[1, 2, 3, 4], [1, 4]]


async def test_history_comes_first_and_joins_the_present_without_a_hole_or_a_double():
    store = MemoryStore(time.monotonic)
    await store.publish([draft() for _ in range(1200)])
    async with running(store) as bus, following(bus, since=0) as take:
        seen = []
        for n in range(1200, 1250):
            if n == 1210:
                seen += read(await take())
            await store.publish([draft()])
            await asyncio.sleep(0)
        while len(seen) < 1250:
            seen += read(await take())
    assert seen == list(range(1, 1251))


async def test_since_a_number_gives_what_came_after_it_only():
    store = MemoryStore(time.monotonic)
    await store.publish([draft() for _ in range(10)])
    async with running(store) as bus, following(bus, since=7) as take:
        assert read(await take()) == [8, 9, 10]


async def test_history_that_is_no_longer_kept_is_a_gap():
    store = MemoryStore(time.monotonic, events_kept=5)
    await store.publish([draft() for _ in range(20)])
    async with running(store) as bus:
        async with following(bus, since=0) as take:
            assert read(await take()) == [(1, 15)]
            assert read(await take()) == [16, 17, 18, 19, 20]
        async with following(bus, since=9) as take:
            assert read(await take()) == [(10, 15)]


async def test_a_slow_reader_loses_the_oldest_is_told_so_and_is_counted():
    store, dropped = MemoryStore(time.monotonic), []
    async with running(store, queue=3, dropped=lambda: dropped.append(1)) as bus, following(bus) as slow:
        first = asyncio.create_task(slow())
        await listening(bus)
        await store.publish([draft()])
        assert read(await first) == [1]
        await store.publish([draft() for _ in range(7)])
        await until(lambda: bus._position == 8)
        assert read(await slow()) == [(2, 5), 6, 7, 8]
    assert len(dropped) == 4


async def test_a_slow_reader_holds_up_nobody():
    store = MemoryStore(time.monotonic)
    async with running(store, queue=2) as bus, following(bus) as slow, following(bus) as quick:
        both = asyncio.gather(slow(), quick())
        await listening(bus, 2)
        await store.publish([draft()])
        await both
        for n in range(2, 30):
            await store.publish([draft()])
            assert read(await quick()) == [n]


async def test_a_hole_in_the_store_is_a_gap_in_its_place():
    """A Redis that lost its memory goes on above every number it gave before."""
    store = MemoryStore(time.monotonic)
    async with running(store) as bus, following(bus) as take:
        first = asyncio.create_task(take())
        await listening(bus)
        bus._deliver([row(1), row(2)])
        bus._deliver([row(6), row(7)])
        assert read(await first) == [1, 2, (3, 5), 6, 7]


async def test_a_gap_row_is_an_event_that_names_what_it_stands_for():
    subscription = Subscription(ALL, position=0)
    subscription.lose(4, 9)
    (gap,) = [json.loads(each) for each in await subscription.take()]
    assert gap.items() >= {"seq": 9, "topic": "*", "type": "gap", "after": 3, "upto": 9, "lost": 6}.items()
    assert gap["ts"].endswith("Z")


OFFERS = st.lists(st.tuples(st.sampled_from(["row", "foreign", "hole", "take"]), st.integers(1, 4)), max_size=40)


@settings(deadline=None)
@given(OFFERS, st.integers(1, 4))
async def test_whatever_happens_a_subscriber_can_account_for_every_number(offers, limit):
    subscription, seq, told, wanted = Subscription(AGENTS, position=0, limit=limit), 0, [], []
    for what, count in offers:
        if what == "take":
            if subscription._news.is_set():
                told += read(await subscription.take())
            continue
        if what == "hole":
            subscription.lose(seq + 1, seq + count)
            seq += count
            continue
        for _ in range(count):
            seq += 1
            subscription.offer([row(seq, tenant="team" if what == "row" else "rivals")])
            if what == "row":
                wanted.append(seq)
    if subscription._news.is_set():
        told += read(await subscription.take())
    reached = 0
    for each in told:
        first, last = each if isinstance(each, tuple) else (each, each)
        assert first > reached
        reached = last
    covered = {n for each in told for n in (range(each[0], each[1] + 1) if isinstance(each, tuple) else [each])}
    assert set(wanted) <= covered
    assert [each for each in told if not isinstance(each, tuple)] == [
        n for n in wanted if not any(isinstance(gap, tuple) and gap[0] <= n <= gap[1] for gap in told)
    ]


async def test_a_quiet_stream_says_so_and_goes_on():
    store = MemoryStore(time.monotonic)
    async with running(store) as bus, following(bus, quiet_s=0.02) as take:
        assert await take() == []
        await store.publish([draft()])
        assert read(await take()) == [1]


async def test_the_end_of_the_bus_ends_every_stream_with_what_was_queued():
    store = MemoryStore(time.monotonic)
    async with running(store) as bus, aclosing(bus.follow(ALL)) as stream:
        first = asyncio.create_task(anext(stream))
        await listening(bus)
        bus._deliver([row(1)])
        bus.end()
        assert read(await first) == [1]
        assert [batch async for batch in stream] == []
        assert [batch async for batch in bus.follow(ALL)] == []
        assert not bus._subscriptions


async def test_a_store_that_is_away_pauses_the_stream_and_loses_nothing(monkeypatch):
    store = MemoryStore(time.monotonic)
    reads = store.read
    away = {"yes": False}

    async def read_or_not(after, *, limit, wait_s=0.0):
        if away["yes"]:
            raise errors.Unavailable("away")
        return await reads(after, limit=limit, wait_s=min(wait_s, 0.02))

    monkeypatch.setattr(store, "read", read_or_not)
    async with running(store) as bus, following(bus) as take:
        first = asyncio.create_task(take())
        await listening(bus)
        away["yes"] = True
        await store.publish([draft(), draft()])
        await asyncio.sleep(0.05)
        away["yes"] = False
        seen = read(await first)
        while len(seen) < 2:
            seen += read(await take())
    assert seen == [1, 2]
