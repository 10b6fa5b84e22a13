"""One round: every side is asked at each rate and then as fast as it can, one after the other.

Apart from the sides, which only run, and from the summary, which only counts. The order turns from round to round, so
that no side always comes after the same one. It must never keep a figure of a run in which an answer was not 200.
"""

import asyncio
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from measuring import processes

from clusters.failure import Failed
from overhead import sdk, syscall
from overhead.sides import Side, Stage

OPEN_CONNECTIONS = 16
CLOSED_CONNECTIONS = 32
SATURATED = 0.98  # below this share of what was due, a latency says how long the run was and nothing else


@dataclass(frozen=True)
class Lengths:
    """How long each part takes, in seconds; how many calls the SDK makes."""

    open_s: float
    closed_s: float
    warmup_s: float
    sdk_calls: int


class Open(NamedTuple):
    """Latencies at a rate, in ms from the moment a request was due; `answered` of those due."""

    p50: float
    p99: float
    answered: float
    late_p99: float


class Closed(NamedTuple):
    """As fast as it goes: answers/s, answers per second of the server's CPU (NaN for direct), and others' share of its core."""

    rps: float
    per_core: float
    foreign: float


@dataclass
class Seen:
    """What one side showed, a value a round."""

    open: dict[int, list[Open]] = field(default_factory=dict)
    closed: list[Closed] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)


class Rounds:
    """Runs them and keeps what was seen, by side."""

    def __init__(self, stage: Stage, *, rates: tuple[int, ...], lengths: Lengths) -> None:
        self._stage = stage
        self._rates = rates
        self._lengths = lengths
        self._syscalls = 0
        self.seen = {side.name: Seen() for side in stage.sides}
        self.sdk_ms: list[list[float]] = []
        self.boot_ms = stage.boot_ms

    async def warm(self) -> None:
        """Ask each side for a while; nothing is kept."""
        for side in self._stage.sides:
            await self._drive(side, connections=CLOSED_CONNECTIONS, seconds=self._lengths.warmup_s, rate=0)

    async def once(self, number: int) -> None:
        """One round."""
        turn = number % len(self._stage.sides)
        order = self._stage.sides[turn:] + self._stage.sides[:turn]
        for rate in self._rates:
            for side in order:
                told = await self._drive(side, connections=OPEN_CONNECTIONS, seconds=self._lengths.open_s, rate=rate)
                due = rate * self._lengths.open_s
                seen = Open(
                    told["p50_us"] / 1000, told["p99_us"] / 1000, told["answers"] / due, told["late_p99_us"] / 1000
                )
                self.seen[side.name].open.setdefault(rate, []).append(seen)
        for side in order:
            self.seen[side.name].closed.append(await self._closed(side))
            if side.server:
                self.seen[side.name].rss_mib.append(side.server.rss_mib())
        self.sdk_ms.append(await self._sdk())

    async def _closed(self, side: Side) -> Closed:
        core = self._stage.cores.server
        used, busy = side.server.cpu_s() if side.server else 0, processes.core_busy_s(core)
        told = await self._drive(side, connections=CLOSED_CONNECTIONS, seconds=self._lengths.closed_s, rate=0)
        spent = side.server.cpu_s() - used if side.server else 0
        foreign = processes.core_busy_s(core) - busy - spent
        whole = self._lengths.closed_s + self._lengths.warmup_s
        return Closed(
            told["answers"] / told["seconds"], told["total"] / spent if spent else float("nan"), max(0, foreign) / whole
        )

    async def _drive(self, side: Side, *, connections: int, seconds: float, rate: int) -> dict[str, Any]:
        """Run the load program to its end. Raises Failed where an answer was not 200, or an audit record is missing."""
        stage = self._stage
        argv = [
            stage.load, "drive", "-to", side.to, "-path", syscall.TARGET, "-body", stage.body, "-connections", connections,
            "-rate", rate, "-seconds", seconds, "-warmup", self._lengths.warmup_s,
        ]  # fmt: skip
        said = await _output(argv, stage)
        told: dict[str, Any] = json.loads(said)
        if told["bad"]:
            raise Failed(
                f"{side.name}: {told['bad']} of {told['total']} answers were not 200; the first: {told['sample']}"
            )
        await self._audited(side, told["total"])
        return told

    async def _audited(self, side: Side, count: int) -> None:
        if side.name.startswith("gateway"):
            self._syscalls += count
            assert self._stage.audit is not None
            await self._stage.audit.reaches(self._syscalls)

    async def _sdk(self) -> list[float]:
        calls = self._lengths.sdk_calls
        argv = [
            sys.executable,
            Path(sdk.__file__),
            self._stage.socket,
            syscall.AGENT,
            calls,
            json.dumps(syscall.PARAMS),
        ]
        took: list[float] = json.loads(await _output(argv, self._stage))
        self._syscalls += calls + sdk.WARMUP
        return took


async def _output(argv: list[Any], stage: Stage) -> bytes:
    """What a client on the load's core printed. The loop goes on meanwhile: the kernel is played in it."""
    with processes.held_to(stage.cores.load, realtime=stage.realtime):
        process = await asyncio.create_subprocess_exec(
            *(str(word) for word in argv), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
    out, err = await process.communicate()
    if process.returncode:
        raise Failed(
            f"{Path(str(argv[0])).name} {argv[1]} exited {process.returncode}: {err.decode(errors='replace').strip()[-1500:]}"
        )
    return out
