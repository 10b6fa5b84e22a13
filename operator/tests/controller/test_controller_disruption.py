"""A Pod that ran and was taken away: who took it, and what would keep it from happening again, in the words of real clusters."""

import pytest
from controller_world import World, agent, condition, container, node, stamp

LOW = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 71172Ki. Container agent was using 812Mi, request is 256Mi."
PREEMPTED = "default-scheduler: preempting to accommodate a higher priority pod"


def target(reason, message):
    return condition("DisruptionTarget", "True", reason=reason, message=message)


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        ({"reason": "Evicted", "message": LOW}, "Evicted", ("low on resource: memory", "spec.resources")),
        ({"conditions": [target("TerminationByKubelet", LOW)]}, "Evicted", ("low on resource: memory", "add a node")),
        ({"reason": "Terminated", "message": "Pod was terminated in response to imminent node shutdown.", "conditions": [target("TerminationByKubelet", "Pod was terminated in response to imminent node shutdown.")]}, "Evicted", ("imminent node shutdown",)),
        ({"conditions": [target("PreemptionByScheduler", PREEMPTED)]}, "PodPreempted", ("higher PriorityClass", "raise spec.priority")),
        ({"conditions": [target("DeletionByPodGC", "PodGC: node no longer exists")]}, "NodeLost", ("no more in the cluster",)),
        ({"reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu, requested: 1050, used: 1800, capacity: 2000"}, "PodFailed", ("requested: 1050", "lower spec.resources")),
        ({"reason": "UnexpectedAdmissionError", "message": "Allocate failed due to no healthy devices present"}, "PodFailed", ("no healthy devices",)),
        ({}, "PodFailed", ("no reason was given",)),
    ],
)  # fmt: skip
async def test_a_pod_that_failed_as_a_whole_says_who_ended_it_and_what_helps(status, reason, words):
    world = World()
    await world.applies(node(), agent())
    pod = world.pod()
    born = world.cluster._objects["Pod", "team", pod["metadata"]["name"]].body["metadata"]
    born["creationTimestamp"] = stamp(world.now)  # young: it stays for its pause
    told = status.pop("conditions", [])
    await world.says(pod, *told, phase="Failed", **status)
    assert world.told()["reason"] == reason
    assert all(each in world.told()["message"] for each in words), world.told()["message"]
    assert world.told("Stalled") is None
    await world.later(301)
    assert world.pod()["metadata"]["uid"] != pod["metadata"]["uid"], "it is made again by itself"


@pytest.mark.parametrize(
    ("told", "reason", "words"),
    [
        (target("PreemptionByScheduler", PREEMPTED), "PodPreempted", "spec.priority"),
        (target("EvictionByEvictionAPI", "Eviction API: evicting"), "Evicted", "Eviction API: evicting"),
        (target("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"), "Evicted", "NoExecute taint"),
        (condition("Ready", "True"), "Terminating", "is being stopped"),
    ],
)  # fmt: skip
async def test_a_pod_that_is_being_stopped_says_who_stops_it(told, reason, words):
    world = World()
    pod = await world.running_agent()
    world.cluster.deleted("Pod", "team", pod["metadata"]["name"])  # its kubelet has yet to stop it
    await world.says(pod, told, phase="Running", containers=[container("gateway", ready=True)])
    assert (world.told()["reason"], words in world.told()["message"]) == (reason, True), world.told()["message"]
    assert world.told("Reconciling")["status"] == "True"


async def test_a_node_that_answers_no_more_is_named_and_the_agent_is_not_started_twice():
    world = World()
    pod = await world.running_agent()
    await world.applies(node(answers=False))
    assert world.told()["status"] == "True", "the Pod's own readiness is the truth, until somebody says otherwise"
    await world.says(pod, condition("Ready", "False"), phase="Running", containers=[container("gateway", ready=True)])
    assert world.told()["reason"] == "NodeLost"
    assert "kubectl delete node n1" in world.told()["message"]

    world.cluster.deleted("Pod", "team", pod["metadata"]["name"])  # its kubelet has yet to stop it
    await world.says(
        pod, target("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"), phase="Running"
    )
    assert world.told()["reason"] == "NodeLost"
    assert [each["metadata"]["uid"] for each in world.pods()] == [pod["metadata"]["uid"]]

    await world.applies(node("n2"))
    world.cluster.deleted("Node", "", "n1")
    await world.later(1)
    assert "no more in the cluster" in world.told()["message"]


async def test_a_node_that_comes_back_frees_the_condition():
    world = World()
    pod = await world.running_agent()
    await world.applies(node(answers=False))
    await world.says(pod, condition("Ready", "False"), phase="Running")
    assert world.told()["reason"] == "NodeLost"
    await world.applies(node())
    assert world.told()["reason"] == "Starting"


async def test_a_tools_evicted_pod_is_passed_over_when_another_serves_and_explained_when_none_does():
    world = World()
    pod = await world.running_tool()
    await world.says(pod, phase="Failed", reason="Evicted", message=LOW)
    told = world.told(of="Tool", name="t")
    assert (told["status"], told["reason"]) == ("False", "Evicted")
    fresh = world.cluster.person_applies({**pod, "metadata": {**pod["metadata"], "name": "tool-t-2"}})
    await world.runs(fresh, "runner", "tool")
    assert world.told(of="Tool", name="t")["status"] == "True"
    assert world.told("Reconciling", of="Tool", name="t") is None
