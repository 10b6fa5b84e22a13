"""The gateway's own sockets with the tools that the MCP conformance suite asks for; everything but the tools is real.

It prints its port and serves until it is ended. It must never be a server for anybody else: its audit is in memory.
"""

import asyncio
import json
import socket
import time

import msgspec

from aion.api import errors, syscall
from aion.dialects.served import Served
from aion.gateway.admission import Admission
from aion.gateway.agentface import AgentFace
from aion.gateway.door import Door
from aion.gateway.peers import Known
from aion.serving.server import Server
from aion.syscalls import testing
from aion.syscalls.call import Caller
from aion.syscalls.router import Router
from aion.syscalls.tool_invoke import ToolInvoke
from aion.telemetry import metrics

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
PICTURE = {"type": "image", "data": PNG, "mimeType": "image/png"}


def resource(uri, kind, text):
    return {"type": "resource", "resource": {"uri": uri, "mimeType": kind, "text": text}}


ANSWERS = {
    "test_simple_text": [{"type": "text", "text": "This is a simple text response for testing."}],
    "test_image_content": [PICTURE],
    "test_audio_content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}],
    "test_embedded_resource": [
        resource("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    ],
    "test_multiple_content_types": [
        {"type": "text", "text": "Multiple content types test:"},
        PICTURE,
        resource("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ],
}
FAILS = "test_error_handling"


class Tools:
    """A toolchannels.Tools: the endpoint's host is the tool's name."""

    async def invoke(self, endpoint, _ask, *, idempotent):  # noqa: ARG002
        name = endpoint.removeprefix("http://").partition(".")[0]
        if name == FAILS:
            raise errors.UpstreamFailed("This tool intentionally returns an error for testing")
        return json.dumps({"content": ANSWERS[name]}).encode()


async def main():
    door = Door(testing.AGENT, clock=time.monotonic)
    tools = [testing.a_tool(name, endpoint=f"http://{name}.invalid:8020") for name in (*ANSWERS, FAILS)]
    door.grant(testing.granted(tools=[msgspec.structs.replace(tool, description=tool.name) for tool in tools]))
    router = Router(
        door=door,
        handlers=(ToolInvoke(Tools()),),
        audit=testing.KeptAudit(),
        metrics=metrics.SyscallMetrics(metrics.registry(), syscall.NAMES),
    )
    served = Served(router, standing=lambda who: door.standing(who, who.agent_id))
    caller = Caller(testing.TENANT, testing.AGENT)
    face = AgentFace(router, door=door, admission=Admission(door), caller=caller, dialects=served)
    listening = socket.create_server(("127.0.0.1", 0))
    await Server().listen(listening, face, peers=Known(frozenset()))
    print(listening.getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
