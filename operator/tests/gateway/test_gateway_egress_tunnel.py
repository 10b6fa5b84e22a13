"""The egress proxy on real sockets: who is let through to where, what passes, and how it ends."""

import asyncio
import contextlib
import json
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from egress_stage import NAME, Streams, echo, here, host, proxy, read, resolving

from aion.api import errors
from aion.api.grant import FetchRule, Limits
from aion.gateway.peers import Known
from aion.gateway.proxy import answering, face, relay, tunnel
from aion.syscalls import egress


async def never(_host: str, _port: int) -> list[egress.Address]:
    raise AssertionError("a name was looked up")


async def test_a_tunnel_carries_both_ways_passes_half_closes_on_and_leaves_a_record(tmp_path: Path):
    async with host(echo) as port, proxy(tmp_path, here(port)) as stage:
        answer, (reader, writer) = await stage.connect(NAME, port)
        assert answer.status == 200
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        writer.write_eof()
        assert await reader.read() == b"|end"
        writer.close()
        record = await stage.record()
    assert (record.syscall, record.decision, record.engine) == ("net.fetch", "allow", "tunnel/connect")
    assert (record.subject, record.bytes_out, record.bytes_in) == (f"{NAME}:{port}", 4, 8)
    assert record.held_ms > 0


async def test_a_host_may_speak_first_on_a_plain_port_and_what_came_with_the_head_goes_along(tmp_path: Path):
    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        writer.write(await reader.readexactly(4))
        await writer.drain()

    async with host(greets) as port, proxy(tmp_path, here(port)) as stage:
        reader, writer = await stage.dial()
        writer.write(f"CONNECT {NAME}:{port} HTTP/1.1\r\n\r\nEHLO".encode())
        said = await asyncio.wait_for(reader.read(), 3)
        writer.close()
    assert said == answering.OPENED + b"220 hello\r\nEHLO"


