"""net.fetch against real servers on loopback: where it goes, what it carries there, and what it brings back."""

import asyncio
import base64
import gzip
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from syscalls_stage import Answer, Stage
from yarl import URL

from aion.api.grant import FetchRule
from aion.syscalls import egress, net_fetch
from aion.syscalls.net_fetch import NetFetch
from aion.syscalls.testing import granted

HERE, THERE = "127.0.0.1", "127.0.0.2"


class Site:
    """A web server on two loopback addresses, so that there are two hosts. Keeps what it was asked."""

    def __init__(self, handle: Callable[[web.Request], Awaitable[web.StreamResponse]], port: int):
        self.port = port
        self.seen: list[tuple[str, str, dict[str, str], str]] = []
        self._handle = handle
        self.stage = self.staged()

    def staged(
        self, *, resolve: net_fetch.Lookup = net_fetch.lookup, rules: Sequence[FetchRule] | None = None
    ) -> Stage:
        here = [FetchRule(host, (self.port,), private=True) for host in (HERE, THERE, "localhost")]
        return Stage(NetFetch(resolve), grants=(granted(fetch=here if rules is None else rules),))

    def url(self, path: str = "/", host: str = HERE) -> str:
        return f"http://{host}:{self.port}{path}"

    async def fetch(self, path: str = "/", **params: Any) -> Answer:
        budget = params.pop("budget", {})
        return await self.stage.call("net.fetch", {"url": self.url(path), **params}, budget=budget)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        self.seen.append((request.method, host + request.path, dict(request.headers), await request.text()))
        return await self._handle(request)


async def hello(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="grüß Gott", headers={"X-One": "1"})


@asynccontextmanager
async def site(handle: Callable[[web.Request], Awaitable[web.StreamResponse]] = hello) -> AsyncIterator[Site]:
    app = web.Application()
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    first = socket.create_server((HERE, 0))
    made = Site(handle, first.getsockname()[1])
    app.router.add_route("*", "/{tail:.*}", made.serve)
    await runner.setup()
    await web.SockSite(runner, first).start()
    await web.TCPSite(runner, THERE, made.port).start()
    try:
        yield made
    finally:
        await runner.cleanup()


async def test_what_a_server_answers_comes_back_whole():
    async with site() as at:
        answer = await at.fetch("/a?b=c#d")
    assert answer.status == 200
    result = answer.body["result"]
    headers = result.pop("headers")
    assert result == {"status": 200, "url": at.url("/a?b=c"), "bytes": 11, "body": "grüß Gott"}
    assert (headers["x-one"], headers["content-type"]) == ("1", "text/plain; charset=utf-8")
    assert answer.body["engine"] == {"kind": "kernel", "name": "aion"}
    assert at.stage.record.subject == f"{HERE}:{at.port}"
    assert at.seen[0][:2] == ("GET", f"{HERE}/a")


async def test_an_error_of_the_server_is_a_result_and_not_ours():
    async def missing(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=404, text="gone")

    async with site(missing) as at:
        answer = await at.fetch()
    assert (answer.status, answer.body["result"]["status"], answer.body["result"]["body"]) == (200, 404, "gone")


async def test_a_body_that_is_no_text_comes_in_base64_and_head_brings_none():
    async def binary(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"\xff\x00\xfe")

    async with site(binary) as at:
        result = (await at.fetch()).body["result"]
        head = (await at.fetch(method="HEAD")).body["result"]
    assert (base64.b64decode(result["body_base64"]), result["bytes"], "body" in result) == (b"\xff\x00\xfe", 3, False)
    assert (head["bytes"], head["headers"]["content-length"]) == (0, "3")


async def test_a_post_carries_its_body_and_headers_and_says_who_asks_unless_told_otherwise():
    async with site() as at:
        await at.fetch(method="POST", body='{"q":"ü"}', headers={"Content-Type": "application/json", "X-Key": "k"})
        await at.fetch(headers={"User-Agent": "me/1", "Accept": "text/csv"})
    (method, _, headers, body), (_, _, named, _) = at.seen
    assert (method, body) == ("POST", '{"q":"ü"}')
    assert (headers["Content-Type"], headers["X-Key"]) == ("application/json", "k")
    assert (headers["User-Agent"], headers["Accept"]) == ("aion-os", "*/*")
    assert (named["User-Agent"], named["Accept"]) == ("me/1", "text/csv")


