"""The controller over a cluster in memory: what it makes, heals, replaces and leaves alone, and how often it writes."""

from collections import Counter

import pytest
from controller_world import World, agent, condition, container, node, the_policy, tool

from aion.controller import errors
from aion.controller.views import Key

KEY = Key("Agent", "team", "a")


def kinds(world):
    return Counter((w.verb, w.kind, w.subresource) for w in world.cluster.writes)


async def test_an_agent_becomes_an_account_a_pod_and_a_status_by_three_writes():
    world = World()
    await world.applies(node(), agent("first"))
    world.cluster.writes.clear()
    await world.applies(agent())
    assert [(w.verb, w.kind, w.subresource) for w in world.cluster.writes] == [
        ("apply", "ServiceAccount", ""),
        ("apply", "Pod", ""),
        ("apply", "Agent", "status"),
    ]
    assert world.told()["reason"] == "Creating"
    assert world.told("Reconciling")["status"] == "True"


async def test_the_first_agent_of_a_namespace_brings_its_tenants_keys_once():
    world = World()
    await world.applies(node(), agent(), agent("b"), tool())
    await world.applies(agent("c", namespace="other"))
    assert kinds(world)["create", "Secret", ""] == 2
    (key,) = world.object("Secret", "aion-tenant-keys")["stringData"].items()
    assert key[0] == "default"
    assert len(key[1]) >= 43


async def test_an_agent_is_ready_when_its_pod_is_and_says_where():
    world = World()
    await world.running_agent()
    assert world.told()["status"] == "True"
    assert world.told("GatewayReady")["status"] == "True"
    assert world.told("Reconciling") is None
    status = world.object()["status"]
    assert (status["podName"], status["nodeName"], status["queue"]) == (world.pod()["metadata"]["name"], "n1", "normal")
    assert status["observedGeneration"] == 1


async def test_from_creation_to_ready_the_status_is_written_three_times():
    world = World()
    await world.applies(node(), agent())
    pod = world.pod()
    await world.says(pod, containers=[])
    await world.says(
        pod, containers=[container(n, waiting={"reason": "ContainerCreating"}) for n in ("gateway", "agent")]
    )
    await world.says(pod, phase="Running", containers=[container("gateway"), container("agent", ready=True)])
    await world.runs(pod)
    assert kinds(world)["apply", "Agent", "status"] == 3


async def test_an_idle_controller_writes_nothing_though_it_looks_again():
    world = World()
    await world.applies(the_policy())
    await world.running_tool()
    await world.running_agent()
    world.cluster.writes.clear()
    for _ in range(5):
        await world.later(700)
    assert await world.sweep.once() == 0
    assert world.cluster.writes == []


async def test_a_killed_pod_comes_back_under_its_name():
    world = World()
    pod = await world.running_agent()
    world.cluster.deleted("Pod", "team", pod["metadata"]["name"])
    await world.settle()
    assert world.told()["reason"] == "Terminating"
    world.cluster.stopped()
    await world.settle()
    again = world.pod()
    assert again["metadata"]["name"] == pod["metadata"]["name"]
    assert again["metadata"]["uid"] != pod["metadata"]["uid"]


async def test_a_changed_agent_never_runs_twice():
    world = World()
    old = await world.running_agent()
    await world.applies(agent(entry="python -m y"))
    assert [p["metadata"]["uid"] for p in world.pods()] == [old["metadata"]["uid"]]
    assert "deletionTimestamp" in world.pod()["metadata"]
    assert world.told()["reason"] == "Replacing"
    world.cluster.stopped()
    await world.settle()
    assert world.pod()["spec"]["containers"][1]["command"][-1] == "y"
    await world.runs(world.pod())
    assert world.told()["status"] == "True"
    assert world.told()["observedGeneration"] == 2


async def test_a_change_that_does_not_reach_the_pod_leaves_it_running():
    world = World()
    pod = await world.running_agent()
    await world.applies(agent(memory={"scope": "shared"}))
    assert world.pod()["metadata"]["uid"] == pod["metadata"]["uid"]
    assert world.told()["status"] == "True"
    assert world.told()["observedGeneration"] == 2


