"""The gateways' connection: who may open it, what comes down, and what an acknowledgement is worth."""

import asyncio
import contextlib
import json
import time

import aiohttp
import msgspec
import pytest
from kernel_scene import ID, scene, settlement, until

from aion.api import auditchain, channel, event, grant
from aion.kernel import channel as module
from aion.kernel import testing


class Gateway:
    """The other end of a channel."""

    def __init__(self, socket):
        self.socket = socket

    async def send(self, frame):
        await self.socket.send_str(channel.encode(frame).decode())

    async def hello(self, *, agent_id=ID, pod="a-1", uid="u1", began=1):
        await self.send(channel.Hello(pod, agent_id, "1.0", auditchain.genesis(uid, began)))

    async def heard(self, within_s=2):
        message = await self.socket.receive(timeout=within_s)
        assert message.type is aiohttp.WSMsgType.TEXT, (message, self.socket.close_code)
        return channel.decode_down(message.data)

    async def granted(self):
        frame = await self.heard()
        assert isinstance(frame, channel.Granted), frame
        return frame.grant

    async def closed(self, within_s=2):
        while True:
            message = await self.socket.receive(timeout=within_s)
            if message.type is aiohttp.WSMsgType.CLOSE:
                return message.data, message.extra or ""
            assert message.type is aiohttp.WSMsgType.TEXT, message


@contextlib.asynccontextmanager
async def connected(stage, token=None, *, hello=True, pod="a-1", uid="u1", began=1):
    token = token or stage.cluster.gateway_token("team", "a", pod=pod, uid=uid)
    headers = {"Authorization": f"Bearer {token}"}
    async with stage.session.ws_connect(stage.url + channel.PATH, headers=headers) as socket:
        gateway = Gateway(socket)
        if hello:
            await gateway.hello(pod=pod, uid=uid, began=began)
        yield gateway


def record(n, *, prev="", tenant="team", agent=ID, **more):
    return channel.AuditRecord(
        n=n,
        prev=prev,
        ts_ms=1_760_000_000_000,
        audit_id=f"sc-{n}",
        tenant=tenant,
        agent=agent,
        syscall="tool.invoke",
        decision="allow",
        **more,
    )


def chained(count, *, uid="u1", began=1, last=None):
    """The first records of a Pod's chain, as its journal has them; `last` changes the last one."""
    lines, prev = [], auditchain.genesis(uid, began)
    for n in range(1, count + 1):
        line = auditchain.canonical(record(n, prev=prev, **(last or {} if n == count else {})))
        prev = auditchain.digest(line)
        lines.append(line)
    return lines


def audit(*lines):
    return channel.Audit([msgspec.Raw(line) for line in lines])


async def events(stage, kind):
    rows = [json.loads(row.json()) for row in await stage.store.read(0, limit=1000)]
    return [row for row in rows if row["type"] == kind]


async def test_a_gateway_is_granted_at_once_what_its_agent_may_do():
    async with scene() as stage, connected(stage) as gateway:
        granted = await gateway.granted()
        assert isinstance(granted, grant.Grant)
        assert (granted.agent_id, granted.capabilities, granted.policy_revision) == (ID, ("network",), 1)
        assert [tool.name for tool in granted.tools] == ["echo"]
        assert (await until(lambda: events(stage, "connected")))[0]["pod"] == "a-1"
        assert (await until(lambda: events(stage, "granted")))[0]["revision"] == 1


async def test_a_change_of_agent_tool_or_policy_comes_down_and_nothing_else_does():
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        stage.cluster.put(testing.agent("rivals", "z"))
        stage.cluster.put(testing.agent("team", "b"))
        with pytest.raises(TimeoutError):
            await gateway.heard(within_s=0.05)
        stage.cluster.put(testing.agent("team", "a"))
        assert (await gateway.granted()).capabilities == ()
        stage.cluster.put(testing.tool("team", "second"))
        assert [tool.name for tool in (await gateway.granted()).tools] == ["echo", "second"]
        bundle = testing.bundle(limits={"max_concurrency": 2})
        stage.cluster.put(testing.bundle_map(bundle))
        stage.cluster.put(testing.pointer(bundle, revision=2))
        last = await gateway.granted()
        assert (last.policy_revision, last.limits.max_concurrency) == (2, 2)
        with pytest.raises(TimeoutError):
            await gateway.heard(within_s=0.05)


async def test_a_deleted_agent_is_revoked_and_forgotten():
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await until(lambda: stage.store.sighting(ID))
        stage.cluster.delete(testing.agent("team", "a"))
        assert isinstance(await gateway.heard(), channel.Revoked)
        await until(lambda: events(stage, "revoked"))
        assert await stage.store.sighting(ID) is None
        stage.cluster.put(testing.agent("team", "a"))
        assert (await gateway.granted()).agent_id == ID


