"""Events: when an object gets stuck, when it gets going again, and never for the ordinary."""

import uuid

import pytest
from controller_world import World, agent, config_map, node, tool

from aion.controller import errors, kube


def told(world):
    return [(each["type"], each["reason"], each["regarding"]["name"]) for each in world.cluster.each("Event")]


async def test_an_agent_that_simply_becomes_ready_costs_no_event():
    world = World()
    await world.running_agent()
    assert told(world) == []


async def test_getting_stuck_is_told_once_however_often_it_is_looked_at():
    world = World()
    await world.applies(node(), agent(source={"configMap": "src"}))
    assert told(world) == [("Warning", "SourceNotFound", "a")]
    for _ in range(3):
        await world.later(60)
    assert len(told(world)) == 1
    world.cluster.person_applies(config_map(main="x"))
    await world.later(60)
    await world.runs(world.pod())
    assert told(world) == [("Warning", "SourceNotFound", "a")], "its start is the ordinary way"


async def test_another_reason_to_be_stuck_is_another_event():
    world = World()
    await world.applies(node(), agent(sandboxProfile="nowhere"))
    await world.applies(agent(entry="python 'open"))
    assert [reason for _, reason, _ in told(world)] == ["ProfileNotFound", "InvalidSpec"]


async def test_a_mended_tool_says_that_it_serves_again():
    world = World()
    await world.running_tool()
    await world.applies(tool(entry="wasm:../x.wasm"))
    await world.applies(tool())
    assert told(world) == [("Warning", "InvalidSpec", "t"), ("Normal", "Serving", "t")]


async def test_an_event_that_cannot_be_told_holds_up_nothing():
    world = World()
    world.cluster.fault = lambda write, _: errors.of(403, "no") if write.kind == "Event" else None
    await world.applies(node(), agent(sandboxProfile="nowhere"))
    assert world.told("Stalled")["reason"] == "ProfileNotFound"
    assert told(world) == []


@pytest.mark.apiserver
async def test_the_api_server_takes_it_once(apiserver):
    world = World()
    await world.applies(node(), agent(sandboxProfile="nowhere"))
    (document,) = world.cluster.each("Event")
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    apiserver.kubectl("create", "namespace", namespace)
    for name in ("uid", "generation", "creationTimestamp", "resourceVersion"):
        document["metadata"].pop(name)
    document["metadata"]["namespace"] = document["regarding"]["namespace"] = namespace
    rim = await kube.Kube.connect(kubeconfig=str(apiserver.kubeconfig))
    try:
        assert await rim.create(document)
        assert not await rim.create(document)
    finally:
        await rim.close()
