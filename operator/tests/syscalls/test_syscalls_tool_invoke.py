"""tool.invoke through a real runner: what tools do wrong, what connections do wrong, and what nested calls may."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from syscalls_stage import Stage
from tool_runner import Engineered, Impostor, program, running, sign, wasm_that_asks

from aion.api import errors
from aion.api.grant import FetchRule, Limits, ToolGrant
from aion.syscalls.net_fetch import NetFetch
from aion.syscalls.testing import ScriptedTools, a_tool, granted
from aion.syscalls.tool_invoke import ToolInvoke
from aion.syscalls.toolchannels import Sign, ToolChannels

QUERY = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["query"],
    "additionalProperties": False,
}  # fmt: skip
ECHO = """sed 's/"params"/"result"/'"""


async def echoes(invocation, syscall):
    return dict(invocation.params)


@asynccontextmanager
async def staged(*tools: ToolGrant, signed: Sign = sign, **grant) -> AsyncIterator[tuple[Stage, ToolChannels]]:
    """A router that speaks to real runners."""
    channels = ToolChannels(signed)
    grant = {"limits": Limits(max_concurrency=500), **grant}
    try:
        yield Stage(ToolInvoke(channels), NetFetch(), grants=(granted(tools=tools, **grant),)), channels
    finally:
        await channels.close()


async def test_a_program_in_another_process_answers_and_the_answer_says_which():
    async with running(program(ECHO)) as runner, staged(a_tool(endpoint=runner.endpoint, schema=QUERY)) as (stage, _):
        answer = await stage.call("tool.invoke", {"tool": "echo", "query": "naïve", "limit": 3})
    assert answer.status == 200
    assert answer.body["result"] == {"query": "naïve", "limit": 3}
    assert answer.body["engine"] == {"kind": "module", "name": "tooling/echo@1.2.0"}
    assert (stage.record.subject, stage.record.engine) == ("echo", "tooling/echo@1.2.0")


async def must_not_be_asked(_ask):
    raise AssertionError("the tool was asked")


BAD_PARAMS = [
    ({}, 422, "E_PARAMS", [{"path": "/tool", "message": "a non-empty string is required"}]),
    ({"tool": 7}, 422, "E_PARAMS", [{"path": "/tool", "message": "a non-empty string is required"}]),
    ({"tool": "echo"}, 422, "E_PARAMS", [{"path": "", "message": '"query" is a required property'}]),
    (
        {"tool": "echo", "query": 1, "tags": ["a", 2]},
        422,
        "E_PARAMS",
        [{"path": "/query", "message": '1 is not of type "string"'}, {"path": "/tags/1", "message": '2 is not of type "string"'}],
    ),
    (
        {"tool": "echo", "query": "x", "depth": 2},
        422,
        "E_PARAMS",
        [{"path": "", "message": "Additional properties are not allowed ('depth' was unexpected)"}],
    ),
    ({"tool": "echo", "query": "x" * 300_000}, 413, "E_TOO_LARGE", None),
    ({"tool": "web_search"}, 404, "E_NO_TOOL", None),
]  # fmt: skip


@pytest.mark.parametrize(("params", "status", "code", "where"), BAD_PARAMS, ids=range(len(BAD_PARAMS)))
async def test_params_that_a_tool_does_not_take_are_refused_by_place_before_it_is_asked(params, status, code, where):
    stage = Stage(ToolInvoke(ScriptedTools(must_not_be_asked)), grants=(granted(tools=[a_tool(schema=QUERY)]),))
    answer = await stage.call("tool.invoke", params)
    assert (answer.status, answer.code) == (status, code)
    found = answer.error.get("details", {}).get("errors")
    assert (sorted(found, key=lambda each: each["path"]) if where else found) == where
    if code == "E_NO_TOOL":
        assert answer.error["message"] == "got tool 'web_search', expected one of this agent's tools: echo"


async def test_a_tool_that_policy_keeps_from_the_agent_is_denied_by_rule_and_not_unknown():
    refused = {"tool:shell": "policy.capabilities.by_tool[shell].deny: tenant-a"}
    stage = Stage(ToolInvoke(ScriptedTools(must_not_be_asked)), grants=(granted(refused=refused),))
    answer = await stage.call("tool.invoke", {"tool": "shell"})
    assert (answer.status, answer.code) == (403, "E_POLICY")
    assert answer.error["rule"] == "tools.shell@rev7: policy.capabilities.by_tool[shell].deny: tenant-a"
    assert stage.record.subject == "shell"


async def test_a_tool_whose_capabilities_the_agent_lacks_is_never_asked():
    stage = Stage(
        ToolInvoke(ScriptedTools(must_not_be_asked)),
        grants=(
            granted(
                capabilities=[],
                tools=[a_tool("web_search", needs=["network"])],
                refused={"capability:network": "agent.spec.capabilities.network: false"},
            ),
        ),
    )
    answer = await stage.call("tool.invoke", {"tool": "web_search", "query": "x"})
    assert (answer.status, answer.code) == (403, "E_CAPABILITY")
    assert answer.error["rule"] == "capabilities.network@rev7: agent.spec.capabilities.network: false"
    assert answer.error["message"] == "agent lacks network, needed by tool web_search"


YIELD = '{"error":{"code":"E_PREEMPT","message":"yield!"}}'
NO_CITY = '{"error":{"code":"E_PARAMS","message":"no such city"}}'
MISBEHAVED = [
    ("kill -ABRT $$", 502, "E_UPSTREAM", "signal 6"),
    ("printf 'out of luck' >&2; exit 3", 502, "E_UPSTREAM", "status 3"),
    ("echo hello", 502, "E_UPSTREAM", "not one JSON document"),
    ("echo '[1]'", 502, "E_UPSTREAM", "neither"),
    ("head -c 100000000 /dev/zero", 413, "E_TOO_LARGE", "1048576"),
    (f"echo '{YIELD}'", 502, "E_UPSTREAM", "yield!"),
    (f"echo '{NO_CITY}'", 422, "E_PARAMS", "no such city"),
]


@pytest.mark.parametrize(("code", "status", "expected", "says"), MISBEHAVED, ids=range(len(MISBEHAVED)))
async def test_a_tool_that_misbehaves_fails_its_own_call_alone(code, status, expected, says):
    async with (
        running(program(code)) as bad,
        running(program(ECHO)) as good,
        staged(a_tool("bad", endpoint=bad.endpoint), a_tool("good", endpoint=good.endpoint)) as (stage, _),
    ):
        calls = [stage.call("tool.invoke", {"tool": name}) for name in ("bad", "good", "bad")]
        first, beside, again = await asyncio.gather(*calls)
    for answer in (first, again):
        assert (answer.status, answer.code) == (status, expected)
        assert says in answer.error["message"]
    assert beside.status == 200


async def test_what_a_tool_wrote_to_stderr_is_in_the_details():
    async with running(program(MISBEHAVED[1][0])) as runner, staged(a_tool(endpoint=runner.endpoint)) as (stage, _):
        answer = await stage.call("tool.invoke", {"tool": "echo"})
    assert answer.error["details"] == {"exit": 3, "stderr": "out of luck"}


SLEEPS = "touch pid-$$; sleep 60"


def alive(folder: Path) -> list[int]:
    pids = [int(path.name[4:]) for path in folder.glob("pid-*")]
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def until(true, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("tool_ms", "budget", "says"), [(300, {}, "300 ms"), (5000, {"latency_ms": 300}, "300 ms")])
async def test_a_tool_that_hangs_is_killed_at_its_own_timeout_or_the_callers(tmp_path, tool_ms, budget, says):
    async with (
        running(program(SLEEPS, tmp_path)) as runner,
        staged(a_tool(endpoint=runner.endpoint, timeout_ms=tool_ms)) as (stage, _),
    ):
        began = time.monotonic()
        answer = await stage.call("tool.invoke", {"tool": "echo"}, budget=budget)
        assert time.monotonic() - began < 4.5  # and not after the 5 s of the other limit
        assert (answer.status, answer.code) == (504, "E_TIMEOUT")
        assert says in answer.error["message"]
        await until(lambda: not alive(tmp_path))


async def test_a_caller_that_leaves_ends_the_tools_process(tmp_path):
    async with (
        running(program(SLEEPS, tmp_path)) as runner,
        staged(a_tool(endpoint=runner.endpoint)) as (stage, _),
    ):
        leaving = asyncio.create_task(stage.call("tool.invoke", {"tool": "echo"}))
        await until(lambda: alive(tmp_path))
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        await until(lambda: not alive(tmp_path))
        assert runner.connections == 1


async def test_a_wrong_key_is_refused_by_the_runner_and_said_so():
    def forged(target: str):
        return sign(target, secret=b"x" * 32)

    async with (
        running(Engineered(echoes)) as runner,
        staged(a_tool(endpoint=runner.endpoint), signed=forged) as (stage, _),
    ):
        answer = await stage.call("tool.invoke", {"tool": "echo"})
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")
    assert "refused the connection with HTTP 401" in answer.error["message"]


async def test_without_a_key_nothing_is_dialled():
    def keyless(target: str):
        raise errors.Unavailable("no key of tenant tenant-a")

    async with staged(a_tool(endpoint="http://127.0.0.1:9"), signed=keyless) as (stage, _):
        answers = await asyncio.gather(*(stage.call("tool.invoke", {"tool": "echo"}) for _ in range(3)))
    assert [(answer.status, answer.code) for answer in answers] == [(503, "E_UNAVAILABLE")] * 3


async def test_a_runner_that_is_not_there_is_named():
    async with staged(a_tool(endpoint="http://127.0.0.1:9")) as (stage, _):
        answer = await stage.call("tool.invoke", {"tool": "echo"})
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")
    assert answer.error["message"].startswith("the tool runner at http://127.0.0.1:9 cannot be reached")


async def test_a_runner_that_was_replaced_between_two_calls_is_dialled_again_unnoticed():
    engine = Engineered(echoes)
    async with running(engine) as first, staged(a_tool(endpoint=first.endpoint)) as (stage, _):
        assert (await stage.call("tool.invoke", {"tool": "echo"})).status == 200
        first.hang_up()
        await asyncio.sleep(0.02)  # for the news to come over
        assert (await stage.call("tool.invoke", {"tool": "echo"})).status == 200
        await until(lambda: first.connections == 1)
    assert engine.calls == 2


async def test_a_call_that_comes_before_the_tool_is_loaded_waits_for_it():
    async def answers(invocation, syscall):
        return {"loaded": engine.loaded}

    engine = Engineered(answers, loads_within_s=0.2)
    async with running(engine) as runner, staged(a_tool(endpoint=runner.endpoint)) as (stage, _):
        answer = await stage.call("tool.invoke", {"tool": "echo"})
    assert answer.body["result"] == {"loaded": True}


@pytest.mark.parametrize("idempotent", [False, True])
async def test_an_answer_lost_on_the_way_is_asked_for_again_only_where_the_tool_allows_it(idempotent):
    async def dies_at_first(invocation, syscall):
        if engine.calls == 1:
            runner.hang_up()
            await asyncio.sleep(60)
        return {"call": engine.calls}

    engine = Engineered(dies_at_first)
    async with (
        running(engine) as runner,
        staged(a_tool(endpoint=runner.endpoint, idempotent=idempotent)) as (stage, _),
    ):
        answer = await stage.call("tool.invoke", {"tool": "echo"})
    if idempotent:
        assert (answer.status, answer.body["result"]) == (200, {"call": 2})
    else:
        assert (answer.status, answer.code) == (409, "E_UNKNOWN_OUTCOME")
        assert answer.error["details"] == {"outcome": "unknown"}
        assert engine.calls == 1


async def test_a_runner_that_leaves_finishes_its_calls_and_new_ones_go_elsewhere_unnoticed():
    begun, finish = asyncio.Event(), asyncio.Event()

    async def once_held(invocation, _syscall):
        if invocation.params.get("q") == "held":
            begun.set()
            await finish.wait()
        return {"said": invocation.params.get("q")}

    engine = Engineered(once_held)
    async with running(engine) as runner, staged(a_tool(endpoint=runner.endpoint)) as (stage, _):
        held = asyncio.create_task(stage.call("tool.invoke", {"tool": "echo", "q": "held"}))
        await asyncio.wait_for(begun.wait(), 5)
        leaving = asyncio.create_task(runner.app.drain(5))
        await asyncio.sleep(0)
        late = asyncio.create_task(stage.call("tool.invoke", {"tool": "echo", "q": "late"}))
        await asyncio.sleep(0.25)
        runner.app._load.stopping = False  # as another runner behind the same Service would answer
        assert (await asyncio.wait_for(late, 5)).status == 200
        finish.set()
        assert (await asyncio.wait_for(held, 5)).status == 200
        await asyncio.wait_for(leaving, 5)
        assert engine.calls == 2, "and nothing was asked twice"


async def test_an_idempotent_tool_is_asked_twice_and_not_for_ever():
    async def always_dies(invocation, syscall):
        runner.hang_up()
        await asyncio.sleep(60)

    engine = Engineered(always_dies)
    async with running(engine) as runner, staged(a_tool(endpoint=runner.endpoint, idempotent=True)) as (stage, _):
        answer = await stage.call("tool.invoke", {"tool": "echo"})
    assert (answer.code, answer.error["details"], engine.calls) == ("E_UPSTREAM", {"outcome": "unknown"}, 2)


async def test_a_question_that_was_on_its_way_is_never_asked_again_of_a_tool_that_is_not_idempotent():
    """The peer reads nothing, so that questions wait in the socket's buffers, half sent; then it dies."""
    async with (
        Impostor(lambda _ws: asyncio.sleep(60)).serving() as peer,
        staged(a_tool(endpoint=peer.endpoint)) as (stage, _),
    ):
        large = {"tool": "echo", "text": "x" * 250_000}
        calls = [asyncio.create_task(stage.call("tool.invoke", large)) for _ in range(40)]
        await until(lambda: peer.connections)
        await asyncio.sleep(0.05)
        peer.transports[0].abort()
        answers = await asyncio.gather(*calls)
        assert {answer.code for answer in answers} == {"E_UNKNOWN_OUTCOME"}
        assert [answer.error["details"] for answer in answers] == [{"outcome": "unknown"}] * 40
        assert peer.connections == 1


