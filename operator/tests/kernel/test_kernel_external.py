"""Syscalls from outside the cluster, end to end: proof, grant, router, tool, and the record before the answer."""

import asyncio
import json
import socket
import time

import aiohttp
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_scene import ID, KEYS, SECRET, Outsider, scene, settlement, signed, until

from aion.api import errors, keyids, toolcall
from aion.kernel import external, testing
from aion.kernel.auth import Caller
from aion.kernel.external import Door, TenantTools
from aion.kernel.tenantkeys import FixedKeys
from aion.serving import sockets
from aion.serving.server import Server
from aion.syscalls import call as calls
from aion.syscalls import testing as syscalls
from aion.syscalls.purse import Purse
from aion.syscalls.toollink import Ask
from aion.toolrunner.app import App
from aion.toolrunner.engine import Engine

ECHO = {"tool": "echo", "text": "hello"}


async def test_a_signed_call_is_done_answered_and_on_record():
    async with scene() as stage:
        status, answer = await stage.outsider.syscall("tool.invoke", ECHO)
        assert (status, answer["status"], answer["result"]) == (200, "ok", {"text": "hello"})
        assert answer["engine"] == {"kind": "module", "name": "tooling/echo@1.0.0"}
        assert stage.tools.asked == [("http://tool-echo.team.svc:8020", {"text": "hello"})]
        row = json.loads((await stage.store.find_audit(answer["audit_id"])).json())
        assert (row["agent"], row["decision"], row["subject"], row["policy_revision"]) == (ID, "allow", "echo", 1)


async def test_the_record_is_in_the_store_before_the_answer_leaves():
    async with scene() as stage:
        outsider, order = stage.outsider, []
        record = stage.store.record

        async def slowly(source, drafts, *, broken):
            await asyncio.sleep(0.05)
            kept = await record(source, drafts, broken=broken)
            order.append("kept")
            return kept

        stage.store.record = slowly
        await outsider.syscall("tool.invoke", ECHO)
        assert order == ["kept"]


@pytest.mark.parametrize(
    ("name", "params", "status", "code"),
    [
        ("tool.invoke", {"tool": "nothing"}, 404, "E_NO_TOOL"),
        ("tool.invoke", {"tool": "echo", "text": 7}, 422, "E_PARAMS"),
        ("tool.invoke", {"tool": "echo", "text": "boom"}, 502, "E_UPSTREAM"),
        ("net.fetch", {"url": "http://example.org/"}, 403, "E_POLICY"),
        ("memory.put", {}, 404, "E_NO_SYSCALL"),
        ("no.such", {}, 404, "E_NO_SYSCALL"),
    ],
)
async def test_a_refusal_is_the_contracts_and_on_record_too(name, params, status, code):
    async with scene() as stage:
        found, answer = await stage.outsider.syscall(name, params)
        assert (found, answer["error"]["code"]) == (status, code)
        row = json.loads((await stage.store.find_audit(answer["audit_id"])).json())
        assert row["code"] == code


async def test_an_agent_without_network_is_denied_by_name_of_the_rule():
    cluster = settlement()
    cluster.put(testing.agent("team", "a"))
    cluster.put(testing.tool("team", "searching", capabilitiesRequired=["network"]))
    async with scene(cluster) as stage:
        for name, params in (("tool.invoke", {"tool": "searching"}), ("net.fetch", {"url": "http://x.org"})):
            status, answer = await stage.outsider.syscall(name, params)
            assert (status, answer["error"]["code"]) == (403, "E_CAPABILITY")
            assert "agent.spec.capabilities.network" in answer["error"]["rule"]
        assert stage.tools.asked == []


