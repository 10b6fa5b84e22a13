"""Requests that no client would send, made from a `random.Random`: the same seed gives the same requests.

Used by the fuzz tests of gateway and kernel. `Maker` makes bytes for the wire, `hurl` sends many of them over real sockets
and says what came back; what is right for a server, the tests say.
"""

import asyncio
import contextlib
import copy
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ODD = [
    b"", b"{", b"[]", b"null", b"7", b'"text"', b"NaN", b"-Infinity", b"1e400", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"{}\0", b"{}{}",
    b'{"a":1,"a":2}', b'{"params":{"a":1,"a":2}}', rb'{"params":{"a":"\ud800"}}', rb'{"\udfff":1}', b'{"params":{"a":1e400}}',
    b'{"params":{"a":-1e-400}}', b'{"params":{"a":' + b"9" * 5000 + b"}}", b"[" * 20_000, b'{"params":' + b'{"a":' * 5000,
    b'{"params":' + b"[" * 500 + b"]" * 500 + b"}", b'{"params":{"a":"' + b"x" * 200_000 + b'"}}', b'{"params":{"\\u0000":"\\u0000"}}',
    b'{"budget":{"usd_max":1e400}}', b'{"budget":{"usd_max":"-1"}}', b'{"budget":{"latency_ms":99999999999999999999}}',
    b'{"context":{"seq":1e308}}', b'{"agent_id":"agent://../../x"}', b'{"schema":7}', b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "{\u201cparams\u201d:{}}".encode(), b"{'params':{}}", b'{"params":{},}', b'{"params":{}}//', b"\x80\x04\x95.", b"a=b&c=d",
]  # fmt: skip
VALUES = [
    None, True, 0, -1, 2**63, 2**70, 1e308, "", "x" * 3000, "\u0000", "\ud800", "\u202e", "../..", "agent://tenant-a/researcher", "*",
    [], [[]], {}, {"": {}}, {"a": [None]}, ["system"], {"type": "text", "text": "x"}, {"role": "user", "content": "hello"},
    [{"role": "user", "content": [{"type": "image_url"}]}], [{"type": "function", "function": {"name": "x", "parameters": 7}}],
]  # fmt: skip
KEYS = ["schema", "syscall", "agent_id", "context", "caps_required", "params", "budget", "tool", "url", "method", "headers", "body",
        "jsonrpc", "id", "model", "messages", "input", "stream", "tools", "max_tokens", "temperature", "name", "arguments", "_meta",
        "cursor", "protocolVersion", "capabilities", "version", "limits", "manifest", "inflight", "usage", ""]  # fmt: skip
SEGMENTS = [
    "%00",
    "%ff",
    "..",
    "",
    "a" * 2000,
    "%2e%2e",
    "x y",
    "\u00e9",
    ";",
    "*",
    "tool.invoke",
    "net.fetch",
    "-",
    "{}",
    "%",
    "%zz",
]
LINES = [
    b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 1e3", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip",
    b"Connection: upgrade\r\nUpgrade: websocket", b"Connection: Upgrade\r\nUpgrade: h2c", b"Expect: 100-continue", b"Expect: rubbish",
    b"X: a\r\n b", b"X : a", b": a", b"X", b"X: \xff\xfe", b"X: \0", b"X: " + b"y" * 40_000, b"Host: elsewhere", b"Origin: https://evil",
    b"Content-Type: text/plain", b"Content-Type: application/json; charset=utf-16", b"Content-Type: multipart/form-data; boundary=x",
    b"Content-Encoding: gzip", b"Authorization: Bearer " + b"a" * 9000, b"Authorization: Basic Og==", b"Authorization: Bearer a.b.c",
    b"X-Sig-HMAC: v1=00", b"X-Tenant-Id: ../kube-system", b"X-Aion-Timestamp: 99999999999999999999", b"Mcp-Method: tools/call",
    b"Mcp-Protocol-Version: 1", b"Mcp-Session-Id: \xe9", b"Accept: text/event-stream", b"traceparent: 00-zz", b"Range: bytes=0-",
    b"Last-Event-ID: x", b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 12", b"Cookie: " + b"a=b; " * 500,
]  # fmt: skip
WRECKED = [
    b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x00\xa5\x01\x00\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nHost: h\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\nHost: h\n\n",
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n", b"\0" * 64, b"SSH-2.0-x\r\n",
    b"GET /" + b"a" * 100_000, b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 500 + b"\r\n",
]  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """One request: its bytes, and whether a server has all of it and so owes an answer."""

    wire: bytes
    whole: bool


