"""What an agent may do: by its object, by its registration, and never without a policy."""

import asyncio

import pytest
from kernel_scene import ID
from pydantic import ValidationError

from aion.api import errors
from aion.api.agent import Agent
from aion.kernel import residents as module
from aion.kernel import testing
from aion.kernel.grants import Grants, Policy
from aion.kernel.registry import Registry
from aion.kernel.residents import Heartbeat, Registration, Residents, named
from aion.kernel.store import Sighting
from aion.kernel.testing import FailingStore

OUTSIDE = "agent://team/outside"


def made(policy=True, *, anyone=False, now_ms=lambda: 1_000_000):
    registry, store = Registry(), FailingStore()
    grants = Grants(registry, Policy.of(testing.bundle(), revision=1) if policy else None)
    return registry, grants, store, Residents(grants, store, anyone=anyone, now_ms=now_ms)


def test_without_a_policy_nothing_is_granted():
    registry, grants, _, _ = made(policy=False)
    registry.agents.put(testing.agent("team", "a"))
    with pytest.raises(errors.Unavailable, match="no policy"):
        grants.of("team", "a")
    assert grants.policy is None


def test_an_unknown_agent_has_no_grant():
    _, grants, _, _ = made()
    assert grants.of("team", "a") is None


def test_a_grant_is_compiled_anew_only_when_something_it_is_made_of_changed():
    registry, grants, _, _ = made()
    registry.agents.put(testing.agent("team", "a", capabilities={"network": True}))
    first = grants.of("team", "a")
    assert first.capabilities == ("network",)
    assert grants.of("team", "a") is first
    registry.tools.put(testing.tool("rivals", "theirs"))
    assert grants.of("team", "a") is first
    registry.tools.put(testing.tool("team", "ours"))
    second = grants.of("team", "a")
    assert [tool.name for tool in second.tools] == ["ours"]
    registry.agents.put(testing.agent("team", "a"))
    assert grants.of("team", "a").capabilities == ()
    grants.set_policy(Policy.of(testing.bundle(capabilities={"deny": ["tool.invoke"]}), revision=2))
    third = grants.of("team", "a")
    assert (third.policy_revision, "tool.invoke" in third.syscalls) == (2, False)


def test_a_grant_of_a_deleted_agent_is_gone():
    registry, grants, _, _ = made()
    registry.agents.put(testing.agent("team", "a"))
    assert grants.of("team", "a")
    registry.agents.remove(testing.agent("team", "a"))
    assert grants.of("team", "a") is None


def test_no_agent_of_a_tenant_is_granted_more_than_its_ceiling_and_its_bell_rings_when_that_changes():
    registry, grants, _, _ = made()
    registry.agents.put(testing.agent("team", "a", capabilities={"network": True, "gpu": True}))
    assert grants.of("team", "a").capabilities == ("gpu", "network")
    with registry.bells.listen("team") as bell:
        registry.tenants.put(testing.tenant("team", capabilities=["network", "tool.*"]))
        assert bell.is_set()
    held = grants.of("team", "a")
    assert (held.capabilities, held.syscalls) == (("network",), ("tool.invoke",))
    assert held.why("capability", "gpu") == "tenant.spec.capabilities: gpu is not in it (policy revision 1)"
    registry.tenants.remove(testing.tenant("team"))
    assert grants.of("team", "a").capabilities == ("gpu", "network")


def test_without_a_tenant_the_charts_ceiling_binds_and_a_tenant_takes_its_place():
    registry = Registry(default_ceiling=("network",))
    grants = Grants(registry, Policy.of(testing.bundle(), revision=1))
    registry.agents.put(testing.agent("team", "a", capabilities={"network": True, "gpu": True}))
    held = grants.of("team", "a")
    assert (held.capabilities, held.syscalls) == (("network",), ())
    assert held.why("capability", "gpu").startswith("the chart's tenantDefaults.capabilities: gpu is not in it")
    registry.tenants.put(testing.tenant("team", capabilities=["gpu"]))
    held = grants.of("team", "a")
    assert held.capabilities == ("gpu",)
    assert held.why("capability", "network").startswith("tenant.spec.capabilities: network is not in it")
    registry.tenants.put(testing.tenant("team", capabilities=["from.the.future"]))
    held = grants.of("team", "a")
    assert held.capabilities == (), "one that cannot be read is no reason to fall back to anything wider"
    assert held.why("capability", "network").startswith("tenant.spec.capabilities")


def test_a_tenant_that_cannot_be_read_allows_nothing():
    registry, grants, _, _ = made()
    registry.agents.put(testing.agent("team", "a", capabilities={"network": True}))
    registry.tenants.put(testing.tenant("team", capabilities=["from.the.future"]))
    held = grants.of("team", "a")
    assert (held.capabilities, held.syscalls) == ((), ())


def test_a_ceiling_binds_agents_outside_the_cluster_too():
    registry, grants, _, _ = made()
    registry.tenants.put(testing.tenant("team", capabilities=["tool.invoke"]))
    agent = Agent.from_cluster(testing.agent("team", "outside", capabilities={"network": True}))
    assert grants.compile(agent).capabilities == ()


def test_a_new_policy_rings_everyones_bell():
    registry, grants, _, _ = made()
    with registry.bells.listen("team") as bell:
        grants.set_policy(Policy.of(testing.bundle(), revision=2))
        assert bell.is_set()


async def test_grants_are_ready_when_every_picture_and_a_policy_are_there():
    registry, grants, _, _ = made(policy=False)
    waiting = asyncio.create_task(grants.wait_ready())
    for step in (
        lambda: registry.agents.replace([]),
        lambda: registry.tools.replace([]),
        lambda: registry.tenants.replace([]),
        lambda: grants.set_policy(Policy.of(testing.bundle(), revision=1)),
    ):
        await asyncio.sleep(0)
        assert not waiting.done()
        step()
    await asyncio.wait_for(waiting, 1)