async def test_many_calls_share_one_connection_and_none_waits_for_another():
    async def slow_first(invocation, syscall):
        await asyncio.sleep(0.2 if invocation.params["n"] == 0 else 0)
        ended.append(invocation.params["n"])
        return {"n": invocation.params["n"]}

    ended: list[int] = []
    async with running(Engineered(slow_first)) as runner, staged(a_tool(endpoint=runner.endpoint)) as (stage, _):
        answers = await asyncio.gather(*(stage.call("tool.invoke", {"tool": "echo", "n": n}) for n in range(60)))
        assert runner.connections == 1
    assert [answer.body["result"]["n"] for answer in answers] == list(range(60))
    assert ended[-1] == 0


async def test_a_runner_that_is_full_says_busy_and_when_to_come_back():
    async def waits(invocation, syscall):
        await free.wait()
        return {}

    free = asyncio.Event()
    async with running(Engineered(waits)) as runner, staged(a_tool(endpoint=runner.endpoint)) as (stage, _):
        calls = [asyncio.create_task(stage.call("tool.invoke", {"tool": "echo"})) for _ in range(66)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        free.set()
        answers = await asyncio.gather(*calls)
    refused = [answer for answer in answers if answer.status != 200]
    assert [(answer.status, answer.code, answer.headers[b"retry-after"]) for answer in refused] == [
        (429, "E_BUSY", b"1")
    ] * 2


@asynccontextmanager
async def website() -> AsyncIterator[str]:
    async def page(_request: web.Request) -> web.Response:
        return web.json_response({"hits": 3})

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("agent", "tool", "rule"),
    [
        (["network"], ["network"], None),
        (["network"], [], "capabilities.network@rev7: tool echo does not list network in capabilitiesRequired"),
        ([], ["network"], "capabilities.network@rev7: agent.spec.capabilities: network is not asked for"),
        ([], [], "capabilities.network@rev7: agent.spec.capabilities: network is not asked for"),
    ],
)
async def test_a_wasm_tool_fetches_only_where_agent_and_tool_both_have_the_network(agent, tool, rule):
    async with website() as url:
        wish = json.dumps({"syscall": "net.fetch", "params": {"url": url}})
        fetch = [FetchRule("127.0.0.1", ports=(int(url.split(":")[2][:-1]),), private=True)]
        async with (
            running(wasm_that_asks(wish)) as runner,
            staged(
                a_tool(endpoint=runner.endpoint, needs=tool), capabilities=agent, syscalls=["tool.invoke"], fetch=fetch
            ) as (stage, _),
        ):
            answer = await stage.call("tool.invoke", {"tool": "echo"}, context={"task_id": "t1"})
    own = stage.audit.records[-1]
    assert (own.syscall, own.audit_id) == ("tool.invoke", answer.body["audit_id"])
    if rule is None:
        assert json.loads(answer.body["result"]["body"]) == {"hits": 3}
        fetched = stage.audit.records[0]
        assert (fetched.syscall, fetched.parent, fetched.subject) == ("net.fetch", own.audit_id, url[7:-1])
    else:
        assert (answer.status, answer.code, answer.error["rule"]) == (403, "E_CAPABILITY", rule)
        assert own.rule == rule


