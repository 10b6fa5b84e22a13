"""How often somebody may ask: the arithmetic by itself, and at the real edge."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_scene import ID, scene

from aion.api import errors
from aion.kernel.auth import Asked, Caller
from aion.kernel.edge import Edge
from aion.kernel.rates import Meter, Rate, Rates, admit

ASKED = Asked("GET", "/", {}, peer="10.0.0.1")


@given(
    st.floats(0.1, 1000), st.integers(1, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=200),
)  # fmt: skip
def test_in_no_span_of_time_are_more_admitted_than_the_burst_and_what_the_rate_gives(per_s, burst, pauses):
    rate, now, due, admitted = Rate(per_s, burst), 1000.0, 0.0, []
    for pause in pauses:
        now += pause / per_s
        due, wait = admit(due, rate, now=now)
        if not wait:
            admitted.append(now)
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            allowed = burst + (admitted[last] - admitted[first]) * per_s
            assert last - first + 1 <= allowed + 1e-3


@given(st.floats(0.1, 1000), st.integers(1, 50), st.integers(1, 100))
def test_who_waits_as_long_as_told_is_admitted_then(per_s, burst, before):
    rate, due = Rate(per_s, burst), 0.0
    for _ in range(before):
        due, wait = admit(due, rate, now=50.0)
    again, wait = admit(due, rate, now=50.0)
    if wait:
        assert again == due  # a refusal costs nothing
        assert admit(due, rate, now=50.0 + wait)[1] == 0.0


def test_a_caller_over_the_limit_is_not_forgotten_because_others_come_once():
    meter = Meter(Rate(1.0, 5), most=100)
    for _ in range(5):
        assert not meter.charge("greedy", now=0.0)
    for n in range(1000):
        meter.charge(f"once-{n}", now=n / 1000)
        assert meter.charge("greedy", now=n / 1000)
    assert len(meter._due) <= 101


def edge(**rates):
    now = {"s": 100.0}
    off = {"tenant_per_second": 0, "caller_per_second": 0, "stranger_per_second": 0, "burst_seconds": 1.0}
    return Edge(Rates(**(off | rates)), clock=lambda: now["s"]), now


async def ask(at, caller=None, asked=ASKED):
    async def proof():
        if caller is None:
            raise errors.BadSignature("no")
        return caller

    return await at.proven(asked, proof)


async def test_a_tenants_callers_share_its_rate_and_one_caller_cannot_take_all_of_it():
    at, now = edge(tenant_per_second=10, caller_per_second=6)
    one, other = Caller("team", "agent://team/a", "hmac"), Caller("team", "agent://team/b", "hmac")
    for _ in range(6):
        await ask(at, one)
    with pytest.raises(errors.QuotaExceeded) as refused:
        await ask(at, one)
    assert (refused.value.rule, refused.value.retry_after_ms) == ("kernel.rates.callerPerSecond", 167)
    for _ in range(4):
        await ask(at, other)
    with pytest.raises(errors.QuotaExceeded) as refused:
        await ask(at, other)
    assert refused.value.rule == "kernel.rates.tenantPerSecond"
    await ask(at, Caller("rivals", "", "hmac"))
    now["s"] += 1.0
    await ask(at, one)


async def test_an_address_whose_proofs_fail_is_not_looked_at_for_a_while_and_others_are():
    at, now = edge(stranger_per_second=2)
    for _ in range(2):
        with pytest.raises(errors.BadSignature):
            await ask(at)
    with pytest.raises(errors.Busy) as refused:
        await ask(at, Caller("team", "", "hmac"))
    assert refused.value.retry_after_ms == 500
    await ask(at, Caller("team", "", "hmac"), Asked("GET", "/", {}, peer="10.0.0.2"))
    now["s"] += 0.5
    await ask(at, Caller("team", "", "hmac"))


@pytest.mark.parametrize(
    ("peers", "looked_at"),
    [
        ([f"2001:db8:1:2::{n:x}" for n in range(1, 9)], 2),  # one host's network: it may have any address of it
        ([f"2001:db8:1:{n:x}::1" for n in range(1, 9)], 8),
        ([f"10.0.0.{n}" for n in range(1, 9)], 8),
        (["::ffff:10.0.0.1", "10.0.0.1", "::ffff:10.0.0.1", "::ffff:10.0.0.2"], 3),
        (["fe80::1%eth0", "fe80::2%eth0", "fe80::3%eth1"], 2),
        (["", "", "", "a proxy's word"], 3),
    ],
)
async def test_a_stranger_of_ipv6_is_counted_by_its_network(peers, looked_at):
    meters, _ = edge(stranger_per_second=2)
    asked = []

    async def proof():
        asked.append(1)
        raise errors.BadSignature("no")

    for peer in peers:
        with pytest.raises((errors.BadSignature, errors.Busy)):
            await meters.proven(Asked("GET", "/", {}, peer=peer), proof)
    assert len(asked) == looked_at


async def test_whoever_proves_who_they_are_is_no_stranger_however_often():
    at, _ = edge(stranger_per_second=1)
    for _ in range(50):
        await ask(at, Caller("team", "", "hmac"))


async def test_no_limit_is_no_limit():
    at, _ = edge()
    for _ in range(500):
        await ask(at, Caller("team", "", "hmac"))
        with pytest.raises(errors.BadSignature):
            await ask(at)


async def test_the_api_says_when_to_come_back_and_the_api_server_is_not_asked_for_a_flood_of_strangers():
    async with scene(rates=Rates(caller_per_second=5, stranger_per_second=5, burst_seconds=1.0)) as stage:
        outsider = stage.outsider
        answers = [await outsider.syscall("tool.invoke", {"tool": "echo", "text": "x"}) for _ in range(8)]
        refused = [answer for status, answer in answers if status == 429]
        assert refused
        assert {answer["error"]["code"] for answer in refused} == {"E_QUOTA"}
        assert all(0 < answer["error"]["retry_after_ms"] <= 200 for answer in refused)
        before = len(stage.cluster.asked)

        async def strange(n):
            async with stage.session.get(stage.url + "/v1/agents", headers={"Authorization": f"Bearer {n}"}) as answer:
                return answer.status, answer.headers.get("Retry-After")

        said = [await strange(n) for n in range(40)]
        assert said.count((401, None)) < 15
        assert said[-1] == (429, "1")
        assert len(stage.cluster.asked) - before < 30
        await asyncio.sleep(0.3)
        assert (await outsider.ask("GET", "/v1/agents", agent_id=ID))[0] == 200
