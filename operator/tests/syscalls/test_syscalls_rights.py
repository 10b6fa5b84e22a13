"""Rights and the policies that read them: nothing is allowed that the grant does not say, and every no names its rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from aion.api import errors, grant, syscall
from aion.syscalls import rights
from aion.syscalls.budgets import Claim
from aion.syscalls.call import NOBODY, Call, Caller, Standing
from aion.syscalls.policies import AllOf, HoldsCapabilities, MayCall
from aion.syscalls.testing import AGENT, OpenDoor, Scripted, a_tool, granted

FETCH = Scripted("net.fetch", capability="network")
INVOKE = Scripted("tool.invoke")
HANDLERS = {each.name: each for each in (FETCH, INVOKE, Scripted("memory.put"))}
POLICY = AllOf([HoldsCapabilities(HANDLERS), MayCall(HANDLERS)])


def a_call(name: str, given_: grant.Grant, **more: object) -> Call:
    standing = Standing(rights.of(given_))
    plain = {
        "name": name, "caller": Caller("tenant-a", AGENT), "audit_id": "sc-", "started": 0.0, "started_ns": 0,
        "router": None, "standing": standing, "held": standing.rights.capabilities,
    }  # fmt: skip
    return Call(**{**plain, **more})


@given(
    some.sets(some.sampled_from(syscall.NAMES)),
    some.sets(some.sampled_from(grant.CAPABILITIES)),
    some.sampled_from(sorted(HANDLERS)),
    some.sets(some.sampled_from([*grant.CAPABILITIES, "root"])),
)
def test_a_call_passes_only_where_grant_capability_and_claim_all_agree(names, capabilities, name, claims):
    call = a_call(name, granted(syscalls=names, capabilities=capabilities), caps_required=tuple(claims))
    needed = {HANDLERS[name].capability} - {None}
    allowed = name in names and needed <= capabilities and claims <= capabilities
    if allowed:
        POLICY.verify(call)
    else:
        with pytest.raises(errors.CapabilityDenied) as denied:
            POLICY.verify(call)
        assert "@rev7: " in (denied.value.rule or "")


@given(some.sets(some.sampled_from(syscall.NAMES)))
def test_every_syscall_of_the_contract_is_granted_or_has_its_refusal_ready(names):
    made = rights.of(granted(syscalls=names))
    assert made.refusals.keys() == set(syscall.NAMES) - names


def test_a_pattern_in_a_grant_grants_nothing():
    assert "memory.put" in rights.of(granted(syscalls=["memory.*", "*"])).refusals


def test_nobody_may_do_anything():
    mine = NOBODY.rights
    assert (mine.capabilities, mine.tools, mine.refusals.keys()) == (frozenset(), {}, set(syscall.NAMES))


def test_a_refusal_is_raised_fresh_each_time():
    refusal = rights.of(granted(syscalls=())).refusals["memory.put"]
    assert refusal.error() is not refusal.error()


def test_a_call_within_a_tool_needs_no_grant_of_its_own_where_a_capability_bounds_it():
    mine = granted(syscalls=["tool.invoke"])
    outer = a_call("tool.invoke", mine)
    POLICY.verify(a_call("net.fetch", mine, within=outer, tool="echo"))
    with pytest.raises(errors.CapabilityDenied, match="tool echo lacks network"):
        POLICY.verify(a_call("net.fetch", mine, within=outer, tool="echo", held=frozenset()))
    with pytest.raises(errors.CapabilityDenied, match=r"agent may not call memory\.put"):
        POLICY.verify(a_call("memory.put", mine, within=outer, tool="echo"))


def test_one_tools_wrong_schema_does_not_keep_the_others_cold():
    mine = rights.of(granted(tools=[a_tool("bad", schema={"type": "frob"}), a_tool("good", schema={"type": "object"})]))
    mine.warm()
    assert "schema" in mine.tools["good"].__dict__
    with pytest.raises(errors.UpstreamFailed, match="the input schema of tool bad is wrong"):
        _ = mine.tools["bad"].schema


def test_a_tool_nobody_knows_is_answered_with_those_there_are():
    assert str(rights.of(granted()).no_tool("x" * 500)).endswith("expected one of this agent's tools: none")
    assert len(str(rights.of(granted()).no_tool("x" * 500))) < 200


def test_a_new_grant_replaces_rights_and_keeps_the_account():
    door = OpenDoor(granted())
    before = door.standings[AGENT]
    before.ledger.reserve(Claim(5), granted(), call_max=None, task="", now=0.0)
    after = door.grant(granted(syscalls=(), policy_revision=8))
    assert after is before
    assert (after.ledger.reserved, after.rights.grant.policy_revision) == (5, 8)