async def test_a_deleted_agent_leaves_nothing_but_the_tenants_keys():
    world = World()
    pod = await world.running_agent()
    world.cluster.deleted("Agent", "team", "a")
    await world.settle()
    world.cluster.stopped()
    await world.settle()
    assert world.pods() == ()
    assert world.cluster.each("ServiceAccount") == ()
    assert world.store.observe(KEY).pods == ()
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Agent"
    assert len(world.queue._timers) == 0


async def test_an_agent_that_is_being_deleted_gets_no_new_pod():
    world = World()
    pod = await world.running_agent()
    stored = world.cluster._objects["Agent", "team", "a"]
    stored.body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.cluster._changed(stored, {})
    world.cluster.deleted("Pod", "team", pod["metadata"]["name"], now=True)
    await world.settle()
    assert world.pods() == ()


async def test_an_agent_made_again_under_its_name_does_not_take_over_the_old_ones_pod():
    world = World()
    old = await world.running_agent()
    world.cluster._objects.pop(("Agent", "team", "a"))  # deleted with its children orphaned, the watch lost it
    world.cluster.person_applies(agent())
    await world.settle()
    world.cluster.stopped()
    await world.settle()
    assert world.pod()["metadata"]["name"] != old["metadata"]["name"]
    assert world.pod()["metadata"]["ownerReferences"][0]["uid"] == world.object()["metadata"]["uid"]


async def test_a_broken_spec_makes_no_pod_and_says_what_to_do():
    world = World()
    await world.applies(node(), agent(entry="python 'unclosed"))
    assert world.pods() == ()
    assert world.told("Accepted")["status"] == "False"
    assert world.told("Stalled")["status"] == "True"
    assert world.told()["reason"] == "InvalidSpec"
    assert "apply it again" in world.told()["message"]
    await world.applies(agent())
    assert len(world.pods()) == 1
    assert world.told("Stalled") is None


async def test_a_spec_that_became_broken_leaves_the_last_good_pod_running():
    world = World()
    pod = await world.running_agent()
    await world.applies(agent(entry="python 'unclosed"))
    assert world.pod()["metadata"]["uid"] == pod["metadata"]["uid"]
    assert world.told()["status"] == "False"
    assert "runs on" in world.told()["message"]
    assert world.object()["status"]["podName"] == pod["metadata"]["name"]


async def test_a_suspended_agent_has_no_pod_until_it_is_resumed():
    world = World()
    await world.running_agent()
    await world.applies(agent(operatingMode="Suspended"))
    world.cluster.stopped()
    await world.settle()
    assert world.pods() == ()
    assert world.told("Suspended")["status"] == "True"
    assert (world.told()["status"], world.told()["reason"]) == ("False", "ByRequest")
    assert world.told("Reconciling") is None
    assert "podName" not in world.object()["status"]
    await world.applies(agent())
    assert len(world.pods()) == 1
    assert world.told("Suspended") is None


async def test_an_evicted_pod_is_replaced_and_a_second_only_after_a_pause():
    world = World()
    pod = await world.running_agent()
    await world.says(pod, phase="Failed", reason="Evicted", message="The node was low on resource: memory.")
    fresh = world.pod()
    assert fresh["metadata"]["uid"] != pod["metadata"]["uid"]  # it had lived for months: replaced at once
    world.cluster._objects["Pod", "team", fresh["metadata"]["name"]].body["metadata"]["creationTimestamp"] = (
        world.now.strftime("%Y-%m-%dT%H:%M:%SZ")
    )
    await world.says(fresh, phase="Failed", reason="OutOfcpu")
    assert world.pod()["metadata"]["uid"] == fresh["metadata"]["uid"]
    assert (world.told()["reason"], "OutOfcpu" in world.told()["message"]) == ("PodFailed", True)
    await world.later(19)
    assert world.pod()["metadata"]["uid"] == fresh["metadata"]["uid"]
    await world.later(2)
    assert world.pod()["metadata"]["uid"] != fresh["metadata"]["uid"]


