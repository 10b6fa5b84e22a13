"""libaion-net.so as an agent has it: preloaded, under a filter that knows no IP sockets, beside a gateway.

The library and its checks are built once a session by the Makefile that builds the image's; `Sealed.run` starts a program.
"""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent / "sandbox"
SOURCES = HERE.parents[2] / "sandbox-profiles" / "launch"


@dataclass
class Sealed:
    """`built` holds the library and the checks, `folder` the gateway's two sockets."""

    built: Path
    folder: Path
    asked: list[str]
    gateway: subprocess.Popen[str]

    def environment(self, folder: Path, *, preload: bool = True) -> dict[str, str]:
        """What an agent's program finds, with the gateway's sockets in `folder`."""
        env = {"AION_EGRESS_SOCKET": f"{folder}/egress.sock", "AION_GATEWAY_SOCKET": f"{folder}/gw.sock"}
        env |= {"LD_PRELOAD": f"{self.built}/libaion-net.so"} if preload else {}
        return {"PATH": os.environ["PATH"], "HOME": str(folder), **env}

    def run(self, *argv: object, preload: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, as an agent's container would."""
        return subprocess.run(
            [str(a) for a in (self.built / "seal", *argv)],
            env=self.environment(self.folder, preload=preload) | env,
            check=False,
            capture_output=True,
            text=True,
            timeout=50,
        )

    def python(self, client: str) -> list[object]:
        """What a function of tunnel_clients.py got."""
        done = self.run(sys.executable, HERE / "tunnel_clients.py", client)
        assert done.returncode == 0, done.stderr
        found: list[object] = json.loads(done.stdout)
        return found

    def wanted(self, target: str) -> int:
        """How often the gateway was asked for HOST:PORT."""
        assert self.gateway.stdout is not None
        while select.select([self.gateway.stdout], [], [], 0)[0] and (
            line := os.read(self.gateway.stdout.fileno(), 65536)
        ):
            self.asked += line.decode().split()
        return self.asked.count(target)


@pytest.fixture(scope="session")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    if missing := [tool for tool in ("make", "gcc", "musl-gcc", "openssl") if not shutil.which(tool)]:
        pytest.fail(f"libaion-net.so is C, and is tested with both libcs: install {', '.join(missing)}")
    built, folder = tmp_path_factory.mktemp("net"), tmp_path_factory.mktemp("run")
    made = subprocess.run(
        ["make", "-s", "-j2", "-C", str(SOURCES), f"OUT={built}", f"{built}/libaion-net.so", "checks"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    assert not made.stderr
    subject = ["-subj", "/CN=tls.test", "-addext", "subjectAltName=DNS:tls.test"]
    new = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/cert.pem"]
    subprocess.run([*new, *subject, *files], check=True, capture_output=True)
    argv = [sys.executable, str(HERE / "tunnel_gateway.py"), str(folder)]
    gateway = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert gateway.stdout is not None
        end = time.monotonic() + 20
        while not (folder / "gw.sock").exists():
            assert gateway.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        yield Sealed(built, folder, [], gateway)
    finally:
        gateway.terminate()
        gateway.wait(10)
        if gateway.stdout:
            gateway.stdout.close()
