import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sdk_server import AUDIT, Server, failed, http, ok

import aion_sdk
from aion_sdk import Agent, errors

ME = "agent://tenant-a/researcher"


@pytest.fixture
def gw(tmp_path: Path) -> Path:
    return tmp_path / "gw.sock"


def test_a_syscall_goes_out_by_the_contract_and_its_result_is_a_dict(gw: Path):
    with Server([ok({"items": [1, "ä"]})], gw) as server, Agent(ME, server.url) as agent:
        res = agent.syscall(
            "tool.invoke", {"tool": "web_search"}, budget={"usd_max": "0.10"}, task_id="t1", caps_required=["network"]
        )
    assert res == {"items": [1, "ä"]}
    assert res["items"][1] == "ä"
    assert str(res) == json.dumps({"items": [1, "ä"]}, indent=2, ensure_ascii=False)
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


def test_a_result_that_is_no_object_stands_under_value(gw: Path):
    with Server([ok([1, 2])], gw) as server, Agent(ME, server.url) as agent:
        assert agent.syscall("x.y", {}) == {"value": [1, 2]}


def test_calls_share_one_connection_and_threads_get_their_own(gw: Path):
    with Server([ok({})], gw) as server, Agent(ME, server.url) as agent:
        for _ in range(5):
            agent.syscall("tool.invoke", {})
        assert server.connections == 1
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: agent.syscall("tool.invoke", {"n": n}), range(64)))
        assert 1 <= server.connections <= 8
        assert sorted(r.document["context"]["seq"] for r in server.seen) == list(range(1, 70))


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_every_code_of_the_contract_has_its_own_class(gw: Path, code: str):
    told = failed(403, code, rule="capabilities@7", retry_after_ms=1500, details={"at": "/query"})
    with Server([told], gw) as server, Agent(ME, server.url) as agent, pytest.raises(errors.of(code)) as caught:
        agent.syscall("tool.invoke", {})
    error = caught.value
    assert (error.code, error.rule, error.retry_after, error.audit_id) == (code, "capabilities@7", 1.5, AUDIT)
    assert error.details == {"at": "/query"}
    assert all(word in str(error) for word in (code, "because", "capabilities@7", AUDIT))
    assert len(server.seen) == 1


def test_a_code_from_the_future_is_still_a_syscall_error(gw: Path):
    with (
        Server([failed(418, "E_TEAPOT")], gw) as server,
        Agent(ME, server.url) as agent,
        pytest.raises(errors.UpstreamFailed, match="because"),
    ):
        agent.syscall("tool.invoke", {})


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"status":"maybe"}', b"\xff"])
def test_an_answer_that_is_not_the_contracts_is_said_to_be_so(gw: Path, body: bytes):
    with (
        Server([http(502, body)], gw) as server,
        Agent(ME, server.url) as agent,
        pytest.raises(errors.UpstreamFailed, match="is kernel_url right"),
    ):
        agent.syscall("tool.invoke", {})


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-le", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", b"SSH-2.0-x\r\n\r\n"],
)
def test_a_lost_answer_is_never_asked_for_again_by_itself(gw: Path, reply: bytes):
    def cut(conn, _request):
        conn.sendall(reply)
        conn.shutdown(2)

    with Server([cut, ok({})], gw) as server, Agent(ME, server.url) as agent:
        with pytest.raises(errors.UnknownOutcome, match="look whether it was done"):
            agent.syscall("tool.invoke", {})
        assert len(server.seen) == 1


def test_a_lost_answer_is_asked_for_again_where_that_does_no_harm(gw: Path):
    with Server([b"", b"", ok({"n": 1})], gw) as server, Agent(ME, server.url) as agent:
        assert agent.syscall("tool.invoke", {}, idempotent=True) == {"n": 1}
        assert len(server.seen) == 3
    with Server([b"", ok({"n": 1})], gw.with_name("b")) as server, Agent(ME, server.url) as agent:
        assert agent.syscall("memory.get", {}) == {"n": 1}
    with (
        Server([b"", ok({"n": 1})], gw.with_name("c")) as server,
        Agent(ME, server.url) as agent,
        pytest.raises(errors.UnknownOutcome),
    ):
        agent.syscall("memory.get", {}, idempotent=False)


