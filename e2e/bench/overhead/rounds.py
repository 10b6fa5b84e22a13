"""One round: every side is asked at a rate, and then as fast as it can by 1, 32 and 256 connections, one after the other.

Apart from the sides, which only run, and from the summary, which only counts. The order turns from round to round, so
that no side always comes after the same one. It must never keep a figure of a run in which an answer was not 200, or not the
tool's.
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from measuring import processes

from clusters.failure import Failed
from overhead import syscall
from overhead.sides import Side, Stage

RATE = 1000
OPEN_CONNECTIONS = 16
CONNECTIONS = (1, 32, 256)
SATURATED = 0.98  # below this share of what was due, a latency says how long the run was and nothing else
_AT_ONCE_S = 5.0
_LONG_CONNECTIONS = 32


@dataclass(frozen=True)
class Lengths:
    """How long each part takes, in seconds."""

    open_s: float
    closed_s: float
    warmup_s: float


class Ran(NamedTuple):
    """One run: latencies in ms, from the moment a request was due where there was a rate.

    `answered` is answers/s, or with a rate the share of what was due. `cpu_ms` is the server's CPU a call, NaN for direct;
    `foreign` is what others took of its core; `late_p99` is how late the load itself was.
    """

    p50: float
    p99: float
    answered: float
    cpu_ms: float
    foreign: float
    late_p99: float


@dataclass
class Seen:
    """What one side showed, a value a round."""

    open: list[Ran] = field(default_factory=list)
    closed: dict[int, list[Ran]] = field(default_factory=dict)
    rss_mib: list[float] = field(default_factory=list)


class Rounds:
    """Runs them and keeps what was seen, by side."""

    def __init__(self, stage: Stage, lengths: Lengths) -> None:
        self.stage = stage
        self._lengths = lengths
        self.syscalls = 0
        self.seen = {side.name: Seen() for side in stage.sides}

    async def warm(self) -> None:
        """Ask each side for a while; nothing is kept."""
        for side in self.stage.sides:
            await self._run(side, connections=_LONG_CONNECTIONS, seconds=self._lengths.warmup_s, rate=0)

    async def once(self, number: int) -> None:
        """One round."""
        turn = number % len(self.stage.sides)
        order = self.stage.sides[turn:] + self.stage.sides[:turn]
        for side in order:
            seen = self.seen[side.name]
            seen.open.append(
                await self._run(side, connections=OPEN_CONNECTIONS, seconds=self._lengths.open_s, rate=RATE)
            )
        for count in CONNECTIONS:
            for side in order:
                ran = await self._run(side, connections=count, seconds=self._lengths.closed_s, rate=0)
                self.seen[side.name].closed.setdefault(count, []).append(ran)
        for side in order:
            if side.server:
                self.seen[side.name].rss_mib.append(side.server.rss_mib())

    async def many(self, side: Side, calls: int) -> float:
        """Ask one side until the gateway has answered so many in all; the memory then, in MiB."""
        assert side.server is not None
        while self.syscalls < calls:
            await self._drive(side, connections=_LONG_CONNECTIONS, seconds=_AT_ONCE_S, rate=0)
        return side.server.rss_mib()

    async def _run(self, side: Side, *, connections: int, seconds: float, rate: int) -> Ran:
        core = self.stage.cores.server
        used, busy = side.server.cpu_s() if side.server else 0, processes.core_busy_s(core)
        told = await self._drive(side, connections=connections, seconds=seconds, rate=rate)
        spent = side.server.cpu_s() - used if side.server else float("nan")
        foreign = processes.core_busy_s(core) - busy - (spent if side.server else 0)
        return Ran(
            told["p50_us"] / 1000,
            told["p99_us"] / 1000,
            told["answers"] / (rate * seconds if rate else told["seconds"]),
            spent * 1000 / max(1, told["total"]),
            max(0.0, foreign) / (seconds + self._lengths.warmup_s),
            told["late_p99_us"] / 1000,
        )

    async def _drive(self, side: Side, *, connections: int, seconds: float, rate: int) -> dict[str, Any]:
        """Run the load program to its end. Raises Failed where an answer was not right, or an audit record is missing."""
        stage = self.stage
        target, body, headers = stage.question(side)
        argv = [
            stage.load, "drive", "-to", side.to, "-path", target, "-body", body, "-connections", connections, "-rate", rate,
            "-seconds", seconds, "-warmup", self._lengths.warmup_s, "-expect", syscall.QUERY,
            *(word for each in headers for word in ("-header", each)),
        ]  # fmt: skip
        told: dict[str, Any] = json.loads(await _output(argv, stage))
        if told["bad"]:
            raise Failed(
                f"{side.name}: {told['bad']} of {told['total']} answers were not a 200 with the tool's result; "
                f"the first: {told['sample']}"
            )
        if side.ours:
            self.syscalls += told["total"]
            await stage.audit.reaches(self.syscalls)
        return told


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
