"""What goes through the router and is no question: a tunnel has the same door, policies, record and metrics as a call."""

import asyncio

import pytest
from syscalls_stage import ME, Stage, read

from aion.api import errors, grant
from aion.api.syscall import Engine
from aion.syscalls import testing
from aion.syscalls.call import Call
from aion.syscalls.testing import Scripted, StillTime, granted

WHERE = {"subject": "a.example:443", "engine": Engine("tunnel", "tunnel/connect")}


def fetching(act=testing.hangs) -> Scripted:
    return Scripted("net.fetch", act, capability="network")


async def test_what_was_done_has_no_reply_and_one_record_whose_latency_ends_where_the_answer_began():
    time = StillTime()

    async def act(call: Call) -> bytes:
        time.now += 0.25
        call.answered, call.bytes_in, call.bytes_out = time.now, 70, 7
        time.now += 60
        return b""

    stage = Stage(fetching(), clock=time.clock())
    assert await stage.router.carry(fetching(act), ME, **WHERE) is None
    record = stage.record
    assert (record.syscall, record.decision, record.subject) == ("net.fetch", "allow", "a.example:443")
    assert (record.latency_ms, record.held_ms, record.bytes_in, record.bytes_out) == (250, 60_000, 70, 7)
    assert stage.counted("net.fetch", "allow") == 1
    assert stage.registry.get_sample_value("aion_kernel_syscall_latency_ms_sum", {"syscall": "net.fetch"}) == 250


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (granted(capabilities=()), "E_CAPABILITY"),
        (granted(syscalls=("tool.invoke",)), "E_CAPABILITY"),
        (None, "E_UNAVAILABLE"),
    ],
)
async def test_it_is_refused_by_the_rules_that_refuse_a_call(given: grant.Grant | None, code: str):
    tunnel = fetching()
    stage = Stage(fetching(), grants=(given,) if given else ())
    reply = await stage.router.carry(tunnel, ME, **WHERE)
    assert reply is not None
    assert (read(reply).code, tunnel.calls) == (code, [])
    assert (stage.record.code, stage.record.syscall) == (code, "net.fetch")
    assert (stage.record.subject, stage.record.engine) == ("a.example:443", "tunnel/connect")


async def test_tunnels_have_seats_of_their_own_and_leave_those_of_calls_alone():
    limits = grant.Limits(max_tunnels=1, max_concurrency=1)
    stage = Stage(fetching(testing._nothing), grants=(granted(limits=limits),))
    held = asyncio.create_task(stage.router.carry(fetching(), ME, **WHERE))
    await asyncio.sleep(0)
    assert (await stage.call("net.fetch")).status == 200
    busy = await stage.router.carry(fetching(), ME, **WHERE)
    assert busy is not None
    assert (read(busy).code, "limits.max_tunnels" in read(busy).error["message"]) == ("E_BUSY", True)
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
    assert stage.door.standings[testing.AGENT].tunnels == 0
    assert stage.audit.records[-1].code == "E_UNAVAILABLE"


async def test_it_lasts_no_longer_than_the_policy_lets_a_tunnel_last(monkeypatch):
    time = StillTime()
    stage = Stage(fetching(), grants=(granted(limits=grant.Limits(tunnel_lifetime_s=5)),), clock=time.clock())

    async def act(call: Call) -> bytes:
        assert call.deadline == time.now + 5
        raise TimeoutError

    reply = await stage.router.carry(fetching(act), ME, **WHERE)
    assert reply is not None
    assert "limits.tunnel_lifetime_s" in read(reply).error["message"]


async def test_a_call_under_way_is_judged_again_by_what_is_granted_then():
    stage = Stage(fetching())
    tunnel = fetching()
    held = asyncio.create_task(stage.router.carry(tunnel, ME, **WHERE))
    await asyncio.sleep(0)
    (call,) = tunnel.calls
    stage.router.judge_again(call)
    stage.door.grant(granted(capabilities=(), policy_revision=8))
    with pytest.raises(errors.CapabilityDenied, match="rev8"):
        stage.router.judge_again(call)
    stage.door.closed = errors.PolicyDenied("revoked")
    with pytest.raises(errors.PolicyDenied, match="revoked"):
        stage.router.judge_again(call)
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)


async def test_a_bug_in_it_is_answered_and_recorded(capsys):
    async def breaks(_call: Call) -> bytes:
        raise ZeroDivisionError

    stage = Stage(fetching())
    reply = await stage.router.carry(fetching(breaks), ME, **WHERE)
    assert reply is not None
    assert (read(reply).code, stage.record.code) == ("E_UNAVAILABLE", "E_UNAVAILABLE")
    assert "ZeroDivisionError" in "".join(capsys.readouterr())