async def test_a_call_that_ends_takes_its_nested_syscalls_along():
    async def asks_and_leaves(invocation, syscall):
        asking = asyncio.ensure_future(syscall("net.fetch", {"url": "http://slow.example.org/"}))
        await began.wait()
        asking.cancel()
        return {}

    async def never_resolves(_host: str, _port: int):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    began, ended = asyncio.Event(), asyncio.Event()
    async with running(Engineered(asks_and_leaves)) as runner:
        tool = a_tool(endpoint=runner.endpoint, needs=["network"])
        channels = ToolChannels(sign)
        stage = Stage(
            ToolInvoke(channels),
            NetFetch(never_resolves),
            grants=(granted(tools=[tool], fetch=[FetchRule("slow.example.org")]),),
        )
        answer = await stage.call("tool.invoke", {"tool": "echo"})
        await asyncio.wait_for(ended.wait(), 1)
        await channels.close()
    assert answer.status == 200
    assert [(record.syscall, record.code) for record in stage.audit.records] == [
        ("tool.invoke", ""),
        ("net.fetch", "E_UNAVAILABLE"),
    ]


IMPOSTORS = [
    (lambda ws: ws.send_str("hello"), "the runner speaks another protocol"),
    (lambda ws: ws.send_str('{"t":"dance","id":1}'), "the runner speaks another protocol"),
    (lambda ws: ws.send_str("x" * (3 << 20)), "the runner sent more than a frame may hold"),
    (lambda ws: ws.close(), "the runner hung up"),
]


