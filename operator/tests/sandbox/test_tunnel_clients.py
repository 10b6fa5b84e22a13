"""Programs that know nothing of AION-OS, sealed: each reaches its host through the gateway, or hears why not."""

import errno
import shutil

import pytest

from tunnel_fixture import Sealed


def test_urllib_reaches_the_gateway_and_hears_refusals_as_errors_of_its_network(sealed: Sealed):
    assert sealed.python("urllib_client") == [
        "/plain of a.http.test",
        "/timed of a.http.test",
        "/v1/models of 127.0.0.1:8010",
        *["PermissionError"] * 2,
        *["ConnectionRefusedError"] * 2,
        *["TimeoutError"] * 2,
    ]
    assert sealed.wanted("a.http.test:80") == 2


def test_one_connection_is_kept_and_bound_and_knows_its_port(sealed: Sealed):
    assert sealed.python("http_client") == ["/one of b.http.test", "/two of b.http.test", 80]
    assert sealed.wanted("b.http.test:80") == 1


def test_requests_works(sealed: Sealed):
    assert sealed.python("requests_client") == ["/r of c.http.test", True]


@pytest.mark.parametrize("loop", ["asyncio_client", "uvloop_client"])
def test_an_event_loop_streams_serves_itself_and_runs_a_hundred_requests_at_once(sealed: Sealed, loop: str):
    streams, itself, many = sealed.python(loop)
    assert streams == [300_000, "AF_INET", errno.EACCES, errno.ECONNREFUSED]
    assert itself == ["LOCAL\n", True]
    assert many == [100, errno.EACCES]


def test_names_are_looked_up_without_a_name_server(sealed: Sealed):
    assert sealed.python("lookups") == [True, "named.test", "named.test", "gaierror", "UnicodeError", "gaierror"]


def test_tls_goes_from_end_to_end(sealed: Sealed):
    argv = [
        "openssl",
        "s_client",
        "-connect",
        "tls.test:443",
        "-servername",
        "tls.test",
        "-CAfile",
        sealed.folder / "cert.pem",
    ]
    done = sealed.run(*argv, "-verify_return_error", "-brief", "-no_ign_eof")
    assert "Verification: OK" in done.stderr


NODE = """
const dns = require("dns").promises, net = require("net");
const code = (host) => new Promise((done) => net.connect(80, host).on("error", (e) => done(e.code)).on("connect", () => done("open")));
(async () => console.log(JSON.stringify([
  await (await fetch("http://d.http.test/n")).text(), await (await fetch("http://127.0.0.1:8010/v1")).text(),
  await code("deny.test"), await code("dead.test"), await code("slow.test"),
  (await dns.resolve4("d.http.test"))[0] === (await dns.lookup("d.http.test")).address,
])))().then(() => process.exit(0));
"""

TOOLS = {
    "curl": (
        ["curl", "-sS", "-m", "20", "http://e.http.test/c", "http://localhost:8010/x"],
        "/c of e.http.test/x of localhost:8010",
    ),
    "curl over tls": (["curl", "-sS", "-m", "20", "--cacert", "cert.pem", "https://tls.test/s"], "/s of tls.test"),
    "wget": (["wget", "-q", "-O-", "-T", "20", "http://f.http.test/w"], "/w of f.http.test"),
    "node": (
        ["node", "-e", NODE],
        '["/n of d.http.test","/v1 of 127.0.0.1:8010","EACCES","ECONNREFUSED","open",true]',
    ),
    "openssl": (["openssl", "version"], "OpenSSL"),
}


@pytest.mark.parametrize("tool", [name for name, (argv, _) in TOOLS.items() if shutil.which(argv[0])])
def test_a_tool_of_the_machine_gets_what_it_asks_for(sealed: Sealed, tool: str):
    argv, wanted = TOOLS[tool]
    done = sealed.run(*(str(sealed.folder / a) if a.endswith(".pem") else a for a in argv))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith(wanted)