def test_busy_is_waited_out_only_where_asking_again_does_no_harm(gw: Path):
    replies = [failed(429, "E_BUSY", retry_after_ms=120), failed(503, "E_UNAVAILABLE", retry_after_ms=1), ok({})]
    with Server(list(replies), gw) as server, Agent(ME, server.url) as agent:
        began = time.monotonic()
        agent.syscall("memory.query", {})
        assert time.monotonic() - began >= 0.12
        assert len(server.seen) == 3
    with Server(list(replies), gw.with_name("b")) as server, Agent(ME, server.url) as agent:
        with pytest.raises(errors.Busy):
            agent.syscall("tool.invoke", {})
        assert len(server.seen) == 1


def test_a_wait_beyond_the_deadline_is_not_begun(gw: Path):
    with Server([failed(429, "E_QUOTA", retry_after_ms=60_000)], gw) as server, Agent(ME, server.url) as agent:
        began = time.monotonic()
        with pytest.raises(errors.QuotaExceeded, match="try again in 60 s"):
            agent.syscall("memory.query", {}, timeout=5)
        assert time.monotonic() - began < 1


def test_what_never_left_is_sent_again_whatever_it_is(gw: Path):
    agent = Agent(ME, f"unix://{gw}")
    server = Server([ok({})], gw)
    late = threading.Timer(0.1, server.__enter__)
    late.start()
    agent.syscall("tool.invoke", {})
    agent.close()
    late.join()
    server.__exit__()


def test_nobody_there_is_said_plainly_and_soon(gw: Path):
    began = time.monotonic()
    with pytest.raises(errors.Unavailable, match="is the gateway or kernel running"):
        Agent(ME, f"unix://{gw}").syscall("tool.invoke", {})
    assert time.monotonic() - began < 3


def drip(conn, _request):
    for byte in ok({}):
        time.sleep(0.01)
        conn.sendall(bytes([byte]))


def silent(conn, _request):
    conn.recv(1)


@pytest.mark.parametrize("slow", [drip, silent])
def test_the_timeout_bounds_the_whole_answer_also_a_dripping_one(gw: Path, slow):
    with Server([slow, ok({})], gw) as server, Agent(ME, server.url) as agent:
        began = time.monotonic()
        with pytest.raises(errors.TimedOut, match=r"no answer within 0.3 s: it may still be done"):
            agent.syscall("tool.invoke", {}, timeout=0.3)
        assert 0.25 < time.monotonic() - began < 1
        assert server.seen[0].document["budget"] == {"latency_ms": 300}
        assert agent.syscall("tool.invoke", {}) == {}, "the connection of the late answer was reused"


def test_a_connection_that_the_server_closed_is_not_used_again(gw: Path):
    with Server([ok({})], gw) as server, Agent(ME, server.url) as agent:
        agent.syscall("tool.invoke", {})
        server._open[0].shutdown(2)
        time.sleep(0.02)
        agent.syscall("tool.invoke", {})
        assert server.connections == 2


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
def test_other_ways_to_frame_an_answer_are_understood(gw: Path, reply: bytes):
    with Server([reply], gw) as server, Agent(ME, server.url) as agent:
        for _ in range(2):
            assert agent.syscall("tool.invoke", {}) == {"n": 1}


