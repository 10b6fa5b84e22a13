"""What both clients do for a call: what goes out, what comes back, and when it is tried again."""

import hashlib
import hmac
import json
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest
from sdk_server import AUDIT, ME, Server, failed, http, ok

from aion_sdk import Agent, AsyncAgent, errors


def test_a_syscall_goes_out_by_the_contract_and_its_result_is_a_dict(face, gw: Path):
    with Server([ok({"items": [1, "ä"]})], gw) as server, face(ME, server.url) as agent:
        res = agent.syscall(
            "tool.invoke", {"tool": "web_search"}, budget={"usd_max": "0.10"}, task_id="t1", caps_required=["network"]
        )
    assert res == {"items": [1, "ä"]}
    assert (res.audit_id, res.usage.cost_usd, res.usage.tokens_out) == (AUDIT, 0.25, 4)
    assert res.engine == ("module", "tooling/web_search@1.2.0")
    (request,) = server.seen
    assert (request.method, request.target) == ("POST", "/v1/syscall/tool.invoke")
    assert request.document == {
        "schema": "aion.syscall.v1",
        "syscall": "tool.invoke",
        "agent_id": ME,
        "context": {"seq": 1, "task_id": "t1"},
        "caps_required": ["network"],
        "params": {"tool": "web_search"},
        "budget": {"usd_max": "0.10"},
    }
    assert "x-sig-hmac" not in request.headers


def test_a_syscall_without_parameters_sends_an_empty_object(face, gw: Path):
    with Server([ok({})], gw) as server, face(ME, server.url) as agent:
        agent.syscall("agent.yield")
    assert server.seen[0].document["params"] == {}


@pytest.mark.parametrize(
    ("dollars", "sent"), [(Decimal("0.10"), "0.10"), (Decimal("1E-6"), "0.000001"), ("0.1", "0.1"), (0.1, 0.1), (2, 2)]
)
def test_a_budget_in_decimals_arrives_exactly(face, gw: Path, dollars: object, sent: object):
    with Server([ok({})], gw) as server, face(ME, server.url) as agent:
        agent.syscall("tool.invoke", budget={"usd_max": dollars, "latency_ms": 900})
    assert server.seen[0].document["budget"] == {"usd_max": sent, "latency_ms": 900}


def test_calls_in_a_row_share_one_connection(face, gw: Path):
    with Server([ok({})], gw) as server, face(ME, server.url) as agent:
        for _ in range(5):
            agent.syscall("tool.invoke")
        assert server.connections == 1
    assert [request.document["context"]["seq"] for request in server.seen] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_every_code_of_the_contract_has_its_own_class(face, gw: Path, code: str):
    told = failed(403, code, rule="capabilities@7", retry_after_ms=1500, details={"at": "/query"})
    with Server([told], gw) as server, face(ME, server.url) as agent, pytest.raises(errors.of(code)) as caught:
        agent.syscall("tool.invoke")
    error = caught.value
    assert (error.code, error.rule, error.retry_after, error.audit_id) == (code, "capabilities@7", 1.5, AUDIT)
    assert error.details == {"at": "/query"}
    assert all(word in str(error) for word in (code, "because", "capabilities@7", AUDIT))
    assert len(server.seen) == 1


def test_a_code_from_the_future_is_still_a_syscall_error(face, gw: Path):
    with (
        Server([failed(418, "E_TEAPOT")], gw) as server,
        face(ME, server.url) as agent,
        pytest.raises(errors.UpstreamFailed, match="because"),
    ):
        agent.syscall("tool.invoke")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status":"maybe"}', b"\xff"])
def test_an_answer_that_is_not_the_contracts_is_said_to_be_so(face, gw: Path, body: bytes):
    with (
        Server([http(502, body)], gw) as server,
        face(ME, server.url) as agent,
        pytest.raises(errors.UpstreamFailed, match="is kernel_url right"),
    ):
        agent.syscall("tool.invoke")


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"SSH-2.0-x\r\n\r\n"],
)
def test_a_lost_answer_is_never_asked_for_again_by_itself(face, gw: Path, reply: bytes):
    def cut(conn, _request):
        conn.sendall(reply)
        conn.shutdown(2)

    with Server([cut, ok({})], gw) as server, face(ME, server.url) as agent:
        with pytest.raises(errors.UnknownOutcome, match="look whether it was done"):
            agent.syscall("tool.invoke")
        assert len(server.seen) == 1


