"""The one syscall that is measured: its request, and the grant that lets it through after every check.

Apart because all sides get the same bytes. The request names a capability, a task and a budget; the grant's tool has a
schema with bounds. It must never be a call that some check passes over.
"""

import json

from aion.api import mcp
from aion.api.grant import Grant, Limits, ToolGrant

TENANT = "tenant-a"
AGENT = f"agent://{TENANT}/researcher"
SYSCALL = "tool.invoke"
TARGET = f"/v1/syscall/{SYSCALL}"
QUERY = "capability systems for autonomous agents"
"""In every right answer: the tool answers with what it was asked."""
PARAMS = {"tool": "web_search", "query": QUERY, "limit": 5}

REQUEST = json.dumps(
    {
        "schema": "aion.syscall.v1",
        "syscall": SYSCALL,
        "agent_id": AGENT,
        "context": {"task_id": "task-7f3a2c", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "seq": 42},
        "caps_required": ["network"],
        "params": PARAMS,
        "budget": {"usd_max": 0.01, "latency_ms": 20000},
    }
).encode()

MCP_TARGET = "/mcp"
MCP_REQUEST = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {
            "name": "web_search",
            "arguments": {"query": QUERY, "limit": 5},
            "_meta": {mcp.VERSION: mcp.MODERN, mcp.CAPABILITIES: {}},
        },
    }
).encode()
MCP_HEADERS = (
    "Accept: application/json, text/event-stream",
    f"MCP-Protocol-Version: {mcp.MODERN}",
    "Mcp-Method: tools/call",
    "Mcp-Name: web_search",
)
"""The same call as an MCP client of the newest revision makes it."""

_SCHEMA = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "minLength": 1, "maxLength": 400},
        "limit": {"type": "integer", "minimum": 1, "maximum": 20},
    },
    "required": ["query"],
    "additionalProperties": False,
}


def grant(runner: str) -> Grant:
    """What the agent may do; `runner` is the address of its one tool."""
    tool = ToolGrant(
        name="web_search",
        version="1.2.0",
        endpoint=f"http://{runner}",
        input_schema=_SCHEMA,
        capabilities_required=("network",),
    )
    return Grant(
        agent_id=AGENT,
        tenant=TENANT,
        name="researcher",
        version="1.0.0",
        capabilities=("network",),
        syscalls=(SYSCALL, "net.fetch"),
        tools=(tool,),
        limits=Limits(max_concurrency=256),
        budget_micro_usd=10_000_000,
        trace_ratio=0.01,
        policy_revision=7,
        policy_digest="sha256:" + "0" * 64,
    )
