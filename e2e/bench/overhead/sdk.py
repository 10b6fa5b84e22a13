"""The SDK's caller: sequential `Agent.syscall` over the unix socket, as an agent's code makes them.

A program of its own, because a client that shares an interpreter with the benchmark would wait for its lock.

    python sdk.py SOCKET AGENT CALLS PARAMS_JSON      prints each call's milliseconds as one JSON list
"""

import json
import sys
import time

import aion_sdk

WARMUP = 100


def main() -> None:
    """Call, and print."""
    path, agent_id, calls, params = sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])
    took = []
    with aion_sdk.Agent(agent_id, f"unix://{path}") as agent:
        for _ in range(WARMUP + calls):
            began = time.perf_counter()
            agent.syscall("tool.invoke", params)
            took.append((time.perf_counter() - began) * 1000)
    print(json.dumps(took[WARMUP:]))


if __name__ == "__main__":
    main()
