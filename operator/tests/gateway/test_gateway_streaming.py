"""A stream on the wire: events in order, the whole answer at the end, and nobody paid for who is gone."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from aion.api import errors, syscall
from aion.api.generation import Chunk, ToolDelta
from aion.dialects import served, streaming
from aion.gateway.admission import Admission
from aion.gateway.agentface import AgentFace
from aion.gateway.door import Door
from aion.gateway.peers import Known
from aion.serving.server import Server
from aion.syscalls import testing
from aion.syscalls.call import Caller
from aion.syscalls.router import Router
from aion.syscalls.testing import KeptAudit, ScriptedStream
from aion.telemetry import metrics


class Served:
    def __init__(self, handler: ScriptedStream, url: str, audit: KeptAudit, door: Door) -> None:
        self.handler, self.url, self.audit, self.door = handler, url, audit, door

    async def settled(self) -> None:
        async with asyncio.timeout(3):
            while self.door.inflight or not self.audit.records:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(handler: ScriptedStream) -> AsyncIterator[Served]:
    audit = KeptAudit()
    door = Door(testing.AGENT, clock=asyncio.get_running_loop().time)
    door.grant(testing.granted())
    router = Router(
        door=door, handlers=(handler,), audit=audit, metrics=metrics.SyscallMetrics(metrics.registry(), syscall.NAMES)
    )
    face = AgentFace(
        router,
        door=door,
        admission=Admission(door),
        caller=Caller(testing.TENANT, testing.AGENT),
        dialects=served.Served(router, standing=lambda who: door.standing(who, who.agent_id)),
    )
    server, listening = Server(), socket.create_server(("127.0.0.1", 0))
    await server.listen(listening, face, peers=Known(frozenset({os.getuid()})))
    try:
        port = listening.getsockname()[1]
        yield Served(handler, f"http://127.0.0.1:{port}/v1/syscall/model.generate", audit, door)
    finally:
        await server.close(within_s=0.2)


ASKED = testing.request("model.generate", {"model": "m", "prompt": "hi", "stream": True})


def events(text: str) -> list[tuple[str, Any]]:
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_chunks_come_as_events_and_the_last_is_the_whole_answer():
    script = ScriptedStream(
        Chunk(text="Hel"), Chunk(text="lo"), Chunk(tool_calls=(ToolDelta(index=0, id="c", name="t", arguments="{}"),))
    )
    async with serving(script) as served, aiohttp.ClientSession() as client:
        async with client.post(served.url, data=ASKED) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            said = events(await response.text())
    assert [name for name, _ in said] == ["chunk", "chunk", "chunk", "end"]
    assert said[0][1] == {"text": "Hel"}
    end = said[-1][1]
    assert end["status"] == "ok"
    assert end["result"]["message"]["content"] == "Hello"
    assert end["result"]["message"]["tool_calls"] == [{"id": "c", "name": "t", "arguments": "{}"}]
    assert end["usage"]["cost_usd"] == 0.000004
    assert end["audit_id"] == served.audit.records[0].audit_id


async def test_a_stream_that_breaks_says_so_in_its_last_event():
    script = ScriptedStream(Chunk(text="a"), errors.UpstreamFailed("half an answer"))
    async with serving(script) as served, aiohttp.ClientSession() as client:
        async with client.post(served.url, data=ASKED) as response:
            said = events(await response.text())
    assert [name for name, _ in said] == ["chunk", "error"]
    assert said[-1][1]["error"]["code"] == "E_UPSTREAM"
    assert said[-1][1]["usage"]["tokens_out"] == 1


async def test_who_vanishes_while_the_backend_is_silent_frees_it_at_once():
    async with serving(ScriptedStream(Chunk(text="a"), asyncio.Event())) as served, aiohttp.ClientSession() as client:
        async with client.post(served.url, data=ASKED) as response:
            await response.content.readline()
            assert served.door.inflight == 1
            response.close()
        await served.settled()
        assert served.handler.begun[0].closed == 1
    assert served.audit.records[0].decision == "allow"


async def test_silence_is_broken_by_a_comment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "HEARTBEAT_S", 0.02)
    silence = asyncio.Event()
    async with serving(ScriptedStream(Chunk(text="a"), silence, Chunk(text="b"))) as served:
        async with aiohttp.ClientSession() as client, client.post(served.url, data=ASKED) as response:
            asyncio.get_running_loop().call_later(0.15, silence.set)
            text = await response.text()
    assert 2 <= text.count(":\n") <= 9
    assert [name for name, _ in events(text.replace(":\n", ""))] == ["chunk", "chunk", "end"]


async def test_a_slow_reader_is_waited_for_and_nothing_piles_up():
    script = ScriptedStream(*[Chunk(text="x" * 10_000)] * 4000)
    async with serving(script) as served:
        reader, writer = await asyncio.open_connection(*served.url.split("/")[2].split(":"), limit=1 << 16)
        head = f"POST /v1/syscall/model.generate HTTP/1.1\r\nhost: x\r\ncontent-length: {len(ASKED)}\r\n\r\n"
        writer.write(head.encode() + ASKED)
        await reader.readline()
        await asyncio.sleep(0.2)
        taken = script.begun[0].usage.tokens_out
        assert taken < 2000  # 20 MB would fit into no socket's buffers
        await asyncio.sleep(0.1)
        assert script.begun[0].usage.tokens_out == taken
        writer.close()
        await served.settled()


async def test_a_reader_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "STALLED_S", 0.1)
    script = ScriptedStream(*[Chunk(text="x" * 10_000)] * 4000)
    async with serving(script) as served:
        _, writer = await asyncio.open_connection(*served.url.split("/")[2].split(":"), limit=1 << 10)
        head = f"POST /v1/syscall/model.generate HTTP/1.1\r\nhost: x\r\ncontent-length: {len(ASKED)}\r\n\r\n"
        writer.write(head.encode() + ASKED)
        await served.settled()
        writer.close()
