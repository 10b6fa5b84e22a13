"""The path of every syscall: whatever comes in, there is one answer by the contract and one record of it."""

import asyncio
import json
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from syscalls_stage import ME, Answer, Stage

from aion.api import errors, grant, syscall
from aion.syscalls import testing
from aion.syscalls.call import Call, Caller
from aion.syscalls.router import MAX_DEPTH
from aion.syscalls.testing import Scripted, StillTime, granted, request
from aion.telemetry.journal import Journal

OTHER = "agent://tenant-a/writer"
FOREIGN = "agent://tenant-b/spy"


def raising(error: Exception):
    async def act(_call: Call) -> bytes:
        raise error

    return act


async def test_an_answer_says_what_was_done_by_whom_and_where_it_is_recorded():
    time = StillTime()

    async def act(call: Call) -> bytes:
        call.engine = syscall.Engine("module", "tooling/echo@1.2.0")
        call.subject, call.micro_usd, call.tokens_in, call.tokens_out = "echo", 1250, 3, 5
        time.now += 0.25
        return b'{"echo":[1,2]}'

    stage = Stage(Scripted("tool.invoke", act, price=2000), clock=time.clock())
    answer = await stage.call("tool.invoke", agent_id=testing.AGENT, context={"task_id": "t1", "trace_id": "ab" * 16})
    assert answer == Answer(
        200,
        {b"content-type": b"application/json"},
        {
            "status": "ok",
            "result": {"echo": [1, 2]},
            "usage": {"latency_ms": 250.0, "cost_usd": 0.00125, "tokens_in": 3, "tokens_out": 5},
            "engine": {"kind": "module", "name": "tooling/echo@1.2.0"},
            "audit_id": stage.record.audit_id,
        },
    )
    record = stage.record
    assert record.audit_id.startswith("sc-")
    assert len(record.audit_id) == 29
    assert (record.n, record.ts_ms, record.decision, record.latency_ms) == (1, 1_000_000_000, "allow", 250.0)
    assert (record.tenant, record.agent, record.syscall) == ("tenant-a", testing.AGENT, "tool.invoke")
    assert (record.subject, record.engine, record.micro_usd, record.tokens_in) == (
        "echo",
        "tooling/echo@1.2.0",
        1250,
        3,
    )
    assert (record.task_id, record.trace_id, record.policy_revision, record.parent) == ("t1", "ab" * 16, 7, "")


NOT_A_REQUEST = [
    (b"", "not an aion.syscall.v1 request"),
    (b"{", "not an aion.syscall.v1 request"),
    (b"\xff\xfe", "not an aion.syscall.v1 request"),
    (b"[]", "Expected `object`"),
    (b"[" * 5000, "not an aion.syscall.v1 request"),
    (request("net.fetch"), "the path says 'tool.invoke' and the body says 'net.fetch'"),
    (b'{"schema":"aion.syscall.v2"}', "got schema 'aion.syscall.v2', expected aion.syscall.v1"),
    (b'{"params":[1]}', "params must be a JSON object"),
    (b'{"capabilities":["network"]}', "unknown field `capabilities`"),
    (b'{"caps_required":"network"}', "Expected `array`"),
    (b'{"agent_id":"researcher"}', "agent_id: got agent id 'researcher'"),
    (b'{"budget":{"usd_max":"-1"}}', "budget.usd_max"),
    (b'{"budget":{"usd_max":true}}', "not an aion.syscall.v1 request"),
    (b'{"budget":{"usd_max":"0.0000001"}}', "at most six decimals"),
    (b'{"budget":{"latency_ms":0}}', "budget.latency_ms: expected 1 to"),
    (b'{"budget":{"latency_ms":1%s}}' % (b"0" * 400), "budget.latency_ms: expected 1 to"),
    (b'{"params":{"x":"%s"}}' % (b"a" * 2000), "the body has 2019 bytes or more, expected at most 2000"),
]