@pytest.mark.parametrize(("act", "says"), IMPOSTORS, ids=range(len(IMPOSTORS)))
async def test_a_peer_that_is_no_runner_fails_the_call_and_the_next_one_dials_anew(act, says):
    async def after_the_question(ws: web.WebSocketResponse) -> None:
        await ws.receive()
        await act(ws)
        await ws.receive()

    async with Impostor(after_the_question).serving() as peer, staged(a_tool(endpoint=peer.endpoint)) as (stage, _):
        for count in (1, 2):
            answer = await asyncio.wait_for(stage.call("tool.invoke", {"tool": "echo"}), 3)
            assert (answer.status, answer.code) == (409, "E_UNKNOWN_OUTCOME")
            assert says in answer.error["message"]
            assert peer.connections == count


async def test_a_result_over_the_limit_is_too_large_and_the_connection_lives_on():
    async def floods(ws: web.WebSocketResponse) -> None:
        async for message in ws:
            ident = json.loads(message.data)["id"]
            await ws.send_str('{"t":"result","id":999,"result":{}}')
            await ws.send_str(
                json.dumps({"t": "result", "id": ident, "result": {"x": "x" * ((1 << 20) if ident == 1 else 1)}})
            )

    async with Impostor(floods).serving() as peer, staged(a_tool(endpoint=peer.endpoint)) as (stage, _):
        first = await stage.call("tool.invoke", {"tool": "echo"})
        assert (first.status, first.code) == (413, "E_TOO_LARGE")
        assert (await stage.call("tool.invoke", {"tool": "echo"})).status == 200
        assert peer.connections == 1


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """Accepts connections and never says a word."""
    writers = []

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