@dataclass
class Maker:
    """Makes requests to some paths; `prove` gives the headers by which a server believes one, `seeds` are right bodies."""

    chance: random.Random
    paths: Sequence[str]
    seeds: Sequence[bytes]
    prove: Callable[[str, str, bytes], dict[str, str]] = lambda method, target, body: {}

    def request(self) -> Sent:
        chance = self.chance
        if chance.random() < 0.08:
            return Sent(chance.choice(WRECKED), whole=False)
        method = chance.choice(["POST"] * 8 + ["GET", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH", "QUERY"])
        target = chance.choice(self.paths)
        if chance.random() < 0.15:
            target += "/" + chance.choice(SEGMENTS)
        if chance.random() < 0.1:
            target += "?" + chance.choice(
                ["since=x", "topics=%00", "tenant=../x", "a=b&a=c", "%", "=" * 500, "since=-1"]
            )
        body = self.body()
        lines = [f"{method} {target} HTTP/1.1".encode(), b"Host: localhost"]
        if chance.random() < 0.8:
            lines += [
                f"{name}: {value}".encode("utf-8", "surrogatepass")
                for name, value in self.prove(method, target, body).items()
            ]
        odd = [chance.choice(LINES) for _ in range(chance.choice([0, 0, 0, 1, 1, 2]))]
        chunked = chance.random() < 0.2
        framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % len(body)
        sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked and body else b"0\r\n\r\n" if chunked else body
        wire = b"\r\n".join([*lines, framing, *odd, b"", b""]) + sent
        whole = not odd and " " not in target and target.isascii()
        if chance.random() < 0.05:
            return Sent(wire[: chance.randrange(1, len(wire))], whole=False)
        return Sent(wire, whole)

    def body(self) -> bytes:
        chance, kind = self.chance, self.chance.random()
        if kind < 0.2:
            return chance.choice(ODD)
        seed = chance.choice(self.seeds)
        if kind < 0.5:
            return seed
        if kind < 0.65:
            return self._bent(seed)
        return self._mutated(seed)

    def _bent(self, seed: bytes) -> bytes:
        """The same with bytes changed, cut or doubled."""
        chance, bent = self.chance, bytearray(seed)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(bent) + 1)
            match chance.randrange(4):
                case 0:
                    bent[at:at] = bytes([chance.randrange(256)])
                case 1:
                    del bent[at : at + chance.randrange(8)]
                case 2:
                    bent[at:at] = bent[at : at + 40]
                case _:
                    bent[at : at + 1] = chance.choice([b'"', b"{", b"}", b"[", b"\\", b",", b"\0", b"1e999"])
        return bytes(bent)

    def _mutated(self, seed: bytes) -> bytes:
        """The same document with members of other kinds."""
        document = json.loads(seed)
        for _ in range(self.chance.randrange(1, 4)):
            place = document
            while isinstance(place, dict) and self.chance.random() < 0.5:
                inner = [each for each in place.values() if isinstance(each, dict)]
                if not inner:
                    break
                place = self.chance.choice(inner)
            if isinstance(place, dict):
                known = [*place, self.chance.choice(KEYS)]
                place[self.chance.choice(known)] = copy.deepcopy(self.chance.choice(VALUES))
        return json.dumps(document).encode()


@dataclass
class Seen:
    """What came back."""

    statuses: Counter = field(default_factory=Counter)
    wrong: list = field(default_factory=list)
    slowest_s: float = 0.0


async def hurl(open_: Callable, maker: Maker, count: int, *, at_once: int = 8, owed_s: float = 15.0) -> Seen:
    """Send many; `open_` gives a connection. Wrong is a 500, a 5xx that is not the contract's, and an answer that never came."""
    seen, left = Seen(), iter(range(count))

    async def worker() -> None:
        wire = None
        for _ in left:
            sent = maker.request()
            wire = wire or await open_()
            began = time.monotonic()
            status, text = await _exchange(*wire, sent, owed_s)
            seen.slowest_s = max(seen.slowest_s, time.monotonic() - began if sent.whole else 0.0)
            seen.statuses[status] += 1
            if (sent.whole and status is None) or not _expected(status, text):
                seen.wrong.append((status, text[:300], sent.wire[:600]))
            wire[1].transport.abort()
            wire = None

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return seen


def _expected(status: int | None, text: bytes) -> bool:
    """Whether an answer may be one to a request, however odd: a bug is not, also where the contract's words cover it."""
    if status is None or status < 500:
        return True
    return status in (502, 503, 504) and b'"E_' in text and b"internal error" not in text


async def _exchange(reader, writer, sent: Sent, owed_s: float) -> tuple[int | None, bytes]:
    """The status and what came with it; None where nothing came in time, or the connection ended."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
        async with asyncio.timeout(owed_s if sent.whole else 0.02):
            writer.write(sent.wire)
            head = await reader.readuntil(b"\r\n\r\n")
            while head.startswith(b"HTTP/1.1 100"):
                head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            return status, head + (await reader.read(2000) if status >= 500 else b"")
    return None, b""


def rss_kib(pid: int) -> int:
    """What a process holds in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