@pytest.mark.parametrize(
    ("over", "status", "code"),
    [
        ({"secret": b"wrong"}, 401, "E_SIGNATURE"),
        ({"now_ms": 1}, 401, "E_CLOCK"),
        ({"agent_id": "agent://team/stranger"}, 403, "E_POLICY"),
        ({"tenant": "rivals", "agent_id": "", "secret": b"another secret"}, 403, "E_TENANT"),
        ({"agent_id": ""}, 200, None),
    ],
)
async def test_who_asks_is_proved_first(over, status, code):
    async with scene() as stage:
        found, answer = await stage.outsider.syscall("tool.invoke", ECHO, **over)
        assert (found, answer.get("error", {}).get("code")) == (status, code)
        assert len(stage.tools.asked) == (1 if status == 200 else 0)


async def test_a_replayed_request_does_nothing_a_second_time():
    async with scene() as stage:
        body = json.dumps({"params": ECHO}).encode()
        headers = signed("POST", "/v1/syscall/tool.invoke", body)
        one = await stage.outsider.ask("POST", "/v1/syscall/tool.invoke", body, headers=headers)
        two = await stage.outsider.ask("POST", "/v1/syscall/tool.invoke", body, headers=headers)
        assert (one[0], two[0], two[1]["error"]["code"]) == (200, 401, "E_REPLAY")
        assert len(stage.tools.asked) == 1


async def test_a_tokens_bearer_is_told_that_its_gateway_answers_it():
    async with scene() as stage:
        token = stage.cluster.gateway_token("team", "a", pod="a-1")
        status, answer = await stage.outsider.ask(
            "POST", "/v1/syscall/tool.invoke", {"params": ECHO}, headers={"Authorization": f"Bearer {token}"}
        )
        assert (status, answer["error"]["code"]) == (401, "E_SIGNATURE")


async def test_whoever_proves_himself_otherwise_than_by_a_signature_makes_no_syscall_here():
    class Known:
        async def caller(self, asked, *, path):
            return Caller("team", ID, "token", pod="a-1")

    async with scene() as stage:
        stage.syscalls._authority = Known()
        status, answer = await stage.outsider.syscall("tool.invoke", ECHO)
        assert (status, answer["error"]["code"]) == (403, "E_POLICY")
        assert "in a Pod its gateway answers" in answer["error"]["message"]


async def test_the_body_may_not_name_another_agent_than_the_signature():
    async with scene() as stage:
        document = {"agent_id": "agent://team/b", "params": ECHO}
        status, answer = await stage.outsider.ask("POST", "/v1/syscall/tool.invoke", document)
        assert (status, answer["error"]["code"]) == (403, "E_POLICY")


async def test_a_request_that_names_no_agent_is_told_where_to_name_one():
    async with scene() as stage:
        status, answer = await stage.outsider.ask("POST", "/v1/syscall/tool.invoke", {"params": ECHO}, agent_id="")
        assert (status, answer["error"]["code"]) == (400, "E_BAD_REQUEST")
        assert "X-Aion-Agent-Id" in answer["error"]["message"]


async def test_another_method_than_post_is_a_bad_request():
    async with scene() as stage:
        status, answer = await stage.outsider.ask("GET", "/v1/syscall/tool.invoke")
        assert (status, answer["error"]["code"]) == (400, "E_BAD_REQUEST")


async def test_without_a_policy_nothing_is_done():
    cluster = settlement()
    cluster.delete(testing.pointer(testing.bundle(), revision=1))
    async with scene(cluster, ready=False) as stage:
        await stage.kernel.registry.wait_synced()
        status, answer = await stage.outsider.syscall("tool.invoke", ECHO)
        assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")
        assert answer["error"]["retry_after_ms"] == 1000
        assert stage.tools.asked == []


async def test_while_the_audit_cannot_be_kept_no_call_is_begun_and_none_is_lost(monkeypatch):
    monkeypatch.setattr("aion.kernel.recorder.RETRY_S", 0.05)
    async with scene() as stage:
        stage.tools.hold = asyncio.Event()
        begun = asyncio.create_task(stage.outsider.syscall("tool.invoke", ECHO))
        await until(lambda: stage.tools.asked)
        record = stage.store.record

        async def refuse(source, drafts, *, broken):
            raise errors.Unavailable("full")

        stage.store.record = refuse
        stage.tools.hold.set()
        status, answer = await begun
        assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")
        status, answer = await stage.outsider.syscall("tool.invoke", ECHO)
        assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")
        assert len(stage.tools.asked) == 1
        stage.store.record = record
        await until(lambda: calls_on_record(stage, 2))
        assert (await stage.outsider.syscall("tool.invoke", ECHO))[0] == 200


