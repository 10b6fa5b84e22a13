"""Clients that know nothing of AION-OS, one a function: `python tunnel_clients.py NAME` prints what it got, as JSON."""

import asyncio
import http.client
import json
import socket
import sys
import urllib.error
import urllib.request


def urllib_client():
    got = [
        urllib.request.urlopen("http://a.http.test/plain").read().decode(),
        urllib.request.urlopen("http://a.http.test/timed", timeout=5).read().decode(),
        urllib.request.urlopen("http://127.0.0.1:8010/v1/models").read().decode(),
    ]
    for host in ("deny.test", "dead.test", "late.test"):
        for timeout in (None, 5):
            try:
                urllib.request.urlopen(f"http://{host}/", timeout=timeout)
            except urllib.error.URLError as error:
                got.append(type(error.reason).__name__)
    return got


def http_client():
    conn = http.client.HTTPConnection("b.http.test", 80, timeout=5, source_address=("0.0.0.0", 0))
    got = []
    for path in ("/one", "/two"):
        conn.request("GET", path)
        got.append(conn.getresponse().read().decode())
    return [*got, conn.sock.getpeername()[1]]


def requests_client():
    import requests

    with requests.Session() as session:
        got = [session.get("http://c.http.test/r", timeout=5).text]
        try:
            session.get("http://deny.test/")
        except requests.ConnectionError as error:
            got.append("Permission denied" in str(error))
    return got


async def _streams():
    reader, writer = await asyncio.open_connection("slow.test", 7)
    writer.write(b"x" * 300_000)
    writer.write_eof()
    size = len(await reader.read(-1))
    name = writer.get_extra_info("socket").family.name
    writer.close()
    got = [size, name]
    for host in ("deny.test", "dead.test"):
        try:
            await asyncio.open_connection(host, 80)
        except OSError as error:
            got.append(error.errno)
    return got


async def _serves_itself():
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(b"local\n")
    heard = (await reader.read()).decode()
    writer.close()
    server.close()
    return [heard, port > 0]


async def _many_by_aiohttp():
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def get(i):
            async with session.get(f"http://n{i}.http.test/{i}") as response:
                return await response.text()

        texts = await asyncio.gather(*(get(i) for i in range(100)))
        try:
            await session.get("http://deny.test/")
        except aiohttp.ClientConnectorError as error:
            return [len(set(texts)), error.errno]
    return []


async def _all():
    return [await _streams(), await _serves_itself(), await _many_by_aiohttp()]


def asyncio_client():
    return asyncio.run(_all())


def uvloop_client():
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_all())


def lookups():
    address = socket.gethostbyname("Named.Test")
    got = [address == socket.gethostbyname("named.test"), socket.gethostbyaddr(address)[0], socket.getfqdn(address)]
    for name in ("a b", "x" * 64, "a\n.test"):
        try:
            socket.getaddrinfo(name, 80)
        except (socket.gaierror, UnicodeError) as error:
            got.append(type(error).__name__)
    return got


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]]()))
