"""What a benchmark prints: progress on stderr, a table for a person, and one line of JSON as the last on stdout.

Apart so that whoever collects figures finds the same shape everywhere. It must never turn a missed target into a
failure: the machine that measures may be busy, and only a reader can know.
"""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_began = time.monotonic()


@dataclass(frozen=True)
class Target:
    """What a figure of this name should reach: one of the two bounds."""

    figure: str
    at_most: float | None = None
    at_least: float | None = None

    def missed(self, value: float | None) -> bool:
        """Say whether the value lies on the wrong side, or could not be had."""
        return (
            value is None
            or (self.at_most is not None and value > self.at_most)
            or (self.at_least is not None and value < self.at_least)
        )

    def bound(self) -> dict[str, float]:
        """The bound as it stands in the JSON line."""
        return {"at_most": self.at_most} if self.at_most is not None else {"at_least": self.at_least or 0}

    def line(self, value: float | None) -> str:
        """The target as a person reads it."""
        wanted = f"at most {self.at_most:g}" if self.at_most is not None else f"at least {self.at_least:g}"
        told = "no figure" if value is None else f"{value:.3f}"
        return f"  {'MISSED ' if self.missed(value) else 'reached'}  {self.figure:<26} {told:>10}   target: {wanted}"


def say(line: str) -> None:
    """Print one line of progress."""
    print(f"[{time.monotonic() - _began:5.0f}s] {line}", file=sys.stderr, flush=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, numbers to the right."""
    widths = [max(len(row[at]) for row in (header, *rows)) for at in range(len(header))]
    lines = []
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def finish(
    bench: str,
    *,
    figures: Mapping[str, Any],
    peers: Mapping[str, Any],
    targets: Sequence[Target],
    notes: Sequence[str],
) -> None:
    """Print the targets, the notes and the JSON line. Figures are rounded to thousandths."""
    print("\nTargets")
    for target in targets:
        print(target.line(figures.get(target.figure)))
    print("\nNotes")
    for note in notes:
        print(f"  - {note}")
    document = {
        "bench": bench,
        "figures": _rounded(figures),
        "peers": _rounded(peers),
        "targets": {target.figure: target.bound() for target in targets},
        "missed": [target.figure for target in targets if target.missed(figures.get(target.figure))],
        "notes": list(notes),
        "machine": machine(),
    }
    print()
    print(json.dumps(document, ensure_ascii=False), flush=True)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": model[0] if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, Mapping):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list | tuple) else value
