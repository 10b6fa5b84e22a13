"""The benchmark `gateway` from its options to its last line."""

import argparse
import asyncio
from typing import Any

from measuring import processes, report, statistics
from measuring.report import Target, say

from overhead import sides
from overhead.rounds import SATURATED, Lengths, Rounds, Seen

DESCRIPTION = """\
What a syscall pays for the gateway, beside a bare reverse proxy and an idiomatic FastAPI app in the same run.

    e2e/bench/gateway                 5 interleaved rounds, some 5 minutes
    e2e/bench/gateway --quick         one short round: shows that the benchmark works, not how fast the gateway is
    e2e/bench/gateway --realtime      ahead of other processes (root): for a machine that is not idle

The gateway is the real process, started by aion-launch; kernel and tool are played. One tool.invoke is asked, whose params,
capability, budget and tool are all checked and whose audit record has to arrive. Latencies count from the moment a request was
due. `added` is a side's latency less that of asking the backend itself. See e2e/bench/README.md.
"""
OURS = "gateway, unix"
RATES = (200, 1000)
RATE = 1000
FULL = Lengths(open_s=4, closed_s=4, warmup_s=0.5, sdk_calls=2000)
QUICK = Lengths(open_s=1, closed_s=1, warmup_s=0.3, sdk_calls=300)
TARGETS = (
    Target("added_p50_ms", at_most=0.30),
    Target("added_p99_ms", at_most=1.0),
    Target("syscalls_per_s_per_core", at_least=7000),
    Target("rss_mib", at_most=45),
    Target("sdk_p50_ms", at_most=0.45),
)


def main(argv: list[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="e2e/bench/gateway", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--realtime", action="store_true", help="schedule servers and load ahead of ordinary processes")
    asked = parser.parse_args(argv)
    rounds = asyncio.run(
        _measure(1 if asked.quick else asked.rounds, lengths=QUICK if asked.quick else FULL, realtime=asked.realtime)
    )
    _print(rounds, quick=asked.quick, realtime=asked.realtime)


async def _measure(count: int, *, lengths: Lengths, realtime: bool) -> Rounds:
    cores = processes.cores()
    say(f"server on core {cores.server}, load, backend, tool and kernel on core {cores.load}")
    async with sides.up(cores=cores, realtime=realtime) as stage:
        rounds = Rounds(stage, rates=RATES, lengths=lengths)
        say("warming up")
        await rounds.warm()
        for number in range(count):
            say(f"round {number + 1} of {count}")
            await rounds.once(number)
        return rounds


def _print(rounds: Rounds, *, quick: bool, realtime: bool) -> None:
    seen = rounds.seen
    ours = _summary(seen[OURS], seen["direct"])
    sdk = [took for each in rounds.sdk_ms for took in each]
    figures = ours | {
        "sdk_p50_ms": statistics.median([statistics.median(each) for each in rounds.sdk_ms]),
        "sdk_p99_ms": statistics.percentile(sdk, 0.99),
        "boot_ms": rounds.boot_ms,
        "over_tcp": _summary(seen["gateway, tcp"], seen["direct"]),
    }
    peers = {
        name.replace(" ", "_"): _summary(seen[name], seen["direct"]) for name in ("direct", "reverse proxy", "fastapi")
    }
    print(_table(seen))
    print(
        f"\nSDK: Agent.syscall, sequential, over the unix socket: p50 {figures['sdk_p50_ms']:.3f} ms, p99 {figures['sdk_p99_ms']:.3f} ms"
    )
    print(f"Start of the gateway's process to its hello at the kernel: {rounds.boot_ms:.0f} ms (once)")
    report.finish(
        "gateway", figures=figures, peers=peers, targets=TARGETS, notes=_notes(seen, quick=quick, realtime=realtime)
    )


def _summary(side: Seen, direct: Seen) -> dict[str, Any]:
    """Medians over the rounds. What is added is taken in each round from the direct call of the same round."""
    told: dict[str, Any] = {}
    for rate, runs in side.open.items():
        names = "" if rate == RATE else f"_at_{rate}"
        if not _sustained(side, rate):
            told[f"saturated{names}"] = True
            continue
        told[f"p50_ms{names}"] = statistics.median([run.p50 for run in runs])
        told[f"p99_ms{names}"] = statistics.median([run.p99 for run in runs])
        if side is not direct:
            pairs = list(zip(runs, direct.open[rate], strict=True))
            told[f"added_p50_ms{names}"] = statistics.median([run.p50 - base.p50 for run, base in pairs])
            told[f"added_p99_ms{names}"] = statistics.median([run.p99 - base.p99 for run, base in pairs])
    told["max_per_s"] = statistics.median([run.rps for run in side.closed])
    if side.rss_mib:
        told["syscalls_per_s_per_core"] = statistics.median([run.per_core for run in side.closed])
        told["rss_mib"] = max(side.rss_mib)
    return told


def _sustained(side: Seen, rate: int) -> bool:
    return statistics.median([run.answered for run in side.open[rate]]) >= SATURATED


def _table(seen: dict[str, Seen]) -> str:
    header = [
        "",
        *(word for rate in RATES for word in (f"{rate}/s p50", "p99", "added p50", "p99 ms")),
        "32 conns /s",
        "/s per core",
        "MiB",
    ]
    rows = []
    for name, side in seen.items():
        told, row = _summary(side, seen["direct"]), [name]
        for rate in RATES:
            names = "" if rate == RATE else f"_at_{rate}"
            keys = (f"p50_ms{names}", f"p99_ms{names}", f"added_p50_ms{names}", f"added_p99_ms{names}")
            row += [f"{told[key]:.3f}" if key in told else "-" for key in keys]
            if f"saturated{names}" in told:
                row[-4:] = ["saturated", *([""] * 3)]
        row.append(f"{told['max_per_s']:.0f}")
        row += [f"{told['syscalls_per_s_per_core']:.0f}", f"{told['rss_mib']:.0f}"] if "rss_mib" in told else ["", ""]
        rows.append(row)
    return report.table(header, rows)


def _notes(seen: dict[str, Seen], *, quick: bool, realtime: bool) -> list[str]:
    foreign = statistics.median([run.foreign for side in seen.values() for run in side.closed])
    late = statistics.median([run.late_p99 for run in seen["direct"].open[RATE]])
    notes = [
        f"other programs took {foreign:.0%} of the server's core; the load program sent {late:.2f} ms late at its p99",
        "every answer was 200, and every syscall's audit record reached the kernel before CPU time was read",
        "asked over TCP, but for `gateway, unix` and the SDK: the unix socket is how an agent asks",
        "direct runs on the load's core alone, so that what is added holds the second core's wake-up too",
    ]
    if realtime:
        notes.append("servers and load were scheduled in real time (SCHED_RR)")
    if quick:
        notes.append("a short run: it shows that the benchmark works, and its figures mean little")
    if processes.cores().shared:
        notes.append("this process may use one core only: servers and load shared it, and the figures mean little")
    return notes
