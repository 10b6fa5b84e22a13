"""A Tool's Deployment: the runner guards, the tool only answers."""

import pytest

from aion.api import entry
from aion.controller import render_tool
from aion.controller.recipes import ToolRecipe
from aion.controller.settings import Settings
from aion.controller.views import Key


def render(text="wasm:tools/web_search.wasm", **changes):
    values = {"runner": "{}", "replicas": 1, "cpu": "250m", "memory": "128Mi", "profile": "ab" * 32, **changes}
    recipe = ToolRecipe(
        key=Key("Tool", "team", "web-search"), uid="u", version="1.0.0", entry=entry.parse_tool(text), **values
    )
    return render_tool.children(recipe, settings=Settings())


def containers(deployment):
    return {c["name"]: c for c in deployment["spec"]["template"]["spec"]["containers"]}


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("wasm:tools/web_search.wasm", ["--file", "tools/web_search.wasm"]),
        ("rust:bin/calc", ["--", "bin/calc"]),
        ("python:pkg.mod:call", ["--", "python3", "/aion/pytool.py", "pkg.mod", "call"]),
        ("mcp:python -m 'my server' --quiet", ["--", "python", "-m", "my server", "--quiet"]),
    ],
)
def test_each_kind_of_entry_is_served_its_own_way(text, served):
    _, deployment = render(text)
    assert containers(deployment)["tool"]["command"] == ["/aion/aion-launch", "--serve", "/run/aion/tool.sock", *served]


def test_for_a_server_elsewhere_there_is_the_runner_alone():
    assert list(containers(render("mcp+https://tools.example/mcp")[1])) == ["runner"]


def test_the_runner_comes_first_and_alone_holds_the_keys():
    _, deployment = render()
    spec = deployment["spec"]["template"]["spec"]
    assert [c["name"] for c in spec["containers"]] == ["runner", "tool"]
    assert "keys" not in {m["name"] for m in containers(deployment)["tool"]["volumeMounts"]}
    assert "env" not in containers(deployment)["tool"]


def test_the_tools_code_is_confined_like_an_agents():
    security = containers(render()[1])["tool"]["securityContext"]
    assert security["seccompProfile"]["type"] == "Localhost"
    assert security["readOnlyRootFilesystem"]
    assert security["runAsUser"] == 10001


def test_the_service_finds_the_pods_and_nothing_else():
    service, deployment = render()
    selector = service["spec"]["selector"]
    assert service["metadata"]["name"] == deployment["metadata"]["name"] == "tool-web-search"
    assert selector == deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_scaling_changes_the_deployment_but_not_its_pods():
    one, two = render(replicas=1)[1], render(replicas=2)[1]
    assert one["metadata"]["labels"] != two["metadata"]["labels"]
    assert one["spec"]["template"] == two["spec"]["template"]
