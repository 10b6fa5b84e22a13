"""The host behind every tunnel: `ping` is said back, `pour N` is answered by N bytes, `take N` is read and said `done`."""

import asyncio

import uvloop

BLOCK = bytes(64 << 10)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, until it ends."""
    while line := await reader.readline():
        word, _, count = line.decode().strip().partition(" ")
        left = int(count or 0)
        if word == "pour":
            while left > 0:
                writer.write(BLOCK[:left])
                left -= len(BLOCK)
                await writer.drain()
        else:
            while left > 0:
                left -= len(await reader.read(min(left, 256 << 10)))
            writer.write(b"done\n")
    writer.close()


async def main() -> None:
    """Serve on a free port, and say which."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    print(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
