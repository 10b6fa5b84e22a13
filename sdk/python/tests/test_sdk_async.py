"""The asyncio client alone: cancellation, many calls at once, and event loops that come and go."""

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop
from sdk_server import ME, PEM, Server, ok

from aion_sdk import AsyncAgent, async_connection, attempt, errors


def echo(conn, request):
    conn.sendall(ok(request.document["params"]))


async def test_calls_run_side_by_side_on_few_connections(gw: Path):
    def slow_echo(conn, request):
        time.sleep(0.1)
        echo(conn, request)

    with Server([slow_echo], gw) as server:
        async with AsyncAgent(ME, server.url) as agent:
            began = time.monotonic()
            answers = await asyncio.gather(*(agent.syscall("tool.invoke", {"n": n}) for n in range(20)))
            assert time.monotonic() - began < 1
            assert [answer["n"] for answer in answers] == list(range(20))
            await agent.syscall("tool.invoke", {"n": 0})
        assert server.connections == 20


async def test_more_calls_than_connections_wait_their_turn_and_all_are_answered(
    gw: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(async_connection, "CONNECTIONS", 3)
    with Server([echo], gw) as server:
        async with AsyncAgent(ME, server.url) as agent:
            answers = await asyncio.gather(*(agent.syscall("tool.invoke", {"n": n}) for n in range(60)))
            assert [answer["n"] for answer in answers] == list(range(60))
        assert server.connections <= 3
        assert [request.document["params"]["n"] for request in server.seen[:3]] != []


async def test_a_call_that_waits_for_its_turn_too_long_was_not_sent(gw: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(async_connection, "CONNECTIONS", 1)

    def slow(conn, _request):
        time.sleep(0.3)
        conn.sendall(ok({}))

    with Server([slow], gw) as server:
        async with AsyncAgent(ME, server.url) as agent:
            first = asyncio.create_task(agent.syscall("tool.invoke"))
            await asyncio.sleep(0.02)
            with pytest.raises(errors.TimedOut) as caught:
                await agent.syscall("tool.invoke", timeout=0.1)
            assert caught.value.details == {"sent": False}
            await first
            await agent.syscall("tool.invoke")
        assert len(server.seen) == 2


async def test_a_cancelled_call_never_lends_its_answer_to_the_next(gw: Path):
    def late(conn, request):
        time.sleep(0.1)
        echo(conn, request)

    with Server([late, echo], gw) as server:
        async with AsyncAgent(ME, server.url) as agent:
            call = asyncio.create_task(agent.syscall("tool.invoke", {"n": "cancelled"}))
            await asyncio.sleep(0.03)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await agent.syscall("tool.invoke", {"n": "next"}) == {"n": "next"}
            await asyncio.sleep(0.12)
            assert await agent.syscall("tool.invoke", {"n": "last"}) == {"n": "last"}


def in_a_loop(new_event_loop: Callable[[], asyncio.AbstractEventLoop], main: Coroutine[Any, Any, None]) -> None:
    loop = new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


loops = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@loops
@pytest.mark.parametrize("limit", [1, 4])
def test_whenever_calls_are_cancelled_the_others_get_their_own_answers_and_no_turn_is_lost(
    gw: Path, monkeypatch: pytest.MonkeyPatch, new_loop: Callable[[], asyncio.AbstractEventLoop], limit: int
):
    monkeypatch.setattr(async_connection, "CONNECTIONS", limit)

    async def main() -> None:
        async with AsyncAgent(ME, server.url) as agent:

            async def ask(n: int) -> None:
                assert await agent.syscall("tool.invoke", {"n": n}) == {"n": n}

            tasks = []
            for n in range(150):
                tasks.append(asyncio.create_task(ask(n)))
                for _ in range(n % 7):
                    await asyncio.sleep(0)
                tasks[n * 7 // 10].cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [one for one in outcomes if not isinstance(one, (asyncio.CancelledError, type(None)))]
            assert outcomes.count(None) > 20
            pool = agent._pool()
            assert (pool._busy, len(pool._waiting)) == (0, 0)
            assert len(pool._idle) <= limit
            await ask(999)

    with Server([echo], gw) as server:
        in_a_loop(new_loop, main())


@loops
@pytest.mark.parametrize("over", ["unix", "tcp", "tls"])
def test_cancelling_at_every_await_of_the_first_call_leaves_no_socket_open(
    gw: Path, monkeypatch: pytest.MonkeyPatch, new_loop: Callable[[], asyncio.AbstractEventLoop], over: str
):
    """pytest turns the ResourceWarning of a socket that was left open into an error."""
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))

    async def main() -> None:
        for rounds in range(12):
            async with AsyncAgent(ME, server.url) as agent:
                call = asyncio.create_task(agent.syscall("tool.invoke"))
                for _ in range(rounds):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)

    with Server([echo], gw if over == "unix" else None, tls=over == "tls") as server:
        in_a_loop(new_loop, main())
    gc.collect()


async def test_a_connection_that_is_gone_is_never_waited_for(gw: Path):
    with Server([echo], gw):
        loop = asyncio.get_running_loop()
        _, conversation = await loop.create_unix_connection(async_connection.Conversation, str(gw))
        conversation.abort()
        await asyncio.sleep(0.01)
        with pytest.raises(attempt.Unsent):
            await asyncio.wait_for(conversation.ask(b"POST", deadline=time.monotonic() + 5), 1)


async def test_a_timeout_around_the_call_is_obeyed_at_once(gw: Path):
    with Server([lambda conn, _: conn.recv(1)], gw) as server:
        async with AsyncAgent(ME, server.url) as agent:
            began = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(agent.syscall("tool.invoke"), 0.1)
            assert time.monotonic() - began < 0.5


async def test_the_event_loop_is_never_blocked_by_a_slow_answer(gw: Path):
    def slow(conn, _request):
        time.sleep(0.2)
        conn.sendall(ok({}))

    with Server([slow], gw) as server:
        async with AsyncAgent(ME, server.url) as agent:
            call = asyncio.create_task(agent.syscall("tool.invoke"))
            rounds = 0
            while not call.done():
                await asyncio.sleep(0.01)
                rounds += 1
    assert rounds >= 10


def test_one_agent_serves_several_event_loops_one_after_the_other(gw: Path):
    with Server([echo], gw) as server:
        agent = AsyncAgent(ME, server.url)

        async def once(n: int) -> int:
            async with agent:
                return (await agent.syscall("tool.invoke", {"n": n}))["n"]

        assert [asyncio.run(once(n)) for n in range(3)] == [0, 1, 2]
        assert agent._pools == {}


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_an_agent_left_open_in_one_event_loop_still_works_in_the_next(gw: Path):
    with Server([echo], gw) as server:
        agent = AsyncAgent(ME, server.url)
        for n in range(3):
            assert asyncio.run(agent.syscall("tool.invoke", {"n": n})) == {"n": n}
            assert len(agent._pools) == 1, "the pool of a closed loop was kept"
        del agent
        gc.collect()
