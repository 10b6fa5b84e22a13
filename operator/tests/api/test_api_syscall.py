"""The syscall envelope."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aion.api import errors, syscall

NAME = "tool.invoke"


def body(**said):
    return json.dumps({"schema": syscall.SCHEMA, "syscall": NAME, "params": {"tool": "x"}, **said}).encode()


def test_a_whole_request_is_read():
    read = syscall.decode(
        body(
            agent_id="agent://a/b",
            context={"task_id": "t", "traceparent": "00-…", "seq": 3, "newer": True},
            caps_required=["network"],
            budget={"usd_max": "0.10", "latency_ms": 500},
        ),
        name=NAME,
    )
    assert (read.agent_id, read.context.task_id, read.context.seq, read.caps_required) == (
        "agent://a/b",
        "t",
        3,
        ("network",),
    )
    assert (read.budget.micro_usd, read.budget.latency_ms) == (100_000, 500)
    assert json.loads(bytes(read.params)) == {"tool": "x"}


def test_a_request_needs_nothing_but_its_name():
    read = syscall.decode(b"{}", name="agent.yield")
    assert (read.syscall, bytes(read.params), read.budget.micro_usd) == ("agent.yield", b"{}", None)


def test_params_are_kept_as_the_bytes_they_were():
    text = b'{"params":  {"a" : 1e2, "\\u00e9": [ ] } }'
    assert bytes(syscall.decode(text, name=NAME).params) == b'{"a" : 1e2, "\\u00e9": [ ] }'


@pytest.mark.parametrize("amount", [0.1, 1, "0.1", "1e-6", 0])
def test_money_may_be_a_number_or_text(amount):
    assert syscall.decode(body(budget={"usd_max": amount}), name=NAME).budget.micro_usd == round(
        float(amount) * 1_000_000
    )


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", "not an aion.syscall.v1 request"),
        (b"{", "not an aion.syscall.v1 request"),
        (b"[]", "not an aion.syscall.v1 request"),
        (b"{} {}", "not an aion.syscall.v1 request"),
        (b'{"a":NaN}', "not an aion.syscall.v1 request"),
        (b'{"agent_id":"\xff"}', "not an aion.syscall.v1 request"),
        (b"[" * 100_000, "not an aion.syscall.v1 request"),
        (b'{"params":' + b'{"a":' * 100_000, "not an aion.syscall.v1 request"),
        (body(schema="aion.syscall.v2"), "expected aion.syscall.v1"),
        (body(syscall="net.fetch"), "the path says 'tool.invoke' and the body says 'net.fetch'"),
        (body(params=[1]), "params must be a JSON object"),
        (body(params=None), "params must be a JSON object"),
        (body(parms={}), "unknown field"),
        (body(budget={"usd": 1}), "unknown field"),
        (body(budget={"usd_max": "lots"}), "budget.usd_max"),
        (body(budget={"usd_max": -1}), "budget.usd_max"),
        (body(budget={"usd_max": True}), "not an aion.syscall.v1 request"),
        (body(budget={"latency_ms": 0}), "budget.latency_ms"),
        (body(budget={"latency_ms": 1.5}), "not an aion.syscall.v1 request"),
        (body(caps_required="network"), "not an aion.syscall.v1 request"),
        (body(context={"seq": "1"}), "not an aion.syscall.v1 request"),
    ],
)
def test_what_is_no_request_is_refused_by_the_place_that_is_wrong(sent, said):
    with pytest.raises(errors.BadRequest, match=said) as caught:
        syscall.decode(sent, name=NAME)
    assert len(caught.value.message) < 400


@given(st.binary(max_size=200))
def test_no_body_at_all_gets_anything_but_a_request_or_a_bad_request(sent):
    with contextlib.suppress(errors.BadRequest):
        assert syscall.decode(sent, name=NAME).syscall == NAME


def test_an_answer_is_read_as_it_was_written():
    usage = syscall.Usage(latency_ms=1.23456, micro_usd=250_000, tokens_in=3, tokens_out=4)
    engine = syscall.Engine("module", "tooling/web_search@1.2.0")
    sent = syscall.ok({"items": []}, usage, engine, "sc-1")
    assert json.loads(sent) == {
        "status": "ok",
        "result": {"items": []},
        "usage": {"latency_ms": 1.235, "cost_usd": 0.25, "tokens_in": 3, "tokens_out": 4},
        "engine": {"kind": "module", "name": "tooling/web_search@1.2.0"},
        "audit_id": "sc-1",
    }
    read = syscall.read_answer(sent)
    assert isinstance(read, syscall.Ok)
    assert (read.engine, read.audit_id) == (engine, "sc-1")


def test_a_result_that_is_bytes_goes_out_as_it_is():
    sent = syscall.ok(b'{"a" : 1.0}', syscall.Usage(), syscall.Engine("kernel", "x"), "sc-1")
    assert b'"result":{"a" : 1.0}' in sent


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_an_error_is_read_as_it_was_written(code):
    error = errors.of(code)("said", rule="r", retry_after_ms=5, details={"at": "/x"})
    read = syscall.read_answer(syscall.failure(error, syscall.Usage(), "sc-1"))
    assert isinstance(read, syscall.Failed)
    assert read.error == syscall.WireError(code, "said", "r", 5, {"at": "/x"})


def test_an_answer_of_neither_kind_is_refused():
    with pytest.raises(msgspec.DecodeError):
        syscall.read_answer(b'{"status":"maybe"}')


def test_names_are_sorted_and_belong_to_families():
    assert list(syscall.NAMES) == sorted(set(syscall.NAMES))
    assert all(name.count(".") == 1 for name in syscall.NAMES)