def test_a_lost_answer_is_asked_for_again_where_that_does_no_harm(face, gw: Path):
    with Server([b"", b"", ok({"n": 1})], gw) as server, face(ME, server.url) as agent:
        assert agent.syscall("tool.invoke", idempotent=True) == {"n": 1}
        assert len(server.seen) == 3
    with Server([b"", ok({"n": 1})], gw.with_name("b")) as server, face(ME, server.url) as agent:
        assert agent.syscall("memory.get") == {"n": 1}
    with Server([b"", ok({"n": 1})], gw.with_name("c")) as server, face(ME, server.url) as agent:
        with pytest.raises(errors.UnknownOutcome):
            agent.syscall("memory.get", idempotent=False)
        assert len(server.seen) == 1


@pytest.mark.usefixtures("hasty")
def test_a_gateway_that_never_answers_is_not_asked_for_ever(face, gw: Path):
    with Server([b""], gw) as server, face(ME, server.url) as agent:
        with pytest.raises(errors.UnknownOutcome):
            agent.syscall("memory.get")
        assert len(server.seen) == 5


def test_busy_is_waited_out_only_where_asking_again_does_no_harm(face, gw: Path):
    replies = [failed(429, "E_BUSY", retry_after_ms=120), failed(503, "E_UNAVAILABLE", retry_after_ms=1), ok({})]
    with Server(list(replies), gw) as server, face(ME, server.url) as agent:
        began = time.monotonic()
        agent.syscall("memory.query")
        assert time.monotonic() - began >= 0.12
        assert len(server.seen) == 3
    with Server(list(replies), gw.with_name("b")) as server, face(ME, server.url) as agent:
        with pytest.raises(errors.Busy):
            agent.syscall("tool.invoke")
        assert len(server.seen) == 1


def test_a_wait_beyond_the_deadline_is_not_begun(face, gw: Path):
    with Server([failed(429, "E_QUOTA", retry_after_ms=60_000)], gw) as server, face(ME, server.url) as agent:
        began = time.monotonic()
        with pytest.raises(errors.QuotaExceeded, match="try again in 60 s"):
            agent.syscall("memory.query", timeout=5)
        assert time.monotonic() - began < 1


def test_what_never_left_is_sent_again_whatever_it_is(face, gw: Path):
    server = Server([ok({"n": 1})], gw)
    late = threading.Timer(0.1, server.__enter__)
    late.start()
    try:
        with face(ME, f"unix://{gw}") as agent:
            assert agent.syscall("tool.invoke") == {"n": 1}
    finally:
        late.join()
        server.__exit__()


@pytest.mark.usefixtures("hasty")
def test_nobody_there_is_said_plainly_and_soon(face, gw: Path):
    began = time.monotonic()
    with face(ME, f"unix://{gw}") as agent, pytest.raises(errors.Unavailable, match=r"No such file.*is the gateway"):
        agent.syscall("tool.invoke")
    assert time.monotonic() - began < 3


def drip(conn, _request):
    for byte in ok({}):
        time.sleep(0.01)
        conn.sendall(bytes([byte]))


def silent(conn, _request):
    conn.recv(1)


@pytest.mark.parametrize("slow", [drip, silent])
def test_the_timeout_bounds_the_whole_answer_also_a_dripping_one(face, gw: Path, slow):
    with Server([slow, ok({})], gw) as server, face(ME, server.url) as agent:
        began = time.monotonic()
        with pytest.raises(errors.TimedOut, match=r"no answer within 0.3 s: it may still be done") as caught:
            agent.syscall("tool.invoke", timeout=0.3)
        assert 0.25 < time.monotonic() - began < 1
        assert caught.value.details == {"sent": True}
        assert server.seen[0].document["budget"] == {"latency_ms": 300}
        assert agent.syscall("tool.invoke") == {}, "the connection of the late answer was reused"


def test_the_timeout_bounds_all_attempts_together(face, gw: Path):
    with Server([failed(429, "E_BUSY", retry_after_ms=90)], gw) as server, face(ME, server.url) as agent:
        began = time.monotonic()
        with pytest.raises(errors.Busy):
            agent.syscall("memory.get", timeout=0.25)
        assert time.monotonic() - began < 0.25
        assert 2 <= len(server.seen) <= 3