async def test_an_agent_that_the_watch_has_not_brought_yet_is_waited_for():
    cluster = settlement()
    cluster.delete(testing.agent("team", "a"))
    async with scene(cluster) as stage, connected(stage) as gateway:
        await asyncio.sleep(0.05)
        cluster.put(testing.agent("team", "a"))
        assert (await gateway.granted()).agent_id == ID


async def test_an_agent_that_never_comes_is_revoked(monkeypatch):
    monkeypatch.setattr(module, "ABSENT_S", 0.05)
    cluster = settlement()
    cluster.delete(testing.agent("team", "a"))
    async with scene(cluster) as stage, connected(stage) as gateway:
        assert "no Agent a in team" in (await gateway.heard()).reason


@pytest.mark.parametrize("policy", [True, False])
async def test_a_kernel_that_cannot_grant_yet_sends_its_gateways_away(monkeypatch, policy):
    monkeypatch.setattr(module, "HELLO_S", 0.1)
    cluster = settlement()
    if policy:
        cluster.down = True
    else:
        cluster.delete(testing.pointer(testing.bundle(), revision=1))
    async with scene(cluster, ready=False) as stage:
        cluster.down = False
        token = cluster.gateway_token("team", "a", pod="a-1", uid="u1")
        stage.kernel.registry.agents.synced.clear()
        async with connected(stage, token) as gateway:
            code, reason = await gateway.closed()
    assert code == 1013
    assert "come back" in reason


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (lambda cluster: "made-up", 401),
        (lambda cluster: cluster.gateway_token("team", "a", pod="a-1", audience=None), 401),
        (lambda cluster: cluster.token("system:serviceaccount:team:default", audience="aion-kernel"), 403),
        (lambda cluster: cluster.token("system:serviceaccount:team:agent-a", audience="aion-kernel"), 403),
    ],
)
async def test_whoever_is_no_gateway_is_refused_by_the_contract(token, status):
    async with scene() as stage:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            async with connected(stage, token(stage.cluster)):
                pass
        assert refused.value.status == status
        async with stage.session.get(stage.url + "/metrics") as page:
            assert "aion_kernel_refused_total" in await page.text()


async def test_the_pod_that_the_token_was_issued_to_is_the_one_that_speaks():
    async with scene() as stage:
        token = stage.cluster.gateway_token("team", "a", pod="a-1", uid="u1")
        async with connected(stage, token, hello=False) as gateway:
            await gateway.hello(pod="a-2")
            assert (await gateway.closed())[0] == module.DISAGREES
        async with connected(stage, token, hello=False) as gateway:
            await gateway.hello(agent_id="agent://team/b")
            assert (await gateway.closed())[0] == module.DISAGREES


@pytest.mark.parametrize("first", ["rubbish", '{"t":"dance"}', b"\x00\x01", channel.Heartbeat(1, 0), channel.Audit([])])
async def test_what_is_no_hello_ends_the_connection_with_the_reason(first):
    async with scene() as stage, connected(stage, hello=False) as gateway:
        if isinstance(first, bytes):
            await gateway.socket.send_bytes(first)
        else:
            await gateway.socket.send_str(first if isinstance(first, str) else channel.encode(first).decode())
        code, reason = await gateway.closed()
        assert code == module.GARBLED
        assert reason


async def test_a_gateway_that_says_nothing_is_hung_up_on(monkeypatch):
    monkeypatch.setattr(module, "HELLO_S", 0.05)
    async with scene() as stage, connected(stage, hello=False) as gateway:
        assert "no hello" in (await gateway.closed())[1]


async def test_a_gateway_that_falls_silent_is_hung_up_on_and_counted_out():
    async with scene(silent_after_s=0.1) as stage:
        async with connected(stage) as gateway:
            await gateway.granted()
            assert (await gateway.closed())[0] == module.SILENT
        await until(lambda: events(stage, "disconnected"))


async def test_a_second_hello_and_a_binary_frame_end_the_conversation():
    async with scene() as stage:
        async with connected(stage) as gateway:
            await gateway.granted()
            await gateway.hello()
            assert (await gateway.closed())[0] == module.GARBLED
        async with connected(stage) as gateway:
            await gateway.granted()
            await gateway.socket.send_bytes(b"\x00")
            assert (await gateway.closed())[0] == module.GARBLED


async def test_a_heartbeat_is_seen_with_what_it_says():
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await gateway.send(channel.Heartbeat(1, 3, channel.Totals(syscalls=12)))
        seen = await until(lambda: seen_with(stage, inflight=3))
        assert (seen.via, seen.pod, seen.version, seen.usage["syscalls"]) == ("gateway", "a-1", "1.0", 12)
        async with stage.session.get(stage.url + "/metrics") as page:
            assert 'aion_agent_heartbeats_total{agent="a",tenant="team"} 2.0' in await page.text()


