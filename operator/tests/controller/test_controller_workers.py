"""The workers: every outcome has its return, and nothing that a reconciliation raises stops the others."""

import asyncio

import pytest

from aion.controller import errors, metrics, outcome
from aion.controller.queue import Queue
from aion.controller.views import Key
from aion.controller.workers import Workers

KEY = Key("Agent", "team", "a")


def workers(reconcile, *, count=1, queue=None):
    queue = queue or Queue(uniform=lambda _low, high: high)
    return queue, Workers(queue, reconcile, count=count, resync_s=600, uniform=lambda _low, high: high)


def due(queue, key=KEY):
    timer = queue._timers.get(key)
    return timer and round(timer.when() - asyncio.get_running_loop().time(), 1)


def ending(result):
    async def reconcile(_key):
        if isinstance(result, Exception):
            raise result
        return result

    return reconcile


@pytest.mark.parametrize(
    ("result", "seconds"),
    [
        (outcome.Done(), 720.0),
        (outcome.Stalled("spec"), 720.0),
        (outcome.After(5), 5.0),
        (outcome.Waiting(60), 60.0),
        (outcome.Waiting(9000), 720.0),
        (outcome.Transient("x"), 0.2),
        (outcome.Gone(), None),
        (errors.of(409, "moved on"), 0.2),
        (errors.of(503, "overloaded", retry_after=17), 17.0),
        (errors.of(0, "silence"), 0.2),
        (errors.of(403, "may not"), 0.2),
        (KeyError("a bug"), 0.2),
    ],
    ids=repr,
)
async def test_each_end_says_when_to_come_back(result, seconds):
    queue, some = workers(ending(result))
    await some.once(KEY)
    assert due(queue) == seconds
    queue.close()


async def test_a_bug_is_counted_and_pauses_only_its_own_key():
    count = metrics.RECONCILE_ERRORS.labels("Agent", "bug")._value.get
    before, fine = count(), []

    async def reconcile(key):
        if key.name == "bad":
            raise RuntimeError("nobody foresaw this")
        fine.append(key.name)
        return outcome.Done()

    queue, some = workers(reconcile)
    running = asyncio.create_task(some.run())
    for name in ("bad", "good", "better"):
        queue.add(Key("Agent", "team", name))
    while len(fine) < 2:
        await asyncio.sleep(0)
    assert count() == before + 1
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    queue.close()


async def test_success_resets_the_pause():
    queue, some = workers(ending(outcome.Transient("x")))
    for _ in range(4):
        await some.once(KEY)
    queue.forget(KEY)
    queue.drop(KEY)
    await some.once(KEY)
    assert due(queue) == 0.2
    queue.close()


async def test_draining_lets_the_running_end_and_starts_nothing_more():
    began, ended, go = [], [], asyncio.Event()

    async def reconcile(key):
        began.append(key.name)
        await go.wait()
        ended.append(key.name)
        return outcome.Done()

    queue, some = workers(reconcile, count=3)
    running = asyncio.create_task(some.run())
    for name in "abcde":
        queue.add(Key("Agent", "team", name))
    while len(began) < 3:
        await asyncio.sleep(0)
    draining = asyncio.create_task(some.drain(5))
    await asyncio.sleep(0)
    go.set()
    await draining
    await asyncio.wait_for(running, 1)
    assert sorted(began) == sorted(ended) == ["a", "b", "c"]
    queue.close()


async def test_draining_gives_up_on_what_hangs():
    async def reconcile(_key):
        await asyncio.Event().wait()

    queue, some = workers(reconcile)
    running = asyncio.create_task(some.run())
    queue.add(KEY)
    while not some._busy:
        await asyncio.sleep(0)
    await asyncio.wait_for(some.drain(0.01), 1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    queue.close()