async def test_a_header_that_is_overridden_is_sent_once():
    async def counts(request: web.Request) -> web.StreamResponse:
        return web.json_response([len(request.headers.getall(name)) for name in ("User-Agent", "Accept")])

    async with site(counts) as at:
        assert json.loads((await at.fetch(headers={"User-Agent": "x", "ACCEPT": "y"})).body["result"]["body"]) == [1, 1]


BAD = [
    ({}, "url"),
    ({"url": 7}, "/url"),
    ({"url": "http://a/", "verify": False}, "verify"),
    ({"url": "http://a/", "method": "DELETE"}, "/method"),
    ({"url": "http://a/", "body": "x"}, "/body"),
    ({"url": "http://a/", "headers": ["a"]}, "/headers"),
    ({"url": ""}, "/url"),
    ({"url": "/relative"}, "/url"),
    ({"url": "//host/path"}, "/url"),
    ({"url": "file:///etc/passwd"}, "/url"),
    ({"url": "ftp://127.0.0.1/"}, "/url"),
    ({"url": "gopher://127.0.0.1/"}, "/url"),
    ({"url": "http:///path"}, "/url"),
    ({"url": "http://127.0.0.1:0/"}, "/url"),
    ({"url": "http://127.0.0.1:99999/"}, "/url"),
    ({"url": "http://[::1/"}, "/url"),
    ({"url": "http://me:secret@127.0.0.1/"}, "/url"),
    ({"url": "http://example.org@127.0.0.1/"}, "/url"),
    ({"url": "http://127.0.0.1/" + "a" * 9000}, "/url"),
    ({"url": "http://127.0.0.1/", "headers": {"X-A": "1\r\nX-B: 2"}}, "/headers"),
    ({"url": "http://127.0.0.1/", "headers": {"X-A\r\nX-B": "2"}}, "/headers"),
    ({"url": "http://127.0.0.1/", "headers": {"X A": "1"}}, "/headers"),
    ({"url": "http://127.0.0.1/", "headers": {"": "1"}}, "/headers"),
    ({"url": "http://127.0.0.1/", "headers": {"X-A": "1\x00"}}, "/headers"),
    ({"url": "http://127.0.0.1/", "headers": {"X-A": "\u2028"}}, "/headers"),
    ({"url": "http://127.0.0.1/", "headers": {"Host": "other"}}, "/headers/Host"),
    ({"url": "http://127.0.0.1/", "headers": {"content-length": "3"}}, "/headers/content-length"),
    ({"url": "http://127.0.0.1/", "headers": {"Transfer-Encoding": "chunked"}}, "/headers/Transfer-Encoding"),
    ({"url": "http://127.0.0.1/", "headers": {"Proxy-Authorization": "x"}}, "/headers/Proxy-Authorization"),
    ({"url": "http://127.0.0.1/", "headers": {"Upgrade": "websocket"}}, "/headers/Upgrade"),
    ({"url": "http://127.0.0.1/", "headers": {f"x-{n}": "1" for n in range(65)}}, "/headers"),
    ({"url": "http://127.0.0.1/", "headers": {"x": "a" * 9000}}, "/headers"),
]


@pytest.mark.parametrize(("params", "where"), BAD, ids=range(len(BAD)))
async def test_params_that_are_no_request_are_refused_by_place(params: dict[str, Any], where: str):
    stage = Stage(
        NetFetch(never), grants=(granted(fetch=[FetchRule("*", (80,), private=True), FetchRule(HERE, private=True)]),)
    )
    answer = await stage.call("net.fetch", params)
    assert (answer.status, answer.code) == (422, "E_PARAMS")
    (found,) = answer.error["details"]["errors"]
    assert where in (found["path"] or found["message"])


async def test_a_body_to_send_over_the_limit_is_too_large():
    async with site() as at:
        answer = await at.fetch(method="POST", body="ü" * (128 << 10) + "x")
    assert (answer.status, answer.code, at.seen) == (413, "E_TOO_LARGE", [])


