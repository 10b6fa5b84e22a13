"""What watches tell, and the sweeps beneath them."""

import asyncio

import pytest
from controller_world import World, agent, node

from aion.controller import errors, metrics
from aion.controller.feed import Feed
from aion.controller.listing import WATCHED
from aion.controller.queue import Priority, Queue
from aion.controller.store import Store
from aion.controller.sweep import Sweep
from aion.controller.testing import FakeCluster
from aion.controller.views import Key


def document(name="a", uid="u-a", version="1"):
    made = agent(name)
    return {**made, "metadata": {**made["metadata"], "uid": uid, "generation": 1, "resourceVersion": version}}


@pytest.fixture
def parts():
    queue = Queue()
    return Feed(Store(), queue), queue


async def test_what_a_list_shows_waits_behind_what_happens_live(parts):
    feed, queue = parts
    feed.seen(document(), Priority.RESYNC)
    feed.seen(document("b", "u-b"))
    assert (await queue.get()).name == "b"


async def test_a_deletion_wakes_the_root(parts):
    feed, queue = parts
    feed.seen(document())
    await queue.get()
    queue.done(Key("Agent", "team", "a"))
    feed.gone("Agent", "u-a")
    assert (await asyncio.wait_for(queue.get(), 1)).name == "a"


async def test_an_object_that_cannot_be_read_is_counted_and_passed_over(parts):
    feed, queue = parts
    count = metrics.PASSED_OVER.labels("Agent")._value.get
    before = count()
    feed.seen({"kind": "Agent", "metadata": {"uid": "u"}})
    feed.seen({**document(), "spec": "not a mapping", "status": {"conditions": "neither"}})
    feed.seen(document("b", "u-b"))
    assert count() > before
    assert Key("Agent", "team", "b") in queue._dirty


async def test_a_sweep_finds_what_was_changed_made_and_deleted_unseen():
    world = World()
    await world.applies(node(), agent(), agent("b"))
    world.cluster.deaf = True
    await world.applies(agent(priority=9), agent("c"))
    world.cluster.deleted("Agent", "team", "b")
    world.cluster.deaf = False
    assert await world.sweep.once() >= 3
    await world.settle()
    assert world.told(name="c")["reason"] == "Creating"
    assert Key("Agent", "team", "b") not in world.store.roots()
    assert world.object()["status"]["observedGeneration"] == 2
    assert await world.sweep.once() == 0


async def test_a_pod_born_while_the_list_runs_is_not_taken_for_a_deleted_one():
    world = World()
    await world.applies(node())
    whole = world.cluster.pages

    async def slow(resource, **more):
        listed = [page async for page in whole(resource, **more)]
        if resource.kind == "Agent":
            await world.applies(agent())  # born after the list was taken, told by the watch
        for page in listed:
            yield page

    world.cluster.pages = slow
    assert await world.sweep.once() == 0
    assert Key("Agent", "team", "a") in world.store.roots()


def idle_sweep(cluster, *, every_s):
    store = Store()
    return Sweep(cluster, WATCHED, store=store, feed=Feed(store, Queue()), every_s=every_s)


async def test_a_sweep_comes_by_itself():
    count = metrics.SWEEPS.labels("period")._value.get
    before = count()
    running = asyncio.create_task(idle_sweep(FakeCluster(), every_s=0.01).run())
    await asyncio.sleep(0.1)
    running.cancel()
    assert count() > before


async def test_a_sweep_that_failed_is_tried_again():
    cluster, tries = FakeCluster(), []
    whole = cluster.pages

    def failing_once(resource, **more):
        tries.append(resource)
        if len(tries) == 1:
            raise errors.of(503, "away")
        return whole(resource, **more)

    cluster.pages = failing_once
    running = asyncio.create_task(idle_sweep(cluster, every_s=0.01).run())
    await asyncio.sleep(0.1)
    running.cancel()
    assert len(tries) > 1