async def calls_on_record(stage, count):
    rows = [row for row in await stage.store.read(0, limit=100) if row.topic == "kernel.syscalls"]
    return len(rows) == count


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(external, "MAX_BODY", 1000)
    async with scene() as stage:
        status, answer = await stage.outsider.ask("POST", "/v1/syscall/tool.invoke", b"x" * 5000)
        assert (status, answer["error"]["code"]) == (400, "E_BAD_REQUEST")

        async def pieces():
            for _ in range(50):
                yield b"x" * 100

        async with stage.session.post(stage.url + "/v1/syscall/tool.invoke", data=pieces()) as answer:
            assert answer.status == 400


async def test_a_caller_that_leaves_in_the_middle_disturbs_nobody():
    async with scene() as stage:
        for part in (
            b"POST /v1/syscall/tool.invoke HTTP/1.1\r\nHost: k\r\nContent-Length: 100\r\n\r\nabc",
            b"GET / HT",
        ):
            _, writer = await asyncio.open_connection(*stage.url.removeprefix("http://").split(":"))
            writer.write(part)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        assert (await stage.outsider.syscall("tool.invoke", ECHO))[0] == 200


async def test_a_bug_is_answered_by_the_contract_and_the_next_call_is_served():
    async with scene() as stage:
        grant = stage.kernel.grants.of
        stage.kernel.grants.of = None  # "not callable" is as good a bug as any
        status, answer = await stage.outsider.syscall("tool.invoke", ECHO)
        assert (status, answer["error"]["code"]) == (503, "E_UNAVAILABLE")
        assert "internal error" in answer["error"]["message"]
        stage.kernel.grants.of = grant
        assert (await stage.outsider.syscall("tool.invoke", ECHO))[0] == 200


async def test_a_stopping_kernel_lets_a_call_end_within_its_grace():
    async with aiohttp.ClientSession() as session:
        async with scene() as stage:
            stage.tools.hold = asyncio.Event()
            under_way = asyncio.create_task(Outsider(stage.url, session).syscall("tool.invoke", ECHO))
            await until(lambda: stage.tools.asked)
            asyncio.get_running_loop().call_later(0.1, stage.tools.hold.set)
        assert (await under_way)[0] == 200


# The door


def test_an_agents_account_outlives_its_grants():
    door = Door(lambda granted: Purse(time.monotonic))
    door.admit(syscalls.granted(policy_revision=1))
    standing = door.standing(calls.Caller(syscalls.TENANT, syscalls.AGENT), "")
    standing.ledger.spent = 5
    door.admit(syscalls.granted(policy_revision=2))
    again = door.standing(calls.Caller(syscalls.TENANT, ""), syscalls.AGENT)
    assert again is standing
    assert (again.ledger.spent, again.rights.grant.policy_revision) == (5, 2)


def test_the_door_forgets_whom_it_heard_last_longest_ago(monkeypatch):
    monkeypatch.setattr(external, "STANDINGS", 2)
    door = Door(lambda granted: Purse(time.monotonic))
    for name in ("a", "b", "a", "c"):
        door.admit(syscalls.granted(f"agent://tenant-a/{name}"))
    assert list(door._standings) == ["agent://tenant-a/a", "agent://tenant-a/c"]


@settings(deadline=None)
@given(st.sampled_from(["tenant-a", "tenant-b"]), st.sampled_from(["", "agent://tenant-a/x", "agent://tenant-b/x"]),
       st.sampled_from(["", "agent://tenant-a/x", "agent://tenant-b/x", "rubbish"]))  # fmt: skip