async def never(_host: str, _port: int) -> Sequence[egress.Address]:
    raise AssertionError("a name was looked up")


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://other.example.org/", "egress.allow@rev7: no rule names this host"),
        ("http://api.example.org:8080/", "egress.allow@rev7: port 8080 is not among those of api.example.org"),
        (
            "http://169.254.169.254/latest/meta-data/",
            "egress.private@rev7: the rule for 169.254.169.254 does not say private",
        ),
        ("http://[::ffff:169.254.169.254]/", "egress.allow@rev7: no rule names this host"),
        ("http://api.example.org.evil.net/", "egress.allow@rev7: no rule names this host"),
    ],
)
async def test_a_host_that_may_not_be_reached_is_denied_before_its_name_is_looked_up(url: str, rule: str):
    rules = [FetchRule("api.example.org"), FetchRule("169.254.169.254")]
    stage = Stage(NetFetch(never), grants=(granted(fetch=rules),))
    answer = await stage.call("net.fetch", {"url": url})
    assert (answer.status, answer.code, answer.error["rule"]) == (403, "E_POLICY", rule)
    assert (stage.record.subject, stage.record.rule) == (f"{URL(url).host}:{URL(url).port}", rule)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "017700000001", "localhost"])
async def test_a_name_that_the_systems_resolver_takes_for_loopback_is_denied_by_its_address(host: str):
    stage = Stage(NetFetch(), grants=(granted(fetch=[FetchRule("*", (80,), private=True)]),))
    answer = await stage.call("net.fetch", {"url": f"http://{host}/"})
    assert (answer.status, answer.code) == (403, "E_POLICY")
    assert answer.error["rule"].startswith("egress.private@rev7")


def resolving(*answers: Sequence[str]) -> net_fetch.Lookup:
    """A resolver that gives another answer each time, as a rebinding name does."""
    left = list(answers)

    async def resolve(_host: str, _port: int) -> Sequence[egress.Address]:
        return [found for text in left.pop(0) if (found := egress.address(text)) is not None]

    return resolve


async def test_only_an_address_that_was_judged_is_dialled_and_a_name_is_looked_up_once():
    async with site() as at:
        at.stage = at.staged(resolve=resolving([THERE], ["169.254.169.254"]))
        answer = await at.stage.call("net.fetch", {"url": at.url(host="localhost")})
        assert answer.status == 200
        denied = await at.stage.call("net.fetch", {"url": at.url(host="localhost")})
        assert (denied.code, denied.error["message"]) == (
            "E_POLICY",
            "localhost is 169.254.169.254: not a public address",
        )


async def test_of_several_addresses_the_unfit_are_never_dialled():
    async with site() as at:
        at.stage = at.staged(resolve=resolving(["169.254.169.254", "0.0.0.0", THERE]))
        began = time.monotonic()
        assert (await at.stage.call("net.fetch", {"url": at.url(host="localhost")})).status == 200
        assert time.monotonic() - began < 2


async def test_a_name_without_an_address_is_said_so():
    async def unknown(_host: str, _port: int) -> Sequence[egress.Address]:
        raise socket.gaierror(-2, "Name or service not known")

    stage = Stage(NetFetch(unknown), grants=(granted(fetch=[FetchRule("*")]),))
    answer = await stage.call("net.fetch", {"url": "http://nowhere.example.org/"})
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")
    assert "nowhere.example.org has no address" in answer.error["message"]
    long = Stage(NetFetch(), grants=(granted(fetch=[FetchRule("*")]),))
    assert (await long.call("net.fetch", {"url": f"http://{'a' * 64}.org/"})).code in {"E_UPSTREAM", "E_PARAMS"}


@asynccontextmanager
async def redirects(status: int, to: Callable[[Site], str]) -> AsyncIterator[Site]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path != "/start":
            return web.Response(text="arrived")
        return web.Response(status=status, headers={"Location": to(at)})

    async with site(handle) as at:
        yield at


@pytest.mark.parametrize(
    ("status", "sent", "arrives"),
    [
        (301, "GET", ("GET", "")),
        (302, "POST", ("GET", "")),
        (303, "POST", ("GET", "")),
        (301, "HEAD", ("HEAD", "")),
        (307, "POST", ("POST", "x")),
        (308, "POST", ("POST", "x")),
    ],
)
async def test_a_redirect_keeps_or_drops_method_and_body_as_http_says(status, sent, arrives):
    async with redirects(status, lambda _at: "end?x=1") as at:
        body = {"body": "x", "headers": {"Content-Type": "text/x"}} if sent == "POST" else {}
        answer = await at.fetch("/start", method=sent, **body)
    assert answer.body["result"]["url"] == at.url("/end?x=1")
    method, _, headers, text = at.seen[1]
    assert (method, text) == arrives
    assert (headers.get("Content-Type") == "text/x") == (method == "POST")


