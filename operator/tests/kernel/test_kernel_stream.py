"""The event stream on both wires: the same rows, by who asks."""

import asyncio
import contextlib
import json
import time

import aiohttp
import pytest
from kernel_scene import scene, signed, until

from aion.api import event
from aion.kernel import drafts, stream
from aion.kernel.store import Draft

PATH = "/v1/events/stream"


def happened(name, tenant="team"):
    return drafts.of_agent("connected", tenant=tenant, agent=f"agent://{tenant}/{name}", now_ms=1_760_000_000_000)


async def quiet(stage):
    """Until the kernel has said what it has to say by itself."""
    await until(lambda: published(stage))


async def published(stage):
    return (await stage.store.bounds()).newest


@contextlib.asynccontextmanager
async def websocket(stage, query="", headers=None, **who):
    target = PATH + query
    async with stage.session.ws_connect(
        stage.url + target, headers=headers or signed("GET", target, agent_id="", **who)
    ) as socket:
        yield socket


async def row(socket):
    message = await socket.receive(timeout=2)
    assert message.type is aiohttp.WSMsgType.TEXT, message
    return json.loads(message.data)


def listeners(stage):
    return len(stage.kernel.bus._subscriptions)


async def test_a_tenant_follows_its_own_events_as_they_happen():
    async with scene() as stage, websocket(stage) as socket:
        await until(lambda: listeners(stage))
        await stage.store.publish([happened("a"), happened("z", "rivals"), happened("b")])
        rows = [await row(socket), await row(socket)]
        assert [each["agent"] for each in rows] == ["agent://team/a", "agent://team/b"]
        assert {"seq", "ts", "topic", "type", "tenant"} <= rows[0].keys()
        assert event.decode(json.dumps(rows[0])).topic == "kernel.agents"


async def test_an_operator_follows_all_tenants_and_may_narrow():
    async with scene() as stage:
        stage.cluster.allow("jane", PATH)
        headers = {"Authorization": f"Bearer {stage.cluster.token('jane')}"}
        topics = "topics=kernel.agents"
        async with (
            websocket(stage, f"?{topics}", headers) as everything,
            websocket(stage, f"?{topics}&tenant=rivals", headers) as one,
        ):
            await until(lambda: listeners(stage) == 2)
            await stage.store.publish([happened("a"), happened("z", "rivals")])
            assert [(await row(everything))["tenant"], (await row(everything))["tenant"]] == ["team", "rivals"]
            assert (await row(one))["tenant"] == "rivals"


async def test_a_syscalls_record_is_found_in_the_stream():
    async with scene() as stage, websocket(stage, "?topics=kernel.syscalls") as socket:
        await until(lambda: listeners(stage))
        _, answer = await stage.outsider.syscall("tool.invoke", {"tool": "echo", "text": "x"})
        assert (await row(socket))["audit_id"] == answer["audit_id"]


async def test_since_brings_what_was_missed():
    async with scene() as stage:
        await quiet(stage)
        last = await stage.store.publish([happened("a"), happened("b"), happened("c")])
        async with websocket(stage, f"?since={last - 2}") as socket:
            assert [(await row(socket))["seq"], (await row(socket))["seq"]] == [last - 1, last]


@pytest.mark.parametrize(
    ("query", "who", "status", "code"),
    [
        ("?topics=kernel.gossip", {}, 400, "E_BAD_REQUEST"),
        ("?since=yesterday", {}, 400, "E_BAD_REQUEST"),
        ("?since=-1", {}, 400, "E_BAD_REQUEST"),
        ("?tenant=rivals", {}, 403, "E_TENANT"),
        ("", {"secret": b"wrong"}, 401, "E_SIGNATURE"),
    ],
)
async def test_both_wires_refuse_alike(query, who, status, code):
    async with scene() as stage:
        found, answer = await stage.outsider.ask("GET", PATH + query, agent_id="", **who)
        assert (found, answer["error"]["code"]) == (status, code)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with websocket(stage, query, **who):
                pass
        assert refused.value.status == status


async def test_a_header_that_stands_twice_opens_no_stream():
    async with scene() as stage:
        headers = [*signed("GET", PATH, agent_id="", tenant="rivals", secret=b"another secret").items()]
        for twice in ([("X-Tenant-Id", "team"), *headers], [*headers, ("X-Tenant-Id", "team")]):
            async with stage.session.get(stage.url + PATH, headers=twice) as answer:
                assert answer.status == 401


