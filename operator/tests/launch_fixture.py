"""Builds aion-launch once a session, with a companion folder of the test's own, and speaks its serve protocol."""

import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "sandbox-profiles" / "launch"


@pytest.fixture(scope="session")
def companions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("companions")
    (folder / "pytool.py").write_text("print('shim')\n")
    return folder


@pytest.fixture(scope="session")
def launch(tmp_path_factory: pytest.TempPathFactory, companions: Path) -> Path:
    if not (shutil.which("make") and (shutil.which("musl-gcc") or shutil.which("gcc"))):
        pytest.fail("aion-launch is C: install make and musl-tools (or gcc)")
    out = tmp_path_factory.mktemp("launch")
    subprocess.run(
        ["make", "-s", "-C", str(SOURCES), f"OUT={out}", f"FILES={companions}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return out / "aion-launch"


@contextmanager
def started(*argv: object, **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([str(a) for a in argv], text=True, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def dial(path: Path, timeout: float = 10) -> socket.socket:
    """A connection to the socket, as soon as somebody listens there."""
    end = time.monotonic() + timeout
    while True:
        conn = socket.socket(socket.AF_UNIX)
        conn.settimeout(timeout)
        try:
            conn.connect(str(path))
        except OSError:
            conn.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.005)
        else:
            return conn


def exactly(conn: socket.socket, n: int) -> bytes:
    data = b""
    while len(data) < n:
        got = conn.recv(n - len(data))
        if not got:
            raise EOFError
        data += got
    return data


def answers(conn: socket.socket) -> tuple[bytes, bytes, int]:
    """Everything the command printed, and its exit status (or minus its signal)."""
    heard = {b"o": b"", b"e": b""}
    while True:
        kind, size = struct.unpack("<cI", exactly(conn, 5))
        payload = exactly(conn, size)
        if kind == b"x":
            return heard[b"o"], heard[b"e"], struct.unpack("<i", payload)[0]
        heard[kind] += payload


def call(path: Path, document: bytes = b"") -> tuple[bytes, bytes, int]:
    with dial(path) as conn:
        conn.sendall(struct.pack("<I", len(document)) + document)
        return answers(conn)