SECRETS = {"Authorization": "Bearer s", "Cookie": "s=1", "X-Plain": "p"}


@pytest.mark.parametrize(("host", "kept"), [(HERE, True), (THERE, False)])
async def test_a_secret_header_does_not_follow_to_another_origin(host: str, kept: bool):
    async with redirects(302, lambda at: at.url("/end", host=host)) as at:
        assert (await at.fetch("/start", headers=SECRETS)).status == 200
    headers = at.seen[1][2]
    assert ("Authorization" in headers, "Cookie" in headers, headers["X-Plain"]) == (kept, kept, "p")


async def test_cookies_are_kept_neither_for_the_next_hop_nor_for_the_next_fetch():
    async def sets(request: web.Request) -> web.StreamResponse:
        location = {"Location": "/end"} if request.path == "/start" else {}
        return web.Response(status=302 if location else 200, headers={**location, "Set-Cookie": "a=1; Path=/"})

    async with site(sets) as at:
        await at.fetch("/start")
        await at.fetch("/end")
    assert len(at.seen) == 3
    assert not any("Cookie" in headers for _, _, headers, _ in at.seen)


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("http://169.254.169.254/latest/", "E_POLICY", "169.254.169.254"),
        ("http://127.0.0.1:1/", "E_POLICY", "127.0.0.1:1"),
        ("http://10.0.0.1/", "E_POLICY", "10.0.0.1"),
        ("//10.0.0.1/", "E_POLICY", "10.0.0.1"),
        ("http://[::1]/", "E_POLICY", "::1"),
        ("file:///etc/passwd", "E_UPSTREAM", "redirects to what cannot be fetched"),
        ("javascript:alert(1)", "E_UPSTREAM", "redirects to what cannot be fetched"),
        ("http://me:secret@127.0.0.1/", "E_UPSTREAM", "redirects to what cannot be fetched"),
        ("http://[", "E_UPSTREAM", "redirects to what is no URL"),
        ("/" + "a" * 8180, "E_UPSTREAM", "redirects to what cannot be fetched"),
    ],
)
async def test_a_redirect_to_where_nobody_may_go_is_not_followed(target: str, code: str, says: str):
    async with redirects(302, lambda _at: target) as at:
        answer = await at.fetch("/start")
    assert answer.code == code
    assert says in answer.error["message"]
    assert len(at.seen) == 1
    assert at.stage.record.subject == f"{HERE}:{at.port}"


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/", "http://[::ffff:10.0.0.1]/", "http://[::ffff:169.254.169.254]/", "http://[64:ff9b::a00:1]/",
     "http://0x7f.1/", "http://[fd00:ec2::254]/"],
)  # fmt: skip
async def test_where_every_host_is_allowed_a_redirect_inwards_is_still_not_followed(target: str):
    async with redirects(302, lambda _at: target) as at:
        at.stage = at.staged(rules=[FetchRule(HERE, (at.port,), private=True), FetchRule("*")])
        answer = await at.fetch("/start")
    assert (answer.code, len(at.seen)) == ("E_POLICY", 1)
    assert "egress.private@rev7" in answer.error["rule"] or "egress.allow@rev7" in answer.error["rule"]


async def test_the_bytes_of_all_hops_are_counted_in_the_record_and_so_are_those_that_were_too_many():
    async def large(request: web.Request) -> web.StreamResponse:
        return web.Response(body=bytes((1 << 20) + 1 if request.path == "/large" else 1000))

    async with site(large) as at:
        await at.fetch(method="POST", body="x" * 70)
        await at.fetch("/large")
        first, second = at.stage.audit.records
    assert (first.bytes_out, first.bytes_in, first.held_ms) == (70, 1000, 0)
    assert (second.code, second.bytes_out, second.bytes_in > 1 << 20) == ("E_TOO_LARGE", 0, True)


async def test_a_name_is_judged_again_at_every_hop():
    async with redirects(302, lambda at: at.url("/end", host="localhost")) as at:
        at.stage = at.staged(resolve=resolving([HERE], ["169.254.169.254"]))
        answer = await at.stage.call("net.fetch", {"url": at.url("/start", host="localhost")})
    assert (answer.code, len(at.seen)) == ("E_POLICY", 1)


