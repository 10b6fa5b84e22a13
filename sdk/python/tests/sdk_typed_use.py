"""How authors use the SDK, as a type checker sees it: test_sdk_typing.py checks this file, nothing runs it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from typing_extensions import assert_type

import aion_sdk
from aion_sdk import Agent, AsyncAgent, Engine, Result, Usage
from aion_sdk.errors import Busy, PolicyDenied, SyscallError


def plain() -> None:
    with Agent(agent_id="agent://a/b", kernel_url="unix:///x", secret=b"s", tenant="a", timeout=3) as agent:
        assert_type(agent, Agent)
        res = agent.syscall("tool.invoke", {"tool": "x"}, budget={"usd_max": Decimal("0.1")}, timeout=2, task_id="t")
        assert_type(res, Result)
        assert_type(res["items"], Any)
        assert_type(res.usage, Usage)
        assert_type(res.usage.cost_usd, float)
        assert_type(res.engine, Engine)
        assert_type(res.audit_id, str)
    assert_type(Agent.from_env(), Agent)
    assert_type(agent.agent_id, str)


async def in_asyncio() -> None:
    async with AsyncAgent.from_env({}) as agent:
        assert_type(agent, AsyncAgent)
        assert_type(await agent.syscall("agent.yield"), Result)


def errors(agent: Agent) -> None:
    try:
        agent.syscall("memory.get", idempotent=True)
    except Busy as busy:
        assert_type(busy.retry_after, "float | None")
    except PolicyDenied as denied:
        assert_type(denied.rule, "str | None")
    except SyscallError as other:
        assert_type(other.code, str)


def mistakes(agent: Agent) -> None:
    print(aion_sdk.AsyncAgnet)  # type: ignore[attr-defined]
    agent.syscall()  # type: ignore[call-arg]
    agent.syscall("x", {"a": 1}, 5)  # type: ignore[arg-type, call-arg]
    agent.syscall("x", timeout="5")  # type: ignore[arg-type]
    Agent("agent://a/b")  # type: ignore[call-arg]
