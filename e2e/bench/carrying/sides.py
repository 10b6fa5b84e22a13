"""What is measured: the gateway's egress proxy, a plain asyncio relay, and tinyproxy where the machine has it.

Apart as in `overhead`: each server has the server's core to itself, host, kernel and load share the other.
"""

import asyncio
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from measuring import golang, processes
from measuring.processes import Cores
from overhead import syscall
from overhead.ours import free_ports, gateway_environment, launcher, said_hello

from aion.api.grant import FetchRule, Grant, Limits
from aion.gateway.testing import FakeKernel
from carrying.asking import Side

HERE = Path(__file__).parent
TINYPROXY = """\
Port {port}
Listen 127.0.0.1
MaxClients 200
LogLevel Error
ConnectPort {host}
"""


def _grant(host: str) -> Grant:
    name, _, port = host.rpartition(":")
    return Grant(
        agent_id=syscall.AGENT,
        tenant=syscall.TENANT,
        name="researcher",
        version="1.0.0",
        capabilities=("network",),
        syscalls=("net.fetch",),
        fetch=(FetchRule(name, (int(port),), private=True, plain=(int(port),)),),
        limits=Limits(tunnel_max_bytes=1 << 50),
        policy_revision=7,
    )


@contextlib.asynccontextmanager
async def up(cores: Cores) -> AsyncIterator[tuple[str, list[Side], FakeKernel]]:
    """Bring up everything: the host's address, the sides, and the kernel that has the records."""
    launch, python = launcher(), gateway_environment()
    logs = golang.cache() / "log"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aion-bench-")))

        def start(*argv: str | Path, name: str, core: int, **env: str) -> processes.Process:
            log = logs / f"{name}.log"
            return stack.enter_context(processes.running(argv, name=name, log=log, core=core, env=env))

        host = start(sys.executable, HERE / "host.py", name="host", core=cores.load).announced()
        relay = start(sys.executable, HERE / "relay.py", name="relay", core=cores.server)
        sides = [Side("direct", None, None), Side("asyncio relay", relay.announced(), relay)]
        async with FakeKernel(_grant(host)).serving() as kernel:
            (folder / "token").write_text("a-token\n")
            listen = (f"egress={folder}/egress.sock", f"unix={folder}/gw.sock")
            words = [word for each in listen for word in ("--listen", each)]
            gateway = start(
                launch, *words, "--", python, "-m", "aion.gateway", name="egress-gateway", core=cores.server,
                AION_AGENT_ID=syscall.AGENT, AION_KERNEL_URL=kernel.url, AION_POD_NAME="bench-1", AION_POD_UID="uid-bench",
                AION_AGENT_UID=str(os.getuid()), AION_TOKEN_FILE=f"{folder}/token", AION_KEYS_DIR=str(folder),
                AION_JOURNAL=f"{folder}/audit.journal", AION_GRACE_S="1",
            )  # fmt: skip
            await said_hello(kernel, gateway)
            await asyncio.sleep(0.3)  # the grant is on its way
            sides.append(Side("gateway", f"{folder}/egress.sock", gateway))
            if found := shutil.which("tinyproxy"):
                (port,) = free_ports(1)
                (folder / "tinyproxy.conf").write_text(TINYPROXY.format(port=port, host=host.rpartition(":")[2]))
                tiny = start(found, "-d", "-c", folder / "tinyproxy.conf", name="tinyproxy", core=cores.server)
                await asyncio.sleep(0.3)
                sides.append(Side("tinyproxy", f"127.0.0.1:{port}", tiny))
            yield host, sides, kernel
