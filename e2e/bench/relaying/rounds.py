"""One round: every side answers whole at each rate, then as fast as it can, then keeps streams open, side after side.

Apart from the sides, which only run, and from the summary, which only counts. The order turns from round to round. It must
never keep a figure of a run in which an answer was not 200 or a stream did not end as it should.
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from measuring import processes

from clusters.failure import Failed
from relaying.sides import EVERY_MS, Side, Stage

OPEN_CONNECTIONS = CLOSED_CONNECTIONS = 16
SATURATED = 0.95  # below this share of what was due, a latency says how long the run was and nothing else
REST_S = 1.0  # after streams: what a side has piled up is its own, and not the next one's


@dataclass(frozen=True)
class Lengths:
    """How long each part takes, in seconds."""

    open_s: float
    closed_s: float
    streams_s: float
    warmup_s: float


class Open(NamedTuple):
    """Latencies at a rate, in ms from the moment a request was due; `answered` of those due."""

    p50: float
    p99: float
    answered: float


class Streams(NamedTuple):
    """Streams open at once: a chunk's ms from the model's server to the load, `delivered` of those due, CPU us a chunk."""

    p50: float
    p99: float
    delivered: float
    cpu_us: float


@dataclass
class Seen:
    """What one side showed, a value a round."""

    open: dict[int, list[Open]] = field(default_factory=dict)
    streams: dict[int, list[Streams]] = field(default_factory=dict)
    rps: list[float] = field(default_factory=list)
    per_core: list[float] = field(default_factory=list)
    foreign: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)


class Rounds:
    """Runs them and keeps what was seen, by side."""

    def __init__(self, stage: Stage, *, rates: tuple[int, ...], streams: tuple[int, ...], lengths: Lengths) -> None:
        self._stage = stage
        self._rates = rates
        self._streams = streams
        self._lengths = lengths
        self._calls = 0
        self.seen = {side.name: Seen() for side in stage.sides}

    async def warm(self) -> None:
        """Ask each side for a while, whole and streamed; nothing is kept."""
        for side in self._stage.sides:
            await self._drive(side, connections=4, seconds=self._lengths.warmup_s, rate=0)
            await self._stream(side, count=4, seconds=1)

    async def once(self, number: int) -> None:
        """One round."""
        turn = number % len(self._stage.sides)
        order = self._stage.sides[turn:] + self._stage.sides[:turn]
        for rate in self._rates:
            for side in order:
                told = await self._drive(side, connections=OPEN_CONNECTIONS, seconds=self._lengths.open_s, rate=rate)
                due = rate * self._lengths.open_s
                seen = Open(told["p50_us"] / 1000, told["p99_us"] / 1000, told["answers"] / due)
                self.seen[side.name].open.setdefault(rate, []).append(seen)
        for side in order:
            await self._closed(side)
        for count in self._streams:
            for side in order:
                seen_streams = await self._stream(side, count=count, seconds=self._lengths.streams_s)
                self.seen[side.name].streams.setdefault(count, []).append(seen_streams)
                await asyncio.sleep(REST_S)
        for side in order:
            if side.server:
                self.seen[side.name].rss_mib.append(side.server.rss_mib())

    async def _closed(self, side: Side) -> None:
        core = self._stage.cores.server
        used, busy = side.server.cpu_s() if side.server else 0, processes.core_busy_s(core)
        told = await self._drive(side, connections=CLOSED_CONNECTIONS, seconds=self._lengths.closed_s, rate=0)
        spent = side.server.cpu_s() - used if side.server else 0
        foreign = processes.core_busy_s(core) - busy - spent
        seen = self.seen[side.name]
        seen.rps.append(told["answers"] / told["seconds"])
        seen.per_core.append(told["total"] / spent if spent else float("nan"))
        seen.foreign.append(max(0, foreign) / (self._lengths.closed_s + self._lengths.warmup_s))

    async def _stream(self, side: Side, *, count: int, seconds: float) -> Streams:
        """Keep so many streams open. What a side uses until every record has arrived is shared by all its chunks."""
        used = side.server.cpu_s() if side.server else 0
        argv = ["streams", *self._at(side, stream=True), "-connections", count, "-seconds", seconds]
        told: dict[str, Any] = json.loads(await _output([*argv, "-warmup", self._lengths.warmup_s], self._stage))
        if told["bad"]:
            raise Failed(f"{side.name}: {told['bad']} of {told['opened']} streams were broken; one: {told['sample']}")
        await self._audited(side, told["opened"])
        spent = side.server.cpu_s() - used if side.server else 0
        due = count * seconds * 1000 / EVERY_MS
        return Streams(
            told["p50_us"] / 1000,
            told["p99_us"] / 1000,
            told["chunks"] / due,
            spent * 1e6 / told["all"] if told["all"] else float("nan"),
        )

    async def _drive(self, side: Side, *, connections: int, seconds: float, rate: int) -> dict[str, Any]:
        """Run the load program to its end. Raises Failed where an answer was not 200, or an audit record is missing."""
        argv = ["drive", *self._at(side, stream=False), "-connections", connections, "-seconds", seconds]
        argv += ["-rate", rate, "-warmup", self._lengths.warmup_s]
        told: dict[str, Any] = json.loads(await _output(argv, self._stage))
        if told["bad"]:
            said = told["sample"]
            raise Failed(f"{side.name}: {told['bad']} of {told['total']} answers were not 200; the first: {said}")
        await self._audited(side, told["total"])
        return told

    def _at(self, side: Side, *, stream: bool) -> list[str | Path]:
        return ["-to", side.to, "-path", side.path, "-body", self._stage.body(side, stream=stream)]

    async def _audited(self, side: Side, count: int) -> None:
        if side.name.startswith("gateway"):
            self._calls += count
            await self._stage.audit.reaches(self._calls)


async def _output(argv: list[Any], stage: Stage) -> bytes:
    """What the load program on its core printed. The loop goes on meanwhile: the kernel is played in it."""
    with processes.held_to(stage.cores.load, realtime=stage.realtime):
        process = await asyncio.create_subprocess_exec(
            stage.load,
            *(str(word) for word in argv),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    out, err = await process.communicate()
    if process.returncode:
        raise Failed(f"load {argv[0]} exited {process.returncode}: {err.decode(errors='replace').strip()[-1500:]}")
    return out
