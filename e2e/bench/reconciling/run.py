"""The benchmark `controller` from its options to its last line."""

import argparse
import os
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from measuring import report
from measuring.report import Target, say

from clusters.failure import Failed
from reconciling.contenders import ALL, OURS, SANDBOX, TWIN, Contender
from reconciling.measure import RATE, Bench, Burst, Trickle
from scale import world as worlds

DESCRIPTION = """\
What our operator costs beside a minimal Go controller-runtime twin, a tutorial-style kopf operator and agent-sandbox.

    e2e/bench/controller             100 and 1 000 Agents (200 Sandboxes), some 5 minutes
    e2e/bench/controller --full      5 000 too, and 5 idle minutes each: most of an hour
    e2e/bench/controller --quick     30 each: shows that the benchmark works
    e2e/bench/controller --only ours,twin

Each contender has a control plane of its own on loopback ports (real etcd, API server and scheduler; KWOK plays the
kubelets) and makes the same children. It needs the binaries that `e2e/cluster up` builds, and no cluster. The first run
builds KWOK and the twin, which takes minutes. See e2e/bench/README.md.
"""


@dataclass(frozen=True)
class Size:
    """How much is measured: Agents in each burst, seconds of trickle and of idleness after the last burst."""

    bursts: tuple[int, ...]
    trickle_s: float
    idle_s: float


SIZES = {"quick": Size((30,), 3, 5), "default": Size((100, 1000), 10, 30), "full": Size((100, 1000, 5000), 60, 300)}
# One Sandbox costs the API server 0.1 s of CPU, more than three Agents: a thousand would take longer than all else together.
BRIEF = {("default", SANDBOX.name): Size((200,), 10, 0)}
RSS_MIB = {1000: 200, 5000: 400}


@dataclass
class Result:
    """What one contender showed."""

    bursts: list[Burst]
    trickle: Trickle
    idle_writes: int | None
    load: float


