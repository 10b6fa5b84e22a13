"""The benchmark `sdk` from its options to its last line."""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from measuring import environment, golang, peers, processes, report, statistics
from measuring.report import Target, say
from overhead import ours, syscall
from overhead.ours import Audit
from overhead.sides import LOAD

from aion.gateway.testing import FakeKernel
from calling import sdk
from clusters.failure import Failed

DESCRIPTION = """\
What a syscall costs an agent's own process by aion_sdk, beside http.client, requests, httpx and aiohttp in the same run.

    e2e/bench/sdk             5 interleaved rounds of 1000 calls by each client, under two minutes
    e2e/bench/sdk --quick     one round of 150: shows that the benchmark works

The gateway is the real one; each client is a process of its own that makes the same syscall again and again, one after another.
Its time is what the author waits, its CPU what the client's process took. See e2e/bench/README.md.
"""
ASK = environment.REPO / "e2e/bench/peers/clients/ask.py"
OURS, ASYNC = "Agent", "AsyncAgent"
CLIENTS = {
    OURS: "unix",
    "http.client": "unix",
    "httpx": "unix",
    "httpx-tcp": "tcp",
    "requests-session": "tcp",
    "requests": "tcp",
    ASYNC: "unix",
    "aiohttp": "unix",
    "httpx-async": "unix",
}
"""By what each asks, the plain ones first: requests knows no unix sockets."""

TARGETS = (Target("sdk_p50_ms", at_most=0.45),)


class Called(NamedTuple):
    """One client in one round."""

    p50: float
    p99: float
    cpu_ms: float


@dataclass
class Stage:
    """The gateway, and how to ask it."""

    folder: Path
    tcp: str
    python: Path
    cores: processes.Cores
    audit: Audit
    seen: dict[str, list[Called]] = field(default_factory=lambda: {name: [] for name in CLIENTS})
    syscalls: int = 0

    def argv(self, client: str, calls: int) -> list[str]:
        """The command of one client."""
        socket = f"{self.folder}/gw.sock"
        if client in (OURS, ASYNC):
            return [sys.executable, sdk.__file__, client, socket, syscall.AGENT, json.dumps(syscall.PARAMS), str(calls)]
        return [
            str(self.python),
            str(ASK),
            client,
            socket,
            f"http://{self.tcp}",
            f"{self.folder}/request.json",
            str(calls),
        ]

    async def call(self, client: str, calls: int) -> Called:
        """Have a client make its calls. Raises Failed where one was not answered right, or its record is missing."""
        with processes.held_to(self.cores.load):
            process = await asyncio.create_subprocess_exec(
                *self.argv(client, calls), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        out, err = await process.communicate()
        if process.returncode:
            raise Failed(f"{client} exited {process.returncode}: {err.decode(errors='replace').strip()[-1500:]}")
        told: dict[str, Any] = json.loads(out)
        self.syscalls += calls + sdk.WARMUP
        await self.audit.reaches(self.syscalls)
        return Called(statistics.median(told["ms"]), statistics.percentile(told["ms"], 0.99), told["cpu_ms"])


def main(argv: list[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="e2e/bench/sdk", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    asked = parser.parse_args(argv)
    seen = asyncio.run(_measure(1 if asked.quick else asked.rounds, calls=150 if asked.quick else 1000))
    _print(seen, quick=asked.quick)


async def _measure(rounds: int, *, calls: int) -> dict[str, list[Called]]:
    async with _up() as stage:
        names = list(CLIENTS)
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            turn = number % len(names)
            for client in names[turn:] + names[:turn]:
                stage.seen[client].append(await stage.call(client, calls))
        return stage.seen


@contextlib.asynccontextmanager
async def _up() -> AsyncIterator[Stage]:
    """The gateway with its world, as in the benchmark `gateway`."""
    cores, load = processes.cores(), golang.binary(LOAD, name="load")
    programs, python = (ours.launcher(), ours.gateway_environment()), peers.interpreter(ASK, name="clients")
    logs = golang.cache() / "log"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aion-bench-")))
        (folder / "request.json").write_bytes(syscall.REQUEST)
        played = processes.running([load, "runner"], name="runner", log=logs / "runner.log", core=cores.load)
        runner = stack.enter_context(played).announced()
        async with FakeKernel(syscall.grant(runner)).serving() as kernel:
            process = ours.gateway_process(
                programs, folder, kernel.url, logs / "gateway.log", cores=cores, realtime=False
            )
            gateway, tcp = stack.enter_context(process)
            await ours.said_hello(kernel, gateway)
            await asyncio.sleep(0.2)  # the grant is on its way
            yield Stage(folder, tcp, python, cores, Audit(kernel))


def _print(seen: dict[str, list[Called]], *, quick: bool) -> None:
    told = {name: _summary(runs) for name, runs in seen.items()}
    rows = []
    for name, each in told.items():
        base = seen[ASYNC if name in (ASYNC, "aiohttp", "httpx-async") else OURS]
        times = [
            statistics.paired([getattr(run, key) for run in seen[name]], [getattr(run, key) for run in base]).ratio
            for key in ("p50", "cpu_ms")
        ]
        rows.append([name, CLIENTS[name], *(f"{each[key]:.3f}" for key in each), *(f"{time:.2f}" for time in times)])
    print(report.table(["", "by", "p50 ms", "p99 ms", "CPU ms a call", "p50, times ours", "CPU, times ours"], rows))
    figures = {f"sdk_{key}": value for key, value in told[OURS].items()}
    figures |= {f"async_{key}": value for key, value in told[ASYNC].items()}
    notes = [
        "one call after another: what is seen is the client, the way to the gateway and back, and a tool that does nothing",
        "requests opens a connection a call, requests-session keeps one; neither knows unix sockets",
        "`times ours` compares with Agent, and what needs asyncio with AsyncAgent, round by round",
        "every answer was a result, and every syscall's audit record reached the kernel",
    ]
    if quick:
        notes.append("a short run: it shows that the benchmark works, and its figures mean little")
    others = {
        name.replace(".", "_").replace("-", "_"): each for name, each in told.items() if name not in (OURS, ASYNC)
    }
    report.finish("sdk", figures=figures, peers=others, targets=TARGETS, notes=notes)


def _summary(runs: list[Called]) -> dict[str, float]:
    return {
        "p50_ms": statistics.median([run.p50 for run in runs]),
        "p99_ms": statistics.median([run.p99 for run in runs]),
        "cpu_ms_per_call": statistics.median([run.cpu_ms for run in runs]),
    }