async def seen_with(stage, *, inflight):
    seen = await stage.store.sighting(ID)
    return seen if seen and seen.inflight == inflight else None


async def test_a_busy_gateway_that_only_sends_audit_is_seen_too(monkeypatch):
    monkeypatch.setattr(module, "RENEW_S", 0.0)
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        first = await until(lambda: stage.store.sighting(ID))
        await asyncio.sleep(0.01)
        await gateway.send(audit(*chained(1)))
        await gateway.heard()
        await until(lambda: heard_after(stage, first.heard_ms))


async def heard_after(stage, ms):
    return (await stage.store.sighting(ID)).heard_ms > ms


async def test_a_deleted_agents_gateway_that_beats_on_makes_no_series():
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        stage.cluster.delete(testing.agent("team", "a"))
        await gateway.heard()
        await gateway.send(channel.Heartbeat(1, 5))
        await until(lambda: seen_with(stage, inflight=5))
        async with stage.session.get(stage.url + "/metrics") as page:
            assert "aion_agent_heartbeats{" not in await page.text()


async def test_an_audit_batch_is_acknowledged_when_it_can_be_found():
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await gateway.send(audit(*chained(2)))
        assert await gateway.heard() == channel.Ack(2)
        assert json.loads((await stage.store.find_audit("sc-2")).json())["syscall"] == "tool.invoke"


async def test_a_batch_that_is_sent_again_is_acknowledged_and_counted_once():
    async with scene() as stage:
        async with connected(stage) as gateway:
            await gateway.granted()
            await gateway.send(audit(*chained(2)))
            assert await gateway.heard() == channel.Ack(2)
        async with connected(stage) as gateway:
            await gateway.granted()
            await gateway.send(audit(*chained(3)))
            assert await gateway.heard() == channel.Ack(3)
        assert len(await events(stage, "syscall")) == 3


async def test_a_pod_that_is_made_anew_begins_its_journal_anew():
    async with scene() as stage:
        for uid in ("u1", "u2"):
            async with connected(stage, uid=uid) as gateway:
                await gateway.granted()
                await gateway.send(audit(*chained(1, uid=uid)))
                assert await gateway.heard() == channel.Ack(1)
        assert len(await events(stage, "syscall")) == 2
        assert await events(stage, "chain") == []


@pytest.mark.parametrize("foreign", [{"tenant": "rivals"}, {"agent": "agent://team/b"}])
async def test_a_record_of_somebody_else_is_not_kept_and_ends_the_connection(foreign):
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await gateway.send(audit(*chained(2, last=foreign)))
        assert (await gateway.closed())[0] == module.DISAGREES
        assert await events(stage, "syscall") == []


@pytest.mark.parametrize(
    "lie",
    [
        {"micro_usd": -1_000_000},
        {"tokens_in": -5},
        {"tokens_out": 2**63},
        {"ts_ms": 2**60},
        {"n": 0},
    ],
)
async def test_a_record_by_which_a_tenant_would_be_paid_or_the_kernel_break_is_not_kept(lie):
    told = {**msgspec.to_builtins(record(1, prev=auditchain.genesis("u1", 1))), **lie}
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await gateway.socket.send_str(json.dumps({"t": "audit", "records": [told]}))
        assert (await gateway.closed())[0] == module.GARBLED
        assert await events(stage, "syscall") == []


@pytest.mark.parametrize(
    "frame", ['{"t":"audit","records":[{"n":%s}]}', '{"t":"heartbeat","ts_ms":1,"inflight":0,"x":%s}']
)
async def test_a_frame_that_is_nested_without_end_ends_the_connection_and_is_no_bug(frame):
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await gateway.socket.send_str(frame % ("[" * 50_000 + "]" * 50_000))
        assert (await gateway.closed())[0] == module.GARBLED


@pytest.mark.parametrize("lie", [{"held_micro_usd": -(10**12)}, {"want_tokens": -1}, {"held_tokens": 2**63}])
async def test_a_gateway_that_says_it_holds_less_than_nothing_is_lent_nothing(lie):
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await gateway.socket.send_str(json.dumps({"t": "lease", "want_micro_usd": 1, **lie}))
        assert (await gateway.closed())[0] == module.GARBLED


