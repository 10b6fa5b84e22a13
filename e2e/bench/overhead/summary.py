"""From what the rounds saw to what is printed. Pure.

Apart because the same medians stand in the table and in the JSON line. What is added is taken in each round from the direct
call of the same round; a ratio is of CPU, for CPU is what a busy machine spoils least. A latency of a side that could not
answer what was due is left out: it would say how long the run was.
"""

from typing import Any

from measuring import report, statistics

from overhead.rounds import CONNECTIONS, RATE, SATURATED, Ran, Rounds, Seen

OURS = "gateway, unix"
MOST = 32
"""Connections at which the figures of a core are taken: enough to keep it busy, and few enough that nobody only waits."""


def of(side: Seen, *, direct: Seen) -> dict[str, Any]:
    """One side's figures."""
    told: dict[str, Any] = {}
    if statistics.median([run.answered for run in side.open]) < SATURATED:
        told["saturated_at_1000_per_s"] = True
    else:
        told |= {"p50_ms": _median(side.open, "p50"), "p99_ms": _median(side.open, "p99")}
        if side is not direct:
            told["added_p50_ms"] = _added(side.open, direct.open, "p50")
            told["added_p99_ms"] = _added(side.open, direct.open, "p99")
    for count, runs in side.closed.items():
        each = {"per_s": _median(runs, "answered"), "p50_ms": _median(runs, "p50"), "p99_ms": _median(runs, "p99")}
        if side.rss_mib:
            each["cpu_s_per_1000"] = _median(runs, "cpu_ms")
        if side is not direct:
            each["added_p50_ms"] = _added(runs, direct.closed[count], "p50")
        told[f"by_{count}"] = each
    if side.rss_mib:
        told["cpu_s_per_1000"] = _median(side.closed[MOST], "cpu_ms")
        told["cpu_s_per_1000_at_1000_per_s"] = _median(side.open, "cpu_ms")
        told["syscalls_per_s_per_core"] = 1000 / told["cpu_s_per_1000"] if told["cpu_s_per_1000"] else None
        told["rss_mib"] = max(side.rss_mib)
    return told


def tables(rounds: Rounds) -> str:
    """Latency, and cost, a side a row."""
    direct = rounds.seen["direct"]
    told = {name: of(seen, direct=direct) for name, seen in rounds.seen.items()}
    latency = report.table(
        ["Latency, ms", f"{RATE}/s p50", "p99", "added p50", "added p99"]
        + [word for count in CONNECTIONS for word in (f"by {count}: p50", "p99")],
        [
            [name, *_at_rate(each)]
            + [f"{each[f'by_{count}'][key]:.3f}" for count in CONNECTIONS for key in ("p50_ms", "p99_ms")]
            for name, each in told.items()
        ],
    )
    cost = report.table(
        [
            "Cost",
            *(f"by {count}: /s" for count in CONNECTIONS),
            "/s per core",
            f"CPU s per 1000 at {RATE}/s",
            *(f"by {count}" for count in CONNECTIONS),
            "MiB idle",
            "at most",
            "CPU, times ours",
        ],
        [[name, *_cost(rounds, name, each)] for name, each in told.items()],
    )
    return f"{latency}\n\n{cost}"


def ratio(seen: dict[str, Seen], theirs: str, ours: str) -> statistics.Paired | None:
    """How many times the CPU of ours a side takes a call, round by round; None where it has none to tell."""
    if not seen[theirs].rss_mib or not all(run.cpu_ms for run in seen[ours].closed[MOST]):
        return None
    return statistics.paired(
        [run.cpu_ms for run in seen[theirs].closed[MOST]], [run.cpu_ms for run in seen[ours].closed[MOST]]
    )


def _at_rate(told: dict[str, Any]) -> list[str]:
    if "p50_ms" not in told:
        return ["saturated", "", "", ""]
    return [f"{told[key]:.3f}" if key in told else "" for key in ("p50_ms", "p99_ms", "added_p50_ms", "added_p99_ms")]


def _cost(rounds: Rounds, name: str, told: dict[str, Any]) -> list[str]:
    rates = [f"{told[f'by_{count}']['per_s']:.0f}" for count in CONNECTIONS]
    if "rss_mib" not in told:
        return [*rates, *[""] * (len(CONNECTIONS) + 5)]
    times = ratio(rounds.seen, name, OURS)
    return [
        *rates,
        f"{told['syscalls_per_s_per_core'] or 0:.0f}",
        f"{told['cpu_s_per_1000_at_1000_per_s']:.3f}",
        *(f"{told[f'by_{count}']['cpu_s_per_1000']:.3f}" for count in CONNECTIONS),
        f"{rounds.stage.idle_mib[name]:.0f}",
        f"{told['rss_mib']:.0f}",
        f"{times.ratio:.2f}" if times else "",
    ]


def _median(runs: list[Ran], key: str) -> float:
    return statistics.median([getattr(run, key) for run in runs])


def _added(runs: list[Ran], direct: list[Ran], key: str) -> float:
    return statistics.median([getattr(run, key) - getattr(base, key) for run, base in zip(runs, direct, strict=True)])
