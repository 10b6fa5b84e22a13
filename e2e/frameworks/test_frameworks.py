"""Agents on other people's frameworks, unmodified and sealed: a model and an MCP tool through the gateway, each call on record with its cost.

Nothing in the images knows of AION-OS: the framework's own clients open TCP to 127.0.0.1:8010, which the preloaded tunnel leads
to the gateway. The model is the stand-in of `e2e/models`, which calls the first tool it is offered and then says what that said.
"""

import json
from pathlib import Path

import pytest

from clusters import choice, settings
from installation import models, up
from installation.kernel import Kernel
from installation.kubectl import Kubectl
from installation.tenancy import Tenancy, until

HERE = Path(__file__).resolve().parent
AGENTS = HERE / "agents"
FRAMEWORKS = {"langgraph": "langgraph_agent", "openai-agents": "openai_agents_agent"}
ENVIRONMENT = {
    "OPENAI_BASE_URL": "http://127.0.0.1:8010/v1",
    "OPENAI_API_KEY": "none-is-needed",
    "MCP_URL": "http://127.0.0.1:8010/mcp",
}


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Built from PyPI by the lock beside this file, and put where the cluster's nodes find them."""
    references = up.build(*FRAMEWORKS)
    cluster = choice.provider(settings.read())
    for reference in references.values():
        cluster.load(reference)
    return references


def apply(tenant: Tenancy, name: str, image: str, **capabilities: object) -> None:
    """An Agent of that framework, by the files beside this one."""
    module = FRAMEWORKS[name]
    files = {each: (AGENTS / each).read_text() for each in ("run.py", f"{module}.py")}
    tenant.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-src"}, "data": files},
        tenant.document(
            name,
            image=image,
            entry=f"python3 -u run.py {module}",
            source={"configMap": f"{name}-src"},
            capabilities={"network": False, **capabilities},
            resources={"cpu": "200m", "mem": "768Mi"},
            podTemplate={"env": [{"name": key, "value": value} for key, value in ENVIRONMENT.items()]},
        ),
    )


def records(kernel: Kernel, tenant: Tenancy, name: str) -> list[dict]:
    """The audit of one agent, oldest first."""
    return kernel.get(f"/v1/audit?agent=agent://{tenant.name}/{name}&limit=500")["records"]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_a_sealed_agent_asks_a_model_and_a_tool_and_each_call_is_on_record_with_its_cost(
    tenant: Tenancy, kernel: Kernel, images: dict[str, str], name: str
):
    tenant.sample("word-count")
    apply(tenant, name, images[name], syscalls=["model.generate", "tool.invoke"])
    tenant.wait(f"agent/{name}")
    said = {each["what"]: each for each in tenant.said(name, seconds=240)}
    assert '"words":7' in said.get("answer", {}).get("text", "").replace(" ", ""), said
    print(f"\n{name}: imported in {said['imported']['seconds']} s, answered in {said['answer']['seconds']} s")

    def both() -> list[dict]:
        found = [each for each in records(kernel, tenant, name) if each["syscall"] in ("model.generate", "tool.invoke")]
        return found if [each["syscall"] for each in found].count("model.generate") > 1 else []

    calls = until(both, what="the record of the second question")  # the tool's lies between the two
    assert {each["decision"] for each in calls} == {"allow"}
    assert [each["subject"] for each in calls if each["syscall"] == "tool.invoke"] == ["word_count"]
    for each in calls:
        if each["syscall"] == "model.generate":
            dollars = each["tokens_in"] * float(models.STANDIN_PRICE["input"]) + each["tokens_out"] * float(
                models.STANDIN_PRICE["output"]
            )
            assert each["tokens_out"] > 0
            assert abs(each["micro_usd"] - dollars) <= 1, each


def asked(kubectl: Kubectl) -> dict[str, int]:
    """How often each model was asked, by the stand-in's own count."""
    service = f"/api/v1/namespaces/{models.NAMESPACE}/services/standin:8000/proxy/asked"
    return json.loads(kubectl.run("get", "--raw", service))["asked"]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_without_the_syscall_the_framework_says_what_policy_said_and_no_model_was_asked(
    tenant: Tenancy, kubectl: Kubectl, kernel: Kernel, images: dict[str, str], name: str
):
    before = asked(kubectl)
    tenant.sample("word-count")
    apply(tenant, name, images[name], syscalls=["tool.invoke"])
    tenant.wait(f"agent/{name}")
    said = {each["what"]: each for each in tenant.said(name, seconds=240)}
    assert "answer" not in said, said
    assert said["refused"]["status"] == 403
    assert "model.generate" in said["refused"]["message"], said["refused"]
    assert asked(kubectl) == before
    denied = until(
        lambda: [r for r in records(kernel, tenant, name) if r["syscall"] == "model.generate"], what="the denial"
    )
    assert {each["decision"] for each in denied} == {"deny"}
    assert sum(each.get("tokens_out", 0) for each in denied) == 0