def main(argv: list[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="e2e/bench/controller", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--quick", dest="size", action="store_const", const="quick", default="default", help="30 Agents each"
    )
    size.add_argument("--full", dest="size", action="store_const", const="full", help="5 000 Agents too")
    parser.add_argument("--agents", metavar="N", type=int, help="one burst of this many instead of the usual ones")
    parser.add_argument(
        "--only", metavar="NAMES", help=f"of {', '.join(each.name for each in ALL)}, with commas; ours is always there"
    )
    parser.add_argument("--keep", metavar="FOLDER", type=Path, help="leave logs and audit files in this new folder")
    asked = parser.parse_args(argv)
    names = set(asked.only.split(",")) if asked.only else {each.name for each in ALL}
    if unknown := names - {each.name for each in ALL}:
        parser.error(
            f"--only: got {', '.join(sorted(unknown))}, expected some of {', '.join(each.name for each in ALL)}"
        )
    chosen = [each for each in ALL if each is OURS or each.name in names]
    with tempfile.TemporaryDirectory(prefix="aion-bench-controller-") as scratch:
        folder = asked.keep or Path(scratch)
        sizes = {each.name: _size(asked.size, each, asked.agents) for each in chosen}
        results, absent = _all(chosen, sizes, folder)
    _print([each for each in chosen if each.name in results], results, sizes[OURS.name], absent)


def _size(name: str, contender: Contender, agents: int | None) -> Size:
    usual = BRIEF.get((name, contender.name), SIZES[name])
    return replace(usual, bursts=(agents,)) if agents else usual


def _all(chosen: list[Contender], sizes: dict[str, Size], folder: Path) -> tuple[dict[str, Result], list[str]]:
    """Measure each; a peer that breaks is left out, with a note that says why."""
    results: dict[str, Result] = {}
    absent: list[str] = []
    for each in chosen:
        try:
            results[each.name] = _measure(each, sizes[each.name], folder / each.name)
        except (Failed, AssertionError) as broken:
            if each is OURS:
                raise
            say(f"{each.title} is left out: {broken}")
            absent.append(f"{each.title} is left out: {broken}")
    return results, absent


def _measure(contender: Contender, size: Size, folder: Path) -> Result:
    folder.mkdir(parents=True)
    say(f"{contender.title}: a control plane of its own")
    bursts: list[Burst] = []
    with worlds.running(folder, users=[each.account for each in ALL]) as world:
        bench = Bench(contender, world, contender.command(world))
        for agents in size.bursts:
            with bench.running(str(agents)) as process:
                bursts.append(bench.burst(process, agents))
                told = bursts[-1]
                say(
                    f"{contender.title}, {agents}: {told.ready_per_s:.1f} Ready/s, {told.cpu_ms:.1f} ms CPU and {told.writes_to_ready:.2f} writes each"
                )
                if agents == size.bursts[-1]:
                    trickle = bench.trickle(process, size.trickle_s)
                    idle = bench.idle(size.idle_s) if size.idle_s else None
        return Result(bursts, trickle, idle, os.getloadavg()[0])


def _print(chosen: list[Contender], results: dict[str, Result], size: Size, absent: list[str]) -> None:
    header = [
        "burst of Agents",
        "N",
        "status/s",
        "Ready/s",
        "not Ready",
        "CPU ms each",
        "server ms",
        "RSS MiB",
        "peak",
        "writes to status",
        "to Ready",
    ]
    rows = [
        [each.title, str(burst.agents), f"{burst.said_per_s:.1f}", f"{burst.ready_per_s:.1f}", str(burst.agents - burst.ready), f"{burst.cpu_ms:.1f}",
         f"{burst.server_cpu_ms:.1f}", f"{burst.rss_mib:.0f}", f"{burst.peak_mib:.0f}", f"{burst.writes_to_status:.2f}", f"{burst.writes_to_ready:.2f}"]
        for each in chosen for burst in results[each.name].bursts
    ]  # fmt: skip
    print(report.table(header, rows))
    print()
    header = [
        f"steady {RATE}/s",
        "event to status p50 ms",
        "p99 ms",
        "created p99 ms",
        "Pod Ready p99 ms",
        f"writes in {size.idle_s:.0f} s idle",
    ]
    rows = [
        [each.title, *(f"{1000 * value:.0f}" for value in results[each.name].trickle.told().values()), _number(results[each.name].idle_writes)]
        for each in chosen
    ]  # fmt: skip
    print(report.table(header, rows))
    print()
    verbs = [
        [each.title, what, f"{times:.2f}"]
        for each in chosen
        for what, times in results[each.name].bursts[-1].writes.items()
    ]
    print(report.table(["writes per Agent", "what", "times"], verbs))
    told = {each.name: _told(results[each.name]) for each in chosen}
    ours, targets = (
        told[OURS.name],
        [Target("event_to_status_p99_s", at_most=1.0), Target("writes_per_agent", at_most=3.0)],
    )
    targets += [Target("idle_writes", at_most=0), Target("not_ready", at_most=0)]
    for agents, mib in RSS_MIB.items():
        if f"rss_mib_{agents}" in ours:
            targets.append(Target(f"rss_mib_{agents}", at_most=mib))
    if TWIN.name in told:
        twin = told[TWIN.name]
        ours["ready_ratio_to_twin"] = ours["ready_per_s"] / twin["ready_per_s"]
        ours["cpu_ratio_to_twin"] = ours["cpu_ms_per_agent"] / twin["cpu_ms_per_agent"]
        targets += [Target("ready_ratio_to_twin", at_least=0.9), Target("cpu_ratio_to_twin", at_most=1.2)]
    notes = [
        f"figures without a number are of the largest burst, {size.bursts[-1]} Agents; status and Ready are seen by a watch, from the first apply on",
        "writes are the API server's audit log: until every status is written (writes_per_agent), and until Ready (one more per Agent at least)",
        "event to status: from an Agent seen to its first status, and from its Pod seen Ready to its own Ready, by one program's watches",
        "the twin and kopf refuse, diagnose and replace nothing: they do less for what they cost; agent-sandbox makes its own children",
        *absent,
        "load average at the end of each: "
        + ", ".join(f"{name} {result.load:.1f}" for name, result in results.items()),
    ]
    peers = {name: each for name, each in told.items() if name != OURS.name}
    report.finish("controller", figures=ours, peers=peers, targets=targets, notes=notes)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _told(result: Result) -> dict[str, Any]:
    last = result.bursts[-1]
    return {
        "agents": last.agents,
        "not_ready": sum(each.agents - each.ready for each in result.bursts),
        "status_per_s": last.said_per_s,
        "ready_per_s": last.ready_per_s,
        "cpu_ms_per_agent": last.cpu_ms,
        "server_cpu_ms_per_agent": last.server_cpu_ms,
        "writes_per_agent": last.writes_to_status,
        "writes_per_agent_to_ready": last.writes_to_ready,
        "writes": last.writes,
        "idle_writes": result.idle_writes,
        **result.trickle.told(),
        **{f"rss_mib_{each.agents}": each.rss_mib for each in result.bursts},
        "bursts": [asdict(each) for each in result.bursts],
        "load_average": result.load,
    }
