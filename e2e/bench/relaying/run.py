"""The benchmark `model` from its options to its last line."""

import argparse
import asyncio
from typing import Any

from measuring import processes, report, statistics
from measuring.report import Target, say

from relaying import sides
from relaying.rounds import SATURATED, Lengths, Rounds, Seen

DESCRIPTION = """\
What a call of a model pays for the gateway, whole and streamed, beside LiteLLM's proxy and a bare reverse proxy.

    e2e/bench/model                 5 interleaved rounds, some 12 minutes
    e2e/bench/model --quick         one short round: shows that the benchmark works, not how fast the gateway is
    e2e/bench/model --realtime      ahead of other processes (root): for a machine that is not idle

A server plays the model: it answers at once, or streams 50 chunks a second. `added` is a side's latency less that of asking
the server itself. A chunk carries the time of its writing, so what is measured is its way. See e2e/bench/README.md.
"""
OURS = "gateway"
RATES = (20, 200)
RATE = 200
STREAMS = (20, 200)
MANY = 200
FULL = Lengths(open_s=5, closed_s=4, streams_s=10, warmup_s=1)
QUICK = Lengths(open_s=1, closed_s=1, streams_s=3, warmup_s=0.5)
TARGETS = (
    Target("added_p50_ms", at_most=0.6),
    Target("cpu_us_per_chunk", at_most=100),
    Target("streams_delivered", at_least=SATURATED),
)


def main(argv: list[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="e2e/bench/model", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    parser.add_argument("--realtime", action="store_true", help="schedule servers and load ahead of ordinary processes")
    asked = parser.parse_args(argv)
    rounds = asyncio.run(
        _measure(1 if asked.quick else asked.rounds, lengths=QUICK if asked.quick else FULL, realtime=asked.realtime)
    )
    _print(rounds.seen, quick=asked.quick, realtime=asked.realtime)


async def _measure(count: int, *, lengths: Lengths, realtime: bool) -> Rounds:
    cores = processes.cores()
    say(f"server on core {cores.server}, load, model and kernel on core {cores.load}; LiteLLM takes its time to start")
    async with sides.up(cores=cores, realtime=realtime) as stage:
        rounds = Rounds(stage, rates=RATES, streams=STREAMS, lengths=lengths)
        say("warming up")
        await rounds.warm()
        for number in range(count):
            say(f"round {number + 1} of {count}")
            await rounds.once(number)
        return rounds


def _print(seen: dict[str, Seen], *, quick: bool, realtime: bool) -> None:
    told = {name: _summary(side, seen["direct"]) for name, side in seen.items()}
    print(_whole(told))
    print()
    print(_streamed(told))
    peers = {name.replace(", ", "_").replace(" ", "_"): each for name, each in told.items() if name != OURS}
    report.finish(
        "model", figures=told[OURS], peers=peers, targets=TARGETS, notes=_notes(seen, quick=quick, realtime=realtime)
    )


def _summary(side: Seen, direct: Seen) -> dict[str, Any]:
    """Medians over the rounds. What is added is taken in each round from the direct call of the same round."""
    told: dict[str, Any] = {}
    for rate, runs in side.open.items():
        names = "" if rate == RATE else f"_at_{rate}"
        if statistics.median([run.answered for run in runs]) < SATURATED:
            told[f"saturated{names}"] = True
            continue
        pairs = list(zip(runs, direct.open[rate], strict=True))
        told[f"p50_ms{names}"] = statistics.median([run.p50 for run in runs])
        told[f"p99_ms{names}"] = statistics.median([run.p99 for run in runs])
        told[f"added_p50_ms{names}"] = statistics.median([run.p50 - base.p50 for run, base in pairs])
        told[f"added_p99_ms{names}"] = statistics.median([run.p99 - base.p99 for run, base in pairs])
    for count, streams in side.streams.items():
        names = "" if count == MANY else f"_of_{count}"
        told[f"streams_delivered{names}"] = statistics.median([run.delivered for run in streams])
        if told[f"streams_delivered{names}"] >= SATURATED:
            told[f"chunk_p50_ms{names}"] = statistics.median([run.p50 for run in streams])
            told[f"chunk_p99_ms{names}"] = statistics.median([run.p99 for run in streams])
        if side.rss_mib:
            told[f"cpu_us_per_chunk{names}"] = statistics.median([run.cpu_us for run in streams])
    told["max_per_s"] = statistics.median(side.rps)
    if side.rss_mib:
        told["calls_per_s_per_core"] = statistics.median(side.per_core)
        told["rss_mib"] = max(side.rss_mib)
    return told


def _whole(told: dict[str, dict[str, Any]]) -> str:
    header = ["whole answers", *(word for rate in RATES for word in (f"{rate}/s p50", "p99", "added p50", "p99 ms"))]
    header += ["16 conns /s", "/s per core", "MiB"]
    rows = []
    for name, each in told.items():
        row = [name]
        for rate in RATES:
            names = "" if rate == RATE else f"_at_{rate}"
            if f"saturated{names}" in each:
                row += ["saturated", "", "", ""]
                continue
            keys = (f"p50_ms{names}", f"p99_ms{names}", f"added_p50_ms{names}", f"added_p99_ms{names}")
            row += [f"{each[key]:.3f}" for key in keys]
        row.append(f"{each['max_per_s']:.0f}")
        row += [f"{each['calls_per_s_per_core']:.0f}", f"{each['rss_mib']:.0f}"] if "rss_mib" in each else ["", ""]
        rows.append(row)
    return report.table(header, rows)


def _streamed(told: dict[str, dict[str, Any]]) -> str:
    header = ["streams", *(word for count in STREAMS for word in (f"{count}: came", "p50 ms", "p99 ms", "CPU us"))]
    rows = []
    for name, each in told.items():
        row = [name]
        for count in STREAMS:
            names = "" if count == MANY else f"_of_{count}"
            row.append(f"{each[f'streams_delivered{names}']:.0%}")
            keys = (f"chunk_p50_ms{names}", f"chunk_p99_ms{names}")
            row += [f"{each[key]:.2f}" if key in each else "late" for key in keys]
            key = f"cpu_us_per_chunk{names}"
            row.append(f"{each[key]:.0f}" if key in each else "")
        rows.append(row)
    return report.table(header, rows)


def _notes(seen: dict[str, Seen], *, quick: bool, realtime: bool) -> list[str]:
    foreign = statistics.median([run for side in seen.values() for run in side.foreign])
    notes = [
        f"other programs took {foreign:.0%} of the server's core",
        "every answer was 200, and every stream came to its own end where its time was not over before",
        "every call's audit record reached the kernel before CPU time was read",
        "the gateway reserves and settles a budget and keeps a record with every call; LiteLLM runs without a database",
        "the gateway is asked over the unix socket, as an agent asks; the others over TCP",
        "a chunk's way is from the model's server, which shares a core with the load, to the load",
    ]
    if realtime:
        notes.append("servers and load were scheduled in real time (SCHED_RR)")
    if quick:
        notes.append("a short run: it shows that the benchmark works, and its figures mean little")
    if processes.cores().shared:
        notes.append("this process may use one core only: servers and load shared it, and the figures mean little")
    return notes
