"""What a kubelet and a scheduler say, in a person's words: the reason, whether a person must act, and the words that help."""

from datetime import timedelta

import pytest
from controller_world import NOW, SEALED, World, agent, condition, config_map, container, node, tool
from hypothesis import given, settings
from hypothesis import strategies as st

from aion.api import conditions
from aion.controller import diagnosis, disruption, views
from aion.controller.diagnosis import Needs

CRASH = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container=agent pod=a-1"}
LAUNCH = "line of the program\naion-launch: python9: not found in PATH or in the image (or its interpreter is missing)"


def last(code, message="", reason="Error"):
    return {"exitCode": code, "reason": reason, "message": message}


@pytest.mark.parametrize(
    ("name", "state", "reason", "stalled", "words"),
    [
        ("agent", {"waiting": {"reason": "ErrImageNeverPull", "message": 'Image "x:1" is not present.'}}, "ImageUnavailable", True, 'Image "x:1"'),
        ("agent", {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image name"}}, "ImageUnavailable", True, "push it"),
        ("agent", {"waiting": CRASH, "last": last(127, LAUNCH)}, "EntryNotFound", True, "python9: not found"),
        ("agent", {"waiting": CRASH, "last": last(126, "aion-launch: app.py: cannot run it: Permission denied")}, "EntryNotFound", True, "Permission denied"),
        ("agent", {"waiting": CRASH, "last": last(64, "aion-launch: unknown option '--x'")}, "EntryNotFound", True, "spec.entry"),
        ("agent", {"terminated": last(127)}, "EntryNotFound", True, "exit code 127"),
        ("agent", {"waiting": CRASH, "last": last(127, "my own script: no such thing")}, "CrashLoop", True, "no such thing"),
        ("agent", {"waiting": CRASH, "last": last(124, "aion-launch: no admission by the gateway at /run/aion/gw.sock")}, "WaitingForGateway", False, "no admission"),
        ("agent", {"waiting": CRASH, "last": last(126, "aion-launch: the gateway at /run/aion/gw.sock refused this container: HTTP 403")}, "WaitingForGateway", False, "HTTP 403"),
        ("agent", {"waiting": CRASH, "last": last(1, "Traceback\n  File x\nKeyError: 'y'")}, "CrashLoop", True, "KeyError: 'y'"),
        ("agent", {"terminated": last(1, "boom")}, "CrashLoop", False, "boom"),
        ("agent", {"terminated": last(0, "", "Completed")}, "CrashLoop", False, "ended by itself"),
        ("agent", {"waiting": CRASH, "last": last(137, "", "OOMKilled")}, "OutOfMemory", True, "spec.resources.mem"),
        ("agent", {"terminated": last(137, "", "OOMKilled")}, "OutOfMemory", False, "spec.resources.mem"),
        ("gateway", {"waiting": CRASH, "last": last(1, "no such module")}, "CrashLoop", True, "`gateway`"),
        ("agent", {"waiting": {"reason": "CreateContainerConfigError", "message": 'configmap "src" not found'}}, "SourceNotFound", True, 'configmap "src" not found. Create it'),
        ("agent", {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "db" not found'}}, "SecretNotFound", True, 'secret "db" not found. Create it'),
        ("agent", {"waiting": {"reason": "CreateContainerConfigError", "message": "couldn't find key url in Secret team/db"}}, "SecretNotFound", True, "key url in Secret team/db"),
        ("agent", {"waiting": {"reason": "CreateContainerConfigError", "message": "container has runAsNonRoot and image will run as root"}}, "PodFailed", True, "will run as root"),
        ("agent", {"waiting": {"reason": "CreateContainerError", "message": 'cannot load seccomp profile "/var/lib/x.json": no such file'}}, "ProfileNotOnNode", False, "aion-node"),
        ("agent", {"waiting": {"reason": "CreateContainerError", "message": "mkdir /x: read-only file system"}}, "PodFailed", True, "read-only file system"),
    ],
)  # fmt: skip
async def test_a_container_that_cannot_run_says_why(name, state, reason, stalled, words):
    world = World()
    await world.applies(node(), agent())
    others = [container(n) for n in ("gateway", "agent") if n != name]
    await world.says(world.pod(), containers=[container(name, **state), *others])
    ready = world.told()
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert words in ready["message"]
    assert (world.told("Stalled") is not None) == stalled
    assert (world.told("Reconciling") is not None) != stalled


async def test_the_kubelets_two_ways_to_say_that_an_image_is_missing_are_one_condition():
    world = World()
    await world.applies(node(), agent())
    cause = 'failed to pull and unpack image "x:1": not found'
    await world.says(world.pod(), containers=[container("agent", waiting={"reason": "ErrImagePull", "message": cause})])
    writes = len(world.cluster.writes)
    backoff = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "x:1": ErrImagePull: {cause}'}
    await world.says(world.pod(), containers=[container("agent", waiting=backoff)])
    assert (world.told()["reason"], len(world.cluster.writes)) == ("ImageUnavailable", writes)


async def test_what_needs_a_person_is_said_before_what_only_takes_time():
    world = World()
    await world.applies(node(), agent())
    gateway = container("gateway", terminated=last(1, "the kernel is away"))
    await world.says(world.pod(), containers=[gateway, container("agent", waiting=CRASH, last=last(127, LAUNCH))])
    assert world.told()["reason"] == "EntryNotFound"
    assert world.told("GatewayReady")["status"] == "False"


UNSCHEDULABLE = condition(
    "PodScheduled", "False", reason="Unschedulable", message="0/1 nodes are available: 1 Too many pods."
)


@pytest.mark.parametrize(
    ("nodes", "spec", "reason", "stalled", "words"),
    [
        ((), {}, "WaitingForNode", False, "no node yet"),
        ((node(holds=False),), {}, "WaitingForProfile", False, SEALED[:16]),
        ((node(cpu="8", memory="64Gi"),), {}, "Unschedulable", False, "Too many pods"),
        ((node(cpu="2"),), {"resources": {"cpu": "64"}}, "ResourcesExceedNodes", True, "asks for 64.05 CPU"),
        ((node(memory="2Gi"), node("n2", memory="4Gi")), {"resources": {"mem": "9Gi"}}, "ResourcesExceedNodes", True, "n2, has 2 CPU and 4096 Mi"),
        ((node(memory="16E"),), {"resources": {"cpu": "64"}}, "Unschedulable", False, "Too many pods"),
    ],
)  # fmt: skip
async def test_a_pod_without_a_node_says_what_is_missing(nodes, spec, reason, stalled, words):
    world = World()
    await world.applies(*nodes, agent(**spec))
    await world.says(world.pod(), UNSCHEDULABLE, on="")
    assert world.told()["reason"] == reason
    assert words in world.told()["message"]
    assert (world.told("Stalled") is not None) == stalled
    assert world.told("PodScheduled")["status"] == "False"


async def test_a_profile_that_arrives_on_a_node_is_noticed():
    world = World()
    await world.applies(node(holds=False), agent())
    await world.says(world.pod(), UNSCHEDULABLE, on="")
    assert (world.told("ProfileReady")["status"], world.told()["reason"]) == ("False", "WaitingForProfile")
    world.cluster.person_applies({**node(), "spec": {}})
    await world.settle()
    assert world.told("ProfileReady")["status"] == "True"
    assert world.told()["reason"] == "Unschedulable"


async def test_a_missing_source_is_named_after_the_patience_and_not_before():
    world = World()
    world.cluster.person_applies(config_map())
    await world.applies(node(), agent(source={"configMap": "src"}))
    world.cluster.deleted("ConfigMap", "team", "src")
    unmounted = condition("PodReadyToStartContainers", "False")
    creating = [container(n, waiting={"reason": "ContainerCreating"}) for n in ("gateway", "agent")]
    await world.says(world.pod(), unmounted, containers=creating)
    assert world.told()["reason"] == "Starting"
    assert next(iter(world.queue._timers.values())).when() > 0
    await world.later(diagnosis.MOUNT_PATIENCE_S + 1)
    assert (world.told()["reason"], world.told("Stalled")["status"]) == ("SourceNotFound", "True")
    assert "ConfigMap src" in world.told()["message"]
    assert "kubectl -n team describe pod" in world.told()["message"]


async def test_without_a_source_the_same_sight_blames_no_config_map():
    world = World()
    await world.applies(node(), agent())
    await world.says(world.pod(), condition("PodReadyToStartContainers", "False"))
    await world.later(60)
    assert world.told()["reason"] == "Starting"
    assert "volumes or its network" in world.told()["message"]


@pytest.mark.parametrize(
    ("containers", "reason"),
    [
        (
            [container("gateway", ready=True), container("agent", waiting={"reason": "ContainerCreating"})],
            "PullingImage",
        ),
        ([container("gateway"), container("agent", ready=True)], "WaitingForGateway"),
    ],
)
async def test_a_start_that_takes_longer_than_usual_says_where_it_is(containers, reason):
    world = World()
    await world.applies(node(), agent())
    await world.says(world.pod(), condition("PodReadyToStartContainers", "True"), containers=containers)
    assert world.told()["reason"] == "Starting"
    await world.later(11)
    assert world.told()["reason"] == reason
    assert world.told("Reconciling")["status"] == "True"


@pytest.mark.parametrize(
    ("name", "state", "reason", "words"),
    [
        ("runner", {"waiting": CRASH, "last": last(65, "Tool t@1.0.0 cannot run: not a wasm file")}, "BadToolFile", "not a wasm file"),
        ("tool", {"waiting": CRASH, "last": last(127, "aion-launch: --file tools/t.wasm: cannot read it; does the image hold it?")}, "EntryNotFound", "does the image hold it?"),
        ("tool", {"waiting": CRASH, "last": last(137, "", "OOMKilled")}, "OutOfMemory", "spec.resources.mem"),
    ],
)  # fmt: skip
async def test_a_tool_that_cannot_run_says_why(name, state, reason, words):
    world = World()
    pod = await world.running_tool()
    others = [container(n) for n in ("runner", "tool") if n != name]
    await world.says(pod, condition("Ready", "False"), containers=[container(name, **state), *others])
    ready = world.told(of="Tool", name="t")
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert words in ready["message"]
    assert world.told("Stalled", of="Tool", name="t")["status"] == "True"
    assert world.object("Tool", "t")["status"]["readyReplicas"] == 0


async def test_the_quota_that_stops_a_deployments_pods_reaches_the_tool():
    world = World()
    await world.applies(node(), tool())
    said = 'pods "tool-t-1" is forbidden: exceeded quota: team'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said}
    world.cluster.reported("Deployment", "team", "tool-t", {"conditions": [failure]})
    await world.settle()
    assert world.told(of="Tool", name="t")["reason"] == "QuotaExceeded"


REASONS_OF_KUBERNETES = [
    "",
    "Error",
    "OOMKilled",
    "CrashLoopBackOff",
    "ErrImagePull",
    "ContainerCreating",
    "CreateContainerError",
]
texts = st.sampled_from(
    ["", "aion-launch: x: not found", "configmap", "seccomp profile", "gateway", "a\nb\n\nc"]
) | st.text(max_size=40)


@st.composite
def container_views(draw):
    state = draw(st.sampled_from(["waiting", "running", "terminated"]))
    code = st.none() | st.sampled_from([0, 1, 64, 65, 124, 126, 127, 137])
    return views.ContainerView(
        name=draw(st.sampled_from(["gateway", "agent", "runner", "tool"])),
        ready=draw(st.booleans()),
        restarts=draw(st.integers(0, 9)),
        state=state,
        reason=draw(st.sampled_from(REASONS_OF_KUBERNETES)),
        message=draw(texts),
        exit_code=draw(code),
        last_reason=draw(st.sampled_from(REASONS_OF_KUBERNETES)),
        last_exit_code=draw(code),
        last_message=draw(texts),
    )


def pod_view(**more):
    values = {"namespace": "team", "name": "a-1", "uid": "u", "owner": None, "template_hash": ""}
    values |= {"phase": "Pending", "reason": "", "message": "", "created": "", "deleting": False, "node": "n1"}
    return views.PodView(**{**values, "conditions": (), "containers": (), **more})


@settings(deadline=None)
@given(st.lists(container_views(), max_size=3), st.sampled_from(["True", "False", "Unknown"]), st.integers(-5, 99))
def test_whatever_a_pod_says_every_finding_has_a_known_reason_and_a_sentence(containers, scheduled, age):
    said = views.ConditionView("PodScheduled", scheduled, "", "", "2026-03-01T12:00:00Z")
    seen = pod_view(conditions=(said,), containers=tuple(containers))
    wanted = Needs(diagnosis.Decimal(1), diagnosis.Decimal(1 << 30), SEALED)
    found = [
        diagnosis.blocking(seen, names=("gateway", "agent")),
        diagnosis.placement(seen, needs=wanted, nodes=()),
        diagnosis.starting(seen, config_map="src", now=NOW + timedelta(seconds=age))[0],
        disruption.failed(seen),
        disruption.ending(seen, nodes=()),
        disruption.lost(seen, nodes=(views.NodeView("n1", frozenset(), "1", "1", ready=age % 2 == 0),)),
    ]
    for finding in found:
        if finding is not None:
            assert finding.reason in conditions.REASONS
            assert finding.message.strip()


def test_a_stamp_is_read_back_as_the_same_time():
    assert diagnosis.when(diagnosis.stamp(NOW)) == NOW
