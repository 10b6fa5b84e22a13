# /// script
# requires-python = ">=3.11"
# dependencies = ["httptools==0.9.0", "mcp==2.3.0", "uvicorn==0.54.0", "uvloop==0.22.1"]
# ///
"""One tool on the official MCP SDK's server, as its own guide writes one: stateless, with JSON answers.

A peer of the benchmark `gateway`, which asks the same tools/call of the gateway's own /mcp. The tool answers at once by
itself, where the gateway's stands behind a runner. It stands apart with an environment of its own. It must never be made slow
on purpose: uvloop, httptools, no access log, no sessions to keep.

    app.py     serves on a free port of 127.0.0.1, and prints its address first
"""

import socket

import uvicorn
from mcp.server import MCPServer
from pydantic import BaseModel

server = MCPServer("bench", log_level="ERROR")


class Found(BaseModel):
    query: str
    limit: int


@server.tool()
async def web_search(query: str, limit: int = 5) -> Found:
    """Answer with what was asked."""
    return Found(query=query, limit=limit)


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    print("{}:{}".format(*listening.getsockname()), flush=True)
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", access_log=False, log_level="error")
    uvicorn.Server(config).run(sockets=[listening])
