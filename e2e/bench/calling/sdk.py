"""The SDK's caller: sequential syscalls over the unix socket, as an agent's code makes them.

A program of its own, because a client that shares an interpreter with the benchmark would wait for its lock, and because its CPU
is measured. It must never load what an agent would not.

    python sdk.py Agent|AsyncAgent SOCKET AGENT_ID PARAMS_JSON CALLS     prints one JSON object, as `peers/clients/ask.py` does
"""

import json
import sys
import time

import aion_sdk

WARMUP = 50
BUDGET = {"usd_max": 0.01, "latency_ms": 20000}


def plain(path: str, agent_id: str, params: dict[str, object], calls: int) -> None:
    """By `Agent`."""
    took: list[float] = []
    with aion_sdk.Agent(agent_id, f"unix://{path}") as agent:
        for number in range(WARMUP + calls):
            if number == WARMUP:
                cpu = time.process_time()
            began = time.perf_counter()
            agent.syscall("tool.invoke", params, budget=BUDGET, task_id="task-7f3a2c", caps_required=["network"])
            took.append((time.perf_counter() - began) * 1000)
    _report(took[WARMUP:], time.process_time() - cpu)


async def with_asyncio(path: str, agent_id: str, params: dict[str, object], calls: int) -> None:
    """By `AsyncAgent`."""
    took: list[float] = []
    async with aion_sdk.AsyncAgent(agent_id, f"unix://{path}") as agent:
        for number in range(WARMUP + calls):
            if number == WARMUP:
                cpu = time.process_time()
            began = time.perf_counter()
            await agent.syscall("tool.invoke", params, budget=BUDGET, task_id="task-7f3a2c", caps_required=["network"])
            took.append((time.perf_counter() - began) * 1000)
    _report(took[WARMUP:], time.process_time() - cpu)


def _report(took: list[float], cpu_s: float) -> None:
    print(json.dumps({"ms": took, "cpu_ms": cpu_s * 1000 / len(took)}))


if __name__ == "__main__":
    kind, path, agent_id, params, calls = sys.argv[1:]
    if kind == "Agent":
        plain(path, agent_id, json.loads(params), int(calls))
    else:
        import asyncio

        asyncio.run(with_asyncio(path, agent_id, json.loads(params), int(calls)))
