"""A gateway of the tests' own: real sockets, scripted answers, and a record of what arrived."""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ME = "agent://tenant-a/researcher"
AUDIT = "sc-01JDEMO0000000000000000000"
PEM = Path(__file__).with_name("localhost.pem")


def http(status: int, document: object, *headers: str) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", ""]).encode() + body


def ok(result: object) -> bytes:
    usage = {"latency_ms": 1.5, "cost_usd": 0.25, "tokens_in": 3, "tokens_out": 4}
    engine = {"kind": "module", "name": "tooling/web_search@1.2.0"}
    return http(200, {"status": "ok", "result": result, "usage": usage, "engine": engine, "audit_id": AUDIT})


def failed(status: int, code: str, **more: Any) -> bytes:
    return http(
        status,
        {"status": "error", "error": {"code": code, "message": "because", **more}, "usage": {}, "audit_id": AUDIT},
    )


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)


Reply = bytes | Callable[[socket.socket, Request], None]


@dataclass
class Server:
    """Answers with `replies` in turn, then with the last for ever. An empty reply hangs up.

    Listens on `path`, else on a free port of `host`; there by TLS where it is told so.
    """

    replies: list[Reply]
    path: Path | None = None
    host: str = "127.0.0.1"
    tls: bool = False
    seen: list[Request] = field(default_factory=list)
    connections: int = 0

    def __enter__(self):
        family = socket.AF_UNIX if self.path else socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._door = socket.socket(family)
        self._door.bind(str(self.path) if self.path else (self.host, 0))
        self._door.listen(128)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if self.tls else None
        if self._context:
            self._context.load_cert_chain(PEM)
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self._threads[0].join()  # nobody is let in any more: now all that are in are known
        self.hang_up()
        for thread in self._threads:
            thread.join()
        for conn in self._open:
            conn.close()

    def hang_up(self) -> None:
        """Close every connection, as a server does with those that were idle for too long."""
        for conn in self._open:
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)

    @property
    def port(self) -> int:
        return self._door.getsockname()[1]

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix://{self.path}" if self.path else f"http{'s' if self.tls else ''}://{host}:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                conn, _ = self._door.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(conn)
            thread = threading.Thread(target=self._serve, args=(conn,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, conn: socket.socket) -> None:
        if self._context:
            conn = self._context.wrap_socket(conn, server_side=True, do_handshake_on_connect=False)
            self._open.append(conn)
            try:
                conn.do_handshake()
            except (OSError, ValueError):
                return
        file = conn.makefile("rb")
        try:
            while (line := file.readline()) and self._one(conn, file, line):
                pass
        except OSError:
            pass
        finally:
            file.close()
            with contextlib.suppress(OSError):
                conn.shutdown(socket.SHUT_RDWR)

    def _one(self, conn: socket.socket, file: Any, line: bytes) -> bool:
        method, target, _ = line.decode().split(" ")
        headers = {}
        while (line := file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        request = Request(method, target, headers, file.read(int(headers["content-length"])))
        with self._lock:
            self.seen.append(request)
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(reply):
            reply(conn, request)
            return True
        conn.sendall(reply)
        return reply != b"" and b"connection: close" not in reply