@pytest.mark.parametrize(
    ("target", "rule", "named"),
    [
        ("other.example.org:443", "egress.allow@rev7: no rule names this host", "http_request_denied"),
        (f"{NAME}:8080", f"egress.allow@rev7: port 8080 is not among those of {NAME}", "http_request_denied"),
        (f"{NAME}.evil.net:443", "egress.allow@rev7: no rule names this host", "http_request_denied"),
        ("169.254.169.254:443", "egress.private@rev7: the rule for 169.254.169.254 does not say private", "destination_ip_prohibited"),
        ("[::ffff:169.254.169.254]:443", "egress.allow@rev7: no rule names this host", "http_request_denied"),
        ("[::ffff:10.0.0.1]:443", "egress.private@rev7: the rule for ::ffff:10.0.0.1 does not say private", "destination_ip_prohibited"),
    ],
)  # fmt: skip
async def test_where_nobody_may_go_is_denied_before_a_name_is_looked_up(
    tmp_path: Path, target: str, rule: str, named: str
):
    rules = [FetchRule(NAME), FetchRule("169.254.169.254"), FetchRule("::ffff:10.0.0.1")]
    async with proxy(tmp_path, *rules, resolve=never) as stage:
        answer = await stage.ask(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        record = await stage.record()
    assert (answer.status, answer.error["code"], answer.error["rule"]) == (403, "E_POLICY", rule)
    assert answer.headers["proxy-status"] == f"aion; error={named}"
    assert (record.decision, record.rule, record.subject) == ("deny", rule, target)
    assert json.loads(answer.body)["audit_id"] == record.audit_id
    assert (
        stage.registry.get_sample_value("aion_kernel_syscalls_total", {"syscall": "net.fetch", "decision": "deny"}) == 1
    )


@pytest.mark.parametrize(
    ("grant", "code"),
    [
        ({"capabilities": ()}, "E_CAPABILITY"),
        ({"syscalls": ("tool.invoke",)}, "E_CAPABILITY"),
        ({"limits": Limits(max_tunnels=0)}, "E_BUSY"),
    ],
)
async def test_a_tunnel_is_refused_by_the_rules_of_every_syscall(tmp_path: Path, grant: dict[str, Any], code: str):
    async with proxy(tmp_path, FetchRule("*"), resolve=never, **grant) as stage:
        answer = await stage.ask(b"CONNECT api.example.org:443 HTTP/1.1\r\n\r\n")
        assert answer.error["code"] == code
        record = await stage.record()
        assert (record.code, record.subject, record.engine) == (code, "api.example.org:443", "tunnel/connect")
        stage.audit.broken = "no space left on device"
        assert (await stage.ask(b"CONNECT api.example.org:443 HTTP/1.1\r\n\r\n")).status == 503


@pytest.mark.parametrize(
    "found",
    ["169.254.169.254", "::ffff:10.0.0.1", "10.0.0.1", "127.0.0.1", "0.0.0.0", "fd00:ec2::254", "64:ff9b::a00:1"],
)
async def test_a_name_that_turns_out_to_be_inside_is_denied_by_its_address(tmp_path: Path, found: str):
    async with proxy(tmp_path, FetchRule("*"), resolve=resolving([found])) as stage:
        for asked in (f"CONNECT {NAME}:443 HTTP/1.1\r\n\r\n", f"GET http://{NAME}/ HTTP/1.1\r\nHost: {NAME}\r\n\r\n"):
            answer = await stage.ask(asked.encode())
            assert (answer.status, answer.error["code"]) == (403, "E_POLICY")
            assert answer.headers["proxy-status"] == "aion; error=destination_ip_prohibited"


async def test_a_name_is_looked_up_once_and_only_the_address_that_was_judged_is_dialled(tmp_path: Path):
    resolve = resolving(["169.254.169.254", "127.0.0.1"], ["169.254.169.254"])
    async with host(echo) as port, proxy(tmp_path, here(port), resolve=resolve) as stage:
        answer, (_, writer) = await stage.connect(NAME, port)
        assert answer.status == 200
        writer.close()
        rebound, _ = await stage.connect(NAME, port)
        assert (rebound.status, rebound.error["code"]) == (403, "E_POLICY")


@pytest.mark.parametrize("name", ["127.1", "2130706433", "0x7f000001"])
async def test_a_number_that_the_systems_resolver_takes_for_loopback_is_denied_by_its_address(
    tmp_path: Path, name: str
):
    from aion.syscalls.net_fetch import lookup

    async with proxy(tmp_path, FetchRule("*", private=True), resolve=lookup) as stage:
        answer = await stage.ask(f"CONNECT {name}:443 HTTP/1.1\r\n\r\n".encode())
    assert (answer.status, answer.headers["proxy-status"]) == (403, "aion; error=destination_ip_prohibited")


async def test_a_host_that_does_not_answer_is_an_upstream_failure_by_its_kind(tmp_path: Path, monkeypatch):
    closed = socket.create_server(("127.0.0.1", 0))
    port = closed.getsockname()[1]
    closed.close()

    async def unknown(_host: str, _port: int) -> list[egress.Address]:
        raise socket.gaierror(-2, "Name or service not known")

    async def slow(_host: str, _port: int) -> list[egress.Address]:
        await asyncio.sleep(60)
        return []

    async with proxy(tmp_path, here(port), limits=Limits(syscall_timeout_ms=50)) as stage:
        expected = [(None, 502, "connection_refused"), (unknown, 502, "dns_error"), (slow, 504, "connection_timeout")]
        for resolve, status, named in expected:
            stage.face.resolve = resolve or stage.face.resolve
            answer, _ = await stage.connect(NAME, port)
            assert (answer.status, answer.headers["proxy-status"]) == (status, f"aion; error={named}")


def clients_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def one_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def tls_host(serve=one_line):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(__file__).with_name("egress_host.pem"))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def greets(streams: Streams, name: str | None) -> bytes:
    reader, writer = streams
    await asyncio.wait_for(writer.start_tls(clients_tls(), server_hostname=name), 3)
    writer.write(b"through\n")
    said = await asyncio.wait_for(reader.readline(), 3)
    writer.close()
    return said


