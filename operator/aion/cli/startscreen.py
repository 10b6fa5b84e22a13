"""What `aionctl kernel dev` says: the start screen, an example to copy, and one line a syscall. Pure.

Apart from `laptop`, which runs things, so that what a person reads is tested as text. It must never show a secret that a
person gave.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from aion.api import ids
from aion.api.policy import Bundle
from aion.api.tool import Tool

KEY_ID = "default"
AGENT = "researcher-1"
LOCAL = "local"
"""As whom clients speak that know nothing of us."""

_SAMPLES: dict[str, object] = {"string": "text", "integer": 1, "number": 1, "boolean": True, "array": [], "object": {}}


@dataclass(frozen=True, slots=True)
class Sight:
    """What runs."""

    port: int
    tenants: Sequence[str]
    secret: str
    """What the example says for the first tenant's secret."""
    tools: Sequence[Tool]
    left_out: Sequence[str]
    bundle: Bundle
    digest: str


class Told(msgspec.Struct):
    """What of a syscall's event is worth a line."""

    ts: str
    syscall: str
    decision: str
    audit_id: str
    subject: str = ""
    code: str = ""
    rule: str = ""
    latency_ms: float = 0.0


_told = msgspec.json.Decoder(Told)


def welcome(sight: Sight) -> str:
    """Return the start screen: what runs, what to copy, how to end it."""
    url = f"http://localhost:{sight.port}"
    hosts = ", ".join(f"{host.host}:{port}" for host in sight.bundle.egress.allow for port in host.ports)
    lines = [
        f"AION-OS kernel: {url}",
        "For development: nothing confines a tool here, and nothing is kept when it ends.",
        "",
        f"  tenants   {', '.join(sight.tenants)} (key id {KEY_ID})",
        f"  policy    {sight.digest[:12]}; net.fetch may reach {hosts or 'no host: --search-url or --policy names some'}",
        *_shelf(sight),
        f"  clients   OPENAI_BASE_URL={url}/v1  ANTHROPIC_BASE_URL={url}  MCP {url}/mcp",
        f"            any key; each call is {ids.agent_id(sight.tenants[0], LOCAL)}'s",
        f"  look at   {url}/openapi.json  {url}/metrics",
        "",
        "Try it from another terminal (`pip install aion-sdk`, where it is not there yet):",
        "",
        *(f"    {each}".rstrip() for each in example(sight).splitlines()),
        "",
        "Each syscall is told below. Ctrl-C ends everything.",
        "",
    ]
    return "\n".join(lines)


def _shelf(sight: Sight) -> list[str]:
    if not sight.tools:
        said = ["none yet, so every tool.invoke is E_NO_TOOL: --tools names manifests, --files where their files lie"]
    else:
        width = max(len(tool.tool_name) for tool in sight.tools)
        said = [f"{tool.tool_name:<{width}}  {tool.spec.version}  {tool.spec.entry}" for tool in sight.tools]
    lines = [f"  {'tools' if not n else '':<9} {each}" for n, each in enumerate(said)]
    return lines + [f"  left out  {each}" for each in sight.left_out]


def example(sight: Sight) -> str:
    """Return a program that calls what runs: the search where there is one, else the first tool."""
    tenant = sight.tenants[0]
    names = [tool.tool_name for tool in sight.tools]
    if names and "web_search" not in names:
        params: dict[str, object] = {"tool": names[0], **_params(sight.tools[0].input_schema())}
    else:
        params = {"tool": "web_search", "query": "AION-OS Kernel"}
    return f"""\
from aion_sdk import Agent

agent = Agent(
    agent_id="{ids.agent_id(tenant, AGENT)}",
    kernel_url="http://localhost:{sight.port}",
    secret="{sight.secret}",
    tenant="{tenant}",
)
print(agent.syscall("tool.invoke", {{{", ".join(f"{_python(key)}: {_python(value)}" for key, value in params.items())}}}))
"""


def _python(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _params(schema: dict[str, Any]) -> dict[str, object]:
    """Return a value of the right type for each parameter that is required."""
    properties: dict[str, Any] = schema.get("properties", {})
    return {name: _SAMPLES.get(properties.get(name, {}).get("type", ""), "…") for name in schema.get("required", ())}


def line(row: bytes) -> str | None:
    """Return one event as a line: when, what was decided, what about, how long, and what denied it; None for a gap."""
    try:
        told = _told.decode(row)
    except msgspec.ValidationError:
        return None
    what = f"{told.syscall} {told.subject}".rstrip()
    why = "  ".join(filter(None, (told.code, told.rule)))
    return (
        f"{told.ts[11:19]}  {told.decision:<5}  {what:<36} {told.latency_ms:8.1f} ms  {told.audit_id}  {why}".rstrip()
    )