async def test_while_the_store_is_away_nothing_is_acknowledged_and_then_everything(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", (0.01, 0.02))
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await until(lambda: events(stage, "granted"))
        stage.store.down = True
        await gateway.send(audit(*chained(1)))
        await gateway.send(audit(chained(2)[1]))
        with pytest.raises(TimeoutError):
            await gateway.heard(within_s=0.1)
        stage.store.down = False
        assert [await gateway.heard(), await gateway.heard()] == [channel.Ack(1), channel.Ack(2)]


async def test_a_long_outage_sends_the_gateway_away_with_its_records(monkeypatch):
    monkeypatch.setattr(module, "RETRY_S", (0.01, 0.02))
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        await until(lambda: events(stage, "granted"))
        stage.store.down = True
        await gateway.send(audit(*chained(1)))
        code, reason = await gateway.closed()
        assert (code, reason[:27]) == (1013, "the audit cannot be kept; c")


async def test_a_gateway_that_leaves_is_counted_out_and_said_so():
    async with scene() as stage:
        async with connected(stage) as gateway:
            await gateway.granted()
        await until(lambda: events(stage, "disconnected"))
        async with stage.session.get(stage.url + "/metrics") as page:
            assert "aion_kernel_channels 0.0" in await page.text()


async def test_a_stopping_kernel_hangs_up_at_once():
    async with aiohttp.ClientSession() as session:
        async with scene() as stage:
            token = stage.cluster.gateway_token("team", "a", pod="a-1", uid="u1")
            headers = {"Authorization": f"Bearer {token}"}
            gateway = Gateway(await session.ws_connect(stage.url + channel.PATH, headers=headers))
            await gateway.hello()
            await gateway.granted()
            began = time.monotonic()
        assert time.monotonic() - began < 0.5
        assert (await gateway.closed())[0] == 1012


async def test_a_break_in_the_chain_is_an_event_and_counted_and_no_record_is_refused():
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        lines = chained(6)
        changed = lines[2].replace(b'"allow"', b'"error"')
        await gateway.send(audit(lines[0], lines[1], changed))
        assert await gateway.heard() == channel.Ack(3)
        await gateway.send(audit(lines[3], lines[5]))
        assert await gateway.heard() == channel.Ack(6)
        other = msgspec.json.decode(lines[4], type=channel.AuditRecord)
        late = auditchain.canonical(msgspec.structs.replace(other, audit_id="sc-late"))
        await gateway.send(audit(late))
        assert await gateway.heard() == channel.Ack(6)
        breaks = [(row["what"], row["after"], row["n"], row["agent"]) for row in await events(stage, "chain")]
        assert breaks == [("changed", 3, 4, ID), ("gap", 4, 6, ID), ("forked", 6, 5, ID)]
        assert len(await events(stage, "syscall")) == 6
        async with stage.session.get(stage.url + "/metrics") as page:
            said = await page.text()
        for what in ("changed", "gap", "forked"):
            assert f'aion_kernel_audit_breaks_total{{what="{what}"}} 1.0' in said


async def test_a_journal_that_began_anew_within_one_pod_loses_nothing_and_is_told():
    async with scene() as stage:
        for began in (1, 2):
            async with connected(stage, began=began) as gateway:
                await gateway.granted()
                await gateway.send(audit(*chained(2, began=began)))
                assert await gateway.heard() == channel.Ack(2)
        assert [row["what"] for row in await events(stage, "chain")] == ["restarted"]
        assert len(await events(stage, "syscall")) == 4


async def test_a_chain_of_another_pod_and_what_names_none_end_the_connection():
    async with scene() as stage:
        for uid, code in (("u2", module.DISAGREES), ("u 1", module.GARBLED)):
            async with connected(stage, hello=False) as gateway:
                await gateway.send(channel.Hello("a-1", ID, "1.0", f"{uid}@1"))
                assert (await gateway.closed())[0] == code


async def test_what_a_newer_gateway_says_in_a_record_is_kept_and_its_digest_holds():
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        first = {**msgspec.to_builtins(record(1, prev="u1@1")), "carbon_mg": 7}
        second = auditchain.canonical(record(2, prev=auditchain.digest(auditchain.canonical(first))))
        await gateway.send(audit(auditchain.canonical(first), second))
        assert await gateway.heard() == channel.Ack(2)
        row = json.loads((await stage.store.find_audit("sc-1")).json())
        assert (row["carbon_mg"], row["chain"]) == (7, "u1@1")
        assert event.record_of(row) == first
        assert await events(stage, "chain") == []


async def test_a_second_field_of_a_name_that_was_judged_breaks_the_chain_and_is_not_kept():
    async with scene() as stage, connected(stage) as gateway:
        await gateway.granted()
        first = chained(2)[0]
        doubled = first.replace(b'"tenant":"team"', b'"tenant":"rivals","tenant":"team"')
        await gateway.send(audit(doubled, auditchain.canonical(record(2, prev=auditchain.digest(doubled)))))
        assert await gateway.heard() == channel.Ack(2)
        assert b"rivals" not in (await stage.store.find_audit("sc-1")).json()
        assert [row["what"] for row in await events(stage, "chain")] == ["changed"]