# Agents outside the cluster


async def test_an_agent_that_nobody_knows_is_told_how_to_become_known():
    *_, residents = made()
    with pytest.raises(errors.PolicyDenied, match="POST /v1/agent/register"):
        await residents.grant(OUTSIDE)


async def test_a_registered_agent_has_what_it_asked_for_as_far_as_policy_allows():
    _, grants, _, residents = made()
    grants.set_policy(Policy.of(testing.bundle(capabilities={"deny": ["gpu"]}), revision=2))
    asked = Registration(agent_id=OUTSIDE, capabilities=["network", "gpu", "tool.invoke"])
    granted = await residents.register(asked)
    assert granted.capabilities == ("network",)
    assert granted.syscalls == ("tool.invoke",)
    assert granted.refused["capability:gpu"].startswith("policy.capabilities.deny")
    assert await residents.grant(OUTSIDE) is granted


async def test_a_registration_is_good_at_every_replica():
    registry, grants, store, residents = made()
    await residents.register(Registration(agent_id=OUTSIDE, capabilities=["network"]))
    other = Residents(Grants(registry, grants.policy), store)
    assert (await other.grant(OUTSIDE)).capabilities == ("network",)


async def test_an_agent_object_has_the_last_word_over_a_registration():
    registry, _, _, residents = made()
    await residents.register(Registration(agent_id=ID, capabilities=["network", "gpu"]))
    registry.agents.put(testing.agent("team", "a"))
    assert (await residents.grant(ID)).capabilities == ()
    assert (await residents.register(Registration(agent_id=ID, capabilities=["network"]))).capabilities == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"capabilities": {"teleport": True}, "version": "not semver"},
        {"capabilities": ["no.such.syscall"]},
        {"limits": {"usd_max": "a lot"}},
    ],
)
async def test_a_registration_that_no_agent_could_ask_is_refused_with_the_reason(fields):
    *_, residents = made()
    with pytest.raises(errors.BadParams, match="asks for what an Agent cannot"):
        await residents.register(Registration(agent_id=OUTSIDE, **fields))


def test_a_registration_with_an_unknown_field_is_refused():
    with pytest.raises(ValidationError):
        Registration(agent_id=OUTSIDE, superpowers=True)


async def test_limits_bound_the_grant():
    *_, residents = made()
    granted = await residents.register(Registration(agent_id=OUTSIDE, limits={"usd_max": "0.10"}))
    assert granted.budget_micro_usd == 100_000


async def test_nobody_outside_registers_or_beats_for_an_agent_that_lives_in_a_pod():
    registry, _, store, residents = made()
    registry.agents.put(testing.agent("team", "a"))
    in_pod = Sighting(ID, "team", "a", "gateway", 1, pod="a-1")
    await store.see(in_pod, ttl_s=60)
    with pytest.raises(errors.PolicyDenied, match="lives in Pod a-1"):
        await residents.register(Registration(agent_id=ID))
    with pytest.raises(errors.PolicyDenied, match="lives in Pod a-1"):
        await residents.heartbeat(Heartbeat(agent_id=ID))
    assert await store.sighting(ID) == in_pod


async def test_a_heartbeat_is_kept_with_what_it_says():
    _, _, store, residents = made(now_ms=lambda: 77)
    await residents.register(Registration(agent_id=OUTSIDE, version="2.0.0"))
    await residents.heartbeat(Heartbeat(agent_id=OUTSIDE, inflight=2, usage={"syscalls": 9}))
    seen = await store.sighting(OUTSIDE)
    assert (seen.heard_ms, seen.inflight, seen.usage, seen.version) == (77, 2, {"syscalls": 9}, "2.0.0")


async def test_a_syscall_renews_a_registration_once_a_minute_at_most():
    now = {"ms": 1_000_000}
    _, _, store, residents = made(now_ms=lambda: now["ms"])
    await residents.register(Registration(agent_id=OUTSIDE))
    now["ms"] += module.TOUCHED_MS
    await residents.grant(OUTSIDE)
    assert (await store.sighting(OUTSIDE)).heard_ms == 1_000_000
    now["ms"] += 1
    await residents.grant(OUTSIDE)
    assert (await store.sighting(OUTSIDE)).heard_ms == now["ms"]


async def test_a_registration_that_another_version_wrote_is_asked_for_again():
    _, _, store, residents = made()
    await store.see(Sighting(OUTSIDE, "team", "outside", "hmac", 1, registration='{"from":"the future"}'), ttl_s=60)
    with pytest.raises(errors.PolicyDenied, match="register again"):
        await residents.grant(OUTSIDE)


async def test_on_a_laptop_anyone_has_all_that_policy_allows():
    _, grants, _, residents = made(anyone=True)
    granted = await residents.grant("agent://tenantA/researcher-1")
    assert granted.capabilities == ("filesystem", "gpu", "network", "subprocess")
    grants.set_policy(Policy.of(testing.bundle(capabilities={"deny": ["network"]}), revision=2))
    assert "network" not in (await residents.grant("agent://tenantA/researcher-1")).capabilities


def test_the_agent_is_read_from_a_body_only_where_it_stands():
    assert named(b'{"agent_id":"agent://team/a","params":{"agent_id":"other"}}') == ID
    for body in (b"", b"rubbish", b"[]", b'{"agent_id":7}', b'{"params":{}}', b"\xff"):
        assert named(body) == ""
