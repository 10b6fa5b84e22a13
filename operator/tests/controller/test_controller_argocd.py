"""Argo CD's words for what the controller says: the shipped Lua, run as Argo CD runs it, over statuses that the controller wrote."""

from pathlib import Path

import lupa.lua51  # Argo CD's interpreter is of Lua 5.1 too
import pytest
import yaml
from controller_world import World, agent, node, the_policy, tool
from hypothesis import given
from hypothesis import strategies as st

from aion.api import conditions, crds
from aion.api.conditions import Condition

FRAGMENT = Path(__file__).resolve().parents[3] / "charts/argocd/argocd-cm.yaml"
PREFIX = "resource.customizations.health.aion.os_"
CLOSED = ("coroutine", "debug", "io", "math", "os", "package", "python", "string", "dofile", "loadfile", "require")
"""Libraries that Argo CD does not open for a health script."""


def scripts():
    """The Lua of each kind."""
    data = yaml.safe_load(FRAGMENT.read_text())["data"]
    return {name.removeprefix(PREFIX): text for name, text in data.items()}


def health(document):
    """(status, message), as Argo CD would have them."""
    lua = lupa.lua51.LuaRuntime(register_eval=False, register_builtins=False)
    for name in CLOSED:
        lua.globals()[name] = None
    lua.globals().obj = lua.table_from(document, recursive=True)
    found = lua.execute(scripts()[document["kind"]])
    return found["status"], found["message"]


def test_each_kind_has_a_script_and_nothing_else_is_merged():
    assert scripts().keys() == {kind.names.kind for kind in crds.KINDS}
    document = yaml.safe_load(FRAGMENT.read_text())
    assert all(name.startswith(PREFIX) for name in document["data"])
    assert (document["kind"], document["metadata"]) == ("ConfigMap", {"name": "argocd-cm", "namespace": "argocd"})


@pytest.mark.parametrize("kind", ["Agent", "Tool", "Tenant", "Policy"])
def test_what_the_controller_has_not_looked_at_yet_is_progressing(kind):
    document = {"kind": kind, "metadata": {"name": "x", "generation": 1}, "spec": {}}
    assert health(document)[0] == "Progressing"
    assert health(document | {"status": {"observedGeneration": 1}})[0] == "Progressing"


def test_a_sandbox_profile_is_healthy_as_soon_as_it_is_stored():
    assert health({"kind": "SandboxProfile", "metadata": {"name": "sealed", "generation": 1}})[0] == "Healthy"


async def test_an_agent_on_its_way_is_progressing_and_says_with_what():
    world = World()
    await world.applies(node(), agent())
    status, message = health(world.object())
    assert status == "Progressing"
    assert message.startswith("Creating: Pod a-")


async def test_a_running_agent_is_healthy():
    world = World()
    await world.running_agent()
    assert health(world.object())[0] == "Healthy"


async def test_a_changed_agent_is_progressing_before_and_after_the_controller_has_seen_the_change():
    world = World()
    await world.running_agent()
    world.cluster.person_applies(agent(entry="python -m y"))
    status, message = health(world.object())
    assert (status, message) == ("Progressing", "The controller has not seen this change yet.")
    await world.settle()
    status, message = health(world.object())
    assert status == "Progressing"
    assert message.startswith("Replacing: ")


async def test_a_broken_agent_is_degraded_with_its_reason_and_what_to_do():
    world = World()
    await world.applies(node(), agent(sandboxProfile="nowhere"))
    status, message = health(world.object())
    assert status == "Degraded"
    assert message.startswith("ProfileNotFound: spec.sandboxProfile: got 'nowhere', expected one of ")


async def test_an_agent_that_a_bad_change_left_running_is_degraded_all_the_same():
    world = World()
    await world.running_agent()
    await world.applies(agent(entry="python 'unclosed"))
    status, message = health(world.object())
    assert status == "Degraded"
    assert "of the last good spec runs on" in message


async def test_a_suspended_agent_is_progressing_until_its_pod_has_stopped_and_then_suspended():
    world = World()
    await world.running_agent()
    await world.applies(agent(operatingMode="Suspended"))
    assert health(world.object())[0] == "Progressing"
    world.cluster.stopped()
    await world.settle()
    status, message = health(world.object())
    assert (status, message.split(":")[0]) == ("Suspended", "ByRequest")


async def test_a_tool_is_healthy_while_it_serves_progressing_while_it_is_replaced_and_suspended_at_no_replicas():
    world = World()
    await world.running_tool()
    assert health(world.object("Tool", "t"))[0] == "Healthy"
    await world.applies(tool(replicas=2))
    assert health(world.object("Tool", "t"))[0] == "Progressing"
    await world.applies(tool(replicas=0))
    assert health(world.object("Tool", "t"))[0] == "Suspended"


async def test_a_tenant_without_its_namespace_is_degraded_and_with_it_healthy():
    world = World()
    await world.applies({"apiVersion": "aion.os/v1", "kind": "Tenant", "metadata": {"name": "team"}, "spec": {}})
    status, message = health(world.object("Tenant", "team", ""))
    assert (status, message.split(":")[0]) == ("Degraded", "TenantNamespaceMissing")
    await world.applies({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    assert health(world.object("Tenant", "team", ""))[0] == "Healthy"


async def test_the_policy_in_force_is_healthy_and_another_one_is_degraded():
    world = World()
    await world.applies(the_policy(), the_policy(namespace="team"))
    assert health(world.object("Policy", "aion", "aion-system"))[0] == "Healthy"
    status, message = health(world.object("Policy", "aion", "team"))
    assert (status, message.split(":")[0]) == ("Degraded", "NotActive")


TOLD = st.lists(
    st.builds(
        Condition,
        st.sampled_from(conditions.TYPES),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(sorted(conditions.REASONS)),
        st.text(st.characters(codec="ascii", exclude_characters="\0"), max_size=20),
    ),
    unique_by=lambda each: each.type,
)


@given(TOLD, st.integers(1, 5), st.integers(0, 5))
def test_no_verdict_is_better_than_what_the_conditions_say(told, generation, observed):
    document = {
        "kind": "Agent",
        "metadata": {"name": "a", "generation": generation},
        "status": {"observedGeneration": observed, "conditions": [each.document() for each in told]},
    }
    status, message = health(document)
    assert status in {"Progressing", "Healthy", "Degraded", "Suspended"}
    true = {each.type for each in told if each.status == "True"}
    current = observed >= generation
    assert (status == "Degraded") == (current and "Stalled" in true)
    if status == "Healthy":
        assert current
        assert "Ready" in true
        assert not true & {"Stalled", "Reconciling", "Suspended"}
    if status == "Degraded":
        (stalled,) = (each for each in told if each.type == "Stalled")
        assert message == (f"{stalled.reason}: {stalled.message}" if stalled.message else stalled.reason)