@pytest.mark.parametrize(
    "head", [b"content-length: 99999999999", b"content-length: -1", b"x: " + b"y" * 70_000, b"nonsense"]
)
def test_an_answer_out_of_bounds_is_not_swallowed(gw: Path, head: bytes):
    with (
        Server([b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\n"], gw) as server,
        Agent(ME, server.url) as agent,
        pytest.raises(errors.UnknownOutcome, match="cannot be read"),
    ):
        agent.syscall("tool.invoke", {})


def test_over_http_each_attempt_is_signed_afresh():
    with Server([b"", ok({})]) as server, Agent(ME, server.url + "/kernel", secret="s3cret", key_id="k1") as agent:
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


def test_a_secret_never_travels_by_the_socket(gw: Path):
    with Server([ok({})], gw) as server, Agent(ME, server.url, secret="s3cret") as agent:
        agent.syscall("tool.invoke", {})
        assert "s3cret" not in repr(agent)
    assert not [name for name in server.seen[0].headers if name.startswith("x-")]


def test_a_server_that_refuses_before_it_has_read_is_heard():
    def early(conn, _request):
        raise AssertionError("never read whole")

    with Server([early]) as server:
        server._serve = lambda conn: (
            conn.recv(10),
            conn.sendall(failed(413, "E_TOO_LARGE")),
            conn.shutdown(1),
            time.sleep(0.3),
        )
        with (
            Agent(ME, server.url) as agent,
            pytest.raises((errors.TooLarge, errors.UnknownOutcome, errors.Unavailable)),
        ):
            agent.syscall("tool.invoke", {"x": "y" * 300_000}, timeout=2)


def test_from_env_takes_what_the_pod_gives(gw: Path):
    pod = {"AION_AGENT_ID": ME, "AION_TENANT": "tenant-a", "AION_GATEWAY_SOCKET": str(gw)}
    assert repr(Agent.from_env(pod)) == f"Agent('{ME}', 'unix://{gw}')"
    assert "http://k:8010" in repr(Agent.from_env(pod | {"AION_KERNEL_URL": "http://k:8010"}))
    with pytest.raises(ValueError, match="AION_AGENT_ID"):
        Agent.from_env({})


@pytest.mark.parametrize(
    ("agent_id", "url", "tenant"),
    [
        ("researcher", "unix:///x", None),
        ("agent://tenant-a", "unix:///x", None),
        (ME, "unix:///x", "tenant-b"),
        (ME + "\r\nx: y", "unix:///x", None),
        (ME, "unix://x", None),
        (ME, "ftp://x", None),
        (ME, "http://", None),
        (ME, "http://u:p@x", None),
    ],
)
def test_a_wrong_address_or_id_is_refused_at_once(agent_id: str, url: str, tenant: str | None):
    with pytest.raises(ValueError, match=r"expected|tenant|no place"):
        Agent(agent_id, url, tenant=tenant)


@pytest.mark.parametrize("name", ["", "a/b", "tool invoke", "x\r\ny", "ä"])
def test_a_name_that_cannot_be_a_syscall_is_refused_here(gw: Path, name: str):
    with pytest.raises(ValueError, match=r"tool\.invoke"):
        Agent(ME, f"unix://{gw}").syscall(name, {})


def test_params_that_are_not_json_are_refused_here(gw: Path):
    for bad in ({"x": float("nan")}, {"x": object()}):
        with pytest.raises((ValueError, TypeError)):
            Agent(ME, f"unix://{gw}").syscall("tool.invoke", bad)


def test_the_classic_example_runs_unmodified():
    example = """
from aion_sdk.agent import Agent
agent = Agent(agent_id="agent://tenantA/researcher-1", kernel_url="http://localhost:8010", secret="TENANT_A_SECRET", tenant="tenantA")
res = agent.syscall("tool.invoke", {"tool": "web_search", "query": "AION-OS Kernel"})
print(res)
"""
    with Server([ok({"items": ["found"]})]) as server:
        code = example.replace("http://localhost:8010", server.url)  # a free port, for the test's sake
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=20, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {"items": ["found"]}


def test_a_forked_child_does_not_speak_on_its_parents_connection(gw: Path):
    with Server([ok({})], gw) as server, Agent(ME, server.url) as agent:
        agent.syscall("tool.invoke", {})
        agent._pool._pid = os.getppid()  # as a child finds it
        for _, sock in agent._pool._idle:
            sock.close()
        agent.syscall("tool.invoke", {})
        assert server.connections == 2


def test_the_public_surface_is_small_and_whole():
    assert sorted(aion_sdk.__all__) == aion_sdk.__all__
    assert {"Agent", "Result", "SyscallError"} <= set(aion_sdk.__all__)
    public = {name for name, thing in vars(aion_sdk).items() if isinstance(thing, type)}
    assert public == set(aion_sdk.__all__)
    assert all(hasattr(errors, name) for name in errors.__all__)
