"""What is measured, as processes: the gateway, a bare reverse proxy, a FastAPI app, and what stands behind them.

Apart because each comes up in its own way and all are then asked alike. Each server that is measured has the server's
core to itself; whatever plays the world around it (backend, tool, kernel, load) runs on the other. It must never give one
side a help that the others lack.
"""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from measuring import environment, golang, processes
from measuring.processes import Cores, Process

from aion.gateway.testing import FakeKernel
from clusters import run
from clusters.failure import Failed
from overhead import syscall

LOAD = environment.REPO / "e2e/bench/load"
FASTAPI = environment.REPO / "e2e/bench/peers/fastapi/app.py"
LAUNCH = environment.REPO / "sandbox-profiles/launch"
_SETTLE_S = 20
_PORTS = ("tcp", "pod")
_COMPILING = {"PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True)
class Side:
    """One thing to ask. `server` is None where nothing stands between the load and the backend."""

    name: str
    to: str
    server: Process | None


@dataclass
class Stage:
    """Everything that runs, while it runs."""

    load: Path
    body: Path
    cores: Cores
    realtime: bool
    sides: list[Side] = field(default_factory=list)
    audit: "Audit | None" = None
    socket: str = ""
    boot_ms: float = 0


class Audit:
    """Counts the audit records that reach the kernel, and lets go of them."""

    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel
        self.count = 0

    def take(self) -> int:
        """All that came so far."""
        self.count += len(self._kernel.records)
        self._kernel.records.clear()
        return self.count

    async def reaches(self, wanted: int) -> None:
        """Wait until every call's record is with the kernel. Raises Failed where they do not come: then the figures are of less work."""
        deadline = time.monotonic() + _SETTLE_S
        while self.take() < wanted:
            if time.monotonic() > deadline:
                raise Failed(
                    f"the kernel has {self.count} audit records of {wanted} syscalls after {_SETTLE_S} s",
                    remedy="see the gateway's log",
                )
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def up(*, cores: Cores, realtime: bool) -> AsyncIterator[Stage]:
    """Bring up everything; it ends with the context."""
    load = golang.binary(LOAD, name="load")
    launch, gateway_python, python = launcher(), gateway_environment(), _fastapi_environment()
    logs = golang.cache() / "log"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aion-bench-")))
        body = folder / "request.json"
        body.write_bytes(syscall.REQUEST)
        stage = Stage(load, body, cores, realtime)

        def world(*words: str | Path, name: str, core: int = cores.load) -> tuple[Process, str]:
            process = stack.enter_context(
                processes.running(words, name=name, log=logs / f"{name}.log", core=core, realtime=realtime)
            )
            return process, process.announced()

        _, backend = world(load, "echo", name="echo")
        _, runner = world(load, "runner", name="runner")
        proxy, at = world(load, "proxy", "-backend", f"http://{backend}", name="proxy", core=cores.server)
        fastapi, there = world(
            python, FASTAPI, f"http://{backend}", folder / "fastapi.log", name="fastapi", core=cores.server
        )
        async with FakeKernel(syscall.grant(runner)).serving() as kernel:
            began = time.monotonic()
            gateway, tcp = stack.enter_context(
                gateway_process(
                    (launch, gateway_python), folder, kernel.url, logs / "gateway.log", cores=cores, realtime=realtime
                )
            )
            stage.audit, stage.socket = Audit(kernel), f"{folder}/gw.sock"
            stage.sides = [
                Side("direct", f"tcp:{backend}", None),
                Side("gateway, unix", f"unix:{stage.socket}", gateway),
                Side("gateway, tcp", f"tcp:{tcp}", gateway),
                Side("reverse proxy", f"tcp:{at}", proxy),
                Side("fastapi", f"tcp:{there}", fastapi),
            ]
            await said_hello(kernel, gateway)
            stage.boot_ms = (time.monotonic() - began) * 1000
            await asyncio.sleep(0.2)  # the grant is on its way
            yield stage


@contextlib.contextmanager
def gateway_process(
    programs: tuple[Path, Path], folder: Path, kernel_url: str, log: Path, *, cores: Cores, realtime: bool
) -> Iterator[tuple[Process, str]]:
    """The gateway as its Pod starts it: by aion-launch, with the sockets that it listens on."""
    (folder / "token").write_text("a-token\n")
    (folder / "keys").mkdir()
    (folder / "keys/default").write_text("a-secret-of-thirty-two-characters")
    env = {
        "AION_AGENT_ID": syscall.AGENT, "AION_KERNEL_URL": kernel_url, "AION_POD_NAME": "bench-1", "AION_POD_UID": "uid-bench", "AION_AGENT_UID": str(os.getuid()),
        "AION_TOKEN_FILE": f"{folder}/token", "AION_KEYS_DIR": f"{folder}/keys", "AION_JOURNAL": f"{folder}/audit.journal", "AION_GRACE_S": "1",
    }  # fmt: skip
    tcp, pod = free_ports(len(_PORTS))
    listen = (f"unix={folder}/gw.sock", f"tcp=127.0.0.1:{tcp}", f"pod=127.0.0.1:{pod}")
    launch, python = programs
    argv = [launch, *(word for each in listen for word in ("--listen", each)), "--", python, "-m", "aion.gateway"]
    with processes.running(argv, name="gateway", log=log, core=cores.server, realtime=realtime, env=env) as process:
        yield process, f"127.0.0.1:{tcp}"


async def said_hello(kernel: FakeKernel, gateway: Process) -> None:
    """Wait until the gateway has spoken to its kernel; raises Failed."""
    deadline = time.monotonic() + _SETTLE_S
    while not kernel.hellos:
        if not gateway.alive() or time.monotonic() > deadline:
            raise Failed("the gateway does not come to its kernel", log=gateway.log, remedy="its last words are below")
        await asyncio.sleep(0.002)


def launcher() -> Path:
    """aion-launch, built once."""
    out = golang.cache().parent / "launch"
    run.logged(
        ["make", "--silent", "-C", LAUNCH, f"OUT={out}"],
        golang.cache() / "log/launch.log",
        remedy="apt-get install make musl-tools",
    )
    return out / "aion-launch"


def gateway_environment() -> Path:
    """The interpreter of an environment that holds what the gateway's image holds, compiled beforehand as there.

    The developers' own would not do: structlog, for one, loads rich where it finds it, and compiling leaves its memory behind.
    """
    folder = golang.cache() / "gateway-environment"
    sync(
        "--project",
        environment.REPO,
        "--no-dev",
        "--extra",
        "gateway",
        log="gateway-environment",
        UV_PROJECT_ENVIRONMENT=str(folder),
    )
    python = folder / "bin/python"
    run.output([python, "-c", "import aion.gateway.__main__"], env=_COMPILING)
    return python


def _fastapi_environment() -> Path:
    """The interpreter of the FastAPI app's own locked environment, of the same Python as the gateway's."""
    sync("--script", FASTAPI, log="fastapi-environment")
    return Path(run.output([environment.uv(), "python", "find", "--script", FASTAPI]).strip())


def sync(*words: str | Path, log: str, **env: str) -> None:
    """Have an environment as its lock says, of this interpreter."""
    argv = [environment.uv(), "sync", "--quiet", "--frozen", "--compile-bytecode", "--python", sys.executable, *words]
    run.logged(argv, golang.cache() / f"log/{log}.log", env=env, remedy="PyPI cannot be reached")


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