@pytest.mark.parametrize(("body", "says"), NOT_A_REQUEST, ids=range(len(NOT_A_REQUEST)))
async def test_what_is_no_request_is_answered_400_and_recorded(body: bytes, says: str):
    handler = Scripted("tool.invoke")
    stage = Stage(handler, grants=(granted(limits=grant.Limits(max_body_bytes=2000)),))
    answer = await stage.send("tool.invoke", body)
    assert (answer.status, answer.code) == (400, "E_BAD_REQUEST")
    assert says in answer.error["message"]
    assert handler.calls == []
    assert (stage.record.decision, stage.record.code) == ("error", "E_BAD_REQUEST")
    assert stage.record.audit_id == answer.body["audit_id"]


REFUSED = [
    ({}, "memory.frob", {}, 404, "E_NO_SYSCALL", None),
    ({}, "memory.put", {}, 404, "E_NO_SYSCALL", None),
    ({}, "", {}, 404, "E_NO_SYSCALL", None),
    (
        {"syscalls": ["net.fetch"], "refused": {"syscall:tool.invoke": "policy.capabilities.deny: tool.*"}},
        "tool.invoke",
        {},
        403,
        "E_CAPABILITY",
        "capabilities.syscalls@rev7: policy.capabilities.deny: tool.*",
    ),
    (
        {"syscalls": []},
        "tool.invoke",
        {},
        403,
        "E_CAPABILITY",
        "capabilities.syscalls@rev7: agent.spec.capabilities.syscalls: tool.invoke is not asked for",
    ),
    (
        {"capabilities": [], "refused": {"capability:network": "agent.spec.capabilities.network: false"}},
        "net.fetch",
        {},
        403,
        "E_CAPABILITY",
        "capabilities.network@rev7: agent.spec.capabilities.network: false",
    ),
    (
        {"capabilities": [], "policy_revision": 12},
        "tool.invoke",
        {"caps_required": ["network"]},
        403,
        "E_CAPABILITY",
        "capabilities.network@rev12: agent.spec.capabilities: network is not asked for",
    ),
    (
        {},
        "tool.invoke",
        {"agent_id": OTHER},
        403,
        "E_POLICY",
        "identity.self@rev7: an agent speaks for itself",
    ),
    ({}, "tool.invoke", {"agent_id": FOREIGN}, 403, "E_TENANT", None),
    ({"budget_micro_usd": 10}, "model.generate", {}, 402, "E_BUDGET", None),
    ({"call_micro_usd": 10}, "model.generate", {}, 402, "E_BUDGET", None),
    ({}, "model.generate", {"budget": {"usd_max": "0.00001"}}, 402, "E_BUDGET", None),
    ({}, "model.generate", {"budget": {"usd_max": 0}}, 402, "E_BUDGET", None),
]


@pytest.mark.parametrize(("given_", "name", "fields", "status", "code", "rule"), REFUSED, ids=range(len(REFUSED)))
async def test_a_refusal_names_its_rule_and_revision_does_nothing_and_is_recorded(
    given_: dict, name: str, fields: dict, status: int, code: str, rule: str | None
):
    handlers = (
        Scripted("tool.invoke"),
        Scripted("net.fetch", capability="network"),
        Scripted("model.generate", price=100),
    )
    stage = Stage(*handlers, grants=(granted(**given_), granted(OTHER)))
    answer = await stage.call(name, **fields)
    assert (answer.status, answer.code, answer.error.get("rule")) == (status, code, rule)
    assert not any(handler.calls for handler in handlers)
    assert (stage.record.code, stage.record.rule) == (code, rule or "")
    assert stage.record.decision == ("deny" if status in {402, 403} else "error")
    assert stage.record.audit_id == answer.body["audit_id"]
    assert (stage.record.tenant, stage.record.agent) == ("tenant-a", testing.AGENT)


@pytest.mark.parametrize(
    "error",
    [kind("because", details={"at": "/q"}) for kind in errors.BY_CODE.values()],
    ids=lambda error: error.code,
)
async def test_every_error_of_the_contract_passes_through_with_its_status_details_and_wait(error: errors.SyscallError):
    stage = Stage(Scripted("tool.invoke", raising(error)))
    answer = await stage.call("tool.invoke")
    assert (answer.status, answer.code) == (error.http_status, error.code)
    assert (answer.error["message"], answer.error["details"]) == ("because", {"at": "/q"})
    assert answer.error.get("retry_after_ms") == error.retry_after_ms
    assert (b"retry-after" in answer.headers) == (error.http_status == 429)
    assert stage.record.code == error.code