async def test_a_handshake_that_hangs_costs_a_call_its_own_time_and_closing_none():
    async with silent() as endpoint, staged(a_tool(endpoint=endpoint)) as (stage, channels):
        began = time.monotonic()
        answers = await asyncio.gather(
            *(stage.call("tool.invoke", {"tool": "echo"}, budget={"latency_ms": 100}) for _ in range(5))
        )
        assert [answer.code for answer in answers] == ["E_TIMEOUT"] * 5
        await channels.close()
        assert time.monotonic() - began < 2


async def test_a_runner_that_does_not_say_goodbye_holds_nobody_up_for_long():
    async with (
        Impostor(lambda _ws: asyncio.sleep(60)).serving() as peer,
        staged(a_tool(endpoint=peer.endpoint)) as (stage, channels),
    ):
        await stage.call("tool.invoke", {"tool": "echo"}, budget={"latency_ms": 50})
        began = time.monotonic()
        await channels.close()
        assert time.monotonic() - began < 4


async def test_connections_to_tools_that_are_no_longer_granted_are_closed():
    async with (
        running(Engineered(echoes)) as one,
        running(Engineered(echoes)) as other,
        staged(a_tool("one", endpoint=one.endpoint), a_tool("other", endpoint=other.endpoint)) as (stage, channels),
    ):
        for name in ("one", "other"):
            assert (await stage.call("tool.invoke", {"tool": name})).status == 200
        await channels.keep(frozenset({one.endpoint}))
        await until(lambda: not other.connections)
        assert one.connections == 1
