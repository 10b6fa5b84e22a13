"""The benchmark `egress` from its options to its last line."""

import argparse
import asyncio
from typing import Any

from measuring import processes, report, statistics
from measuring.report import say

from carrying import asking, sides
from carrying.asking import Carried
from clusters.failure import Failed

DESCRIPTION = """\
What a tunnel pays for the gateway's egress proxy, beside a plain asyncio relay (and tinyproxy, where there is one) in the same run.

    e2e/bench/egress            5 interleaved rounds, under a minute
    e2e/bench/egress --quick    one short round: shows that the benchmark works

A tunnel is opened by CONNECT, says a word and hears one: that is `connect`. Then one tunnel carries 128 MiB each way. CPU is
what the kernel charged to the proxy. Every tunnel's audit record has to arrive. See e2e/bench/README.md.
"""


def main(argv: list[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="e2e/bench/egress", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    asked = parser.parse_args(argv)
    seen = asyncio.run(_measure(1 if asked.quick else asked.rounds, quick=asked.quick))
    _print(seen, quick=asked.quick)


async def _measure(rounds: int, *, quick: bool) -> dict[str, list[Carried]]:
    cores = processes.cores()
    connects, mib = (50, 16) if quick else (300, 128)
    async with sides.up(cores) as (host, all_sides, kernel):
        seen: dict[str, list[Carried]] = {side.name: [] for side in all_sides}
        for number in range(rounds + 1):
            say("warming up" if not number else f"round {number} of {rounds}")
            for turn in range(len(all_sides)):
                side = all_sides[(turn + number) % len(all_sides)]
                with processes.held_to(cores.load):
                    run = await asyncio.to_thread(
                        asking.once, side, host, connects=connects if number else 20, mib=mib if number else 4
                    )
                if number:
                    seen[side.name].append(run)
        wanted = rounds * (connects + 1) + 21
        try:
            async with asyncio.timeout(20):
                records = await kernel.until(wanted)
        except TimeoutError:
            raise Failed(
                f"the kernel has {len(kernel.records)} audit records of {wanted} tunnels",
                remedy="see the gateway's log",
            ) from None
        if wrong := [each for each in records if each.decision != "allow" or each.engine != "tunnel/connect"]:
            raise Failed(f"{len(wrong)} tunnels were not allowed: {wrong[0]}", remedy="see the gateway's log")
        return seen


def _summary(runs: list[Carried], direct: list[Carried]) -> dict[str, Any]:
    """Medians over the rounds; what is added is taken from the direct way of the same round."""
    told = {
        "connect_p50_ms": statistics.median([statistics.median(run.connect_ms) for run in runs]),
        "connect_p99_ms": statistics.median([statistics.percentile(run.connect_ms, 0.99) for run in runs]),
        "down_mib_s": statistics.median([run.down_mib_s for run in runs]),
        "up_mib_s": statistics.median([run.up_mib_s for run in runs]),
    }
    if runs is not direct:
        pairs = list(zip(runs, direct, strict=True))
        told["added_connect_p50_ms"] = statistics.median(
            [statistics.median(run.connect_ms) - statistics.median(base.connect_ms) for run, base in pairs]
        )
        told["cpu_ms_per_mib"] = statistics.median([run.cpu_ms_mib for run in runs])
        told["cpu_ms_per_connect"] = statistics.median([run.cpu_ms_connect for run in runs])
        told["rss_mib"] = max(run.rss_mib for run in runs)
    return told


def _print(seen: dict[str, list[Carried]], *, quick: bool) -> None:
    told = {name: _summary(runs, seen["direct"]) for name, runs in seen.items()}
    columns = list(told["gateway"])
    rows = [[name, *(f"{each[key]:.3f}" if key in each else "" for key in columns)] for name, each in told.items()]
    print(report.table(["", *columns], rows))
    notes = [
        "the gateway judges, resolves, records and limits each tunnel; the relay does nothing but carry",
        "the gateway is asked over its unix socket, as an agent asks; the others over TCP, which is all they have",
        "a CPU tick is 10 ms: CPU figures are of seconds, not of one connect",
    ]
    if "tinyproxy" not in told:
        notes.append("tinyproxy is not installed: apt-get install tinyproxy to see it beside")
    if quick:
        notes.append("a short run: it shows that the benchmark works, and its figures mean little")
    peers = {name.replace(" ", "_"): each for name, each in told.items() if name != "gateway"}
    report.finish("egress", figures=told["gateway"], peers=peers, targets=(), notes=notes)
