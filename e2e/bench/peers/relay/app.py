# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp==3.14.5", "uvloop==0.22.1"]
# ///
"""The least that one would write in Python: aiohttp passes every request on to one backend and looks at nothing.

A peer of the benchmark `gateway`: what it costs is what relaying in Python costs, and what the gateway takes beyond it is the
price of checking and recording. It stands apart with an environment of its own, as every peer. It must never be made slow on
purpose: uvloop, one kept pool, no access log.

    app.py BACKEND_URL     serves on a free port of 127.0.0.1, and prints its address first
"""

import asyncio
import socket
import sys

import aiohttp
import uvloop
from aiohttp import web

BACKEND = sys.argv[1]


async def main() -> None:
    """Serve until killed."""
    connector = aiohttp.TCPConnector(limit=256)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def relay(request: web.BaseRequest) -> web.Response:
            body = await request.read()
            headers = {"Content-Type": request.content_type}
            async with session.request(request.method, BACKEND + request.path_qs, data=body, headers=headers) as answer:
                said = await answer.read()
                return web.Response(body=said, status=answer.status, content_type=answer.content_type)

        runner = web.ServerRunner(web.Server(relay, access_log=None))
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        await web.SockSite(runner, listening).start()
        print("{}:{}".format(*listening.getsockname()), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