class Sse:
    def __init__(self, answer):
        self._answer = answer

    async def block(self):
        lines = []
        while line := (await asyncio.wait_for(self._answer.content.readline(), 2)).rstrip(b"\n"):
            lines.append(line.decode())
        return lines

    async def row(self):
        while True:
            lines = await self.block()
            if lines and not lines[0].startswith(":"):
                ident, data = lines
                return int(ident.removeprefix("id: ")), json.loads(data.removeprefix("data: "))


@contextlib.asynccontextmanager
async def sse(stage, query="", **more):
    target = PATH + query
    headers = {**signed("GET", target, agent_id=""), **more}
    async with stage.session.get(stage.url + target, headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Sse(answer)


async def test_server_sent_events_carry_the_same_rows_with_their_number_as_id():
    async with scene() as stage, sse(stage) as stream_:
        assert (await stream_.block())[0].startswith(":")
        await until(lambda: listeners(stage))
        last = await stage.store.publish([happened("a")])
        ident, found = await stream_.row()
        assert (ident, found["seq"], found["agent"]) == (last, last, "agent://team/a")


async def test_a_browser_that_comes_back_goes_on_where_it_was():
    async with scene() as stage:
        await quiet(stage)
        last = await stage.store.publish([happened("a"), happened("b")])
        async with sse(stage, **{"Last-Event-ID": str(last - 1)}) as stream_:
            assert (await stream_.row())[0] == last


async def test_a_quiet_stream_sends_comments(monkeypatch):
    monkeypatch.setattr(stream, "QUIET_S", 0.02)
    async with scene() as stage, sse(stage, "?topics=kernel.gc") as stream_:
        assert [(await stream_.block())[0] for _ in range(3)][1:] == [": quiet", ": quiet"]


async def test_a_reader_that_leaves_is_let_go_on_both_wires():
    async with scene() as stage:
        async with websocket(stage):
            await until(lambda: listeners(stage) == 1)
        await until(lambda: not listeners(stage))
        async with sse(stage) as stream_:
            await stream_.block()
            await until(lambda: listeners(stage) == 1)
        await until(lambda: not listeners(stage))


async def test_a_reader_that_is_too_slow_is_told_what_it_lost():
    """Rows are as large as they get, so that socket buffers fill before the test's patience ends."""
    async with scene() as stage, websocket(stage, "?topics=kernel.agents") as socket:
        await until(lambda: listeners(stage))
        fat = Draft("kernel.agents", "team", b'{"topic":"kernel.agents","type":"x","fat":"%s"}' % (b"x" * 60_000))
        socket._response.connection.transport.pause_reading()
        for _ in range(60):
            await stage.store.publish([fat] * 50)
            await asyncio.sleep(0)
        last = (await stage.store.bounds()).newest
        await until(lambda: stage.kernel.bus._position == last)
        socket._response.connection.transport.resume_reading()
        seen, lost = 0, 0
        while True:
            found = await row(socket)
            if found["type"] == "gap":
                lost += found["to"] - found["from"] + 1
            else:
                seen += 1
            if found["seq"] == last:
                break
        assert lost > 0
        assert seen + lost >= 3000
        async with stage.session.get(stage.url + "/metrics") as page:
            assert 'aion_events_dropped_total{sink="stream"}' in await page.text()


async def test_a_stopping_kernel_ends_its_streams_at_once():
    async with aiohttp.ClientSession() as session:
        async with scene() as stage:
            headers = signed("GET", PATH, agent_id="")
            answer = await session.get(stage.url + PATH, headers=headers)
            socket = await session.ws_connect(stage.url + PATH, headers=signed("GET", PATH, agent_id=""))
            await until(lambda: listeners(stage) == 2)
            began = time.monotonic()
        assert time.monotonic() - began < 0.5
        assert (await answer.read()).startswith(b": stream")
        message = await socket.receive(timeout=1)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data in (1001, 1012)


async def test_a_connection_to_nowhere_is_refused_by_the_contract():
    async with scene() as stage:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with stage.session.ws_connect(stage.url + "/v1/nowhere"):
                pass
        assert refused.value.status == 404
