"""The rim on real sockets: who may knock, what is read, and the caller that leaves."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from dialects_stage import ME, Stage

from aion.api import errors
from aion.api.grant import Limits
from aion.dialects.wire import Answer, Request
from aion.syscalls import testing
from aion.syscalls.call import Caller
from aion.syscalls.toollink import Ask


class Recited:
    """A face that answers what a test says, and notes what it was asked and how it ended."""

    paths = frozenset({"/recited"})

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.cancelled = asyncio.Event()

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        if request.method == "GET":
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return Answer(201, body=b'{"said":1}')

    def refuse(self, caller: Caller, error: errors.SyscallError) -> Answer:
        assert caller == ME
        return Answer(error.http_status, body=json.dumps(error.code).encode())


async def post(port: int, path: str = "/recited", data: bytes = b"{}", **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}{path}", data=data, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_a_request_reaches_its_face_whole_and_its_answer_comes_back():
    face, stage = Recited(), Stage(testing.granted())
    async with stage.served(face) as port:
        assert await post(port, data=b"x" * 100_000, Authorization="Bearer secret") == (201, {"said": 1})
    (asked,) = face.asked
    assert (asked.method, asked.path, asked.body, asked.caller) == ("POST", "/recited", b"x" * 100_000, ME)


async def test_what_is_served_nowhere_is_told_what_is():
    async with Stage(testing.granted()).served(Recited()) as port:
        status, said = await post(port, "/elsewhere")
    assert status == 404
    assert "/recited" in said["error"]["message"]


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1.evil.example", "null", "http://[", "file://"]
)
async def test_a_page_of_another_origin_is_refused(origin: str):
    face = Recited()
    async with Stage(testing.granted()).served(face) as port:
        assert await post(port, Origin=origin) == (403, "E_POLICY")
    assert face.asked == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8010", "127.0.0.1.evil.example", "127.0.0.1@evil.example", ""]
)
async def test_a_name_that_was_made_to_resolve_to_this_machine_is_refused(host: str):
    async with Stage(testing.granted()).served(Recited()) as port:
        assert await post(port, Host=host) == (403, "E_POLICY")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8010", "[::1]:8010", "LOCALHOST:1"])
async def test_this_machines_own_names_are_served(host: str):
    async with Stage(testing.granted()).served(Recited()) as port:
        assert (await post(port, Host=host, Origin=f"http://{host}"))[0] == 201


async def test_on_the_unix_socket_a_host_is_any_word(tmp_path: Path):
    unix = tmp_path / "gw.sock"
    async with (
        Stage(testing.granted()).served(Recited(), unix=unix),
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(unix))) as session,
        session.post("http://gateway/recited") as answer,
    ):
        assert answer.status == 201


async def test_a_body_beyond_the_policys_limit_is_refused_in_the_dialects_own_form():
    stage = Stage(testing.granted(limits=Limits(max_body_bytes=10)))
    async with stage.served(Recited()) as port:
        assert await post(port, data=b"x" * 11) == (400, "E_BAD_REQUEST")


async def test_when_the_caller_leaves_its_work_is_cancelled():
    face = Recited()
    async with Stage(testing.granted()).served(face) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /recited HTTP/1.1\r\nhost: localhost\r\n\r\n")
        while not face.asked:
            await asyncio.sleep(0.001)
        writer.close()
        await asyncio.wait_for(face.cancelled.wait(), 5)
    assert await reader.read() == b""


async def test_a_slow_tool_of_a_modern_client_that_leaves_is_cancelled_and_recorded():
    begun = asyncio.Event()

    async def slow(_ask: Ask) -> bytes:
        begun.set()
        await asyncio.sleep(60)
        return b"{}"

    stage = Stage(testing.granted(tools=[testing.a_tool()]), slow)
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "_meta": meta}}
    headers = {
        "Content-Type": "application/json", "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call", "Mcp-Name": "echo",
    }  # fmt: skip
    async with stage.served() as port:
        call = asyncio.create_task(post(port, "/mcp", json.dumps(message).encode(), **headers))
        await begun.wait()
        call.cancel()
        async with asyncio.timeout(5):
            while not stage.codes:
                await asyncio.sleep(0.001)
    assert stage.codes == [("tool.invoke", "E_UNAVAILABLE")]


async def test_a_header_is_read_without_the_blanks_around_it_and_twice_is_neither():
    face = Recited()
    async with Stage(testing.granted()).served(face) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /recited HTTP/1.1\r\nhost: localhost\r\nx-one:  a \t\r\nX-Two: a\r\nx-two: b\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
    headers = face.asked[0].headers
    assert (headers["x-one"], headers["x-two"]) == ("a", "a, b")
