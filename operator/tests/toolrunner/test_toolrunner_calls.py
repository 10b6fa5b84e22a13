"""What one connection's calls tell their caller."""

import asyncio
import json

import pytest

from aion.api import toolcall
from aion.toolrunner import errors
from aion.toolrunner.calls import Load, Session

TOOL = toolcall.RunnerTool(name="t", version="1.0.0", kind="native", input_schema={}, timeout_ms=1000)


class Scripted:
    """An engine that does what a test says."""

    def __init__(self, act):
        self.act = act

    async def load(self):
        pass

    async def close(self):
        pass

    async def call(self, invocation, syscall):
        return await self.act(invocation, syscall)


class Caller:
    """The other end of a session."""

    def __init__(self, act, load=None):
        self.frames = asyncio.Queue()
        self.load = load or Load()

        async def send(frame):
            self.frames.put_nowait(json.loads(frame))

        self.session = Session(Scripted(act), TOOL, load=self.load, send=send)

    async def invoke(self, ident=1, timeout_ms=500, **more):
        context = {"agent_id": "agent://a/b", "tenant": "a"}
        frame = {"t": "invoke", "id": ident, "params": {}, "context": context, "timeout_ms": timeout_ms} | more
        await self.session.receive(json.dumps(frame))

    async def next(self):
        return await asyncio.wait_for(self.frames.get(), 2)


async def asks(invocation, syscall):
    answer = await syscall("net.fetch", {})
    if "error" in answer:
        raise errors.ToolFailed(answer["error"]["message"], code=answer["error"]["code"])
    return answer["result"]


async def test_a_refused_syscall_keeps_its_details_through_the_tool():
    caller = Caller(asks)
    await caller.invoke()
    assert (await caller.next())["t"] == "syscall"
    error = {"code": "E_CAPABILITY", "message": "no", "details": {"rule": "capability.network@7"}}
    await caller.session.receive(json.dumps({"t": "answer", "id": 1, "n": 0, "status": "error", "error": error}))
    assert await caller.next() == {"t": "error", "id": 1, **error}


async def test_a_code_that_no_syscall_answered_is_not_believed():
    async def lies(invocation, syscall):
        raise errors.ToolFailed("yield!", code="E_PREEMPT")

    caller = Caller(lies)
    await caller.invoke()
    said = await caller.next()
    assert (said["code"], said["details"]) == ("E_UPSTREAM", {"tool_code": "E_PREEMPT"})


async def test_a_bug_in_the_engine_is_answered_and_logged_and_not_told(caplog):
    async def breaks(invocation, syscall):
        raise ZeroDivisionError("secret")

    caller = Caller(breaks)
    await caller.invoke()
    said = await caller.next()
    assert (said["t"], said["code"]) == ("error", "E_UPSTREAM")
    assert "secret" not in json.dumps(said)
    assert "ZeroDivisionError" in caplog.text
    assert caller.load.in_flight == 0


@pytest.mark.parametrize(("asked", "given"), [(500, 500), (90_000, 1000), (0, 1000)])
async def test_a_call_has_the_smaller_of_the_callers_and_the_tools_time(asked, given):
    async def tells(invocation, syscall):
        return {"ms": invocation.timeout_ms}

    caller = Caller(tells)
    await caller.invoke(timeout_ms=asked)
    assert (await caller.next())["result"] == {"ms": given}


async def test_a_cancelled_call_is_ended_and_says_nothing():
    ended = asyncio.Event()

    async def hangs(invocation, syscall):
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    caller = Caller(hangs)
    await caller.invoke()
    await asyncio.sleep(0)
    await caller.session.receive('{"t":"cancel","id":1}')
    await asyncio.wait_for(ended.wait(), 1)
    await asyncio.sleep(0)
    assert caller.frames.empty()
    assert caller.load.in_flight == 0


async def test_a_closed_connection_ends_its_calls_and_frees_their_places():
    async def hangs(invocation, syscall):
        await asyncio.sleep(60)

    caller = Caller(hangs, Load(most=2))
    for ident in (1, 2, 3):
        await caller.invoke(ident)
    assert (await caller.next())["code"] == "E_BUSY"
    await caller.session.close()
    assert caller.load.in_flight == 0


async def test_a_runner_that_stops_takes_no_call():
    caller = Caller(asks, Load(stopping=True))
    await caller.invoke()
    assert (await caller.next())["code"] == "E_BUSY"


async def test_an_answer_that_comes_after_the_end_disturbs_nothing():
    caller = Caller(asks)
    await caller.session.receive('{"t":"answer","id":9,"n":0,"status":"ok","result":{}}')
    await caller.session.receive('{"t":"cancel","id":9}')
    await caller.invoke()
    assert (await caller.next())["t"] == "syscall"
    await caller.session.close()


async def test_an_id_in_flight_is_not_used_twice():
    caller = Caller(asks)
    await caller.invoke()
    await caller.next()
    await caller.invoke()
    assert (await caller.next())["code"] == "E_BAD_REQUEST"
    assert caller.load.in_flight == 1
    await caller.session.close()
