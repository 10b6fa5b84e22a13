"""The picture of the cluster: complete, current, and never stuck."""

import asyncio
import contextlib

import pytest
from kernel_scene import until

from aion.kernel import scope, testing, watch
from aion.kernel.cluster import ApiError, ListMeta, ObjectList, WatchEvent
from aion.kernel.registry import Registry


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def cluster():
    return testing.FakeCluster()


@contextlib.asynccontextmanager
async def kept(cluster, collection, path=scope.AGENTS, **over):
    task = asyncio.create_task(watch.keep(cluster, path, collection, **{"jitter": lambda low, high: 0.01, **over}))
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def names(collection):
    return [f"{namespace}/{name}" for (namespace, name), _ in collection.all()]


async def test_a_list_of_many_pages_is_one_picture(cluster, registry):
    for n in range(5):
        cluster.put(testing.agent("team", f"a{n}"))
    async with kept(cluster, registry.agents):
        await asyncio.wait_for(registry.agents.synced.wait(), 1)
        assert names(registry.agents) == [f"team/a{n}" for n in range(5)]
        assert not registry.synced


async def test_what_is_made_changed_and_deleted_is_seen(cluster, registry):
    async with kept(cluster, registry.agents):
        await registry.agents.synced.wait()
        cluster.put(testing.agent("team", "a"))
        await until(lambda: names(registry.agents) == ["team/a"])
        cluster.put(testing.agent("team", "a", priority=9))
        await until(lambda: registry.agents.get("team", "a").spec.priority == 9)
        cluster.delete(testing.agent("team", "a"))
        await until(lambda: not names(registry.agents))


async def test_a_deletion_that_was_missed_is_found_by_the_next_list(cluster, registry):
    cluster.put(testing.agent("team", "a"))
    cluster.put(testing.agent("team", "b"))
    async with kept(cluster, registry.agents):
        await registry.agents.synced.wait()
        await until(lambda: any("WATCH" in each for each in cluster.asked))
        cluster.take_down()
        cluster.delete(testing.agent("team", "a"))
        cluster.forget()
        await asyncio.sleep(0.05)
        cluster.down = False
        await until(lambda: names(registry.agents) == ["team/b"])


async def test_an_expired_position_lists_again_at_once(cluster, registry):
    waits = []
    async with kept(cluster, registry.agents, jitter=lambda low, high: waits.append(high) or 0.01):
        await registry.agents.synced.wait()
        await until(lambda: any("WATCH" in each for each in cluster.asked))
        watched = cluster.watch

        async def expired(path, *, since):
            cluster.watch = watched
            raise ApiError(410, "too old")
            yield

        cluster.watch = expired
        cluster.forget()
        cluster.put(testing.agent("team", "new"))
        await until(lambda: names(registry.agents) == ["team/new"])
    assert len(waits) <= 1  # the watch that ended at once, never the 410


async def test_a_server_that_ends_every_watch_at_once_is_not_asked_in_a_tight_loop(registry):
    class Hasty(testing.FakeCluster):
        async def watch(self, path, *, since):
            self._ask("WATCH", path)
            return
            yield

    waits = []
    cluster = Hasty()
    async with kept(cluster, registry.agents, jitter=lambda low, high: waits.append(high) or 0.01):
        await until(lambda: len(waits) >= 5)
    assert waits[:5] == [1.0, 2.0, 4.0, 8.0, 16.0]


async def test_a_server_that_always_says_gone_is_not_asked_in_a_tight_loop_either(registry):
    class Amnesiac(testing.FakeCluster):
        async def watch(self, path, *, since):
            self._ask("WATCH", path)
            yield WatchEvent("ERROR", {"code": 410, "message": "gone"})

    waits = []
    cluster = Amnesiac()
    async with kept(cluster, registry.agents, jitter=lambda low, high: waits.append(high) or 0.01):
        await until(lambda: len(waits) >= 3)


async def test_a_bookmark_moves_the_position_and_nothing_else(registry):
    class Bookmarking(testing.FakeCluster):
        since: list[str] = []  # noqa: RUF012

        async def list(self, path, *, page=""):
            return ObjectList(ListMeta("5"), [testing.agent("team", "a")])

        async def watch(self, path, *, since):
            self.since.append(since)
            if len(self.since) > 1:
                await asyncio.sleep(60)
            yield WatchEvent("BOOKMARK", {"kind": "Agent", "metadata": {"resourceVersion": "9"}})

    cluster = Bookmarking()
    async with kept(cluster, registry.agents):
        await until(lambda: cluster.since == ["5", "9"])
        assert names(registry.agents) == ["team/a"]


async def test_an_object_that_cannot_be_read_does_not_exist_and_disturbs_nobody(cluster, registry):
    cluster.put(testing.agent("team", "a"))
    cluster.put(testing.agent("team", "broken", entry=["not", "a", "string"]))
    async with kept(cluster, registry.agents):
        await registry.agents.synced.wait()
        assert names(registry.agents) == ["team/a"]
        cluster.put(testing.agent("team", "a", entry={"nor": "this"}))
        await until(lambda: not names(registry.agents))


async def test_a_field_that_a_newer_crd_has_does_not_hide_an_agent(cluster, registry):
    cluster.put(testing.agent("team", "a", invented="later"))
    async with kept(cluster, registry.agents):
        await registry.agents.synced.wait()
        assert names(registry.agents) == ["team/a"]


async def test_a_bell_rings_for_its_tenants_changes_only(registry):
    with registry.bells.listen("team") as own, registry.bells.listen("rivals") as other:
        registry.agents.put(testing.agent("team", "a"))
        assert own.is_set()
        assert not other.is_set()
        own.clear()
        registry.tools.remove(testing.tool("team", "x"))
        assert own.is_set()
        registry.tools.replace([])
        assert other.is_set()
    assert not registry.bells._by_tenant


def test_a_namespaces_objects_are_the_same_tuple_until_one_changes(registry):
    registry.tools.put(testing.tool("team", "b"))
    registry.tools.put(testing.tool("team", "a"))
    first = registry.tools.of("team")
    assert [each.name for each in first] == ["a", "b"]
    registry.tools.put(testing.tool("rivals", "z"))
    assert registry.tools.of("team") is first
    registry.tools.put(testing.tool("team", "a", version="2.0.0"))
    assert registry.tools.of("team")[0].spec.version == "2.0.0"
    registry.tools.remove(testing.tool("team", "a"))
    registry.tools.remove(testing.tool("team", "b"))
    assert registry.tools.of("team") == ()