@pytest.mark.parametrize(("wait_ms", "header"), [(1, b"1"), (50, b"1"), (1000, b"1"), (1001, b"2"), (90_000, b"90")])
async def test_retry_after_is_in_whole_seconds_and_never_too_early(wait_ms: int, header: bytes):
    stage = Stage(Scripted("tool.invoke", raising(errors.QuotaExceeded("slowly", retry_after_ms=wait_ms))))
    answer = await stage.call("tool.invoke")
    assert (answer.headers[b"retry-after"], answer.error["retry_after_ms"]) == (header, wait_ms)


async def test_what_a_stranger_writes_is_cut_before_it_is_kept():
    stage = Stage()
    claim, task, name = "x" * 5000, "t" * 5000, "n" * 5000
    await stage.call("tool.invoke", caps_required=[claim], context={"task_id": task, "trace_id": task})
    await stage.send(name, b"{}")
    for record in stage.audit.records:
        assert all(len(str(getattr(record, field))) <= 256 for field in record.__struct_fields__)


async def test_a_request_that_could_not_be_read_is_refused_and_recorded_like_any_other():
    stage = Stage()
    reply = stage.router.refuse("tool.invoke", ME, errors.BadRequest("too long"))
    assert (reply.status, json.loads(reply.body)["error"]["code"]) == (400, "E_BAD_REQUEST")
    assert (stage.record.code, stage.record.agent) == ("E_BAD_REQUEST", testing.AGENT)
    assert stage.counted("tool.invoke", "error") == 1


async def test_a_whole_tenants_caller_speaks_for_the_agent_that_the_body_names():
    stage = Stage(grants=(granted(), granted(OTHER), granted(FOREIGN)))
    tenant = Caller("tenant-a", "", via="hmac")
    assert (await stage.call("tool.invoke", caller=tenant, agent_id=OTHER)).status == 200
    assert (await stage.call("tool.invoke", caller=tenant, agent_id=FOREIGN)).code == "E_TENANT"
    assert [record.agent for record in stage.audit.records] == [OTHER, ""]
    assert {record.tenant for record in stage.audit.records} == {"tenant-a"}


async def test_without_a_grant_everything_is_refused_closed():
    stage = Stage(grants=())
    answer = await stage.call("tool.invoke")
    assert (answer.status, answer.code) == (503, "E_UNAVAILABLE")
    assert stage.record.policy_revision == 0


async def test_nothing_is_done_that_could_not_be_recorded():
    handler = Scripted("tool.invoke")
    stage = Stage(handler)
    stage.audit.broken = "disk full"
    answer = await stage.call("tool.invoke")
    assert (answer.status, answer.code) == (503, "E_UNAVAILABLE")
    assert "disk full" in answer.error["message"]
    assert answer.headers[b"retry-after"] == b"1"
    assert handler.calls == []
    stage.audit.broken = None
    assert (await stage.call("tool.invoke")).status == 200


async def test_a_refusal_that_cannot_be_recorded_is_answered_as_unavailable():
    stage = Stage(grants=(granted(syscalls=()),))
    stage.audit.broken = "disk full"
    answer = await stage.call("tool.invoke")
    assert (answer.status, answer.code, "rule" in answer.error) == (503, "E_UNAVAILABLE", False)


async def breaks_the_audit(call: Call) -> bytes:
    call.router._audit.broken = "disk full"
    return b"{}"


async def test_a_harmless_call_that_was_done_while_the_audit_broke_is_answered_and_its_record_waits():
    stage = Stage(Scripted("tool.invoke", breaks_the_audit, idempotent=True))
    assert (await stage.call("tool.invoke")).status == 200
    assert stage.record.decision == "allow"


async def test_an_effect_whose_record_is_not_on_disk_is_never_answered_as_if_it_might_be_tried_again():
    stage = Stage(Scripted("tool.invoke", breaks_the_audit))
    answer = await stage.call("tool.invoke")
    assert (answer.status, answer.code, "retry_after_ms" in answer.error) == (409, "E_UNKNOWN_OUTCOME", False)
    assert "disk full" in answer.error["message"]
    assert (stage.record.decision, stage.record.audit_id) == ("allow", answer.body["audit_id"])


