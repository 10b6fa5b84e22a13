"""What comes back, and what an answer that makes no sense becomes."""

import copy
import json
import pickle
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sdk_server import AUDIT, ok

from aion_sdk import Engine, Result, SyscallError, Usage, errors, result


def body_of(reply: bytes) -> bytes:
    return reply.partition(b"\r\n\r\n")[2]


def test_a_result_is_a_dict_that_prints_as_json(capsys: pytest.CaptureFixture[str]):
    res = result.read(200, {}, body_of(ok({"items": [{"title": "AION-OS", "süß": 1.5, "none": None}]})))
    print(res)
    assert capsys.readouterr().out == (
        '{\n  "items": [\n    {\n      "title": "AION-OS",\n      "süß": 1.5,\n      "none": null\n    }\n  ]\n}\n'
    )
    assert f"{res}" == str(res)
    assert repr(res) == "{'items': [{'title': 'AION-OS', 'süß': 1.5, 'none': None}]}"
    assert json.loads(json.dumps(res)) == res
    assert isinstance(res, dict)


def test_a_result_prints_also_when_its_author_put_something_else_into_it():
    res = Result({"n": 1}, usage=Usage(), engine=Engine(), audit_id="")
    res["when"] = datetime(2026, 1, 2, tzinfo=timezone.utc)
    assert '"when": "2026-01-02 00:00:00+00:00"' in str(res)


@pytest.mark.parametrize("value", [[1, 2], "text", 3, None, True])
def test_a_result_that_is_no_object_stands_under_value(value: object):
    assert result.read(200, {}, body_of(ok(value))) == {"value": value}


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda res: pickle.loads(pickle.dumps(res))])
def test_a_result_travels_between_processes_whole(twin):
    res = result.read(200, {}, body_of(ok({"n": [1]})))
    again = twin(res)
    assert (again, again.usage, again.engine, again.audit_id) == (res, res.usage, res.engine, AUDIT)


def test_what_a_newer_gateway_adds_is_no_error():
    document = json.loads(body_of(ok({"n": 1})))
    document["usage"]["joules"] = 1
    document["engine"]["gpu"] = "x"
    document["more"] = {}
    assert result.read(200, {}, json.dumps(document).encode()).usage.cost_usd == 0.25


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(
    st.fixed_dictionaries(
        {"status": anything | st.sampled_from(["ok", "error"])},
        optional={
            "result": anything,
            "usage": anything,
            "engine": anything,
            "audit_id": anything,
            "error": anything
            | st.fixed_dictionaries(
                {"code": anything | st.sampled_from(sorted(errors.BY_CODE))},
                optional={"message": anything, "rule": anything, "retry_after_ms": anything, "details": anything},
            ),
        },
    )
    | anything,
    st.sampled_from([200, 204, 301, 403, 429, 500, 503]),
    st.text(max_size=10) | st.none(),
)
def test_whatever_is_answered_it_is_a_result_or_a_syscall_error(answer: object, status: int, wait: str | None):
    got: Result | SyscallError
    try:
        got = result.read(status, {} if wait is None else {"retry-after": wait}, json.dumps(answer).encode())
    except SyscallError as error:
        got = error
    wait = got.retry_after if isinstance(got, SyscallError) else None
    assert wait is None or 0 <= wait <= result.MAX_WAIT_S
    assert str(got)


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 200_000, b"9" * 5000, b"\x00"])
def test_an_answer_made_to_break_a_parser_breaks_nothing(body: bytes):
    with pytest.raises(errors.UpstreamFailed, match="without an answer of the contract"):
        result.read(200, {}, body)


def wait_of(document: dict, header: str | None = None, status: int = 429) -> float | None:
    with pytest.raises(SyscallError) as caught:
        result.read(status, {} if header is None else {"retry-after": header}, json.dumps(document).encode())
    return caught.value.retry_after


def test_how_long_to_wait_is_the_answers_own_word_else_the_headers():
    busy = {"status": "error", "error": {"code": "E_BUSY", "retry_after_ms": 250}}
    silent = {"status": "error", "error": {"code": "E_BUSY"}}
    assert wait_of(busy, "7") == 0.25
    assert wait_of(silent, "7") == 7
    assert wait_of(silent) is None
    assert wait_of(silent, "soon") is None
    assert wait_of(silent, "9" * 5000) == result.MAX_WAIT_S
    later = datetime.now(timezone.utc) + timedelta(seconds=60)
    assert wait_of(silent, format_datetime(later, usegmt=True)) == pytest.approx(60, abs=2)
    assert wait_of(silent, "Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize(
    ("status", "kind"),
    [(503, errors.Unavailable), (504, errors.TimedOut), (429, errors.Busy), (404, errors.UpstreamFailed)],
)
def test_a_proxys_own_answer_is_understood_by_its_status(status: int, kind: type[SyscallError]):
    with pytest.raises(kind, match="is kernel_url right") as caught:
        result.read(status, {"retry-after": "3"}, b"<html>nginx</html>")
    assert (caught.value.retry_after, caught.value.audit_id) == (3, None)
