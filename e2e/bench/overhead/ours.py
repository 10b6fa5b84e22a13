"""Our gateway as a process: started as its Pod starts it, with a kernel that is played, and no record that goes missing.

Apart because several benchmarks measure the same process beside other things. It must never run with more than the gateway's
image holds: what developers have installed beside it would be loaded, and measured.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from measuring import environment, golang, peers, processes
from measuring.processes import Cores, Process

from aion.gateway.testing import FakeKernel
from clusters import run
from clusters.failure import Failed
from overhead import syscall

LAUNCH = environment.REPO / "sandbox-profiles/launch"
PROFILE = "BENCH_PROFILE"
_SETTLE_S = 20
_TAKE_S = 0.02
_PORTS = ("tcp", "pod")
_COMPILING = {"PYTHONDONTWRITEBYTECODE": ""}


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

    @contextlib.asynccontextmanager
    async def taking(self) -> AsyncIterator[None]:
        """Let go of them all the while: a kernel that keeps a million records has no time left to be a kernel."""

        async def take() -> None:
            while True:
                self.take()
                await asyncio.sleep(_TAKE_S)

        task = asyncio.create_task(take(), name="bench-audit")
        try:
            yield
        finally:
            task.cancel()

    async def reaches(self, wanted: int) -> None:
        """Wait until every call's record is with the kernel. Raises Failed where they do not come: then the figures are of less work."""
        deadline = time.monotonic() + _SETTLE_S
        while self.take() < wanted:
            if time.monotonic() > deadline:
                raise Failed(
                    f"the kernel has {self.count} audit records of {wanted} syscalls after {_SETTLE_S} s",
                    remedy="see the gateway's log",
                )
            await asyncio.sleep(_TAKE_S)


@contextlib.contextmanager
def gateway_process(
    programs: tuple[Path, Path],
    folder: Path,
    kernel_url: str,
    log: Path,
    *,
    cores: Cores,
    realtime: bool,
    otlp: str = "",
) -> Iterator[tuple[Process, str]]:
    """The gateway as its Pod starts it: by aion-launch, with the sockets that it listens on. Spans go to `otlp`, if anywhere.

    Under BENCH_PROFILE=FILE it runs within cProfile and leaves its figures there, the profile's own cost among them.
    """
    (folder / "token").write_text("a-token\n")
    (folder / "keys").mkdir()
    (folder / "keys/default").write_text("a-secret-of-thirty-two-characters")
    env = {
        "AION_AGENT_ID": syscall.AGENT, "AION_KERNEL_URL": kernel_url, "AION_POD_NAME": "bench-1", "AION_POD_UID": "uid-bench", "AION_AGENT_UID": str(os.getuid()),
        "AION_TOKEN_FILE": f"{folder}/token", "AION_KEYS_DIR": f"{folder}/keys", "AION_JOURNAL": f"{folder}/audit.journal", "AION_GRACE_S": "1",
        "AION_OTLP_ENDPOINT": otlp,
    }  # fmt: skip
    tcp, pod = free_ports(len(_PORTS))
    listen = (f"unix={folder}/gw.sock", f"tcp=127.0.0.1:{tcp}", f"pod=127.0.0.1:{pod}")
    launch, python = programs
    profiled = ("-m", "cProfile", "-o", os.environ[PROFILE]) if os.environ.get(PROFILE) else ()
    argv = [launch, *(word for each in listen for word in ("--listen", each)), "--", python, *profiled, "-m", "aion.gateway"]  # fmt: skip
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
    peers.sync(
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


def free_ports(count: int) -> list[int]:
    """Ports of loopback that were free a moment ago."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
