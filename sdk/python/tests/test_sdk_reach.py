"""Reaching a kernel over TCP: names with two addresses, IPv6, TLS, and no proxy."""

import asyncio
import errno
import socket
import time
from pathlib import Path

import pytest
from sdk_server import ME, PEM, Server, ok

from aion_sdk import async_dial, dial, errors
from aion_sdk.address import Address


def test_localhost_is_reached_at_whichever_of_its_addresses_the_kernel_listens(face):
    with Server([ok({"n": 4})], host="127.0.0.1") as server, face(ME, f"http://localhost:{server.port}") as agent:
        assert agent.syscall("tool.invoke") == {"n": 4}
        assert server.seen[0].headers["host"] == f"localhost:{server.port}"
    with Server([ok({"n": 6})], host="::1") as server, face(ME, server.url) as agent:
        assert agent.syscall("tool.invoke") == {"n": 6}
        assert server.seen[0].headers["host"] == f"[::1]:{server.port}"


def found(family: int, *where: object) -> dial.Found:
    return (family, socket.SOCK_STREAM, 0, "", where)


def test_families_take_turns_in_the_systems_order():
    six, four = [found(socket.AF_INET6, f"::{n}", 1) for n in range(3)], [found(socket.AF_INET, "1.2.3.4", 1)]
    assert dial.alternating([*six, *four]) == [six[0], four[0], six[1], six[2]]
    assert dial.alternating([]) == []


@pytest.fixture
def stuck():
    """An address that neither answers nor refuses: its backlog is full."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(door.getsockname())
            waiting.append(sock)
        yield found(socket.AF_INET, *door.getsockname())
        for sock in waiting:
            sock.close()


def resolving(monkeypatch: pytest.MonkeyPatch, *these: dial.Found) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(these))


def test_an_address_that_does_not_answer_costs_a_quarter_of_a_second(face, stuck, monkeypatch: pytest.MonkeyPatch):
    with Server([ok({"n": 1})]) as server, face(ME, "http://kernel.example:8010") as agent:
        resolving(monkeypatch, stuck, found(socket.AF_INET, "127.0.0.1", server.port))
        began = time.monotonic()
        assert agent.syscall("tool.invoke", timeout=5) == {"n": 1}
        assert 0.2 < time.monotonic() - began < 1


def test_a_host_that_does_not_answer_is_given_up_in_time_and_nothing_was_sent(face, stuck, monkeypatch):
    resolving(monkeypatch, stuck)
    with face(ME, "http://kernel.example:8010") as agent:
        began = time.monotonic()
        with pytest.raises(errors.TimedOut) as caught:
            agent.syscall("tool.invoke", timeout=0.3)
        assert time.monotonic() - began < 1
        assert caught.value.details == {"sent": False}


@pytest.mark.usefixtures("hasty")
def test_when_every_address_refuses_the_reason_is_told(face, monkeypatch: pytest.MonkeyPatch):
    with Server([ok({})]) as server:
        port = server.port
    resolving(monkeypatch, found(socket.AF_INET6, "::1", port), found(socket.AF_INET, "127.0.0.1", port))
    with face(ME, "http://kernel.example:8010") as agent, pytest.raises(errors.Unavailable, match="Connection refused"):
        agent.syscall("tool.invoke")


@pytest.mark.usefixtures("hasty")
def test_a_name_that_nobody_knows_is_told(face, monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with (
        face(ME, "http://kernel.example") as agent,
        pytest.raises(errors.Unavailable, match="Name or service not known"),
    ):
        agent.syscall("tool.invoke", timeout=1)


def test_proxies_of_the_environment_are_not_asked(face, monkeypatch: pytest.MonkeyPatch):
    with Server([ok({"n": 1})]) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with face(ME, server.url) as agent:
            assert agent.syscall("tool.invoke") == {"n": 1}
        assert server.seen[0].target == "/v1/syscall/tool.invoke"


def test_https_is_verified_signed_and_kept_alive(face, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    with Server([ok({"n": 1})], tls=True) as server:
        for host in ("localhost", "127.0.0.1"):
            with face(ME, f"https://{host}:{server.port}", secret="s") as agent:
                assert [agent.syscall("tool.invoke") for _ in range(3)] == [{"n": 1}] * 3
        assert server.connections == 2
        assert all("x-sig-hmac" in request.headers for request in server.seen)


def test_a_big_call_and_answer_pass_through_tls(face, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    big = {"x": "y" * 1_000_000}
    with (
        Server([lambda conn, request: conn.sendall(ok(request.document["params"]))], tls=True) as server,
        face(ME, f"https://localhost:{server.port}") as agent,
    ):
        assert agent.syscall("tool.invoke", big) == big
        assert agent.syscall("tool.invoke", big) == big
        assert server.connections == 1


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once_and_said_so(face):
    with Server([ok({})], tls=True) as server:
        with (
            face(ME, f"https://localhost:{server.port}", secret="s") as agent,
            pytest.raises(errors.Unavailable, match=r"not trusted: self.signed.*SSL_CERT_FILE"),
        ):
            agent.syscall("tool.invoke")
        assert (server.connections, server.seen) == (1, [])


def test_a_certificate_for_another_name_is_refused(face, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(PEM))
    with Server([ok({})], tls=True) as server, face(ME, f"https://kernel.example:{server.port}") as agent:
        resolving(monkeypatch, found(socket.AF_INET, "127.0.0.1", server.port))
        with pytest.raises(errors.Unavailable, match=r"not trusted: Hostname mismatch.*kernel\.example"):
            agent.syscall("tool.invoke")
        assert server.seen == []


def test_a_server_that_never_finishes_the_handshake_is_given_up_in_time(face):
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        with face(ME, f"https://127.0.0.1:{door.getsockname()[1]}") as agent:
            began = time.monotonic()
            with pytest.raises(errors.TimedOut) as caught:
                agent.syscall("tool.invoke", timeout=0.3)
            assert time.monotonic() - began < 1
            assert caught.value.details == {"sent": False}


@pytest.mark.usefixtures("hasty")
def test_a_socket_whose_queue_is_full_is_tried_again_not_taken_for_connected(face, gw: Path):
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(gw))
        door.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(3)]
        codes = []
        for sock in waiting:
            sock.setblocking(False)
            codes.append(sock.connect_ex(str(gw)))
        assert errno.EAGAIN in codes
        with face(ME, f"unix://{gw}") as agent, pytest.raises(errors.Unavailable, match="temporarily unavailable"):
            agent.syscall("tool.invoke")
        for sock in waiting:
            sock.close()


async def test_cancelling_while_two_addresses_are_tried_leaves_no_socket_open(stuck, monkeypatch: pytest.MonkeyPatch):
    """pytest turns the ResourceWarning of a socket that was left open into an error."""
    resolving(monkeypatch, stuck, stuck)
    reach = asyncio.create_task(
        async_dial.connect(Address(host="kernel.example", port=1), deadline=time.monotonic() + 5)
    )
    await asyncio.sleep(0.4)
    reach.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reach
    assert len(asyncio.all_tasks()) <= 3
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks()) == 1
