"""How an agent is stopped: what is under way ends, nothing new begins, and nobody but the kubelet can ask for it."""

import asyncio
import signal
from pathlib import Path

from aiohttp import web
from gateway_process import agent, granted, pair

from aion.api import errors, syscall
from aion.api.grant import FetchRule
from aion.gateway import parking
from aion.gateway.admission import Admission
from aion.gateway.door import Door
from aion.gateway.parking import SAVING, Parking
from aion.gateway.podface import PodFace
from aion.syscalls.call import NOBODY, Call, Caller
from aion.telemetry import metrics


class Pod:
    """A Parking by hand: its calls, its SIGTERM and its clock."""

    def __init__(self, calls: int = 0) -> None:
        self.calls, self.now, self.stopping = calls, 100.0, asyncio.Event()
        self.parking = Parking(self.stopping, under_way=lambda: self.calls, within_s=30.0, clock=lambda: self.now)

    def refusal(self, name: str, within: Call | None = None) -> errors.SyscallError | None:
        call = Call(
            name=name, caller=Caller("t", ""), audit_id="", started=0.0, started_ns=0, router=None, standing=NOBODY
        )
        call.within = within
        try:
            self.parking.verify(call)
        except errors.SyscallError as refused:
            return refused
        return None


async def test_while_nobody_stops_the_pod_nothing_can_be_parked(monkeypatch):
    monkeypatch.setattr(parking, "SIGNAL_S", 0.01)
    pod = Pod(calls=1)
    assert await pod.parking.park() is None
    assert pod.refusal("tool.invoke") is None


async def test_the_hook_may_come_before_the_signal_and_waits_for_it():
    pod = Pod()
    hook = asyncio.create_task(pod.parking.park())
    await asyncio.sleep(0.01)
    assert not hook.done()
    assert pod.refusal("tool.invoke") is None
    pod.stopping.set()
    assert await hook == 0


async def test_nothing_new_begins_and_what_saves_is_served_until_the_end():
    pod = Pod(calls=1)
    pod.stopping.set()
    hook = asyncio.create_task(pod.parking.park())
    await asyncio.sleep(0.01)
    pod.now += 10
    late = pod.refusal("tool.invoke")
    assert late is not None
    assert (late.code, late.http_status, late.details) == ("E_PREEMPT", 409, {"deadline_ms": 20_000})
    assert all(pod.refusal(name) is None for name in SAVING)
    outer = Call(
        name="tool.invoke",
        caller=Caller("t", ""),
        audit_id="",
        started=0.0,
        started_ns=0,
        router=None,
        standing=NOBODY,
    )
    assert pod.refusal("net.fetch", within=outer) is None, "what a tool does for a call under way is under way"
    pod.calls = 0
    assert await hook == 0
    assert pod.refusal("tool.invoke") is not None, "and not after it, either"


async def test_a_call_that_does_not_end_in_time_holds_nobody_up():
    pod = Pod(calls=2)
    pod.stopping.set()
    hook = asyncio.create_task(pod.parking.park())
    await asyncio.sleep(0)
    pod.now += 30
    assert await hook == 2
    assert await pod.parking.park() == 2, "asked again, it gives no second grace"


def test_what_saves_are_syscalls():
    assert set(syscall.NAMES) >= SAVING


async def test_a_real_gateway_parks_a_call_under_way_and_refuses_the_next_with_a_record(launch: Path, tmp_path: Path):
    begun, end = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        begun.set()
        await end.wait()
        return web.Response(text="done")

    app = web.Application()
    app.router.add_get("/", slow)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    grant = granted(capabilities=("network",), fetch=(FetchRule("127.0.0.1", (port,), private=True),))
    try:
        async with pair(launch, tmp_path, grant, AION_PARK_S="20") as (kernel, gateway), agent(launch, gateway):
            assert (await gateway.get("/readyz"))[0] == 200
            under_way = asyncio.create_task(gateway.syscall("net.fetch", params={"url": f"http://127.0.0.1:{port}/"}))
            await asyncio.wait_for(begun.wait(), 5)
            hook = asyncio.create_task(gateway.get("/v1/park"))
            gateway.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                while (late := await gateway.syscall("tool.invoke", params={"tool": "x"}))[1]["error"][
                    "code"
                ] != "E_PREEMPT":
                    await asyncio.sleep(0.01)
            assert late[0] == 409
            assert not hook.done()
            end.set()
            status, answer = await under_way
            assert (status, answer["status"]) == (200, "ok")
            async with asyncio.timeout(5):
                assert await hook == (200, '{"parked": true, "under_way": 0}\n')
                while "E_PREEMPT" not in {record.code for record in kernel.records}:
                    await asyncio.sleep(0.01)
    finally:
        await runner.cleanup()


async def test_a_neighbours_call_changes_nothing_in_a_pod_that_lives(launch: Path, tmp_path: Path):
    async with pair(launch, tmp_path) as (_, gateway), agent(launch, gateway):
        assert (await gateway.get("/readyz"))[0] == 200
        asked = asyncio.create_task(gateway.get("/v1/park"))
        await asyncio.sleep(0.1)
        assert (await gateway.syscall("tool.invoke", params={"tool": "x"}))[1]["error"]["code"] == "E_NO_TOOL"
        assert not asked.done()
        asked.cancel()


async def test_who_parks_a_pod_that_nobody_stops_is_told_so(monkeypatch):
    monkeypatch.setattr(parking, "SIGNAL_S", 0.01)
    sent = []

    async def send(message):
        sent.append(message)

    face = PodFace(Admission(Door("agent://t/a", clock=lambda: 0.0)), Pod(calls=1).parking, metrics.registry())
    await face({"type": "http", "path": "/v1/park"}, None, send)
    assert sent[0]["status"] == 409
    assert b"nobody stops this Pod" in sent[1]["body"]