async def test_tls_goes_through_under_the_name_that_was_asked_for(tmp_path: Path):
    async with tls_host() as port, proxy(tmp_path, here(port, plain=False)) as stage:
        answer, streams = await stage.connect(NAME.upper() + ".", port)
        assert answer.status == 200
        assert await greets(streams, NAME) == b"through\n"
        record = await stage.record()
        assert (record.decision, record.bytes_out > 200, record.bytes_in > 200) == ("allow", True, True)


@pytest.mark.parametrize("plain", [False, True])
async def test_tls_under_another_name_is_refused_in_tls_own_words_and_never_reaches_the_host(
    tmp_path: Path, plain: bool
):
    reached = []

    async def watch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(await reader.read())

    async with host(watch) as port, proxy(tmp_path, here(port, plain=plain)) as stage:
        answer, streams = await stage.connect(NAME, port)
        assert answer.status == 200
        with pytest.raises(ssl.SSLError, match="ACCESS_DENIED"):
            await greets(streams, "fronted.example.net")
        record = await stage.record()
        await asyncio.sleep(0.02)
    assert (record.decision, record.code) == ("deny", "E_POLICY")
    assert record.rule.startswith("egress.sni@rev7")
    assert (record.bytes_out, b"".join(reached)) == (0, b"")


