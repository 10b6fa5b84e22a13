"""List, watch, and list again: nothing that happens is lost, whatever becomes of the stream."""

import asyncio

import pytest
from controller_world import agent

from aion.controller import errors, kube, listing, reflector
from aion.controller.feed import Feed
from aion.controller.kube import Event
from aion.controller.listing import Watched
from aion.controller.queue import Queue
from aion.controller.reflector import Reflector
from aion.controller.store import Store
from aion.controller.testing import FakeCluster
from aion.controller.views import Key
from aion.controller.watches import Watches


class Following:
    """One reflector of Agents over a cluster in memory."""

    def __init__(self, cluster, **watched):
        self.cluster = cluster
        self.store, self.queue = Store(), Queue()
        self.pauses = []
        self.reflector = Reflector(
            cluster,
            Watched(kube.AGENTS, **watched),
            store=self.store,
            feed=Feed(self.store, self.queue),
            watches=Watches(),
            uniform=lambda low, high: self.pauses.append((low, high)) or 0.0,
        )

    async def __aenter__(self):
        self.task = asyncio.create_task(self.reflector.run())
        await asyncio.wait_for(self.reflector.listed.wait(), 1)
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def knows(self, *names):
        for _ in range(100):
            await asyncio.sleep(0.001)
            if {key.name for key in self.store.roots()} == set(names):
                return
        raise AssertionError(f"it knows {self.store.roots()}")


async def test_what_was_there_is_listed_and_what_happens_is_told():
    cluster = FakeCluster()
    cluster.person_applies(agent("a"))
    async with Following(cluster) as it:
        await it.knows("a")
        cluster.person_applies(agent("b"))
        await it.knows("a", "b")
        cluster.deleted("Agent", "team", "a")
        await it.knows("b")


async def test_a_stream_that_ended_goes_on_where_it_was_without_another_list():
    cluster = FakeCluster()
    async with Following(cluster) as it:
        cluster.person_applies(agent("a"))
        await it.knows("a")
        lists = []
        cluster.pages = lambda *_, **__: lists.append(1)
        cluster.hang_up()
        cluster.deleted("Agent", "team", "a")  # while nobody listens, but the server remembers
        await it.knows()
        assert not lists


async def test_a_deletion_that_the_server_has_forgotten_is_found_by_listing_again():
    cluster = FakeCluster()
    for name in ("a", "b"):
        cluster.person_applies(agent(name))
    async with Following(cluster) as it:
        await it.knows("a", "b")
        cluster.hang_up()
        cluster.deleted("Agent", "team", "a")
        cluster.person_applies(agent("c"))
        cluster.forget()
        await it.knows("b", "c")


async def test_without_that_comparison_it_would_stay_lost(monkeypatch):
    monkeypatch.setattr(listing, "missing", lambda _known, _listed: [])
    cluster = FakeCluster()
    cluster.person_applies(agent("a"))
    async with Following(cluster) as it:
        cluster.hang_up()
        cluster.deleted("Agent", "team", "a")
        cluster.person_applies(agent("c"))
        cluster.forget()
        await it.knows("a", "c")


async def test_only_the_namespace_that_is_watched_is_known_and_another_reflectors_objects_are_left_alone():
    cluster = FakeCluster()
    cluster.person_applies(agent("a"))
    cluster.person_applies(agent("x", namespace="other"))
    async with Following(cluster, namespace="team") as it:
        await it.knows("a")
        it.store.upsert(cluster.get("Agent", "other", "x"))  # as the reflector of that namespace would
        cluster.hang_up()
        cluster.deleted("Agent", "team", "a")
        cluster.person_applies(agent("b"))
        cluster.forget()
        await it.knows("b", "x")


async def test_what_cannot_be_read_does_not_end_the_stream():
    cluster = FakeCluster()
    async with Following(cluster) as it:
        cluster.watchers[-1](
            "ADDED", {"kind": "Agent", "metadata": {"uid": "?", "namespace": "team", "resourceVersion": "9"}}
        )
        cluster.person_applies(agent("a"))
        await it.knows("a")


class Scripted(FakeCluster):
    """A server that answers each watch as it is told to."""

    def __init__(self, *answers):
        super().__init__()
        self.answers = list(answers)
        self.asked = []

    async def watch(self, resource, *, since, **more):
        self.asked.append(since)
        if not self.answers:
            async for event in super().watch(resource, since=since, **more):
                yield event
        else:
            for each in self.answers.pop(0):
                if isinstance(each, Exception):
                    raise each
                yield each


def bookmark(version):
    return Event("BOOKMARK", {"kind": "Agent", "metadata": {"resourceVersion": version}})


async def test_a_bookmark_moves_the_version_and_is_no_event():
    cluster = Scripted([bookmark("77")])
    async with Following(cluster) as it:
        cluster._version = 77
        await it.knows()
        assert cluster.asked == ["0", "77"]
        assert not len(it.queue)


async def test_pauses_grow_while_nothing_is_told_and_begin_anew_after_an_event(monkeypatch):
    monkeypatch.setattr(reflector, "SHORT_S", 0.0)
    broken = errors.Unreachable("cut", code=0)
    cluster = Scripted([broken], [broken], [broken], [bookmark("0"), broken], [])
    async with Following(cluster) as it:
        await it.knows()
    assert it.pauses == [(0.4, 0.8), (0.8, 1.6), (1.6, 3.2), (0.4, 0.8)]


async def test_a_stream_that_is_cut_at_once_is_a_failure_not_a_busy_loop():
    cluster = Scripted([], [], [])
    async with Following(cluster) as it:
        await it.knows()
    assert len(it.pauses) == 3


async def test_the_servers_own_word_is_the_least_pause(monkeypatch):
    slept = []

    async def sleep(seconds, _sleep=asyncio.sleep):
        slept.append(seconds)
        await _sleep(0)

    monkeypatch.setattr(reflector.asyncio, "sleep", sleep)
    cluster = Scripted([errors.of(429, "busy", retry_after=7.0)])
    async with Following(cluster) as it:
        await it.knows()
    assert 7.0 in slept


async def test_a_bug_ends_it_loudly():
    cluster = Scripted([ZeroDivisionError()])
    it = Following(cluster)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(it.reflector.run(), 1)


async def test_keys_of_a_list_are_queued_behind_live_ones():
    cluster = FakeCluster()
    cluster.person_applies(agent("old"))
    async with Following(cluster) as it:
        cluster.person_applies(agent("new"))
        await it.knows("old", "new")
        assert await it.queue.get() == Key("Agent", "team", "new")
