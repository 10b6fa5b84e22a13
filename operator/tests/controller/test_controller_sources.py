"""The files of an Agent and its GPU: settled before the Pod is made, and what makes another Pod afterwards."""

from controller_world import World, agent, condition, config_map, container, node

from aion.controller import errors, outcome, sources
from aion.controller.views import Key

KEY = Key("Agent", "team", "a")
SOURCE = {"configMap": "src"}


def reads(world):
    return len(world.cluster.reads)


def names(world):
    return [pod["metadata"]["name"] for pod in world.pods()]


async def with_files(**files):
    world = World()
    world.cluster.person_applies(config_map(**files))
    await world.running_agent(source=SOURCE)
    return world


async def test_other_files_make_another_pod_within_a_minute():
    world = await with_files(main="print(1)")
    before = world.pod()
    assert isinstance(await world.reconcile(KEY), outcome.After)
    world.cluster.person_applies(config_map(main="print(2)"))
    await world.later(sources.POLL_S)
    assert "deletionTimestamp" in world.pod()["metadata"]
    assert world.told()["reason"] == "Replacing"
    world.cluster.stopped()
    await world.settle()
    assert world.pod()["metadata"]["name"] != before["metadata"]["name"]


async def test_a_label_on_the_config_map_restarts_nothing():
    world = await with_files(main="x")
    labelled = config_map(main="x")
    labelled["metadata"]["labels"] = {"argocd.argoproj.io/instance": "team"}
    before = names(world)
    world.cluster.person_applies(labelled)
    await world.later(sources.POLL_S)
    assert names(world) == before
    assert world.told()["status"] == "True"


async def test_unchanged_files_cost_one_small_read_a_look_and_no_write():
    world = await with_files(main="x")
    world.cluster.writes.clear()
    before = reads(world)
    for _ in range(5):
        await world.later(sources.POLL_S)
    assert reads(world) - before == 5
    assert world.cluster.writes == []


async def test_many_looks_at_once_are_one_read():
    world = World()
    world.cluster.person_applies(config_map(main="x"))
    await world.applies(node(), agent(source=SOURCE), agent("b", source=SOURCE), agent("c", source=SOURCE))
    assert reads(world) == 2  # the metadata, then the files


async def test_without_its_files_an_agent_has_no_pod_and_gets_one_soon_after_they_come():
    world = World()
    await world.applies(node(), agent(source=SOURCE))
    assert world.pods() == ()
    assert (world.told()["reason"], world.told("Stalled")["status"]) == ("SourceNotFound", "True")
    assert "ConfigMap src" in world.told()["message"]
    assert await world.reconcile(KEY) == outcome.After(1.0)
    await world.later(40)
    assert await world.reconcile(KEY) == outcome.After(10.0)
    world.cluster.person_applies(config_map(main="x"))
    await world.later(10)
    made = names(world)
    assert len(made) == 1
    await world.runs(world.pod())
    assert names(world) == made, "the Pod that was made is the one that stays"


async def test_files_that_went_away_never_stop_a_pod_that_runs():
    world = await with_files(main="x")
    before = names(world)
    world.cluster.deleted("ConfigMap", "team", "src")
    await world.later(sources.POLL_S)
    assert names(world) == before
    assert world.told()["status"] == "True"


async def test_without_the_right_to_read_an_agent_runs_all_the_same():
    world = World()

    async def forbidden(*_args, **_more):
        raise errors.of(403, "configmaps is forbidden")

    world.cluster.read = forbidden
    await world.running_agent(source=SOURCE)
    assert world.told()["status"] == "True"


async def test_mended_files_mend_a_crash():
    world = await with_files(main="bad")
    ended = {"exitCode": 1, "message": "SyntaxError"}
    crashed = [container("gateway", ready=True), container("agent", waiting={"reason": "CrashLoopBackOff"}, last=ended)]
    await world.says(world.pod(), condition("Ready", "False"), phase="Running", containers=crashed)
    assert world.told("Stalled")["reason"] == "CrashLoop"
    assert await world.reconcile(KEY) == outcome.After(sources.POLL_S)
    world.cluster.person_applies(config_map(main="good"))
    await world.later(sources.POLL_S)
    assert "deletionTimestamp" in world.pod()["metadata"]


async def test_the_digest_stands_on_the_pod_and_only_where_there_are_files():
    world = await with_files(main="x")
    (noted,) = world.pod()["metadata"]["annotations"].items()
    assert noted == ("aion.os/source-digest", sources.of_files(config_map(main="x")))
    plain = World()
    await plain.running_agent()
    assert "annotations" not in plain.pod()["metadata"]


# GPUs

WANTS = {"resources": {"gpu": "optional"}, "capabilities": {"gpu": True}}


def agents_container(world):
    return world.pod()["spec"]["containers"][1]


def gpus(world):
    return agents_container(world)["resources"]["limits"].get("nvidia.com/gpu")


def env(world):
    return {each["name"]: each.get("value") for each in agents_container(world)["env"]}


async def test_an_optional_gpu_is_asked_for_where_a_node_has_one():
    world = World()
    await world.applies(node(), node("n2", gpus=4), agent(**WANTS))
    assert gpus(world) == "1"
    assert "NVIDIA_VISIBLE_DEVICES" not in env(world)


async def test_without_a_gpu_node_an_agent_with_an_optional_gpu_runs_without_and_sees_none():
    world = World()
    await world.applies(node(), agent(**WANTS))
    assert gpus(world) is None
    assert env(world)["NVIDIA_VISIBLE_DEVICES"] == "void"


async def test_an_optional_gpu_without_the_capability_is_none():
    world = World()
    await world.applies(node(gpus=1), agent(resources={"gpu": "optional"}))
    assert gpus(world) is None


async def test_a_gpu_node_that_comes_or_goes_never_stops_a_pod_that_is_there():
    world = World()
    await world.running_agent(**WANTS)
    before = names(world)
    await world.applies(node("n2", gpus=1))
    await world.later(60)
    assert names(world) == before
    world.cluster.deleted("Pod", "team", before[0], now=True)
    await world.settle()
    assert gpus(world) == "1", "the next Pod takes the GPU that is there now"
    made = names(world)
    world.cluster.deleted("Node", "", "n2")
    await world.later(60)
    assert names(world) == made


async def test_a_required_gpu_that_no_node_offers_is_named():
    world = World()
    await world.applies(node(), agent(resources={"gpu": 2}, capabilities={"gpu": True}))
    await world.says(world.pod(), condition("PodScheduled", "False", reason="Unschedulable", message="0/1"), on="")
    assert world.told()["reason"] == "ResourcesExceedNodes"
    assert "nvidia.com/gpu" in world.told()["message"]


async def test_the_priority_shows_where_the_spec_says_none():
    world = World()
    await world.applies(node(), agent(), agent("b", priority=9))
    assert world.object()["status"]["priority"] == 5
    assert world.object(name="b")["status"]["priority"] == 9
