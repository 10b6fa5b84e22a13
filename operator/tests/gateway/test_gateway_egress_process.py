"""The egress proxy of the real gateway: on both its sockets, by the kernel's grant, into the kernel's audit."""

import asyncio
from pathlib import Path

from egress_stage import echo_server
from gateway_process import agent, granted, pair

from aion.api import channel
from aion.api.grant import FetchRule


async def test_a_tunnel_opens_over_either_socket_and_is_cut_by_the_next_grant(launch: Path, tmp_path: Path):
    async with echo_server() as port:
        rule = FetchRule("127.0.0.1", (port,), private=True, plain=(port,))
        allowed = granted(capabilities=("network",), fetch=(rule,))
        async with pair(launch, tmp_path, allowed) as (kernel, gateway), agent(launch, gateway):
            assert (await gateway.get("/readyz"))[0] == 200
            dials = [
                asyncio.open_unix_connection(str(tmp_path / "egress.sock")),
                asyncio.open_connection("127.0.0.1", gateway.proxy),
            ]
            opened = []
            for dial in dials:
                reader, writer = await dial
                writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\nping".encode())
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
                assert head.startswith(b"HTTP/1.1 200 ")
                assert await asyncio.wait_for(reader.readexactly(4), 5) == b"ping"
                opened.append((reader, writer))
            assert kernel.records == []
            await kernel.send(channel.Granted(granted(capabilities=("network",), policy_revision=8)))
            for reader, writer in opened:
                assert await asyncio.wait_for(reader.read(), 5) == b""
                writer.close()
            async with asyncio.timeout(5):
                records = await kernel.until(2)
        assert {(each.syscall, each.engine, each.decision, each.bytes_in) for each in records} == {
            ("net.fetch", "tunnel/connect", "deny", 4)
        }
        assert all(each.rule.startswith("egress.allow@rev8") for each in records)


async def test_a_revoked_grant_cuts_tunnels_too(launch: Path, tmp_path: Path):
    async with echo_server() as port:
        rule = FetchRule("127.0.0.1", (port,), private=True, plain=(port,))
        allowed = granted(capabilities=("network",), fetch=(rule,))
        async with pair(launch, tmp_path, allowed) as (kernel, gateway), agent(launch, gateway):
            assert (await gateway.get("/readyz"))[0] == 200
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "egress.sock"))
            writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            await kernel.send(channel.Revoked("there is no Agent researcher any more"))
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
            async with asyncio.timeout(5):
                (record,) = await kernel.until(1)
    assert record.rule == "grant.revoked"