async def test_a_quota_becomes_a_condition_and_is_tried_again():
    world = World()
    full = errors.of(
        403, 'pods "a-1" is forbidden: exceeded quota: team, requested: pods=1, used: pods=4, limited: pods=4'
    )
    world.cluster.fault = lambda write, _document: full if write.kind == "Pod" else None
    await world.applies(node(), agent())
    assert world.told()["reason"] == "QuotaExceeded"
    assert "limited: pods=4" in world.told()["message"]
    assert world.told("Stalled") is None
    statuses = kinds(world)["apply", "Agent", "status"]
    await world.later(60)
    assert kinds(world)["apply", "Agent", "status"] == statuses, "the same refusal is said once"
    world.cluster.fault = lambda _write, _document: None
    await world.later(60)
    assert len(world.pods()) == 1
    assert world.told()["reason"] == "Creating"


async def test_a_pod_that_admission_refuses_stalls_its_agent_with_the_servers_words():
    world = World()
    no = errors.of(403, 'pods "a-1" is forbidden: violates PodSecurity "restricted:latest"')
    world.cluster.fault = lambda write, _document: no if write.kind == "Pod" else None
    await world.applies(node(), agent())
    assert (world.told()["reason"], world.told("Stalled")["status"]) == ("AdmissionRefused", "True")
    assert "PodSecurity" in world.told()["message"]
    assert world.told("Accepted")["status"] == "True"
    assert world.told("Reconciling") is None


@pytest.mark.parametrize(
    ("code", "said", "advice"),
    [
        (403, 'pods "a-1" is forbidden: violates PodSecurity "restricted:latest": seccompProfile', "fit into `restricted`"),
        (422, "pods \"a-1\" is forbidden: ValidatingAdmissionPolicy 'team-rules' with binding 'team' denied request: no images from there", "whoever keeps the policy"),
        (400, 'admission webhook "images.example.org" denied the request: unsigned', "That webhook says what it wants"),
        (500, 'Internal error occurred: failed calling webhook "images.example.org": failed to call webhook: connection refused', "mend or remove it"),
        (403, 'pods "a-1" is forbidden: maximum cpu usage per Container is 500m, but limit is 1', "A LimitRange of the namespace"),
        (403, 'pods "a-1" is forbidden: no PriorityClass with name aion-normal was found', "priorityClasses.create"),
        (422, 'Pod "a-1" is invalid: spec.tolerations[0].effect: Unsupported value', "Change what it names"),
    ],
)  # fmt: skip
async def test_whoever_refuses_a_pod_is_named_with_what_to_do_and_it_is_tried_again(code, said, advice):
    world = World()
    no = errors.of(code, said)
    world.cluster.fault = lambda write, _document: no if write.kind == "Pod" else None
    await world.applies(node(), agent())
    ready = world.told()
    assert (ready["reason"], world.told("Stalled")["status"]) == ("AdmissionRefused", "True")
    assert said in ready["message"]
    assert advice in ready["message"]
    world.cluster.fault = lambda _write, _document: None
    await world.later(60)
    assert (len(world.pods()), world.told("Stalled")) == (1, None)


async def test_a_name_that_belongs_to_something_else_is_a_name_conflict():
    world = World()
    taken = errors.of(422, "ServiceAccount is invalid: Only one reference can have Controller set to true")
    world.cluster.fault = lambda write, _document: taken if write.kind == "ServiceAccount" else None
    await world.applies(node(), agent())
    assert world.told()["reason"] == "NameConflict"
    assert world.pods() == ()


async def test_an_unreachable_server_is_waited_for_with_growing_pauses():
    world = World()
    silent = errors.of(503, "the server is overloaded", retry_after=7.0)
    world.cluster.fault = lambda write, _document: silent if write.kind == "Pod" else None
    await world.applies(node(), agent())
    delay = world.queue._timers[KEY].when() - world.queue._timers[KEY]._loop.time()
    assert 6 < delay <= 7
    assert world.object().get("status") is None, "nothing is said that was not done"
    world.cluster.fault = lambda _write, _document: None
    await world.later(7)
    assert world.told()["reason"] == "Creating"


async def test_a_lost_update_is_only_a_retry():
    world = World()
    conflict = errors.of(409, "the object has been modified")
    world.cluster.fault = lambda write, _document: conflict if write.subresource else None
    await world.applies(node(), agent())
    assert KEY in world.queue._timers
    world.cluster.fault = lambda _write, _document: None
    await world.later(1)
    assert world.told()["reason"] == "Creating"