def test_a_connection_that_the_server_closed_is_not_used_again(face, gw: Path):
    with Server([ok({})], gw) as server, face(ME, server.url) as agent:
        agent.syscall("tool.invoke")
        server.hang_up()
        time.sleep(0.02)
        agent.syscall("tool.invoke")
        assert (server.connections, len(server.seen)) == (2, 2)


def test_a_second_answer_that_nobody_asked_for_is_never_read_as_the_next_ones(face, gw: Path):
    with Server([ok({"mine": 1}) + ok({"forged": 1}), ok({"mine": 2})], gw) as server, face(ME, server.url) as agent:
        assert agent.syscall("tool.invoke") == {"mine": 1}
        assert agent.syscall("tool.invoke") == {"mine": 2}
        assert server.connections == 2

    def late_extra(conn, _request):
        conn.sendall(ok({"mine": 1}))
        time.sleep(0.05)
        conn.sendall(ok({"forged": 1}))

    with Server([late_extra, ok({"mine": 2})], gw.with_name("b")) as server, face(ME, server.url) as agent:
        assert agent.syscall("tool.invoke") == {"mine": 1}
        time.sleep(0.15)
        assert agent.syscall("tool.invoke") == {"mine": 2}


def test_a_server_that_announces_the_close_is_believed(face, gw: Path):
    closing = ok({}).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    with Server([closing], gw) as server, face(ME, server.url) as agent:
        for _ in range(3):
            agent.syscall("tool.invoke")
        assert server.connections == 3


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + ok({"n": 1}),
        ok({"n": 1}).replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"".join(b"%x;x=y\r\n%c\r\n" % (1, c) for c in ok({"n": 1}).partition(b"\r\n\r\n")[2])
        + b"0\r\ntrailer: x\r\n\r\n",
    ],
)
def test_other_ways_to_frame_an_answer_are_understood(face, gw: Path, reply: bytes):
    with Server([reply], gw) as server, face(ME, server.url) as agent:
        for _ in range(2):
            assert agent.syscall("tool.invoke") == {"n": 1}


def test_an_answer_that_ends_with_the_connection_is_whole(face, gw: Path):
    def until_close(conn, _request):
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + ok({"n": 1}).partition(b"\r\n\r\n")[2])
        conn.shutdown(2)

    with Server([until_close], gw) as server, face(ME, server.url) as agent:
        assert agent.syscall("tool.invoke") == {"n": 1}


