"""What holds for every plan, whatever happens: once carried out it is empty, conditions are kstatus', and no Agent runs twice."""

import asyncio
from dataclasses import replace

from controller_world import PROFILES, World, agent, config_map, container, node, the_policy, tool
from hypothesis import given, settings
from hypothesis import strategies as st

from aion.api import conditions
from aion.controller import outcome, plan_agent, status
from aion.controller.draft import Drafts
from aion.controller.settings import Settings
from aion.controller.store import Observed
from aion.controller.views import Key

KEY = Key("Agent", "team", "a")

SPECS = st.sampled_from(
    [
        {},
        {"entry": "python -m y"},
        {"entry": "python 'unclosed"},
        {"operatingMode": "Suspended"},
        {"priority": 9},
        {"sandboxProfile": "nowhere"},
        {"source": {"configMap": "src"}},
        {"resources": {"gpu": "optional"}, "capabilities": {"gpu": True}},
        {"resources": {"cpu": "64"}},
        {"tools": ["t", "rival"]},
    ]
)
CRASHED = {"exitCode": 127, "reason": "Error", "message": "aion-launch: x: not found"}
STEPS = st.one_of(
    st.tuples(st.just("apply"), SPECS),
    st.tuples(st.just("tool"), st.sampled_from([{}, {"replicas": 3}, {"entry": "wasm:../x.wasm"}])),
    st.tuples(st.just("rival"), st.sampled_from([{"toolName": "t"}, {"toolName": "u"}, None])),
    st.tuples(st.sampled_from(["kill", "stop", "evict", "run", "crash", "delete", "lose account", "lose silently", "policy"])),
    st.tuples(st.just("files"), st.sampled_from([{"a": "1"}, {"a": "2"}, None])),
    st.tuples(st.just("gpus"), st.sampled_from([0, 2])),
    st.tuples(st.just("wait"), st.sampled_from([1, 15, 400])),
)  # fmt: skip


async def act(world, step):
    what, *how = step
    pods = [pod for pod in world.pods() if "deletionTimestamp" not in pod["metadata"]]
    if what == "apply":
        await world.applies(agent(**how[0]))
    elif what == "tool":
        await world.applies(tool(**how[0]))
    elif what == "rival" and how[0] is not None:
        await world.applies(tool("rival", **how[0]))
    elif what == "rival" and world.object("Tool", "rival"):
        world.cluster.deleted("Tool", "team", "rival")
    elif what == "policy":
        await world.applies(the_policy())
    elif what == "stop":
        world.cluster.stopped()
    elif what == "files":
        await have_files(world, how[0])
    elif what == "gpus":
        await world.applies(node(gpus=how[0]))
    elif what == "wait":
        await world.later(how[0])
    elif what == "delete" and world.object():
        world.cluster.deleted("Agent", "team", "a")
    elif what == "lose account" and world.object("ServiceAccount", "agent-a"):
        world.cluster.deleted("ServiceAccount", "team", "agent-a")
    elif pods:
        await act_on(world, what, pods[0])
    await world.settle()


async def have_files(world, files):
    """Somebody writes the ConfigMap that `source` names, or deletes it; a minute later everyone knows."""
    if files is not None:
        world.cluster.person_applies(config_map(**files))
    elif world.object("ConfigMap", "src"):
        world.cluster.deleted("ConfigMap", "team", "src")
    await world.later(60)


async def act_on(world, what, pod):
    if what == "kill":
        world.cluster.deleted("Pod", "team", pod["metadata"]["name"])
    elif what == "lose silently":
        world.cluster.deaf = True
        world.cluster.deleted("Pod", "team", pod["metadata"]["name"], now=True)
        world.cluster.deaf = False
    elif what == "evict":
        await world.says(pod, phase="Failed", reason="Evicted")
    elif what == "run":
        await world.runs(pod)
    elif what == "crash":
        await world.says(pod, containers=[container("agent", terminated=CRASHED), container("gateway", ready=True)])


@settings(deadline=None, max_examples=100)
@given(st.lists(STEPS, max_size=12))
def test_after_anything_that_can_happen_the_controller_rests_and_says_what_is(steps):
    async def run():
        world = World()
        await world.applies(node(), agent())
        for step in steps:
            await act(world, step)
            world.passes = 0
            alive = [p for p in world.pods() if "deletionTimestamp" not in p["metadata"]]
            assert len(alive) <= 1, "an Agent never runs twice"
            await assert_at_rest(world)
        world.queue.close()

    asyncio.run(run())


async def assert_at_rest(world):
    """Nothing is left to do, and nothing new to say, for any root."""
    for key in world.store.roots():
        seen = replace(world.store.observe(key), source=await world.files.of(world.store.root(key)))
        plan = world.reconcile._plan(key, seen, now=world.now)
        assert plan.idle, (key, plan)
        assert status.document(seen.root, plan, now=world.now) is None
        assert_kstatus(plan, seen)


def assert_kstatus(plan, seen):
    told = {condition.type: condition for condition in plan.conditions}
    assert len(told) == len(plan.conditions)
    assert conditions.READY in told
    assert not {conditions.RECONCILING, conditions.STALLED} <= told.keys()
    assert all(condition.reason in conditions.REASONS for condition in plan.conditions)
    assert all(condition.message for condition in plan.conditions)
    if told[conditions.READY].status == "True" and seen.root.key.kind == "Agent":
        assert any(pod.ready and not pod.deleting for pod in seen.pods)
        assert conditions.STALLED not in told
    if isinstance(plan.outcome, outcome.Stalled):
        assert told[conditions.STALLED].status == "True"


def test_nothing_is_planned_for_what_is_not_there():
    plan = plan_agent.plan(
        Observed(root=None), drafts=Drafts(settings=Settings(), profiles=PROFILES), held=None, now=World().now
    )
    assert plan.idle
    assert isinstance(plan.outcome, outcome.Gone)


async def test_one_sight_gives_one_plan():
    world = World()
    await world.running_agent()
    seen = world.store.observe(KEY)
    first, second = (world.reconcile._plan(KEY, seen, now=world.now) for _ in range(2))
    assert first == second


async def test_the_status_names_no_field_that_others_own():
    world = World()
    await world.applies(node(), the_policy(), agent())
    seen = world.store.observe(KEY)
    plan = world.reconcile._plan(KEY, seen, now=world.now)
    assert set(plan.facts) == {"priority", "queue", "podName", "effectivePolicy", "effectiveCapabilities"}