async def test_plain_http_on_a_tls_port_is_refused_in_http_with_what_to_do(tmp_path: Path):
    async with host(echo) as port, proxy(tmp_path, here(port, plain=False)) as stage:
        _, (reader, writer) = await stage.connect(NAME, port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, _, body = (await asyncio.wait_for(reader.read(), 3)).partition(b"\r\n\r\n")
        writer.close()
    assert head.startswith(b"HTTP/1.1 403 Forbidden")
    assert f"port {port} is not one of the rule's plain ports" in json.loads(body)["error"]["message"]


async def test_whoever_does_not_greet_in_time_is_cut_and_who_leaves_without_a_word_has_done_nothing(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(tunnel, "GREETING_S", 0.05)
    async with host(echo) as port, proxy(tmp_path, here(port, plain=False)) as stage:
        _, (reader, writer) = await stage.connect(NAME, port)
        assert await asyncio.wait_for(reader.read(), 3) == b""
        writer.close()
        _, (_, writer) = await stage.connect(NAME, port)
        writer.close()
        late, silent = await stage.records(2)
    assert (late.decision, "egress.sni" in late.rule) == ("deny", True)
    assert silent.decision == "allow"


async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers with what it was asked, and takes it that one more request would follow."""
    head = await reader.readuntil(b"\r\n\r\n")
    body = b""
    if b"chunked" in head:
        body = await reader.readuntil(b"0\r\n\r\n")
    elif b"Content-Length: " in head:
        body = await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
    said = head + body
    writer.write(b"HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\nContent-Length: %d\r\n\r\n%b" % (len(said), said))
    await writer.drain()
    with contextlib.suppress(TimeoutError):  # whatever is smuggled behind comes back behind
        async with asyncio.timeout(0.1):
            writer.write(await reader.read(1000))


async def test_an_absolute_form_request_is_made_once_and_what_follows_it_is_not(tmp_path: Path):
    async with host(http) as port, proxy(tmp_path, here(port)) as stage:
        at = f"{NAME}:{port}"
        answer = await stage.ask(
            f"POST http://{at}/a?b HTTP/1.1\r\nHost: {at}\r\nProxy-Authorization: Basic c2VjcmV0\r\nContent-Length: 3\r\n\r\n"
            f"abcGET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n".encode()
        )
        record = await stage.record()
    seen = f"POST /a?b HTTP/1.1\r\nHost: {at}\r\nContent-Length: 3\r\nVia: 1.1 aion\r\nConnection: close\r\n\r\nabc"
    assert answer.body.decode() == seen
    assert answer.headers == {"content-length": str(len(seen)), "via": "1.1 aion", "connection": "close"}
    assert (record.decision, record.engine, record.bytes_out) == ("allow", "tunnel/http", len(seen))


async def test_a_chunked_request_is_framed_anew(tmp_path: Path):
    async with host(http) as port, proxy(tmp_path, here(port)) as stage:
        at = f"{NAME}:{port}"
        answer = await stage.ask(
            f"PUT http://{at}/ HTTP/1.1\r\nHost: {at}\r\nTransfer-Encoding: chunked\r\n\r\n003\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1".encode()
        )
    assert answer.body.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest/", "http://[::ffff:10.0.0.1]/", "https://api.example.org/"]
)
async def test_a_redirect_is_the_clients_own_and_judged_like_any_request(tmp_path: Path, target: str):
    async def moves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % target.encode())
        await writer.drain()

    async with host(moves) as port, proxy(tmp_path, here(port), FetchRule("*")) as stage:
        at = f"{NAME}:{port}"
        first = await stage.ask(f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n".encode())
        assert (first.status, first.headers["Location".lower()]) == (302, target)
        authority = target.split("/")[2]
        second = await stage.ask(f"GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    assert second.status == (400 if target.startswith("https") else 403)


async def test_half_an_answer_is_passed_on_as_such_and_none_is_an_upstream_failure(tmp_path: Path):
    said = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        await writer.drain()

    async with host(half) as port, proxy(tmp_path, here(port)) as stage:
        at = f"{NAME}:{port}"
        request = f"GET http://{at}/ HTTP/1.1\r\nHost: {at}\r\n\r\n".encode()
        answer = await stage.ask(request)
        assert (answer.status, answer.headers["content-length"], answer.body) == (200, "100", b"half")
        said = b"HTTP/1.1 200 OK\r\nContent-"
        answer = await stage.ask(request)
        assert (answer.status, answer.headers["proxy-status"]) == (502, "aion; error=http_response_incomplete")
        said = b"SSH-2.0-x\r\n\r\n"
        answer = await stage.ask(request)
        assert (answer.status, answer.headers["proxy-status"]) == (502, "aion; error=http_protocol_error")


BAD = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello\r\n\r\n",
    b"a" * (40 << 10),
]


@pytest.mark.parametrize("raw", BAD, ids=range(len(BAD)))
async def test_what_is_no_request_of_a_proxys_is_answered_400_and_recorded_without_a_word_of_it(
    tmp_path: Path, raw: bytes
):
    async with proxy(tmp_path, FetchRule("*"), resolve=never) as stage:
        answer = await stage.ask(raw)
        record = await stage.record()
    assert (answer.status, answer.error["code"]) == (400, "E_BAD_REQUEST")
    assert answer.headers["proxy-status"] == "aion; error=http_request_error"
    assert (record.syscall, record.decision, record.subject) == ("net.fetch", "error", "")


async def test_a_head_that_drips_is_refused_at_its_deadline_and_a_silent_client_let_go(tmp_path: Path):
    async with proxy(tmp_path, FetchRule("*"), resolve=never, head_s=0.1) as stage:
        silent, _ = quiet = await stage.dial()
        reader, writer = await stage.dial()

        async def drip() -> None:
            with contextlib.suppress(OSError):
                while True:
                    writer.write(b"C")
                    await writer.drain()
                    await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        answer = await asyncio.wait_for(reader.read(), 3)
        assert (await asyncio.wait_for(silent.read(), 3), answer[:12]) == (b"", b"HTTP/1.1 400")
        dripping.cancel()
        quiet[1].close()
        writer.close()
        assert not stage.face.waiting
        assert len(stage.audit.records) == 1


async def test_a_thousand_idle_connections_hold_no_more_than_the_limit_and_keep_nobody_out(tmp_path: Path):
    async with host(echo) as port, proxy(tmp_path, here(port)) as stage:
        idle = [socket.socket(socket.AF_UNIX) for _ in range(1000)]
        for at, each in enumerate(idle):
            each.connect(str(stage.path))
            if at % 50 == 49:
                await asyncio.sleep(0.005)
        async with asyncio.timeout(5):
            while len(stage.face.waiting) < face.MAX_WAITING:
                await asyncio.sleep(0.01)
        assert len(stage.face.waiting) == face.MAX_WAITING
        answer, (_, writer) = await stage.connect(NAME, port)
        assert answer.status == 200
        assert len(stage.face.waiting) <= face.MAX_WAITING
        writer.close()
        for each in idle:
            each.close()


async def test_a_slow_reader_is_waited_for_and_nothing_piles_up(tmp_path: Path):
    sent = 0

    async def pours(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for _ in range(256):
            writer.write(bytes(64 << 10))
            await writer.drain()
            sent += 64 << 10

    async with host(pours) as port, proxy(tmp_path, here(port)) as stage:
        _, (reader, writer) = await stage.connect(NAME, port)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.1)
        (held,) = stage.face._open
        assert held.relay is not None
        assert held.relay.client.transport.get_write_buffer_size() < 1 << 20
        assert sent < 16 << 20
        assert len(await asyncio.wait_for(reader.read(), 10)) == 16 << 20
        writer.close()


async def test_a_client_that_vanishes_ends_the_other_side_and_so_does_a_host(tmp_path: Path):
    ended, over = asyncio.Event(), asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        await reader.read()
        ended.set()
        await over.wait()  # an end that is not answered by one

    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.abort()  # type: ignore[attr-defined]

    async with host(waits) as port, host(resets) as other, proxy(tmp_path, here(port), here(other)) as stage:
        _, (_, writer) = await stage.connect(NAME, port)
        writer.write(b"x")
        await writer.drain()
        writer.close()
        await asyncio.wait_for(ended.wait(), 3)
        async with asyncio.timeout(face.SWEEP_S / 2):
            assert (await stage.record()).decision == "allow"
        over.set()
        _, (reader, writer) = await stage.connect(NAME, other)
        writer.write(b"x")
        assert await asyncio.wait_for(reader.read(), 3) == b""
        writer.close()
        assert (await stage.records(2))[1].code in ("E_UPSTREAM", "")
        assert stage.face.tunnels == 0


async def test_an_unmodified_program_goes_through_by_its_proxy_variables_alone(tmp_path: Path):
    listening = socket.create_server(("127.0.0.1", 0))
    program = (
        "import ssl, sys, urllib.request as r; ssl._create_default_https_context = ssl._create_unverified_context\n"
        "print(*(r.urlopen(url, timeout=5).read().decode() for url in sys.argv[1:]))"
    )

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async with host(answers) as plain, tls_host(answers) as tls:
        async with proxy(tmp_path, here(plain), here(tls, plain=False)) as stage:
            await stage.face.listen(listening, peers=Known(frozenset()))
            at = f"http://127.0.0.1:{listening.getsockname()[1]}"
            urls = (f"http://{NAME}:{plain}/", f"https://{NAME}:{tls}/")
            variables = {"http_proxy": at, "https_proxy": at, "no_proxy": "", "PATH": "/usr/bin"}
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, *urls, env=variables, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await asyncio.wait_for(process.communicate(), 20)
            records = await stage.records(2)
    assert said.decode() == "ok ok\n"
    assert sorted(record.engine for record in records) == ["tunnel/connect", "tunnel/http"]


async def open_tunnel(stage, port: int) -> Streams:
    answer, streams = await stage.connect(NAME, port)
    assert answer.status == 200
    streams[1].write(b"ping")
    assert await streams[0].readexactly(4) == b"ping"
    return streams


async def ends(streams: Streams) -> bool:
    with contextlib.suppress(OSError):
        await asyncio.wait_for(streams[0].read(), 3)
    streams[1].close()
    return True


@pytest.mark.parametrize(
    "change",
    [
        lambda stage, port: stage.grant(),
        lambda stage, port: stage.grant(FetchRule(NAME, (port,))),  # private no more
        lambda stage, port: stage.grant(here(port), capabilities=()),
        lambda stage, port: stage.grant(here(port), syscalls=()),
        lambda stage, port: setattr(stage.door, "closed", errors.PolicyDenied("revoked", rule="grant.revoked")),
    ],
)
async def test_a_tunnel_that_is_no_longer_allowed_is_cut_and_recorded_as_denied(tmp_path: Path, change):
    async with host(echo) as port, proxy(tmp_path, here(port)) as stage:
        streams = await open_tunnel(stage, port)
        stage.grant(here(port), policy_revision=8)
        await asyncio.sleep(0.02)
        assert stage.face.tunnels == 1
        change(stage, port)
        stage.face.judge_again()
        assert await ends(streams)
        record = await stage.record()
    assert (record.decision, record.bytes_in, record.bytes_out) == ("deny", 4, 4)


async def test_more_bytes_than_granted_end_a_tunnel(tmp_path: Path):
    async with host(echo) as port, proxy(tmp_path, here(port), limits=Limits(tunnel_max_bytes=4096)) as stage:
        streams = await open_tunnel(stage, port)
        streams[1].write(bytes(8192))
        assert await ends(streams)
        assert (await stage.record()).code == "E_TOO_LARGE"


async def test_a_tunnel_that_lies_still_ends_quietly_and_one_that_lasts_too_long_by_its_limit(
    tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(face, "SWEEP_S", 0.05)
    async with host(echo) as port, proxy(tmp_path, here(port), limits=Limits(tunnel_idle_s=0)) as stage:
        assert await ends(await open_tunnel(stage, port))
        stage.grant(here(port), limits=Limits(tunnel_lifetime_s=1))
        assert await ends(await open_tunnel(stage, port))
        still, long = await stage.records(2)
    assert (still.decision, long.code) == ("allow", "E_TIMEOUT")


async def test_a_client_that_ended_its_half_and_then_vanished_is_noticed(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(face, "SWEEP_S", 0.05)
    over = asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()

    async with host(waits) as port, proxy(tmp_path, here(port)) as stage:
        _, (_, writer) = await stage.connect(NAME, port)
        writer.write_eof()
        await asyncio.sleep(0.12)
        assert stage.face.tunnels == 1
        writer.transport.abort()
        assert (await stage.record()).decision == "allow"
        over.set()


async def test_what_is_under_way_when_the_gateway_stops_is_cut_after_its_time_and_recorded(tmp_path: Path):
    async with host(echo) as port, proxy(tmp_path, here(port)) as stage:
        streams = await open_tunnel(stage, port)
        await stage.face.close(within_s=0.01)
        assert await ends(streams)
        assert (await stage.record()).code == "E_UNAVAILABLE"


async def test_a_stranger_gets_one_refusal_and_nothing_else(tmp_path: Path):
    async with proxy(tmp_path, FetchRule("*"), resolve=never) as stage:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "other.sock"))
        listening.listen()
        await stage.face.listen(listening, peers=Known(frozenset({4_000_000})))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "other.sock"))
        writer.write(b"CONNECT api.example.org:443 HTTP/1.1\r\n\r\n")
        answer = read(await asyncio.wait_for(reader.read(), 3))
        writer.close()
    assert (answer.status, answer.error["rule"]) == (403, "identity.peer")
    assert stage.audit.records == []


def test_a_half_that_ended_is_told_from_a_client_that_is_gone():
    ours, theirs = socket.socketpair(socket.AF_UNIX)

    class Transport(asyncio.BaseTransport):
        def get_extra_info(self, name: str, default: Any = None) -> Any:
            return ours

    theirs.shutdown(socket.SHUT_WR)
    assert not relay.gone(Transport())
    theirs.close()
    assert relay.gone(Transport())
    ours.close()
