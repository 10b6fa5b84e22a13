"""What is measured, as processes: the gateway, a bare reverse proxy, LiteLLM's proxy, and the server that plays a model.

Apart from `overhead.sides`, whose gateway it starts, because other things are asked of it. Each server that is measured
has the server's core to itself; the model's server, the kernel and the load run on the other. It must never give one side
a help that the others lack.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from measuring import environment, golang, peers, processes
from measuring.processes import Cores, Process
from overhead import ours
from overhead.ours import Audit
from overhead.sides import LOAD

from aion.gateway.testing import FakeKernel
from relaying import calls

LITELLM = environment.REPO / "e2e/bench/peers/litellm/app.py"
CHUNKS, EVERY_MS = 100, 20


@dataclass(frozen=True)
class Side:
    """One thing to ask, at a path. `server` is None where nothing stands between the load and the model's server."""

    name: str
    to: str
    path: str
    server: Process | None


@dataclass
class Stage:
    """Everything that runs, while it runs."""

    load: Path
    folder: Path
    cores: Cores
    realtime: bool
    audit: Audit
    sides: list[Side] = field(default_factory=list)

    def body(self, side: Side, *, stream: bool) -> Path:
        """The file with the question as this side takes it."""
        file = self.folder / f"{side.path.replace('/', '_')}-{stream}.json"
        if not file.exists():
            file.write_bytes(calls.body(side.path, stream=stream))
        return file


@contextlib.asynccontextmanager
async def up(*, cores: Cores, realtime: bool) -> AsyncIterator[Stage]:
    """Bring up everything; it ends with the context."""
    load = golang.binary(LOAD, name="load")
    launch, gateway_python, python = (
        ours.launcher(),
        ours.gateway_environment(),
        peers.interpreter(LITELLM, name="litellm"),
    )
    logs = golang.cache() / "log"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aion-bench-")))

        def world(*words: str | Path, name: str, core: int = cores.load) -> tuple[Process, str]:
            process = stack.enter_context(
                processes.running(words, name=name, log=logs / f"{name}.log", core=core, realtime=realtime)
            )
            return process, process.announced()

        _, model = world(load, "model", "-chunks", str(CHUNKS), "-every", f"{EVERY_MS}ms", name="model")
        proxy, at = world(load, "proxy", "-backend", f"http://{model}", name="proxy", core=cores.server)
        litellm, there = world(python, LITELLM, f"http://{model}", folder, name="litellm", core=cores.server)
        async with FakeKernel(calls.grant(model)).serving() as kernel:
            stage = Stage(load, folder, cores, realtime, Audit(kernel))
            gateway, _ = stack.enter_context(
                ours.gateway_process(
                    (launch, gateway_python), folder, kernel.url, logs / "gateway.log", cores=cores, realtime=realtime
                )
            )
            own = f"unix:{folder}/gw.sock"
            stage.sides = [
                Side("direct", f"tcp:{model}", calls.CHAT, None),
                Side("gateway", own, calls.CHAT, gateway),
                Side("gateway, syscall", own, calls.SYSCALL, gateway),
                Side("reverse proxy", f"tcp:{at}", calls.CHAT, proxy),
                Side("litellm", f"tcp:{there}", calls.CHAT, litellm),
            ]
            await ours.said_hello(kernel, gateway)
            await asyncio.sleep(0.2)  # the grant is on its way
            yield stage
