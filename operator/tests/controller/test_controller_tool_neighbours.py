"""A Tool among others: whose name it is, who uses it, who may come near, and how many of it may be evicted."""

import pytest
from controller_world import World, agent, node, tool

from aion.api import granting, policy
from aion.api.agent import Agent
from aion.api.tool import Tool


def of(world, name="t", kind="Ready"):
    return world.told(kind, of="Tool", name=name)


def found(world, name="a"):
    return world.told("ToolsFound", name=name)


async def test_of_two_tools_by_one_name_the_younger_makes_nothing_and_says_whose_the_name_is():
    world = World()
    await world.applies(node(), tool(toolName="search"), tool("younger", toolName="search"))
    assert of(world)["reason"] == "Creating"
    assert of(world, "younger", "Stalled")["reason"] == of(world, "younger")["reason"] == "NameConflict"
    assert "Agents call Tool t by the name search already" in of(world, "younger")["message"]
    assert world.object("Deployment", "tool-younger") is None


async def test_when_the_elder_goes_or_takes_another_name_the_younger_takes_over():
    for free in ("delete", "rename"):
        world = World()
        await world.applies(node(), tool("a-elder", toolName="search"), tool(toolName="search"))
        assert of(world)["reason"] == "NameConflict"
        if free == "delete":
            world.cluster.deleted("Tool", "team", "a-elder")
        else:
            world.cluster.person_applies(tool("a-elder", toolName="other"))
        await world.settle()
        assert of(world)["reason"] == "Creating"
        assert world.object("Deployment", "tool-t") is not None


async def test_tools_of_other_namespaces_never_conflict():
    world = World()
    await world.applies(node(), tool(toolName="x"), tool(namespace="other", toolName="x"))
    assert world.told(of="Tool", name="t", namespace="other")["reason"] == "Creating"


@pytest.mark.parametrize(("times", "elder"), [(("2026-01-02", "2026-01-01"), "b"), (("2026-01-01", "2026-01-01"), "a")])
def test_controller_and_grants_agree_on_the_elder(times, elder):
    made = []
    for name, day in zip("ab", times, strict=True):
        document = tool(name, toolName="search")
        document["metadata"] |= {"creationTimestamp": f"{day}T00:00:00Z", "uid": name}
        made.append(Tool.from_cluster(document))
    (granted,) = granting.compile(
        Agent.from_cluster(agent()), made, policy.Bundle.from_document({"schema": policy.SCHEMA}), revision=1
    ).tools
    assert granted.endpoint == f"http://tool-{elder}.team.svc:8020"
    assert min(made, key=lambda each: each.seniority).name == elder


async def test_a_tool_says_which_agents_name_it_as_long_as_they_do():
    world = World()
    await world.applies(node(), tool(), *(agent(f"a{n}", tools=["t"]) for n in range(5)), agent("free"))
    said = of(world, kind="InUse")
    assert (said["status"], said["reason"]) == ("True", "NamedByAgents")
    assert "a0, a1, a2 and others" in said["message"]
    world.cluster.writes.clear()
    await world.applies(agent("a9", tools=["t"]))
    assert not [write for write in world.cluster.writes if write.kind == "Tool"], "the message stays as it is"
    for each in ("a0", "a1", "a2", "a3", "a4", "a9"):
        world.cluster.deleted("Agent", "team", each)
    await world.settle()
    assert of(world, kind="InUse") is None


async def test_agents_are_told_of_a_tool_that_is_deleted_and_of_one_that_comes():
    world = World()
    await world.applies(node(), tool(), agent(tools=["t", "u"]))
    assert (found(world)["status"], found(world)["reason"]) == ("False", "ToolNotFound")
    assert "names u," in found(world)["message"]
    await world.applies(tool("u"))
    assert found(world)["status"] == "True"
    world.cluster.deleted("Tool", "team", "t")
    await world.settle()
    assert "names t," in found(world)["message"]
    assert world.told()["reason"] == "Creating", "the Agent itself goes on"


async def test_an_agent_that_names_no_tool_says_nothing_of_tools():
    world = World()
    await world.applies(node(), agent(), agent("none", tools=[]))
    assert found(world) is None
    assert found(world, "none") is None


async def test_only_agents_of_the_namespace_and_the_kernel_reach_a_tool_and_it_reaches_nothing():
    world = World(release_namespace="aion-here")
    await world.applies(node(), tool())
    spec = world.object("NetworkPolicy", "tool-t")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == []
    (rule,) = spec["ingress"]
    assert rule["ports"] == [{"port": 8020, "protocol": "TCP"}]
    here, kernel = rule["from"]
    assert here == {"podSelector": {"matchExpressions": [{"key": "aion.os/agent", "operator": "Exists"}]}}
    assert kernel["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "aion-here"}
    template = world.object("Deployment", "tool-t")["spec"]["template"]
    assert spec["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


async def test_a_fence_that_somebody_opened_by_hand_is_closed_again():
    world = World()
    await world.applies(node(), tool())
    fence = world.object("NetworkPolicy", "tool-t")
    world.cluster.person_applies({**fence, "spec": {**fence["spec"], "ingress": [{}]}})
    await world.settle()
    assert world.object("NetworkPolicy", "tool-t")["spec"] == fence["spec"]


async def test_more_than_one_replica_has_a_disruption_budget_and_one_alone_has_none():
    world = World()
    await world.applies(node(), tool())
    assert world.object("PodDisruptionBudget", "tool-t") is None
    await world.applies(tool(replicas=3))
    assert world.object("PodDisruptionBudget", "tool-t")["spec"]["maxUnavailable"] == 1
    await world.applies(tool(replicas=1))
    assert world.object("PodDisruptionBudget", "tool-t") is None