def test_nobody_is_ever_given_the_standing_of_another_tenants_agent(tenant, proved, named):
    door = Door(lambda granted: Purse(time.monotonic))
    door.admit(syscalls.granted("agent://tenant-a/x"))
    door.admit(syscalls.granted("agent://tenant-b/x"))
    try:
        standing = door.standing(calls.Caller(tenant, proved), named)
    except errors.SyscallError:
        return
    assert standing.rights.tenant == tenant
    assert proved in ("", standing.rights.agent_id)
    assert named in ("", standing.rights.agent_id)


# Tools of every tenant, by a real runner


NEWEST = keyids.rotated(1_700_000_000)


class Answering(Engine):
    """An engine that gives back what it was asked and by whom it asks."""

    async def load(self):
        pass

    async def close(self):
        pass

    async def call(self, invocation, syscall):
        return {"params": invocation.params, "nested": await syscall("net.fetch", {"url": "http://x"})}


@pytest.fixture
async def runner():
    tool = toolcall.RunnerTool(name="t", version="1.0.0", kind="wasm", input_schema={})
    app = App(Answering(), tool, keys=lambda tenant, key_id: SECRET if (tenant, key_id) == ("team", NEWEST) else None)
    await app.load()
    server, bound = Server(), sockets.bind("127.0.0.1", 0)
    await server.listen(bound, app, websockets=True)
    yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    await server.close(within_s=1)


def ask(tenant):
    async def nested(name, params):
        return b'"%s"' % name.encode()

    context = toolcall.CallContext(agent_id=f"agent://{tenant}/a", tenant=tenant)
    return Ask(params=msgspec.Raw(b'{"q":1}'), context=context, remaining=lambda: 5.0, nested=nested)


async def test_a_tool_is_called_with_the_newest_key_of_its_agents_tenant_that_signs_already(runner):
    not_yet = keyids.rotated(int(time.time()) + 60)
    ring = {"zzz": b"by hand", "default": b"first", NEWEST: SECRET, not_yet: b"too new for a runner to know"}
    tools = TenantTools(FixedKeys({"team": ring}))
    result = json.loads(await tools.invoke(runner, ask("team"), idempotent=False))
    assert result["params"] == {"q": 1}
    await tools.close()


async def test_another_tenants_key_opens_no_runner_and_no_key_is_said_so(runner):
    tools = TenantTools(KEYS)
    with pytest.raises(errors.UpstreamFailed, match="401"):
        await tools.invoke(runner, ask("rivals"), idempotent=False)
    with pytest.raises(errors.Unavailable, match="has no key"):
        await tools.invoke(runner, ask("nobody"), idempotent=False)
    await tools.close()
    only_later = TenantTools(FixedKeys({"team": {keyids.rotated(int(time.time()) + 60): SECRET}}))
    with pytest.raises(errors.Unavailable, match="has no key"):
        await only_later.invoke(runner, ask("team"), idempotent=False)
    await only_later.close()


# Listening


def test_a_port_that_is_taken_is_said_so():
    taken = sockets.bind("127.0.0.1", 0)
    with taken, pytest.raises(sockets.AddressTaken, match="another program listens"):
        sockets.bind("127.0.0.1", taken.getsockname()[1])


def test_every_address_of_the_machine_is_served_where_none_is_named():
    with sockets.bind("", 0) as everywhere:
        port = everywhere.getsockname()[1]
        for host in ["127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])]:
            began = time.monotonic()
            socket.create_connection((host, port), 1).close()
            assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "body", [b'{"agent_id":"agent://te\xffam/a"}', b'{"agent_id":' + b"[" * 5000, b'{"a":' * 5000, b"\xff\xfe{}"]
)
async def test_a_body_that_no_reader_can_read_is_a_bad_request_and_no_bug(body):
    async with scene() as stage:
        status, answer = await stage.outsider.ask("POST", "/v1/syscall/tool.invoke", body)
        assert (status, answer["error"]["code"]) == (400, "E_BAD_REQUEST")
