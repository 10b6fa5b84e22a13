"""A Tenant: what binds its namespace, how its keys turn over, and what its ceiling takes from Agents."""

import base64
from datetime import timedelta

import pytest
from controller_world import NOW, World, agent, node, the_policy
from hypothesis import given
from hypothesis import strategies as st

from aion.api import keyids, policy
from aion.controller import diagnosis, errors, outcome, rotation
from aion.controller.binding import Held
from aion.controller.settings import Settings
from aion.controller.views import Key

KEY = Key("Tenant", "", "team")
OPEN = policy.Bundle.from_document({"schema": "aion.policy.v1"})


def tenant(name="team", **spec):
    return {"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


def home(name="team", **labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


async def bound(**spec):
    world = World(held=Held(OPEN, policy.digest(OPEN)))
    await world.applies(home(theirs="yes"), tenant(**spec))
    return world


def told(world, kind="Ready"):
    return world.told(kind, of="Tenant", name="team", namespace="")


def status(world):
    return world.object("Tenant", "team", "")["status"]


def ids(world):
    return [key["id"] for key in status(world)["keys"]]


def secret(world):
    found = world.object("Secret", "aion-tenant-keys")
    return {**found.get("stringData", {}), **found.get("data", {})}


async def test_a_tenant_binds_its_namespace_and_is_ready():
    world = await bound(quota={"pods": 50, "cpu": "20", "mem": "64Gi", "gpu": 2})
    assert (told(world)["status"], told(world)["reason"]) == ("True", "Valid")
    assert world.object("ResourceQuota", "aion-tenant")["spec"]["hard"] == {
        "pods": "50",
        "requests.cpu": "20",
        "requests.memory": "64Gi",
        "limits.memory": "64Gi",
        "requests.nvidia.com/gpu": "2",
    }
    (limit,) = world.object("LimitRange", "aion-tenant")["spec"]["limits"]
    assert "cpu" not in limit["default"], "a CPU limit would throttle gateways"
    assert world.object("Secret", "aion-tenant-keys") is not None
    assert ids(world) == ["default"]


async def test_of_the_namespace_only_two_labels_are_taken():
    world = await bound(podSecurity="baseline")
    assert world.object("Namespace", "team", "")["metadata"]["labels"] == {
        "theirs": "yes",
        "aion.os/tenant": "team",
        "pod-security.kubernetes.io/enforce": "baseline",
    }


async def test_everything_is_denied_and_an_agents_gateway_gets_three_ways_out():
    world = await bound()
    whole = world.object("NetworkPolicy", "aion-tenant")["spec"]
    assert whole == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []}
    agents = world.object("NetworkPolicy", "aion-agents")["spec"]
    assert [[p["port"] for p in rule["ports"]] for rule in agents["egress"]] == [[8010], [53, 53], [8020]]
    assert agents["egress"][0]["to"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "aion-kernel"}
    assert "namespaceSelector" not in agents["egress"][2]["to"][0], "the Tools of this namespace alone"


async def test_what_a_tenant_opens_is_open_for_agents_alone():
    opened = [{"cidr": "203.0.113.0/24", "ports": [443]}, {"namespace": "observability", "ports": [4318]}]
    world = await bound(network={"egress": opened})
    rules = world.object("NetworkPolicy", "aion-agents")["spec"]["egress"][3:]
    assert rules[0] == {
        "to": [{"ipBlock": {"cidr": "203.0.113.0/24"}}],
        "ports": [{"port": 443, "protocol": "TCP"}],
    }
    assert rules[1]["to"][0]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observability"}


async def test_a_bound_that_is_taken_back_goes_and_what_is_removed_by_hand_returns():
    world = await bound(quota={"pods": 5})
    await world.applies(tenant())
    assert world.object("ResourceQuota", "aion-tenant") is None
    for kind, name in (
        ("NetworkPolicy", "aion-tenant"),
        ("NetworkPolicy", "aion-agents"),
        ("LimitRange", "aion-tenant"),
    ):
        world.cluster.deleted(kind, "team", name)
        await world.settle()
        assert world.object(kind, name) is not None
    await world.applies(home())
    assert world.object("Namespace", "team", "")["metadata"]["labels"]["aion.os/tenant"] == "team"


async def test_at_rest_a_tenant_costs_no_write():
    world = await bound(quota={"pods": 5})
    world.cluster.writes.clear()
    for _ in range(5):
        await world.later(700)
    assert world.cluster.writes == []


async def test_a_tenant_without_its_namespace_waits_for_it_and_never_makes_it():
    world = World()
    await world.applies(tenant())
    assert (told(world)["reason"], told(world, "Stalled")["status"]) == ("TenantNamespaceMissing", "True")
    assert world.object("Namespace", "team", "") is None
    await world.applies(home())
    assert told(world)["status"] == "True"


async def test_a_spec_that_is_refused_loosens_nothing():
    world = await bound(quota={"pods": 5})
    world.cluster.writes.clear()
    await world.applies(tenant(quota={"pods": "many"}))
    assert told(world)["reason"] == "InvalidSpec"
    assert {(write.kind, write.subresource) for write in world.cluster.writes} == {("Tenant", "status"), ("Event", "")}
    assert ids(world) == ["default"]


async def test_a_deleted_tenant_takes_its_bounds_with_it():
    world = await bound(quota={"pods": 5})
    world.cluster.deleted("Tenant", "", "team")
    await world.settle()
    for kind in ("ResourceQuota", "LimitRange", "NetworkPolicy"):
        assert world.cluster.each(kind) == ()


# Keys


async def turned(world):
    """A new key is asked for, and made."""
    await world.applies(tenant(auth={"keyRevision": 1}))
    await world.later(1)
    return ids(world)[-1]


async def test_a_raised_revision_makes_a_key_that_signs_later_and_ends_the_one_before_after_ten_minutes():
    world = await bound()
    made = await turned(world)
    assert keyids.signs_from(made) == int(NOW.timestamp()) + 120
    assert set(secret(world)) == {"default", made}
    old, new = status(world)["keys"]
    assert old["until"] == diagnosis.stamp(NOW + timedelta(minutes=12))
    assert "until" not in new
    await world.later(11 * 60)
    assert set(secret(world)) == {"default", made}
    await world.later(61)
    assert set(world.object("Secret", "aion-tenant-keys")["data"]) == {made}
    assert ids(world) == [made]


async def test_a_key_is_256_bits_and_stands_in_no_status_and_no_plan():
    world = await bound()
    made = await turned(world)
    value = base64.b64decode(secret(world)[made]).decode()
    assert len(value) >= 43
    assert value not in str(status(world))
    assert value not in str(world.reconcile._plan(KEY, world.store.observe(KEY), now=world.now))


async def test_killed_between_making_a_key_and_saying_so_the_same_one_is_made_again():
    world = await bound()
    world.cluster.fault = lambda write, _: (
        errors.of(500, "down")
        if write.kind == "Tenant" and any(w.verb == "merge" for w in world.cluster.writes)
        else None
    )
    made = await turned(world)
    assert set(secret(world)) == {"default", made}
    assert "since" not in status(world)["keys"][-1]
    world.cluster.fault = lambda _write, _document: None
    await world.later(5)
    assert ids(world) == ["default", made]
    assert "since" in status(world)["keys"][-1]


async def test_a_refused_change_of_the_secret_is_not_told_as_done():
    world = await bound()
    world.cluster.fault = lambda write, _: errors.of(403, "no") if write.verb == "merge" else None
    await turned(world)
    assert "since" not in status(world)["keys"][-1]
    assert told(world)["reason"] == "AdmissionRefused"
    world.cluster.fault = lambda _write, _document: None
    await world.later(60)
    assert "since" in status(world)["keys"][-1]


async def test_a_deleted_secret_is_made_again_by_the_next_turn():
    world = await bound()
    world.cluster.deleted("Secret", "team", "aion-tenant-keys")
    made = await turned(world)
    await world.later(1)
    await world.later(1)
    assert set(secret(world)) == {"default", made}


@given(
    st.lists(st.tuples(st.integers(0, 900), st.booleans()), max_size=30),
)
def test_whenever_it_turns_the_newest_key_stays_and_no_key_goes_before_ten_minutes_of_the_next(steps):
    keys, revision, wanted, now, made = (), 0, 0, NOW, {}
    present = set()
    for seconds, asked in steps:
        now += timedelta(seconds=seconds)
        wanted += asked
        turn = rotation.turn(keys, revision=revision, wanted=wanted, now=now)
        if turn.make:
            present.add(turn.make)
            made.setdefault(turn.make, now)
        elif not keys:
            present.add(keyids.FIRST)
        for gone in turn.drop:
            present.remove(gone)
            assert [at for at in made.values() if at <= now - timedelta(minutes=10)]
        keys, revision = turn.keys, turn.revision
        assert keys[-1].until == ""
        assert present == {key.id for key in keys if key.since}
        assert present, "never is there none"
        assert [key.id for key in keys if keyids.signs_from(key.id) <= now.timestamp() and key.since]
    assert rotation.read([key.document() for key in keys]) == keys


# The ceiling


async def test_an_agent_says_what_its_tenants_ceiling_takes_away():
    world = await bound()
    wants = {"network": True, "gpu": True, "syscalls": ["tool.invoke", "memory.put"]}
    await world.applies(node(), the_policy(), agent(capabilities=wants))
    assert "gpu" in world.object()["status"]["effectiveCapabilities"]
    await world.applies(tenant(capabilities=["network", "tool.invoke"]))
    said = world.told("PolicyBound")["message"]
    assert "tenant.spec.capabilities: gpu is not in it" in said
    assert "tenant.spec.capabilities: memory.put is not in it" in said
    assert set(world.object()["status"]["effectiveCapabilities"]) == {"network", "tool.invoke"}
    world.cluster.deleted("Tenant", "", "team")
    await world.settle()
    assert "gpu" in world.object()["status"]["effectiveCapabilities"]


async def test_without_a_tenant_the_charts_ceiling_binds_and_a_tenant_takes_its_place():
    world = World(held=Held(OPEN, policy.digest(OPEN)), default_capabilities=("network", "tool.invoke"))
    wants = {"network": True, "gpu": True, "syscalls": ["tool.invoke", "memory.put"]}
    await world.applies(home(), node(), the_policy(), agent(capabilities=wants))
    assert set(world.object()["status"]["effectiveCapabilities"]) == {"network", "tool.invoke"}
    assert "the chart's tenantDefaults.capabilities: memory.put is not in it" in world.told("PolicyBound")["message"]
    await world.applies(tenant())
    assert set(world.object()["status"]["effectiveCapabilities"]) == {"network", "gpu", "tool.invoke", "memory.put"}
    world.cluster.deleted("Tenant", "", "team")
    await world.settle()
    assert set(world.object()["status"]["effectiveCapabilities"]) == {"network", "tool.invoke"}


def test_the_charts_ceiling_is_checked_as_a_tenants_is(monkeypatch):
    monkeypatch.setenv("AION_DEFAULT_CAPABILITIES", '["network", "memory.*"]')
    assert Settings().default_capabilities == ("network", "memory.*")
    monkeypatch.setenv("AION_DEFAULT_CAPABILITIES", '["internet"]')
    with pytest.raises(ValueError, match="internet"):
        Settings()


@pytest.mark.parametrize("unreadable", [["from.the.future"], "network"])
async def test_a_ceiling_that_cannot_be_read_lets_nothing_through(unreadable):
    world = await bound(capabilities=unreadable)
    await world.applies(node(), the_policy(), agent(capabilities={"network": True}))
    assert world.object()["status"].get("effectiveCapabilities") == []


async def test_a_tenant_that_turns_is_looked_at_when_the_next_step_is_due():
    world = await bound()
    await turned(world)
    due = await world.reconcile(KEY)
    assert isinstance(due, outcome.After)
    assert 700 < due.seconds <= 720