class Urgency(testing.KeptAudit):
    """Keeps what had to be there before the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.urgent: list[str] = []

    def append(self, record, *, urgent, done):
        super().append(record, urgent=urgent, done=done)
        if urgent:
            self.urgent.append(record.code or record.subject)


@pytest.mark.parametrize(
    ("idempotent", "micro_usd", "code"),
    [(True, 0, ""), (False, 0, ""), (True, 1, ""), (True, 0, "E_POLICY"), (True, 0, "E_UPSTREAM")],
)
async def test_denials_errors_money_and_effects_are_on_disk_before_the_answer_and_the_rest_soon(
    idempotent, micro_usd, code
):
    async def act(call: Call) -> bytes:
        call.micro_usd, call.subject = micro_usd, "done"
        if code:
            raise errors.BY_CODE[code]("because")
        return b"{}"

    audit = Urgency()
    stage = Stage(Scripted("tool.invoke", act, idempotent=idempotent), audit=audit)
    assert (await stage.call("tool.invoke")).code == code
    assert audit.urgent == ([] if idempotent and not micro_usd and not code else [code or "done"])


async def test_a_full_journal_stops_what_has_effects_and_lets_what_is_harmless_go_on(tmp_path):
    loop = asyncio.get_running_loop()
    journal = Journal(
        tmp_path / "journal", later=loop.call_later, clock=loop.time, genesis="pod@1", max_pending_bytes=8000
    )
    read = Scripted("net.fetch", idempotent=True)
    stage = Stage(Scripted("tool.invoke"), read, audit=journal)
    while (await stage.call("tool.invoke")).status == 200:
        pass
    done = len(stage.router._handlers["tool.invoke"].calls)
    assert [(await stage.call(name)).status for name in ("net.fetch", "tool.invoke")] == [200, 503]
    assert (await stage.call("net.fetch", agent_id=OTHER)).code == "E_POLICY"
    assert (len(stage.router._handlers["tool.invoke"].calls), len(read.calls)) == (done, 1)
    journal.close()


async def test_a_full_journal_lets_nothing_through_until_the_kernel_has_taken_some(tmp_path):
    loop = asyncio.get_running_loop()
    journal = Journal(
        tmp_path / "journal", later=loop.call_later, clock=loop.time, genesis="pod@1", max_pending_bytes=1000
    )
    handler = Scripted("tool.invoke")
    stage = Stage(handler, audit=journal)
    answers = [await stage.call("tool.invoke", agent_id=OTHER) for _ in range(20)]
    codes = [answer.code for answer in answers]
    assert set(codes) == {"E_POLICY", "E_UNAVAILABLE"}
    assert codes == sorted(codes)
    assert (await stage.call("tool.invoke")).code == "E_UNAVAILABLE"
    assert handler.calls == []
    batch = journal.batch()
    assert batch is not None
    assert len(batch.lines) == codes.count("E_POLICY")
    journal.acknowledge(batch.last)
    assert (await stage.call("tool.invoke")).status == 200
    journal.close()


async def test_a_bug_is_answered_recorded_and_logged_and_tells_the_caller_nothing(caplog, capsys):
    stage = Stage(Scripted("tool.invoke", raising(KeyError("secret"))))
    answer = await stage.call("tool.invoke")
    assert (answer.status, answer.code) == (503, "E_UNAVAILABLE")
    assert "secret" not in json.dumps(answer.body)
    assert stage.record.code == "E_UNAVAILABLE"
    said = capsys.readouterr().out
    assert answer.body["audit_id"] in said
    assert "KeyError" in said


async def test_a_seat_too_many_is_busy_and_a_seat_is_free_again_after_any_end():
    free = asyncio.Event()

    async def act(call: Call) -> bytes:
        await free.wait()
        raise errors.UpstreamFailed("no")

    stage = Stage(Scripted("tool.invoke", act), grants=(granted(limits=grant.Limits(max_concurrency=2)),))
    taken = [asyncio.create_task(stage.call("tool.invoke")) for _ in range(2)]
    await asyncio.sleep(0)
    busy = await stage.call("tool.invoke")
    assert (busy.status, busy.code, busy.headers[b"retry-after"]) == (429, "E_BUSY", b"1")
    assert stage.door.standings[testing.AGENT].inflight == 2
    free.set()
    assert [answer.code for answer in await asyncio.gather(*taken)] == ["E_UPSTREAM", "E_UPSTREAM"]
    assert stage.door.standings[testing.AGENT].inflight == 0


@pytest.mark.parametrize(
    ("budget", "limit", "says"),
    [
        ({"latency_ms": 20}, 30_000, "20 ms, the request's budget.latency_ms"),
        ({"latency_ms": 2000}, 20, "20 ms, the policy's limits.syscall_timeout_ms"),
    ],
)
async def test_what_takes_too_long_ends_by_the_tightest_limit_and_says_which(budget: dict, limit: int, says: str):
    stage = Stage(
        Scripted("tool.invoke", testing.hangs), grants=(granted(limits=grant.Limits(syscall_timeout_ms=limit)),)
    )
    answer = await asyncio.wait_for(stage.call("tool.invoke", budget=budget), 1)
    assert (answer.status, answer.code) == (504, "E_TIMEOUT")
    assert says in answer.error["message"]
    assert answer.error["details"]["timeout_ms"] == 20
    assert stage.record.code == "E_TIMEOUT"


async def test_a_cancelled_call_leaves_its_seat_its_money_and_a_record():
    stage = Stage(Scripted("tool.invoke", testing.hangs, price=100), grants=(granted(budget_micro_usd=100),))
    task = asyncio.create_task(stage.call("tool.invoke"))
    await asyncio.sleep(0)
    standing = stage.door.standings[testing.AGENT]
    assert (standing.inflight, standing.ledger.reserved) == (1, 100)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (standing.inflight, standing.ledger.reserved, standing.ledger.spent) == (0, 0, 0)
    assert stage.record.code == "E_UNAVAILABLE"


@given(
    some.lists(some.tuples(some.integers(0, 100), some.integers(0, 5), some.booleans()), min_size=1, max_size=20),
    some.integers(0, 400),
)
@settings(max_examples=40, deadline=None)
def test_calls_side_by_side_never_spend_more_than_the_agent_has(calls: list[tuple[int, int, bool]], budget: int):
    """Each call costs part of 100, after some turns of the loop, and may fail; the account must never be overdrawn."""

    async def act(call: Call) -> bytes:
        cost, turns, fails = calls[int(call.context.task_id)]
        for _ in range(turns):
            assert ledger.spent + ledger.reserved <= budget
            await asyncio.sleep(0)
        call.micro_usd = cost
        if fails:
            raise errors.UpstreamFailed("paid, and failed all the same")
        return b"{}"

    async def run() -> list[Answer]:
        each = (stage.call("model.generate", context={"task_id": str(at)}) for at in range(len(calls)))
        return await asyncio.gather(*each)

    stage = Stage(Scripted("model.generate", act, price=100), grants=(granted(budget_micro_usd=budget),))
    ledger = stage.door.standings[testing.AGENT].ledger
    answers = asyncio.run(run())
    assert ledger.reserved == 0
    assert ledger.spent == sum(record.micro_usd for record in stage.audit.records) == stage.router.totals.micro_usd
    assert ledger.spent <= budget
    assert {answer.code for answer in answers} <= {"", "E_UPSTREAM", "E_BUDGET"}
    if budget < 100:
        assert {answer.code for answer in answers} == {"E_BUDGET"}


ANY_JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=8),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELD = some.sampled_from([*syscall.Request.__struct_fields__, "surprise"])


@given(some.dictionaries(FIELD, ANY_JSON, max_size=6) | some.binary(max_size=64), some.text(max_size=20))
@settings(max_examples=200, deadline=None)
def test_whatever_is_sent_there_is_one_answer_of_the_contract_and_one_record(body: dict | bytes, name: str):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    for path in ("tool.invoke", name):
        stage = Stage(Scripted("tool.invoke", price=1))
        answer = asyncio.run(stage.send(path, sent))
        assert answer.code in {"", "E_BAD_REQUEST", "E_NO_SYSCALL", "E_CAPABILITY", "E_BUDGET"}
        assert stage.record.audit_id == answer.body["audit_id"]
        assert (stage.record.code, stage.record.decision == "allow") == (answer.code, answer.status == 200)


def outer(name: str, *inner: str, held: frozenset[str] = frozenset({"network"}), then=None) -> Scripted:
    """A syscall that makes others, one after another, as its tool's wishes."""

    async def act(call: Call) -> bytes:
        call.subject = "echo"
        for each in inner:
            await call.router.nested(call, each, call.params, held=held)
        return await then(call) if then else b"{}"

    return Scripted(name, act)


