"""The real gateway as a process, started by the real aion-launch, with a kernel that a test plays."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from aion.api.grant import Grant
from aion.gateway.testing import FakeKernel

ME = "agent://tenant-a/researcher"
EVERYTHING = ("tool.invoke", "net.fetch")


def granted(**changes: Any) -> Grant:
    plain: dict[str, Any] = {
        "agent_id": ME, "tenant": "tenant-a", "name": "researcher", "version": "1.0.0",
        "syscalls": EVERYTHING, "policy_revision": 7,
    }  # fmt: skip
    return Grant(**(plain | changes))


@dataclass
class Gateway:
    process: asyncio.subprocess.Process
    folder: Path
    tcp: int
    pod: int
    proxy: int

    @property
    def socket(self) -> str:
        return str(self.folder / "gw.sock")

    async def syscall(self, name: str, *, over: str = "unix", **body: Any) -> tuple[int, dict[str, Any]]:
        connector = aiohttp.UnixConnector(self.socket) if over == "unix" else None
        base = "http://gw" if over == "unix" else f"http://127.0.0.1:{self.tcp}"
        document = {"schema": "aion.syscall.v1", "syscall": name, "agent_id": ME, "params": {}, **body}
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(f"{base}/v1/syscall/{name}", data=json.dumps(document)) as answer,
        ):
            return answer.status, await answer.json()

    async def get(self, path: str, *, port: int | None = None) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port or self.pod}{path}") as answer,
        ):
            return answer.status, await answer.text()


def free_ports(count: int) -> list[int]:
    import socket

    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


@asynccontextmanager
async def running(launch: Path, folder: Path, kernel_url: str, **env: str) -> AsyncIterator[Gateway]:
    """Start it; it is killed at the end where it has not left by itself."""
    (folder / "token").write_text("a-token\n")
    (folder / "keys").mkdir(exist_ok=True)
    (folder / "keys" / "default").write_text("a-secret-of-thirty-two-characters")
    tcp, pod, proxy = free_ports(3)
    variables = {
        "AION_AGENT_ID": ME, "AION_TENANT": "tenant-a", "AION_KERNEL_URL": kernel_url, "AION_POD_NAME": "researcher-1", "AION_POD_UID": "uid-1",
        "AION_AGENT_UID": str(os.getuid()), "AION_TOKEN_FILE": str(folder / "token"), "AION_KEYS_DIR": str(folder / "keys"),
        "AION_JOURNAL": str(folder / "audit.journal"), "AION_GRACE_S": "5", **env,
    }  # fmt: skip
    listen = (
        f"tcp=127.0.0.1:{tcp}",
        f"pod=127.0.0.1:{pod}",
        f"egress={folder}/egress.sock",
        f"proxy=127.0.0.1:{proxy}",
        f"unix={folder}/gw.sock",
    )
    argv = [
        str(launch),
        *(word for each in listen for word in ("--listen", each)),
        "--",
        sys.executable,
        "-m",
        "aion.gateway",
    ]
    process = await asyncio.create_subprocess_exec(
        *argv, env={**os.environ, **variables}, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(10):
            while process.returncode is None and not (folder / "gw.sock").exists():  # the last that aion-launch opens
                await asyncio.sleep(0.005)
        yield Gateway(process, folder, tcp, pod, proxy)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def pair(
    launch: Path, folder: Path, grant: Grant | None = None, **env: str
) -> AsyncIterator[tuple[FakeKernel, Gateway]]:
    """A kernel and a gateway that is connected to it."""
    async with (
        FakeKernel(grant or granted()).serving() as kernel,
        running(launch, folder, kernel.url, **env) as gateway,
    ):
        yield kernel, gateway


@asynccontextmanager
async def agent(launch: Path, gateway: Gateway, *argv: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """An agent's process, held back by aion-launch until it is admitted."""
    process = await asyncio.create_subprocess_exec(
        str(launch), "--await", gateway.socket, "--within", "10", "--", *(argv or ("sleep", "60"))
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
