"""A kernel that is bound to some namespaces: it follows these, and asks for nothing else."""

import asyncio
import base64
import contextlib

import pytest
from kernel_scene import SECRET, until

from aion.api import labels
from aion.kernel import scope, testing
from aion.kernel.registry import Registry
from aion.kernel.tenantkeys import ClusterKeys

OURS = ("team-a", "team-b")


@pytest.fixture
def cluster():
    found = testing.FakeCluster()
    for tenant in ("team-a", "team-b", "elsewhere"):
        found.put(testing.agent(tenant, "a"))
        found.put(testing.tool(tenant, "t"))
        found.put(testing.tenant(tenant))
    return found


@contextlib.asynccontextmanager
async def followed(cluster, namespaces=OURS):
    registry = Registry()
    tasks = [asyncio.create_task(work()) for work in scope.follow(cluster, registry, namespaces=namespaces)]
    try:
        await asyncio.wait_for(registry.wait_synced(), 5)
        yield registry
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def tenants(collection):
    return sorted({namespace for (namespace, _), _ in collection.all()})


async def test_a_bound_kernel_knows_its_namespaces_and_no_other(cluster):
    async with followed(cluster) as registry:
        for collection in (registry.agents, registry.tools, registry.tenants):
            assert tenants(collection) == ["team-a", "team-b"]
    asked = {each.split(" ")[1] for each in cluster.asked}
    assert asked == {
        f"{scope.API}/{path}"
        for name in OURS
        for path in (f"namespaces/{name}/agents", f"namespaces/{name}/tools", f"tenants?fieldSelector=metadata.name={name}")
    }  # fmt: skip


async def test_an_unbound_kernel_knows_them_all(cluster):
    async with followed(cluster, ()) as registry:
        assert tenants(registry.agents) == ["elsewhere", "team-a", "team-b"]


async def test_what_happens_in_one_namespace_is_seen_there_and_leaves_the_other(cluster):
    async with followed(cluster) as registry:
        cluster.put(testing.agent("team-a", "b"))
        await until(lambda: registry.agents.get("team-a", "b"))
        cluster.delete(testing.agent("team-a", "a"))
        await until(lambda: not registry.agents.get("team-a", "a"))
        assert registry.agents.get("team-b", "a")


def test_a_namespace_that_is_listed_again_forgets_what_is_gone_there_alone():
    registry = Registry()
    first, second = (registry.agents.part(name) for name in OURS)
    first.replace([testing.agent("team-a", "a"), testing.agent("team-a", "broken", entry=5)])
    assert not registry.agents.synced.is_set(), "the other is still to come"
    second.replace([testing.agent("team-b", "a")])
    assert registry.agents.synced.is_set()
    assert registry.agents.unreadable("team-a", "broken")
    first.replace([])
    assert not registry.agents.unreadable("team-a", "broken")
    assert tenants(registry.agents) == ["team-b"]


async def test_the_keys_of_a_tenant_that_is_not_ours_are_not_even_asked_for(cluster):
    data = {"default": base64.b64encode(SECRET).decode()}
    for tenant in ("team-a", "elsewhere"):
        meta = {"namespace": tenant, "name": labels.TENANT_KEYS}
        cluster.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    keys = ClusterKeys(cluster, namespaces=OURS)
    assert await keys.ring("team-a") == {"default": SECRET}
    assert await keys.ring("elsewhere") == {}
    assert not [each for each in cluster.asked if "elsewhere" in each]