async def test_a_nested_call_has_a_record_that_names_its_parent_and_shares_task_and_deadline():
    fetch = Scripted("net.fetch", capability="network")
    stage = Stage(outer("tool.invoke", "net.fetch"), fetch)
    answer = await stage.call("tool.invoke", context={"task_id": "t1"}, budget={"latency_ms": 700})
    assert answer.status == 200
    inner, own = stage.audit.records
    assert (inner.syscall, inner.parent, inner.task_id) == ("net.fetch", own.audit_id, "t1")
    assert (own.audit_id, own.parent) == (answer.body["audit_id"], "")
    (call,) = fetch.calls
    assert call.within is not None
    assert (call.deadline, call.slowest) == (call.within.deadline, "the request's budget.latency_ms")


@pytest.mark.parametrize(
    ("own", "held", "rule"),
    [
        (["network"], {"network"}, None),
        ([], {"network"}, "capabilities.network@rev7: agent.spec.capabilities: network is not asked for"),
        (["network"], set(), "capabilities.network@rev7: tool echo does not list network in capabilitiesRequired"),
        ([], set(), "capabilities.network@rev7: agent.spec.capabilities: network is not asked for"),
    ],
)
async def test_a_nested_call_needs_the_capability_of_agent_and_tool_both(own: list, held: set, rule: str | None):
    fetch = Scripted("net.fetch", capability="network")
    stage = Stage(
        outer("tool.invoke", "net.fetch", held=frozenset(held)),
        fetch,
        grants=(granted(capabilities=own, syscalls=["tool.invoke"]),),
    )
    answer = await stage.call("tool.invoke")
    assert (answer.code, answer.error["rule"] if rule else None) == (("E_CAPABILITY", rule) if rule else ("", None))
    assert len(fetch.calls) == (0 if rule else 1)
    assert [record.code for record in stage.audit.records] == [answer.code] * 2