@pytest.mark.parametrize(("hops", "status"), [(5, 200), (6, 502)])
async def test_five_redirects_are_followed_and_not_a_sixth(hops: int, status: int):
    async def counts_down(request: web.Request) -> web.StreamResponse:
        left = int(request.path[1:])
        return web.Response(status=302, headers={"Location": f"/{left - 1}"}) if left else web.Response(text="arrived")

    async with site(counts_down) as at:
        answer = await at.fetch(f"/{hops}")
    assert answer.status == status
    assert len(at.seen) == 6


async def test_a_redirect_status_without_a_location_is_an_answer_like_any_other():
    async def lost(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, text="somewhere")

    async with site(lost) as at:
        assert (await at.fetch()).body["result"]["status"] == 302


@pytest.mark.parametrize(("size", "status"), [(1 << 20, 200), ((1 << 20) + 1, 413)])
async def test_a_body_is_read_up_to_its_limit_and_no_further(size: int, status: int):
    async def large(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * size)

    async with site(large) as at:
        answer = await at.fetch()
    assert answer.status == status
    if status == 200:
        assert answer.body["result"]["bytes"] == size


async def test_an_endless_body_and_a_packed_one_of_100_mb_end_at_the_limit():
    bomb = gzip.compress(bytes(100 << 20), compresslevel=1)

    async def endless(request: web.Request) -> web.StreamResponse:
        if request.path == "/bomb":
            return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 65536)

    async with site(endless) as at:
        began = time.monotonic()
        for path in ("/endless", "/bomb"):
            answer = await at.fetch(path)
            assert (answer.status, answer.code) == (413, "E_TOO_LARGE")
        assert time.monotonic() - began < 2


async def test_a_server_that_never_answers_or_drips_ends_at_the_calls_deadline():
    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        if request.path == "/drips":
            await answer.prepare(request)
        while True:
            await asyncio.sleep(0.02)
            if request.path == "/drips":
                await answer.write(b"x")

    async with site(slow) as at:
        for path in ("/never", "/drips"):
            began = time.monotonic()
            answer = await at.fetch(path, budget={"latency_ms": 100})
            assert (answer.status, answer.code) == (504, "E_TIMEOUT")
            assert time.monotonic() - began < 2


@asynccontextmanager
async def raw(said: bytes, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that says the same to everybody, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, HERE, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def fetched(said: bytes, *, scheme: str = "http", tls: ssl.SSLContext | None = None) -> Answer:
    async with raw(said, tls=tls) as port:
        stage = Stage(NetFetch(), grants=(granted(fetch=[FetchRule(HERE, (port,), private=True)]),))
        return await asyncio.wait_for(stage.call("net.fetch", {"url": f"{scheme}://{HERE}:{port}/"}), 3)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        OK + b"Content-Length: 10\r\n\r\nabc",
        OK + b"Content-Length: -1\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"X: " + b"a" * 20_000 + b"\r\n\r\n",
        OK + b"No colon here\r\n\r\n",
    ],
)
async def test_a_server_that_speaks_rubbish_is_an_upstream_failure(said: bytes):
    answer = await fetched(said)
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")
    assert answer.error["message"].startswith(f"{HERE} failed: ")


async def test_header_bytes_that_are_no_text_are_replaced_and_repeated_headers_joined():
    answer = await fetched(OK + b"X-Raw: a\xffb\r\nVia: 1\r\nVia: 2\r\nContent-Length: 2\r\n\r\nok")
    assert answer.status == 200
    assert answer.body["result"]["headers"] == {"x-raw": "a\ufffdb", "via": "1, 2", "content-length": "2"}


async def test_tls_to_what_speaks_none_fails():
    answer = await fetched(OK + b"\r\n", scheme="https")
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")


async def test_a_certificate_that_nobody_vouches_for_is_refused():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(Path(__file__).with_name("unvouched.pem"))
    answer = await fetched(OK + b"Content-Length: 2\r\n\r\nok", scheme="https", tls=tls)
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")
    assert "CERTIFICATE_VERIFY_FAILED" in answer.error["message"]


async def test_nobody_listening_is_an_upstream_failure():
    stage = Stage(NetFetch(), grants=(granted(fetch=[FetchRule(HERE, (9,), private=True)]),))
    answer = await stage.call("net.fetch", {"url": f"http://{HERE}:9/"})
    assert (answer.status, answer.code) == (502, "E_UPSTREAM")


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{HERE}:9")
    async with site() as at:
        assert (await at.fetch()).status == 200
