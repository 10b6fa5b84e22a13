"""A gateway's egress listener for the tunnel's tests: it answers CONNECT by what the host's name says, then echoes or serves.

    echo.test      opened at once        slow.test    opened after 150 ms      talks.test    speaks first, in the answer's segment
    deny.test      403                   dead.test    502                      late.test     504            closed.test   503
    bytewise.test  its answer dribbles   mute.test    hangs up                 noise.test    is no HTTP     endless.test  a head without end
    *.http.test    a small HTTP server   tls.test     the same behind TLS

It runs in a process of its own, so that it answers whatever the test waits for: `python tunnel_gateway.py FOLDER` makes
FOLDER/egress.sock and FOLDER/gw.sock, and writes each wanted HOST:PORT on a line of its standard output.
"""

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

REFUSED = {"deny.test": 403, "dead.test": 502, "late.test": 504, "closed.test": 503}
OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        said = f"{head.split()[1]} of {head.lower().split('host: ')[1].split()[0]}".encode()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\ncontent-type: text/plain\r\n\r\n%s" % (len(said), said))
        await writer.drain()


async def answer(folder: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, target, version = head.split("\r\n")[0].split(" ")
    assert (method, version) == ("CONNECT", "HTTP/1.1")
    assert f"Host: {target}\r\n" in head
    print(target, flush=True)
    host = target.rpartition(":")[0]
    if status := REFUSED.get(host):
        writer.write(b'HTTP/1.1 %d No\r\ncontent-length: 13\r\n\r\n{"error":"no"}' % status)
        return
    if host == "mute.test":
        return
    if host == "noise.test":
        writer.write(b"SSH-2.0-x\r\n\r\n")
        return
    if host == "endless.test":
        writer.write(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 9000)
        return
    if host == "slow.test":
        await asyncio.sleep(0.15)
    if host == "bytewise.test":
        for byte in OPENED:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        writer.write(b"220 hi\r\n")
    else:
        writer.write(OPENED + (b"220 hi\r\n" if host == "talks.test" else b""))
    if host == "tls.test":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        await writer.start_tls(context)
    await (http if host == "tls.test" or host.endswith(".http.test") else echo)(reader, writer)


async def serve(folder: Path) -> None:
    async def egress(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await answer(folder, reader, writer)
        writer.close()

    async def own(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await http(reader, writer)
        writer.close()

    doors = [
        await asyncio.start_unix_server(egress, folder / "egress.sock", backlog=256),
        await asyncio.start_unix_server(own, folder / "gw.sock", backlog=256),
    ]
    print("ready", flush=True)
    await asyncio.gather(*(door.serve_forever() for door in doors))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