async def test_a_nested_call_without_a_capability_is_bound_by_the_agents_own_list():
    stage = Stage(
        outer("tool.invoke", "event.emit"), Scripted("event.emit"), grants=(granted(syscalls=["tool.invoke"]),)
    )
    assert (await stage.call("tool.invoke")).code == "E_CAPABILITY"


async def test_calls_within_calls_end_at_the_depth_limit_and_take_one_seat():
    deep = outer("tool.invoke", "tool.invoke")
    stage = Stage(deep, grants=(granted(limits=grant.Limits(max_concurrency=1)),))
    answer = await stage.call("tool.invoke")
    assert (answer.status, answer.code) == (403, "E_POLICY")
    assert answer.error["rule"].startswith("syscalls.depth")
    assert len(deep.calls) == MAX_DEPTH + 1
    assert [record.code for record in stage.audit.records] == ["E_POLICY"] * (MAX_DEPTH + 2)


async def test_a_grant_that_is_taken_back_stops_the_next_nested_call():
    async def revoke(call: Call) -> bytes:
        stage.door.closed = errors.PolicyDenied("revoked", rule="grant.revoked")
        return await call.router.nested(call, "net.fetch", call.params, held=frozenset({"network"}))

    fetch = Scripted("net.fetch", capability="network")
    stage = Stage(outer("tool.invoke", then=revoke), fetch)
    assert (await stage.call("tool.invoke")).code == "E_POLICY"
    assert fetch.calls == []


async def test_what_a_tool_buys_counts_against_the_budget_of_the_call_that_it_serves():
    async def spend(call: Call) -> bytes:
        call.micro_usd = 60
        return b"{}"

    model = Scripted("model.generate", spend, price=100)
    stage = Stage(outer("tool.invoke", "model.generate", "model.generate", "model.generate"), model)
    answer = await stage.call("tool.invoke", budget={"usd_max": "0.0002"})
    assert (answer.status, answer.code) == (402, "E_BUDGET")
    assert answer.error["details"] == {"worst_usd": "0.0001", "call_usd_max": "0.00008"}
    assert len(model.calls) == 2
    assert stage.door.standings[testing.AGENT].ledger.spent == 120
    assert (await stage.call("tool.invoke", budget={"usd_max": "0.00022"})).status == 200


