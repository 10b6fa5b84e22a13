"""What is accepted, and what is refused with a sentence that helps."""

import json

import pytest

from aion.api import conditions
from aion.controller import accept, views
from aion.controller.accept import Refusal
from aion.controller.settings import Settings

PROFILES = {"sealed": "ab" * 32}


def root(kind, **spec):
    spec = {"version": "1.0.0", **spec}
    meta = {"name": "x", "namespace": "team", "uid": "u", "generation": 1}
    return views.root({"apiVersion": "aion.os/v1", "kind": kind, "metadata": meta, "spec": spec})


def agent(**spec):
    return accept.agent(root("Agent", **{"entry": "python -m x", **spec}), settings=Settings(), profiles=PROFILES)


def tool(settings=None, **spec):
    return accept.tool(
        root("Tool", **{"entry": "wasm:a.wasm", **spec}), settings=settings or Settings(), profiles=PROFILES
    )


def test_an_agent_is_read_with_its_defaults():
    model, recipe = agent()
    assert recipe.argv == ("python", "-m", "x")
    assert (recipe.queue, recipe.cpu, recipe.memory, recipe.gpus) == ("normal", "1000m", "1Gi", 0)
    assert recipe.profile == PROFILES["sealed"]
    assert model.spec.operating_mode == "Running"
    assert recipe.tunnel
    assert not agent(podTemplate={"tunnel": False})[1].tunnel


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"entry": "python 'unclosed"}, "entry"),
        ({"entry": ""}, "entry"),
        ({"version": "one"}, "version"),
        ({"priority": 12}, "priority"),
        ({"resources": {"cpu": "plenty"}}, "cpu"),
        ({"resources": {"mem": "-1Gi"}}, "mem"),
    ],
)
def test_a_broken_agent_is_refused_by_the_name_of_the_field(spec, said):
    refusal = agent(**spec)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == conditions.INVALID_SPEC
    assert said in refusal.message
    assert "apply it again" in refusal.message


def test_an_unknown_sandbox_profile_is_refused_with_those_that_exist():
    refusal = agent(sandboxProfile="open")
    assert isinstance(refusal, Refusal)
    assert refusal.reason == conditions.PROFILE_NOT_FOUND
    assert "'open'" in refusal.message
    assert "sealed" in refusal.message


@pytest.mark.parametrize(("gpu", "count"), [("none", 0), ("optional", 0), ("required", 1), (3, 3)])
def test_gpus_are_counted(gpu, count):
    _, recipe = agent(resources={"gpu": gpu}, capabilities={"gpu": True})
    assert recipe.gpus == count


def test_a_tool_carries_its_runners_document():
    _, recipe = tool(toolName="web_search", config={"url": "http://own"})
    document = json.loads(recipe.runner)
    assert (document["name"], document["kind"], document["config"]) == ("web_search", "wasm", {"url": "http://own"})


def test_the_charts_tool_configuration_lies_under_the_tools_own():
    chart = Settings(tool_config={"web_search": {"url": "http://chart", "limit": "5"}})
    _, recipe = tool(chart, toolName="web_search", config={"url": "http://own"})
    assert json.loads(recipe.runner)["config"] == {"url": "http://own", "limit": "5"}


def test_a_remote_mcp_server_needs_the_network_and_its_runner_knows_where_it_is():
    refusal = tool(entry="mcp+https://tools.example/mcp")
    assert isinstance(refusal, Refusal)
    assert "capabilitiesRequired must hold network" in refusal.message
    _, recipe = tool(entry="mcp+https://tools.example/mcp", capabilitiesRequired=["network"])
    assert json.loads(recipe.runner)["url"] == "https://tools.example/mcp"


def test_a_tool_that_climbs_out_of_its_image_is_refused():
    assert isinstance(tool(entry="wasm:../../etc/passwd.wasm"), Refusal)
