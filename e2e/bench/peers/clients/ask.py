# /// script
# requires-python = ">=3.11"
# dependencies = ["aiohttp==3.14.5", "httpx==0.28.1", "requests==2.32.5"]
# ///
"""The HTTP clients that an agent's author would reach for, each asking the same syscall again and again, one after another.

Peers of the benchmark `sdk`, in an environment of their own. Each is used as its own documentation says for a program that asks
the same server often; `requests` is there without a Session too, for that is how most code is written. An answer is read as JSON
and looked at, as an SDK does. It must never be made slow on purpose.

    ask.py CLIENT SOCKET URL BODY_FILE CALLS     prints one JSON object: each call's ms, and the process's CPU in ms a call
"""

import asyncio
import http.client
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

WARMUP = 50
HEADERS = {"Content-Type": "application/json"}
PATH, SOCKET, URL, BODY = (
    "/v1/syscall/tool.invoke",
    sys.argv[2],
    sys.argv[3] + "/v1/syscall/tool.invoke",
    Path(sys.argv[4]),
)
REQUEST = json.loads(BODY.read_text())


def looked_at(answer: Any) -> None:
    """An answer that is not the tool's is no measurement."""
    if answer["status"] != "ok":
        sys.exit(f"got {answer}, expected a result")


def report(took: list[float], cpu_s: float) -> None:
    print(json.dumps({"ms": took, "cpu_ms": cpu_s * 1000 / len(took)}))


def timed(ask: Callable[[], Any], calls: int) -> None:
    for _ in range(WARMUP):
        looked_at(ask())
    took, cpu = [], time.process_time()
    for _ in range(calls):
        began = time.perf_counter()
        looked_at(ask())
        took.append((time.perf_counter() - began) * 1000)
    report(took, time.process_time() - cpu)


async def timed_async(ask: Callable[[], Awaitable[Any]], calls: int) -> None:
    for _ in range(WARMUP):
        looked_at(await ask())
    took, cpu = [], time.process_time()
    for _ in range(calls):
        began = time.perf_counter()
        looked_at(await ask())
        took.append((time.perf_counter() - began) * 1000)
    report(took, time.process_time() - cpu)


class UnixConnection(http.client.HTTPConnection):
    """The standard library's client, on a unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(SOCKET)


def of_http_client(calls: int) -> None:
    connection = UnixConnection("localhost")

    def ask() -> Any:
        connection.request("POST", PATH, body=json.dumps(REQUEST), headers=HEADERS)
        return json.loads(connection.getresponse().read())

    timed(ask, calls)


def of_requests(calls: int) -> None:
    import requests

    timed(lambda: requests.post(URL, json=REQUEST, timeout=30).json(), calls)


def of_requests_session(calls: int) -> None:
    import requests

    with requests.Session() as session:
        timed(lambda: session.post(URL, json=REQUEST, timeout=30).json(), calls)


def of_httpx(calls: int) -> None:
    import httpx

    with httpx.Client(transport=httpx.HTTPTransport(uds=SOCKET), base_url="http://localhost") as client:
        timed(lambda: client.post(PATH, json=REQUEST).json(), calls)


def of_httpx_tcp(calls: int) -> None:
    import httpx

    with httpx.Client() as client:
        timed(lambda: client.post(URL, json=REQUEST).json(), calls)


async def of_httpx_async(calls: int) -> None:
    import httpx

    transport = httpx.AsyncHTTPTransport(uds=SOCKET)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

        async def ask() -> Any:
            return (await client.post(PATH, json=REQUEST)).json()

        await timed_async(ask, calls)


async def of_aiohttp(calls: int) -> None:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(SOCKET)) as session:

        async def ask() -> Any:
            async with session.post(f"http://localhost{PATH}", json=REQUEST) as answer:
                return await answer.json()

        await timed_async(ask, calls)


CLIENTS: dict[str, Callable[[int], Any]] = {
    "http.client": of_http_client,
    "requests": of_requests,
    "requests-session": of_requests_session,
    "httpx": of_httpx,
    "httpx-tcp": of_httpx_tcp,
    "httpx-async": of_httpx_async,
    "aiohttp": of_aiohttp,
}

if __name__ == "__main__":
    client = CLIENTS[sys.argv[1]]
    if asyncio.iscoroutinefunction(client):
        asyncio.run(client(int(sys.argv[5])))
    else:
        client(int(sys.argv[5]))
