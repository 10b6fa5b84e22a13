"""The policy by its pointer: believed only as far as the bundle's digest bears it out, and never backwards."""

import asyncio
import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_scene import until
from prometheus_client import CollectorRegistry

from aion.api import policy as policies
from aion.kernel import policysource, testing
from aion.kernel.grants import Grants, Policy
from aion.kernel.metrics import KernelMetrics
from aion.kernel.policysource import PolicySource, Refused, read_bundle, verify_pointer
from aion.kernel.registry import Registry
from aion.kernel.testing import FailingStore

FIRST, SECOND = testing.bundle(), testing.bundle(limits={"max_concurrency": 3})


class Stage:
    def __init__(self):
        self.cluster, self.store, self.registry = testing.FakeCluster(), FailingStore(), CollectorRegistry()
        self.grants = Grants(Registry())
        self.source = self.another(self.grants)

    def another(self, grants):
        return PolicySource(
            self.cluster,
            namespace="aion-system",
            grants=grants,
            store=self.store,
            metrics=KernelMetrics(self.registry if grants is self.grants else CollectorRegistry()),
            jitter=lambda low, high: 0.01,
        )

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.source.run())
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def install(self, bundle, *, revision):
        self.cluster.put(testing.bundle_map(bundle))
        self.cluster.put(testing.pointer(bundle, revision=revision))

    async def in_force(self, revision):
        await until(lambda: self.grants.policy and self.grants.policy.revision == revision)
        return self.grants.policy

    async def announced(self):
        rows = await self.store.read(0, limit=100)
        return [json.loads(row.json()) for row in rows if row.topic == "kernel.policy"]


@pytest.fixture
def stage():
    return Stage()


async def test_the_bundle_that_the_pointer_names_comes_into_force(stage):
    stage.install(FIRST, revision=1)
    async with stage.running():
        policy = await stage.in_force(1)
        assert (policy.bundle, policy.digest) == (FIRST, policies.digest(FIRST))
        assert stage.source.trouble == ""
        labels = {"revision": "1", "digest": policy.digest}
        assert stage.registry.get_sample_value("aion_policy_info", labels) == 1
        (said,) = await until(stage.announced)
        assert (said["type"], said["revision"], said["digest"]) == ("active", 1, policy.digest)


async def test_a_moved_pointer_is_followed_and_rings_everyones_bell(stage):
    stage.install(FIRST, revision=1)
    async with stage.running():
        await stage.in_force(1)
        with stage.grants.registry.bells.listen("team") as bell:
            stage.install(SECOND, revision=2)
            assert (await stage.in_force(2)).bundle == SECOND
            assert bell.is_set()


async def test_a_rollback_is_an_old_digest_under_a_new_revision(stage):
    async with stage.running():
        for revision, bundle in ((1, FIRST), (2, SECOND), (3, FIRST)):
            stage.install(bundle, revision=revision)
            assert (await stage.in_force(revision)).bundle == bundle


async def test_a_lower_revision_is_refused_and_the_last_good_stays(stage):
    stage.install(FIRST, revision=5)
    async with stage.running():
        await stage.in_force(5)
        stage.install(SECOND, revision=4)
        await until(lambda: "revisions only rise" in stage.source.trouble)
        assert stage.grants.policy.bundle == FIRST


async def test_another_digest_under_the_same_revision_is_refused(stage):
    stage.install(FIRST, revision=1)
    async with stage.running():
        await stage.in_force(1)
        stage.install(SECOND, revision=1)
        await until(lambda: "needs a higher revision" in stage.source.trouble)
        assert stage.grants.policy.bundle == FIRST


async def test_a_bundle_that_is_not_what_its_digest_says_is_refused(stage):
    stage.install(FIRST, revision=1)
    async with stage.running():
        await stage.in_force(1)
        forged = testing.bundle_map(SECOND)
        forged["data"] = testing.bundle_map(testing.bundle(models={"allow_cloud": True}))["data"]
        stage.cluster.put(forged)
        stage.cluster.put(testing.pointer(SECOND, revision=2))
        await until(lambda: "the pointer says" in stage.source.trouble)
        assert stage.grants.policy.revision == 1
        stage.install(SECOND, revision=3)
        stage.cluster.put(testing.bundle_map(SECOND))
        await stage.in_force(3)


