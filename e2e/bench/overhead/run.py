"""The benchmark `gateway` from its options to its last line."""

import argparse
import asyncio
import os
from typing import Any

from measuring import processes, report, statistics
from measuring.report import Target, say

from clusters.failure import Failed
from overhead import ours, sides, summary
from overhead.rounds import Lengths, Rounds
from overhead.summary import MOST, OURS

DESCRIPTION = """\
What a syscall pays for the gateway, beside what people would put in its place, in the same run: Go's bare reverse proxy, nginx, a
bare aiohttp relay, an idiomatic FastAPI app with httpx; and beside our /mcp the official MCP SDK's server.

    e2e/bench/gateway                 3 interleaved rounds, under 5 minutes
    e2e/bench/gateway --quick         one short round: shows that the benchmark works, not how fast the gateway is
    e2e/bench/gateway --full          7 rounds, and then syscalls until a million are done, for the memory after them
    e2e/bench/gateway --realtime      ahead of other processes (root): for a machine that is not idle

The gateway is the real process, started by aion-launch; kernel and tool are played. One tool.invoke is asked, whose params,
capability, budget and tool are all checked, whose audit record has to arrive, and of which one in a hundred is traced. Latencies
count from the moment a request was due. `added` is a side's latency less that of asking the backend itself. With
BENCH_PROFILE=FILE the gateway runs under cProfile and leaves its figures there. See e2e/bench/README.md.
"""
SHORT = Lengths(open_s=0.6, closed_s=0.4, warmup_s=0.15)
LONG = Lengths(open_s=2, closed_s=1.5, warmup_s=0.3)
MILLION = 1_000_000
TARGETS = (
    Target("added_p50_ms", at_most=0.30),
    Target("added_p99_ms", at_most=1.0),
    Target("tcp_added_p50_ms", at_most=0.30),
    Target("tcp_added_p99_ms", at_most=1.0),
    Target("syscalls_per_s_per_core", at_least=7000),
    Target("tcp_syscalls_per_s_per_core", at_least=7000),
    Target("cpu_s_per_1000", at_most=0.15),
    Target("rss_idle_mib", at_most=45),
    Target("rss_after_mib", at_most=60),
)


def main(argv: list[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="e2e/bench/gateway", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="one short round")
    length.add_argument("--full", action="store_true", help="seven rounds, and a million syscalls")
    parser.add_argument("--rounds", type=int, help="interleaved rounds (default: 3)")
    parser.add_argument("--realtime", action="store_true", help="schedule servers and load ahead of ordinary processes")
    asked = parser.parse_args(argv)
    asyncio.run(_measure(asked))


async def _measure(asked: argparse.Namespace) -> None:
    count = asked.rounds or (1 if asked.quick else 7 if asked.full else 3)
    cores = processes.cores()
    say(f"server on core {cores.server}, load, backend, tool and kernel on core {cores.load}")
    async with sides.up(cores=cores, realtime=asked.realtime) as stage:
        rounds = Rounds(stage, SHORT if asked.quick else LONG)
        say("warming up")
        await rounds.warm()
        for number in range(count):
            say(f"round {number + 1} of {count}")
            await rounds.once(number)
        side = next(side for side in stage.sides if side.name == OURS)
        if asked.full:
            say(f"{rounds.syscalls} syscalls so far, on to a million")
        after = await rounds.many(side, MILLION if asked.full else 0)
        if not await asyncio.to_thread(stage.batches_of_spans):
            raise Failed("no span reached the collector that is played", remedy="see the gateway's log")
        _print(rounds, after_mib=after, asked=asked)


def _print(rounds: Rounds, *, after_mib: float, asked: argparse.Namespace) -> None:
    seen, stage = rounds.seen, rounds.stage
    told = {name: summary.of(each, direct=seen["direct"]) for name, each in seen.items()}
    tcp = told["gateway, tcp"]
    figures: dict[str, Any] = told[OURS] | {
        "tcp_added_p50_ms": tcp.get("added_p50_ms"),
        "tcp_added_p99_ms": tcp.get("added_p99_ms"),
        "tcp_syscalls_per_s_per_core": tcp["syscalls_per_s_per_core"],
        "rss_idle_mib": stage.idle_mib[OURS],
        "rss_after_mib": after_mib,
        "rss_after_calls": rounds.syscalls,
        "boot_ms": stage.boot_ms,
        "tcp": tcp,
        "mcp": told["gateway, mcp"],
    }
    peers = {name.replace(" ", "_"): each for name, each in told.items() if not name.startswith("gateway")}
    print(summary.tables(rounds))
    print(
        f"\nMemory after {rounds.syscalls} syscalls: {after_mib:.1f} MiB. Process start to hello at the kernel: {stage.boot_ms:.0f} ms (once)"
    )
    for line in _sentences(rounds):
        print(line)
    report.finish("gateway", figures=figures, peers=peers, targets=TARGETS, notes=_notes(rounds, asked))


def _sentences(rounds: Rounds) -> list[str]:
    """CPU a call, compared round by round."""
    pairs = [
        (OURS, "fastapi", "The FastAPI app"),
        (OURS, "aiohttp relay", "The aiohttp relay, which checks nothing,"),
        (OURS, "nginx", "nginx, which checks nothing,"),
        ("gateway, mcp", "mcp sdk", "The MCP SDK's server"),
    ]
    said = []
    for mine, theirs, name in pairs:
        if theirs in rounds.seen and (times := summary.ratio(rounds.seen, theirs, mine)):
            said.append(
                f"{name} takes {times.ratio:.2f} times the CPU a call of `{mine}` (95 % interval {times.low:.2f} to {times.high:.2f})"
            )
    return said


def _notes(rounds: Rounds, asked: argparse.Namespace) -> list[str]:
    seen = rounds.seen
    foreign = statistics.median([run.foreign for side in seen.values() for run in side.closed[MOST]])
    late = statistics.median([run.late_p99 for run in seen["direct"].open])
    notes = [
        f"other programs took {foreign:.0%} of the server's core; the load program sent {late:.2f} ms late at its p99",
        "every answer was the tool's, and every syscall's audit record reached the kernel before CPU time was read",
        "asked over TCP, but for `gateway, unix`: the unix socket is how an agent asks",
        "direct runs on the load's core alone, so that what is added holds the second core's wake-up too",
    ]
    notes += [f"{name} is not here and could not be had: it was left out" for name in rounds.stage.absent]
    if asked.realtime:
        notes.append("servers and load were scheduled in real time (SCHED_RR)")
    if not asked.full:
        notes.append(f"rss_after_mib is after {rounds.syscalls} syscalls; --full makes a million")
    if asked.quick:
        notes.append("a short run: it shows that the benchmark works, and its figures mean little")
    if os.environ.get(ours.PROFILE):
        notes.append("the gateway ran under cProfile, whose cost is in its figures")
    if processes.cores().shared:
        notes.append("this process may use one core only: servers and load shared it, and the figures mean little")
    return notes
