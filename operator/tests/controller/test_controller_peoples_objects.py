"""What people apply stays as they applied it: the controller writes nothing on it but the status, whatever happens."""

import copy

from controller_world import World, agent, condition, container, node, the_policy, tool

PEOPLES = ("Agent", "Tool", "Tenant", "Policy", "ConfigMap", "Node")
CRASHED = {"exitCode": 127, "reason": "Error", "message": "aion-launch: x: not found"}


def without_status(document):
    """A document as git holds it; versions are the API server's."""
    meta = {name: value for name, value in document["metadata"].items() if name != "resourceVersion"}
    return {**{name: value for name, value in document.items() if name != "status"}, "metadata": meta}


def held(world):
    found = (copy.deepcopy(each) for kind in PEOPLES for each in world.cluster.each(kind))
    return {(each["kind"], each["metadata"]["name"]): without_status(each) for each in found}


async def test_through_a_whole_life_no_spec_label_annotation_or_finalizer_of_theirs_is_written():
    world = World()
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team", "labels": {"theirs": "yes"}}}
    bound = {"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": {"name": "team"}, "spec": {"quota": {"pods": 9}}}
    mine = agent(source={"configMap": "src"}, tools=["t"])
    mine["metadata"] |= {"labels": {"theirs": "yes"}, "annotations": {"theirs": "yes"}}
    files = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "src", "namespace": "team"},
        "data": {"a": "1"},
    }
    applied = (the_policy(), home, bound, node(), files, tool(), mine)
    await world.applies(*applied)
    git = held(world)

    async def unchanged():
        assert held(world) == git
        await world.later(600)
        assert held(world) == git

    await unchanged()
    await world.runs(world.pod())
    await unchanged()
    await world.says(world.pod(), containers=[container("agent", terminated=CRASHED), container("gateway", ready=True)])
    await unchanged()
    await world.says(world.pod(), condition("PodScheduled", "False", reason="Unschedulable", message="0/1 nodes"))
    await unchanged()
    await world.applies(agent(entry="python 'unclosed"))
    git = held(world)
    await unchanged()
    await world.applies(agent(operatingMode="Suspended"), tool(replicas=0))
    git = held(world)
    world.cluster.stopped()
    await unchanged()
    said = {(write.kind, write.subresource) for write in world.cluster.writes if write.kind in PEOPLES}
    assert said == {("Agent", "status"), ("Tool", "status"), ("Tenant", "status"), ("Policy", "status")}
    assert world.object("Namespace", "team", "")["metadata"]["labels"]["theirs"] == "yes"
    assert not world.object("Namespace", "team", "")["metadata"].get("annotations")
    assert not [
        each
        for kind in (*PEOPLES, "Namespace")
        for each in world.cluster.each(kind)
        if each["metadata"].get("finalizers")
    ]