async def test_a_config_map_that_comes_after_its_pointer_is_waited_for(stage):
    stage.cluster.put(testing.pointer(FIRST, revision=1))
    async with stage.running():
        await until(lambda: "there is no ConfigMap aion-policy-" in stage.source.trouble)
        stage.cluster.put(testing.bundle_map(FIRST))
        await stage.in_force(1)


async def test_an_api_server_that_is_away_delays_the_policy_and_no_more(stage):
    stage.install(FIRST, revision=1)
    stage.cluster.down = True
    async with stage.running():
        await asyncio.sleep(0.05)
        assert stage.grants.policy is None
        stage.cluster.down = False
        await stage.in_force(1)


async def test_only_the_policy_of_the_installation_counts(stage):
    other = testing.pointer(FIRST, revision=9)
    other["metadata"]["name"] = "mine"
    elsewhere = testing.pointer(FIRST, revision=9, namespace="team")
    stage.cluster.put(testing.bundle_map(FIRST))
    stage.cluster.put(other)
    stage.cluster.put(elsewhere)
    async with stage.running():
        await asyncio.sleep(0.05)
        assert stage.grants.policy is None
        assert "there is no Policy aion" in stage.source.trouble


async def test_a_policy_without_a_pointer_says_who_has_to_move_it(stage):
    bare = testing.pointer(FIRST, revision=1)
    del bare["status"]
    stage.cluster.put(bare)
    async with stage.running():
        await until(lambda: "is the controller running?" in stage.source.trouble)


async def test_a_deleted_policy_object_takes_nothing_out_of_force(stage):
    stage.install(FIRST, revision=1)
    async with stage.running():
        await stage.in_force(1)
        stage.cluster.delete(testing.pointer(FIRST, revision=1))
        stage.install(SECOND, revision=2)
        await stage.in_force(2)


async def test_of_two_replicas_one_announces_a_revision(stage):
    stage.install(FIRST, revision=1)
    other = stage.another(Grants(Registry()))
    task = asyncio.create_task(other.run())
    async with stage.running():
        await stage.in_force(1)
        await until(lambda: not other.trouble)
        await asyncio.sleep(0.02)
        assert len(await stage.announced()) == 1
    task.cancel()


async def test_a_store_that_is_away_does_not_keep_a_policy_out_of_force(stage):
    stage.store.down = True
    stage.install(FIRST, revision=1)
    async with stage.running():
        await stage.in_force(1)


@pytest.mark.parametrize("name", ["", "../secrets/aion-tenant-keys", "a/b", "A", "x" * 254])
def test_a_pointer_that_names_no_config_map_never_becomes_a_path(name):
    with pytest.raises(Refused, match="expected the name of a ConfigMap"):
        verify_pointer(policies.Pointer.model_construct(revision=1, digest="d", config_map=name), current=None)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "has no key policy.json"),
        ({"policy.json": "{"}, "cannot be read"),
        ({"policy.json": "[]"}, "cannot be read"),
        ({"policy.json": '{"schema":"aion.policy.v1","invented":1}'}, "cannot be read"),
        ({"policy.json": '{"schema":"aion.policy.v1","limits":{"max_concurrency":0}}'}, "cannot be read"),
    ],
)
def test_a_bundle_that_cannot_be_read_whole_is_refused(data, says):
    pointer = policies.Pointer(revision=1, digest=policies.digest(FIRST), config_map="m")
    with pytest.raises(Refused, match=says):
        read_bundle({"data": data}, pointer)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["a", "b"])), max_size=30))
def test_whatever_the_pointer_does_the_revision_in_force_only_rises(moves):
    current = None
    for revision, digest in moves:
        pointer = policies.Pointer(revision=revision, digest=digest, config_map="m")
        before = current
        with contextlib.suppress(Refused):
            if verify_pointer(pointer, current=current):
                current = Policy(FIRST, revision, digest)
        if before is not None and current is not before:
            assert current.revision > before.revision


def test_the_policies_are_watched_where_the_installation_is():
    assert policysource.path("aion-system") == "/apis/aion.os/v1/namespaces/aion-system/policies"
