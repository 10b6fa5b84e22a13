"""The work queue: nothing lost, nothing twice at once, the urgent first."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.controller.queue import LAST_RETRY_S, Priority, Queue


async def take(queue):
    return await asyncio.wait_for(queue.get(), 1)


async def nothing_comes(queue):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.get(), 0.02)


async def test_a_key_added_three_times_is_handed_out_once():
    queue = Queue()
    for _ in range(3):
        queue.add("a")
    assert await take(queue) == "a"
    await nothing_comes(queue)


async def test_a_key_that_changes_under_work_runs_again_but_only_after_done():
    queue = Queue()
    queue.add("a")
    await take(queue)
    queue.add("a")
    await nothing_comes(queue)
    queue.done("a")
    assert await take(queue) == "a"


async def test_live_events_pass_the_initial_list():
    queue = Queue()
    for key in ("old-1", "old-2"):
        queue.add(key, Priority.RESYNC)
    queue.add("fresh")
    assert [await take(queue) for _ in range(3)] == ["fresh", "old-1", "old-2"]


async def test_a_listed_key_is_raised_by_a_live_event():
    queue = Queue()
    queue.add("a", Priority.RESYNC)
    queue.add("b", Priority.RESYNC)
    queue.add("b")
    assert [await take(queue), await take(queue)] == ["b", "a"]
    await nothing_comes(queue)


async def test_a_live_key_is_never_lowered_by_a_resync():
    queue = Queue()
    queue.add("a")
    queue.add("a", Priority.RESYNC)
    queue.add("b")
    assert [await take(queue), await take(queue)] == ["a", "b"]


async def test_retries_wait_longer_each_time_and_never_beyond_the_ceiling():
    queue = Queue(uniform=lambda _low, high: high)
    delays = [queue.retry("a") for _ in range(14)]
    assert delays[:4] == [0.2, 0.4, 0.8, 1.6]
    assert max(delays) == delays[-1] == LAST_RETRY_S
    queue.forget("a")
    assert queue.retry("a") == 0.2
    queue.close()


async def test_a_retried_key_comes_back():
    queue = Queue()
    queue.retry("a")
    assert await take(queue) == "a"


async def test_the_earliest_of_several_delays_holds():
    queue = Queue()
    queue.add_after("a", 60)
    queue.add_after("a", 0.01)
    queue.add_after("a", 30)
    assert await take(queue) == "a"
    queue.done("a")
    await nothing_comes(queue)


async def test_a_dropped_key_has_no_delayed_work_left():
    queue = Queue()
    queue.add_after("a", 0.005)
    queue.drop("a")
    await nothing_comes(queue)


async def test_a_cancelled_worker_hands_its_wake_up_to_the_next():
    queue = Queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(list(Priority)), st.booleans()), max_size=60))
def test_every_added_key_is_worked_on_after_its_last_change_and_never_twice_at_once(steps):
    async def run():
        queue = Queue()
        version = dict.fromkeys("abcd", 0)
        seen = dict.fromkeys("abcd", 0)
        working = set()

        async def worker():
            while True:
                key = await queue.get()
                assert key not in working
                working.add(key)
                current = version[key]
                await asyncio.sleep(0)
                seen[key] = current
                working.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(3)]
        for key, priority, pause in steps:
            version[key] += 1
            queue.add(key, priority)
            if pause:
                await asyncio.sleep(0)
        while not queue.idle:
            await asyncio.sleep(0)
        for task in workers:
            task.cancel()
        outcomes = await asyncio.gather(*workers, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        assert seen == version

    asyncio.run(run())