async def test_a_deletion_that_the_watch_lost_is_healed_by_a_sweep():
    world = World()
    pod = await world.running_agent()
    world.cluster.deaf = True
    world.cluster.deleted("Pod", "team", pod["metadata"]["name"], now=True)
    world.cluster.deaf = False
    await world.settle()
    assert world.pods() == ()
    assert await world.sweep.once() == 1
    await world.settle()
    assert len(world.pods()) == 1


async def test_a_pod_that_turns_out_to_be_gone_when_it_should_be_deleted_holds_up_nothing():
    world = World()
    pod = await world.running_agent()
    world.cluster.deaf = True
    world.cluster.deleted("Pod", "team", pod["metadata"]["name"], now=True)
    world.cluster.deaf = False
    await world.applies(agent(entry="python -m y"))
    assert world.pod()["spec"]["containers"][1]["command"][-1] == "y"


async def test_a_lost_account_comes_back():
    world = World()
    await world.running_agent()
    world.cluster.deleted("ServiceAccount", "team", "agent-a")
    await world.settle()
    assert world.object("ServiceAccount", "agent-a") is not None


async def test_a_namespace_that_was_emptied_gets_new_keys_when_it_is_used_again():
    world = World()
    await world.applies(node(), agent())
    world.cluster.deleted("Agent", "team", "a")
    world.cluster.deleted("Secret", "team", "aion-tenant-keys")
    await world.settle()
    await world.applies(agent("b"))
    assert world.object("Secret", "aion-tenant-keys") is not None


async def test_keys_that_somebody_deleted_are_offered_again_while_a_pod_waits():
    world = World()
    await world.applies(node(), agent())
    world.cluster.deleted("Secret", "team", "aion-tenant-keys")
    await world.later(300)
    assert world.object("Secret", "aion-tenant-keys") is None
    await world.later(301)
    assert world.object("Secret", "aion-tenant-keys") is not None


async def test_a_tool_becomes_a_fence_a_service_and_a_deployment_by_four_writes():
    world = World()
    await world.applies(node(), agent())
    world.cluster.writes.clear()
    await world.applies(tool(toolName="web_search"))
    assert [(w.kind, w.subresource) for w in world.cluster.writes] == [
        ("NetworkPolicy", ""),
        ("Service", ""),
        ("Deployment", ""),
        ("Tool", "status"),
    ]
    assert world.object("Tool", "t")["status"]["endpoint"] == "http://tool-t.team.svc:8020"


async def test_a_scaled_deployment_is_scaled_back():
    world = World()
    await world.applies(node(), tool())
    deployment = world.object("Deployment", "tool-t")
    deployment["spec"]["replicas"] = 5
    world.cluster.person_applies(deployment)
    await world.settle()
    assert world.object("Deployment", "tool-t")["spec"]["replicas"] == 1


async def test_a_pods_failure_inside_one_namespace_disturbs_no_other():
    world = World()
    await world.applies(node(), agent("good"), agent("bad", entry="python 'unclosed"))
    assert world.told(name="good")["reason"] == "Creating"
    assert world.told(name="bad")["reason"] == "InvalidSpec"


async def test_conditions_keep_their_time_while_their_status_stays():
    world = World()
    await world.applies(node(), agent())
    before = world.told()["lastTransitionTime"]
    world.now = world.now.replace(hour=13)
    await world.says(
        world.pod(), condition("PodScheduled", "False", reason="Unschedulable", message="0/1 nodes"), on=""
    )
    assert (world.told()["reason"], world.told()["lastTransitionTime"]) == ("Unschedulable", before)
    await world.runs(world.pod())
    assert world.told()["lastTransitionTime"] > before


@pytest.mark.parametrize("other", ["usage", "lastHeartbeat"])
async def test_what_others_write_into_the_status_neither_wakes_nor_disturbs_us(other):
    world = World()
    await world.running_agent()
    world.cluster.writes.clear()
    passes = world.passes
    world.cluster.reported(
        "Agent", "team", "a", {other: {"syscalls": 7} if other == "usage" else "2026-03-01T12:00:00Z"}
    )
    await world.settle()
    assert (world.cluster.writes, world.passes) == ([], passes)
    assert other in world.object()["status"]
