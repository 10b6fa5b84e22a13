"""The three pages: what they judge by, and that they are served."""

import asyncio
import socket

import aiohttp
import pytest

from aion.controller import health


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


async def pages(port):
    found = {}
    async with aiohttp.ClientSession() as session:
        for path in ("/healthz", "/readyz", "/metrics", "/"):
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                found[path] = answer.status, await answer.text()
    return found


async def test_alive_and_not_ready_are_two_truths(port):
    runner = await health.serve(port, alive={"loop": lambda: None}, ready={"cluster": lambda: "no lists yet"})
    found = await pages(port)
    await runner.cleanup()
    assert found["/healthz"] == (200, "ok\n")
    assert found["/readyz"] == (503, "cluster: no lists yet\n")
    assert "aion_api_writes_total" in found["/metrics"][1]
    assert found["/"][0] == 404


async def test_what_is_not_alive_is_not_ready_either(port):
    runner = await health.serve(port, alive={"watch": lambda: "watch has ended"}, ready={})
    found = await pages(port)
    await runner.cleanup()
    assert found["/healthz"] == found["/readyz"] == (503, "watch: watch has ended\n")


async def test_a_loop_that_stood_still_is_not_alive():
    now = 100.0
    pulse = health.Pulse(clock=lambda: now)
    assert pulse.check() is None
    now += health.STILL_S + 1
    assert "has not turned for 31 s" in pulse.check()


async def test_the_pulse_beats(monkeypatch):
    monkeypatch.setattr(health, "TICK_S", 0.01)
    ticks = iter(range(1000))
    pulse = health.Pulse(clock=lambda: float(next(ticks)))
    beating = asyncio.create_task(pulse.run())
    await asyncio.sleep(0.05)
    beating.cancel()
    assert next(ticks) > 4


async def test_an_ended_task_is_noticed():
    task = asyncio.create_task(asyncio.sleep(0), name="watch")
    assert health.running(task)() is None
    await task
    assert health.running(task)() == "watch has ended"


async def test_a_ready_one_says_which_role_it_has_and_checks_may_change_meanwhile(port):
    alive = {}
    runner = await health.serve(port, alive=alive, ready={}, role=lambda: "ok: standby")
    found = await pages(port)
    alive["watch"] = lambda: "watch has ended"
    later = await pages(port)
    await runner.cleanup()
    assert (found["/readyz"], found["/healthz"]) == ((200, "ok: standby\n"), (200, "ok\n"))
    assert later["/healthz"] == (503, "watch: watch has ended\n")