async def test_a_bug_in_a_nested_call_is_told_recorded_and_logged(capsys):
    stage = Stage(outer("tool.invoke", "event.emit"), Scripted("event.emit", raising(ZeroDivisionError("secret"))))
    answer = await stage.call("tool.invoke")
    assert (answer.status, answer.code) == (503, "E_UNAVAILABLE")
    assert [record.code for record in stage.audit.records] == ["E_UNAVAILABLE"] * 2
    assert stage.audit.records[0].audit_id in answer.error["message"]
    assert capsys.readouterr().out.count("ZeroDivisionError") >= 1


@pytest.mark.parametrize("broken", [None, "disk full"])
async def test_a_nested_call_ends_with_its_outer_call_whether_or_not_that_can_be_recorded(broken: str | None):
    async def act(call: Call) -> bytes:
        stage.audit.broken = broken
        return await testing.hangs(call)

    stage = Stage(outer("tool.invoke", "event.emit"), Scripted("event.emit", act))
    task = asyncio.create_task(stage.call("tool.invoke"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [record.syscall for record in stage.audit.records] == ["event.emit", "tool.invoke"]


async def test_everything_is_counted_by_syscall_and_decision_and_added_up():
    async def act(call: Call) -> bytes:
        call.tokens_in, call.tokens_out, call.micro_usd = 2, 3, 50
        return b"{}"

    stage = Stage(Scripted("tool.invoke", act, price=50))
    for _ in range(3):
        await stage.call("tool.invoke")
    await stage.call("tool.invoke", agent_id=OTHER)
    await stage.call("tool.invoke", budget={"latency_ms": 0})
    await stage.send("x" * 500, b"{}")
    totals = stage.router.totals
    assert (totals.syscalls, totals.tokens_in, totals.tokens_out, totals.micro_usd) == (6, 6, 9, 150)
    assert [stage.counted("tool.invoke", decision) for decision in ("allow", "deny", "error")] == [3, 1, 1]
    assert stage.counted("unknown", "error") == 1
    seen = stage.registry.get_sample_value("aion_kernel_syscall_latency_ms_count", {"syscall": "tool.invoke"})
    assert seen == 5


SAMPLED = f"00-{'ab' * 16}-{'cd' * 8}-01"
UNSAMPLED = f"00-{'ab' * 16}-{'cd' * 8}-00"


@pytest.mark.parametrize(
    ("ratio", "traceparent", "fails", "made"),
    [
        (0.0, "", False, 0),
        (0.4, "", False, 0),
        (0.6, "", False, 1),
        (0.0, SAMPLED, False, 1),
        (0.0, UNSAMPLED, False, 0),
        (0.0, "", True, 1),
        (0.0, "rubbish", True, 1),
    ],
)
async def test_a_span_is_made_only_where_it_was_sampled_and_always_of_a_failure(ratio, traceparent, fails, made):
    act = raising(errors.PolicyDenied("no", rule="r@rev7")) if fails else testing._nothing
    stage = Stage(Scripted("tool.invoke", act), grants=(granted(trace_ratio=ratio),), clock=StillTime().clock())
    await stage.call("tool.invoke", context={"traceparent": traceparent, "task_id": "t1"})
    assert len(stage.spans.spans) == made
    for span in stage.spans.spans:
        assert span.name == "kernel.syscall"
        assert span.attributes["aion.audit_id"] == stage.record.audit_id
        assert span.attributes["aion.decision"] == ("deny" if fails else "allow")
        assert span.attributes["gen_ai.operation.name"] == "execute_tool"
        assert span.attributes.get("aion.rule") == ("r@rev7" if fails else None)
        assert (span.failure != "") == fails
    assert stage.record.trace_id == ("ab" * 16 if traceparent.startswith("00-") else "")


async def test_a_call_that_succeeds_writes_no_log_line_and_starts_no_task(caplog, capsys):
    caplog.set_level(logging.DEBUG)
    stage = Stage()
    before = asyncio.all_tasks()
    assert (await stage.call("tool.invoke")).status == 200
    assert asyncio.all_tasks() == before
    assert (capsys.readouterr().out, caplog.records) == ("", [])