@pytest.mark.parametrize(
    "head", [b"content-length: 99999999999", b"content-length: -1", b"x: " + b"y" * 70_000, b"nonsense"]
)
def test_an_answer_out_of_bounds_is_not_swallowed(face, gw: Path, head: bytes):
    with (
        Server([b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n"], gw) as server,
        face(ME, server.url) as agent,
        pytest.raises(errors.UnknownOutcome, match="cannot be read"),
    ):
        agent.syscall("tool.invoke")


def test_an_answer_without_an_end_is_given_up_at_the_bound(face, gw: Path):
    def endless(conn, _request):
        conn.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            conn.sendall(b"100000\r\n" + b"x" * 0x100000 + b"\r\n")

    with (
        Server([endless], gw) as server,
        face(ME, server.url) as agent,
        pytest.raises(errors.UnknownOutcome, match="more than 16777216 bytes"),
    ):
        agent.syscall("tool.invoke")


def test_a_megabyte_each_way_arrives(face, gw: Path):
    with Server([lambda conn, request: conn.sendall(ok(request.document["params"]))], gw) as server:
        with face(ME, server.url) as agent:
            big = {"x": "ä" * 1_000_000}
            assert agent.syscall("tool.invoke", big) == big
            assert agent.syscall("tool.invoke", {"small": 1}) == {"small": 1}
        assert server.connections == 1


def test_a_server_that_refuses_before_it_has_read_is_heard_or_said_to_be_lost(face, gw: Path):
    with Server([b""], gw) as server:

        def refuse(conn):
            conn.recv(10)
            conn.sendall(failed(413, "E_TOO_LARGE"))
            conn.shutdown(1)
            time.sleep(0.2)
            conn.close()

        server._serve = refuse
        with face(ME, server.url) as agent, pytest.raises((errors.TooLarge, errors.Unavailable)):
            agent.syscall("tool.invoke", {"x": "y" * 3_000_000}, timeout=2)


@pytest.mark.usefixtures("hasty")
def test_a_server_that_hangs_up_on_everyone_is_given_up_soon(face, gw: Path):
    for where in (gw, None):
        with Server([b""], where) as server:
            server._serve = lambda conn: conn.close()
            with face(ME, server.url) as agent:
                began = time.monotonic()
                with pytest.raises((errors.Unavailable, errors.UnknownOutcome)):
                    agent.syscall("tool.invoke", timeout=5)
                assert time.monotonic() - began < 2


def test_over_http_each_attempt_is_signed_afresh(face):
    with Server([b"", ok({})]) as server, face(ME, server.url + "/kernel", secret="s3cret", key_id="k1") as agent:
        agent.syscall("memory.get", {"key": "ä"}, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    first, second = server.seen
    for request in server.seen:
        h = request.headers
        lines = ["AION-HMAC-SHA256", "POST", "/kernel/v1/syscall/memory.get", "tenant-a", ME, "k1"]
        lines += [h["x-aion-timestamp"], h["x-aion-nonce"], hashlib.sha256(request.body).hexdigest()]
        assert h["x-sig-hmac"] == "v1=" + hmac.new(b"s3cret", "\n".join(lines).encode(), hashlib.sha256).hexdigest()
        assert (h["x-tenant-id"], h["x-aion-agent-id"], h["x-aion-key-id"]) == ("tenant-a", ME, "k1")
        assert h["traceparent"] == request.document["context"]["traceparent"]
    assert first.headers["x-aion-nonce"] != second.headers["x-aion-nonce"]


def test_a_secret_never_travels_by_the_socket_nor_into_a_repr(face, gw: Path):
    with Server([ok({})], gw) as server, face(ME, server.url, secret="s3cret") as agent:
        agent.syscall("tool.invoke")
        assert "s3cret" not in repr(agent)
        inner = agent.agent if hasattr(agent, "agent") else agent
        assert "s3cret" not in repr(vars(inner))
    assert not [name for name in server.seen[0].headers if name.startswith("x-")]
    assert b"s3cret" not in server.seen[0].body


@pytest.mark.parametrize("name", ["", "a/b", "tool invoke", "x\r\ny", "ä", "a\n"])
def test_a_name_that_cannot_be_a_syscall_is_refused_here(face, gw: Path, name: str):
    with face(ME, f"unix://{gw}") as agent, pytest.raises(ValueError, match=r"tool\.invoke"):
        agent.syscall(name)


@pytest.mark.parametrize(
    "asked",
    [
        {"params": {"x": float("nan")}},
        {"params": {"x": object()}},
        {"params": {"x": "\ud800"}},
        {"budget": {"usd_max": Decimal("NaN")}},
        {"budget": {"usd_max": float("inf")}},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"traceparent": "00-1\r\nx-evil: 1"},
        {"caps_required": "network"},
    ],
)
def test_what_cannot_be_a_call_is_refused_here(face, gw: Path, asked: dict):
    with Server([ok({})], gw) as server, face(ME, server.url) as agent:
        with pytest.raises((ValueError, TypeError)):
            agent.syscall("tool.invoke", **asked)
        assert server.seen == []


def test_from_env_takes_what_the_pod_gives(gw: Path):
    pod = {"AION_AGENT_ID": ME, "AION_TENANT": "tenant-a", "AION_GATEWAY_SOCKET": str(gw)}
    for kind in (Agent, AsyncAgent):
        agent = kind.from_env(pod)
        assert repr(agent) == f"{kind.__name__}('{ME}', 'unix://{gw}')"
        assert (agent.agent_id, agent.tenant) == (ME, "tenant-a")
        assert "http://k:8010" in repr(kind.from_env(pod | {"AION_KERNEL_URL": "http://k:8010"}))
        with pytest.raises(ValueError, match="AION_AGENT_ID"):
            kind.from_env({})
        with pytest.raises(ValueError, match="tenant-b"):
            kind.from_env(pod | {"AION_TENANT": "tenant-b"})


def test_from_env_signs_outside_a_cluster(face):
    with Server([ok({})]) as server:
        env = {"AION_AGENT_ID": ME, "AION_KERNEL_URL": server.url, "AION_SECRET": "s", "AION_KEY_ID": "k2"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            with face.from_env() as agent:
                agent.syscall("tool.invoke")
    assert server.seen[0].headers["x-aion-key-id"] == "k2"
    assert json.loads(server.seen[0].body)["agent_id"] == ME
