"""A Tool from spec to serving: what is made, what serves on, and when it is called ready."""

from controller_world import World, agent, condition, container, node, tool


def of(world, kind="Ready"):
    return world.told(kind, of="Tool", name="t")


def names(world):
    return [(c["type"], c["status"]) for c in world.object("Tool", "t")["status"]["conditions"]]


async def test_a_tool_is_ready_when_a_pod_of_this_very_spec_serves():
    world = World()
    await world.applies(node(), tool())
    assert (of(world)["status"], of(world)["reason"]) == ("False", "Creating")
    await world.running_tool()
    assert (of(world)["status"], of(world)["reason"]) == ("True", "Serving")
    status = world.object("Tool", "t")["status"]
    assert (status["replicas"], status["readyReplicas"]) == (1, 1)
    assert names(world) == [("Accepted", "True"), ("ProfileReady", "True"), ("Ready", "True")]


async def test_while_a_changed_tool_is_rolled_out_the_old_pod_serves_but_does_not_make_it_ready():
    world = World()
    await world.running_tool()
    await world.applies(tool(entry="wasm:tools/new.wasm"))
    assert of(world)["status"] == "False"
    assert of(world, "Reconciling")["status"] == "True"
    assert world.object("Tool", "t")["status"]["readyReplicas"] == 1


async def test_a_changed_tool_whose_new_pod_cannot_run_says_so_though_the_old_one_serves():
    world = World()
    await world.running_tool()
    await world.applies(tool(entry="wasm:tools/bad.wasm"))
    template = world.object("Deployment", "tool-t")["spec"]["template"]
    meta = {**template["metadata"], "name": "tool-t-2", "namespace": "team"}
    new = world.cluster.person_applies({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})
    ended = {"exitCode": 65, "message": "Tool t@1.0.0 cannot run: magic number"}
    await world.says(new, containers=[container("runner", waiting={"reason": "CrashLoopBackOff"}, last=ended)])
    assert (of(world)["reason"], of(world, "Stalled")["status"]) == ("BadToolFile", "True")


async def test_one_of_two_pods_serving_is_ready_and_still_at_work():
    world = World()
    await world.running_tool(replicas=2)
    assert (of(world)["status"], of(world)["message"]) == ("True", "1 of 2 Pods serve.")
    assert of(world, "Reconciling")["reason"] == "Creating"


async def test_scaling_to_nothing_is_rest_and_not_failure():
    world = World()
    await world.applies(node(), tool(replicas=0))
    assert (of(world)["status"], of(world)["reason"]) == ("False", "ByRequest")
    assert of(world, "Suspended")["status"] == "True"
    assert of(world, "Stalled") is None
    assert of(world, "Reconciling") is None


async def test_a_broken_tool_makes_nothing_and_a_tool_that_became_broken_serves_on():
    world = World()
    await world.applies(node(), agent(), tool("bad", entry="wasm:../x.wasm"))
    assert world.object("Deployment", "tool-bad") is None
    assert world.told("Stalled", of="Tool", name="bad")["reason"] == "InvalidSpec"
    await world.running_tool()
    generation = world.object("Deployment", "tool-t")["metadata"]["generation"]
    await world.applies(tool(entry="wasm:../x.wasm"))
    assert world.object("Deployment", "tool-t")["metadata"]["generation"] == generation
    assert of(world)["status"] == "False"
    assert "the last good spec serves, by 1 Pod" in of(world)["message"]


async def test_a_lost_service_or_deployment_comes_back():
    world = World()
    await world.running_tool()
    for kind in ("Service", "Deployment"):
        world.cluster.deleted(kind, "team", "tool-t")
        await world.settle()
        assert world.object(kind, "tool-t") is not None


async def test_a_deleted_tool_leaves_nothing():
    world = World()
    await world.applies(node(), tool())
    world.cluster.deleted("Tool", "team", "t")
    await world.settle()
    assert world.cluster.each("Deployment") == world.cluster.each("Service") == ()
    assert world.queue._timers == {}


async def test_a_tools_pods_wait_for_the_profile_like_an_agents():
    world = World()
    await world.applies(node(holds=False), tool())
    assert of(world, "ProfileReady")["status"] == "False"


async def test_a_tools_unschedulable_pod_is_explained():
    world = World()
    pod = await world.running_tool(resources={"cpu": "64"})
    unplaced = condition("PodScheduled", "False", reason="Unschedulable", message="0/1 nodes")
    await world.says(pod, unplaced, condition("Ready", "False"), on="")
    assert of(world)["reason"] == "ResourcesExceedNodes"
