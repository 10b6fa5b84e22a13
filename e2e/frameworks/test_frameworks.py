"""Agents on other people's frameworks, unmodified and sealed: a model and an MCP tool through the gateway, each call on record with its cost.

Nothing in the images knows of AION-OS: the framework's own clients open TCP to 127.0.0.1:8010, which the preloaded tunnel leads
to the gateway. The model is the stand-in of `e2e/models`, which calls the first tool it is offered and then says what that said.
"""

import functools
from pathlib import Path

import pytest

from clusters import choice, settings
from installation import up
from installation.kernel import Kernel
from installation.models import STANDIN_PRICE
from installation.tenancy import Tenancy, until

HERE = Path(__file__).resolve().parent
AGENTS = HERE / "agents"
FRAMEWORKS = {"langgraph": "langgraph_agent", "openai-agents": "openai_agents_agent", "crewai": "crewai_agent"}
ENVIRONMENT = {
    "OPENAI_BASE_URL": "http://127.0.0.1:8010/v1",
    "OPENAI_API_KEY": "none-is-needed",
    "MCP_URL": "http://127.0.0.1:8010/mcp",
}
MORE = {
    "langgraph": {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_API_KEY": "none",
    },  # its telemetry is off unless it is asked for
    # What it keeps between runs, and its lock files: the one writable place that a sealed container has is memory.
    "crewai": {"HOME": "/dev/shm", "TMPDIR": "/dev/shm"},
}
TELEMETRY = {
    "langgraph": "api.smith.langchain.com:443",
    "openai-agents": "api.openai.com:443",
    "crewai": "telemetry.crewai.com:4319",
}
EACH = pytest.mark.parametrize("name", FRAMEWORKS)


@functools.cache
def image(name: str) -> str:
    """Built from PyPI by the lock beside this file, and put where the cluster's nodes find it."""
    (reference,) = up.build(name).values()
    choice.provider(settings.read()).load(reference)
    return reference


def apply(tenant: Tenancy, name: str, *, syscalls: list[str]) -> None:
    """An Agent of that framework, by the files beside this one."""
    module = FRAMEWORKS[name]
    environment = ENVIRONMENT | MORE.get(name, {})
    files = {each: (AGENTS / each).read_text() for each in ("run.py", f"{module}.py")}
    tenant.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-src"}, "data": files},
        tenant.document(
            name,
            image=image(name),
            entry=f"python3 -u run.py {module}",
            source={"configMap": f"{name}-src"},
            capabilities={"network": False, "syscalls": syscalls},
            resources={"cpu": "200m", "mem": "768Mi"},
            podTemplate={"env": [{"name": key, "value": value} for key, value in environment.items()]},
        ),
    )


def records(kernel: Kernel, tenant: Tenancy, name: str) -> list[dict]:
    """The audit of one agent, oldest first."""
    return kernel.get(f"/v1/audit?agent=agent://{tenant.name}/{name}&limit=500")["records"]


@EACH
def test_a_sealed_agent_asks_a_model_and_a_tool_and_each_call_is_on_record_with_its_cost(
    tenant: Tenancy, kernel: Kernel, name: str
):
    tenant.sample("word-count")
    apply(tenant, name, syscalls=["model.generate", "tool.invoke"])
    tenant.wait(f"agent/{name}")
    said = {each["what"]: each for each in tenant.said(name, seconds=240)}
    counted = '"words":' if name == "crewai" else '"words":7'  # CrewAI writes a prompt of its own around the question
    assert counted in said.get("answer", {}).get("text", "").replace(" ", ""), said
    print(f"\n{name}: imported in {said['imported']['seconds']} s, answered in {said['answer']['seconds']} s")

    found = until(
        lambda: [r for r in records(kernel, tenant, name) if r["syscall"] == "model.generate"][1:],
        what="the second record",
    )
    asked = [each for each in records(kernel, tenant, name) if each["syscall"] in ("model.generate", "tool.invoke")]
    assert found
    assert {each["decision"] for each in asked} == {"allow"}
    assert [each["subject"] for each in asked if each["syscall"] == "tool.invoke"] == ["word_count"]
    for each in asked:
        if each["syscall"] == "model.generate":
            dollars = each["tokens_in"] * float(STANDIN_PRICE["input"]) + each["tokens_out"] * float(
                STANDIN_PRICE["output"]
            )
            assert each["tokens_out"] > 0
            assert abs(each["micro_usd"] - dollars) <= 1, each

    # What the framework tells its maker of itself goes nowhere, is on record, and did not keep the answer.
    sent = until(
        lambda: [r for r in records(kernel, tenant, name) if r["syscall"] == "net.fetch"], what="its telemetry"
    )
    assert {(each["decision"], each["code"]) for each in sent} == {("deny", "E_CAPABILITY")}
    assert TELEMETRY[name] in {each["subject"] for each in sent}, sent


@EACH
def test_without_the_tool_the_framework_finds_none_and_the_model_answers_alone(
    tenant: Tenancy, kernel: Kernel, name: str
):
    tenant.sample("word-count")
    apply(tenant, name, syscalls=["model.generate"])
    tenant.wait(f"agent/{name}")
    said = {each["what"]: each for each in tenant.said(name, seconds=240)}
    assert '"words"' not in said.get("answer", {}).get("text", ""), said
    asked = until(
        lambda: [r for r in records(kernel, tenant, name) if r["syscall"] == "model.generate"], what="the record"
    )
    assert {each["decision"] for each in asked} == {"allow"}
    assert "tool.invoke" not in {each["syscall"] for each in records(kernel, tenant, name)}


@EACH
def test_without_the_syscall_the_framework_says_what_policy_said_and_no_model_was_asked(
    tenant: Tenancy, kernel: Kernel, name: str
):
    tenant.sample("word-count")
    apply(tenant, name, syscalls=["tool.invoke"])
    tenant.wait(f"agent/{name}")
    said = {each["what"]: each for each in tenant.said(name, seconds=240)}
    assert "answer" not in said, said
    assert said["refused"]["type"] in (
        "PermissionDeniedError",
        "OpenAIPermissionDeniedError",
    )  # OpenAI's, and LangChain's
    assert said["refused"]["status"] == 403
    assert "model.generate" in said["refused"]["message"], said["refused"]
    denied = until(
        lambda: [r for r in records(kernel, tenant, name) if r["syscall"] == "model.generate"], what="the denial"
    )
    assert {each["decision"] for each in denied} == {"deny"}
    assert sum(each.get("tokens_out", 0) for each in denied) == 0
