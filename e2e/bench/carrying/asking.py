"""The load: tunnels opened one after another and timed, then one that carries a lot each way.

Apart because every side is asked by the same blocking code, so that what differs is the side. It must never count a tunnel
through which nothing came back.
"""

import socket
import time
from dataclasses import dataclass

from measuring.processes import Process

MIB = 1 << 20


@dataclass(frozen=True)
class Side:
    """One way to the host. `at` is a path, an address, or None for no proxy; `server` what is measured."""

    name: str
    at: str | None
    server: Process | None


@dataclass(frozen=True)
class Carried:
    """One round of one side. CPU is the proxy's."""

    connect_ms: list[float]
    down_mib_s: float
    up_mib_s: float
    cpu_ms_mib: float
    cpu_ms_connect: float
    rss_mib: float


def tunnel(side: Side, host: str) -> socket.socket:
    """A connection to the host, by the side's way."""
    if side.at is None:
        return _dial(host)
    conn = _dial(side.at)
    conn.sendall(f"CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        got = conn.recv(4096)
        if not got:
            raise RuntimeError(f"{side.name} hung up")
        head += got
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(f"{side.name} refused: {head[:400]!r}")
    return conn


def once(side: Side, host: str, *, connects: int, mib: int) -> Carried:
    """Open so many tunnels and close them again, then carry so much each way."""
    before = _cpu(side)
    took = []
    for _ in range(connects):
        began = time.perf_counter()
        with tunnel(side, host) as conn:
            conn.sendall(b"ping\n")
            _expect(conn)
            took.append((time.perf_counter() - began) * 1000)
    connected = _cpu(side)
    with tunnel(side, host) as conn:
        began = time.perf_counter()
        conn.sendall(f"pour {mib * MIB}\n".encode())
        room, left = bytearray(MIB), mib * MIB
        while left:
            got = conn.recv_into(room)
            if not got:
                raise RuntimeError(f"{side.name} ended {left} bytes early")
            left -= got
        down = time.perf_counter() - began
        began = time.perf_counter()
        conn.sendall(f"take {mib * MIB}\n".encode())
        for _ in range(mib):
            conn.sendall(room)
        _expect(conn)
        up = time.perf_counter() - began
        rss = side.server.rss_mib() if side.server else 0.0
    return Carried(
        took,
        mib / down,
        mib / up,
        (_cpu(side) - connected) * 1000 / (2 * mib),
        (connected - before) * 1000 / connects,
        rss,
    )


def _expect(conn: socket.socket) -> None:
    if conn.recv(64) != b"done\n":
        raise RuntimeError("the host did not answer")


def _cpu(side: Side) -> float:
    return side.server.cpu_s() if side.server else 0.0


def _dial(at: str) -> socket.socket:
    if at.startswith("/"):
        conn = socket.socket(socket.AF_UNIX)
        conn.connect(at)
    else:
        host, _, port = at.rpartition(":")
        conn = socket.create_connection((host, int(port)))
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    conn.settimeout(60)
    return conn
