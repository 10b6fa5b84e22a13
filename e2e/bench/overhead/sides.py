"""What is measured, as processes: the gateway, what people would put in its place, and what stands behind them.

Apart because each comes up in its own way and all are then asked alike. Each server that is measured has the server's
core to itself; whatever plays the world around it (backend, tool, kernel, load) runs on the other. It must never give one
side a help that the others lack.
"""

import asyncio
import contextlib
import socket
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from measuring import environment, golang, peers, processes
from measuring.processes import Cores, Process

from aion.gateway.testing import FakeKernel
from clusters.failure import Failed
from overhead import ours, syscall
from overhead.ours import Audit

BENCH = environment.REPO / "e2e/bench"
LOAD, PEERS = BENCH / "load", BENCH / "peers"
_NGINX_S = 5

# One process, one thread, as every side here. Kept connections to the backend: as many as there are callers.
_NGINX = """\
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream backend {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=512;
    location / {{ proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@dataclass(frozen=True)
class Side:
    """One thing to ask. `server` is None where nothing stands between the load and the backend; `mcp`: it is asked a tools/call."""

    name: str
    to: str
    server: Process | None
    mcp: bool = False

    @property
    def ours(self) -> bool:
        """Does every call of it leave a record?"""
        return self.name.startswith("gateway")


@dataclass
class Stage:
    """Everything that runs, while it runs. `sink` takes the gateway's spans."""

    load: Path
    folder: Path
    cores: Cores
    realtime: bool
    sink: str
    audit: Audit
    sides: list[Side] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    boot_ms: float = 0
    idle_mib: dict[str, float] = field(default_factory=dict)

    def question(self, side: Side) -> tuple[str, Path, tuple[str, ...]]:
        """What this side is asked: the target, the file with the body, headers."""
        if side.mcp:
            return syscall.MCP_TARGET, self.folder / "tools-call.json", syscall.MCP_HEADERS
        return syscall.TARGET, self.folder / "request.json", ()

    def batches_of_spans(self) -> int:
        """How many the sink has."""
        with urllib.request.urlopen(f"http://{self.sink}/", timeout=5) as answer:
            return int(answer.read())


@contextlib.asynccontextmanager
async def up(*, cores: Cores, realtime: bool) -> AsyncIterator[Stage]:
    """Bring up everything; it ends with the context."""
    load = golang.binary(LOAD, name="load")
    programs = ours.launcher(), ours.gateway_environment()
    relay, fastapi, mcp = (
        peers.interpreter(PEERS / name / "app.py", name=name) for name in ("relay", "fastapi", "mcp")
    )
    nginx = peers.nginx()
    logs = golang.cache() / "log"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aion-bench-")))
        (folder / "request.json").write_bytes(syscall.REQUEST)
        (folder / "tools-call.json").write_bytes(syscall.MCP_REQUEST)

        def started(*words: str | Path, name: str, core: int = cores.load) -> Process:
            return stack.enter_context(
                processes.running(words, name=name, log=logs / f"{name}.log", core=core, realtime=realtime)
            )

        def peer(name: str, *words: str | Path, mcp: bool = False) -> Side:
            process = started(*words, name=name.replace(" ", "-"), core=cores.server)
            return Side(name, f"tcp:{process.announced()}", process, mcp)

        backend = started(load, "echo", name="echo").announced()
        runner = started(load, "runner", name="runner").announced()
        sink = started(load, "sink", name="sink").announced()
        url = f"http://{backend}"
        sides = [
            peer("reverse proxy", load, "proxy", "-backend", url),
            peer("aiohttp relay", relay, PEERS / "relay/app.py", url),
            peer("fastapi", fastapi, PEERS / "fastapi/app.py", url, folder / "fastapi.log"),
            peer("mcp sdk", mcp, PEERS / "mcp/app.py", mcp=True),
        ]
        if nginx is not None:
            (port,) = ours.free_ports(1)
            (folder / "nginx.conf").write_text(_NGINX.format(folder=folder, backend=backend, port=port))
            process = started(nginx, "-p", folder, "-c", folder / "nginx.conf", name="nginx", core=cores.server)
            sides.insert(1, Side("nginx", f"tcp:127.0.0.1:{port}", process))
            await _listens(process, port)
        async with FakeKernel(syscall.grant(runner)).serving() as kernel:
            began = time.monotonic()
            gateway, tcp = stack.enter_context(
                ours.gateway_process(
                    programs,
                    folder,
                    kernel.url,
                    logs / "gateway.log",
                    cores=cores,
                    realtime=realtime,
                    otlp=f"http://{sink}",
                )
            )
            stage = Stage(load, folder, cores, realtime, sink, Audit(kernel))
            stage.absent = [] if nginx is not None else ["nginx"]
            stage.sides = [
                Side("direct", f"tcp:{backend}", None),
                Side("gateway, unix", f"unix:{folder}/gw.sock", gateway),
                Side("gateway, tcp", f"tcp:{tcp}", gateway),
                *(each for each in sides if not each.mcp),
                Side("gateway, mcp", f"tcp:{tcp}", gateway, mcp=True),
                *(each for each in sides if each.mcp),
            ]
            await ours.said_hello(kernel, gateway)
            stage.boot_ms = (time.monotonic() - began) * 1000
            await asyncio.sleep(0.5)  # the grant is on its way
            stage.idle_mib = {side.name: side.server.rss_mib() for side in stage.sides if side.server}
            async with stage.audit.taking():
                yield stage


async def _listens(process: Process, port: int) -> None:
    """Wait until it does; raises Failed."""
    deadline = time.monotonic() + _NGINX_S
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        if not process.alive() or time.monotonic() > deadline:
            raise Failed(f"{process.name} does not listen", log=process.log, remedy="its last words are below")
        await asyncio.sleep(0.01)
