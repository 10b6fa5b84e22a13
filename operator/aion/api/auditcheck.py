"""Whether audit records are whole: what `aionctl audit verify` decides, over rows of the kernel or lines of any file.

Apart from `auditchain`, which is what a record's bytes are, because this is what a reader concludes. Pure. It must never
take an export's order or completeness for granted: every conclusion is drawn from digests and numbers, and each break says
which record, and where in what was read.

What it can know: a record that was changed, one that is missing between others or (where the kernel says how far a chain
has come) at the end, one that stands in another's place, and one that is there twice. What was let go of before the first
record that is kept, it only mentions. What it cannot know: that somebody made a chain anew from some record on to its end,
and the newest record too, unless a digest of it was kept elsewhere.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from aion.api import auditchain, event

What = Literal["changed", "missing", "moved", "doubled", "forked", "told"]

UNNAMED = "-"
"""The chain of records that come straight from a journal, where no event names it."""


class Head(NamedTuple):
    """How far a chain has come, by the kernel."""

    n: int
    digest: str


class Break(NamedTuple):
    """What is wrong, in a sentence. `at` is the line or row, from 1, where it shows; 0 where it shows in none."""

    what: What
    chain: str
    n: int
    at: int
    said: str


class _Seen(NamedTuple):
    digest: str
    prev: str
    at: int


@dataclass
class Report:
    """What was found."""

    chains: int = 0
    records: int = 0
    breaks: list[Break] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Is nothing wrong?"""
        return not self.breaks


def check(rows: Iterable[tuple[int, dict[str, Any]]], heads: Mapping[str, Head] | None = None) -> Report:
    """Check rows of the event stream, or bare records; each with the number of its line.

    Rows that are no audit records are passed over; `heads` is how far each chain must reach at least.
    """
    report, chains = Report(), dict[str, dict[int, _Seen]]()
    for chain in heads or {}:
        chains[chain] = {}
    newest: dict[str, int] = {}
    for at, row in rows:
        kind, chain = row.get("type", event.SYSCALL), str(row.get(event.CHAIN, UNNAMED))
        if kind == event.CHAIN:
            n = row.get("n")
            report.breaks.append(Break("told", chain, n if isinstance(n, int) else 0, at, _told(row)))
        if kind != event.SYSCALL or not isinstance(row.get("n"), int):
            continue
        report.records += 1
        record, n = event.record_of(row), int(row["n"])
        seen = _Seen(_digest(record), str(record.get("prev", "")), at)
        if wrong := _wrong(row, seen):
            report.breaks.append(Break("changed", chain, n, at, f"record {n} was changed: {wrong}"))
        _place(report, chains.setdefault(chain, {}), seen, chain=chain, n=n, newest=newest)
    for chain, kept in chains.items():
        _follow(report, chain, kept, (heads or {}).get(chain))
    report.chains = len(chains)
    report.breaks.sort(key=lambda each: (each.at, each.n))
    return report


def _digest(record: dict[str, Any]) -> str:
    """The digest of a record; empty where it has no canonical form, which no record that was kept is without."""
    try:
        return auditchain.digest(auditchain.canonical(record))
    except (ValueError, OverflowError, TypeError, RecursionError):
        return ""


def _wrong(row: Mapping[str, Any], seen: _Seen) -> str:
    """What is wrong with a row by itself. The time that people read is beside the record, and no digest is of it."""
    if not seen.digest:
        return "it has no canonical form"
    told = row.get("ts")
    if told and event.epoch_ms(str(told)) != row.get("ts_ms"):
        return f"it says {str(told)[:40]!r}, its own time is {row.get('ts_ms')} ms"
    return ""


def _place(report: Report, kept: dict[int, _Seen], seen: _Seen, *, chain: str, n: int, newest: dict[str, int]) -> None:
    """Note a record under its number; say where another had it, or where it comes too late."""
    before, last = kept.get(n), newest.get(chain, 0)
    if before is None:
        kept[n] = seen
    elif before.digest == seen.digest:
        report.breaks.append(Break("doubled", chain, n, seen.at, f"record {n} is here twice, first at {before.at}"))
        return
    else:
        said = f"another record {n} is at {before.at}: two different ones have the same number"
        report.breaks.append(Break("forked", chain, n, seen.at, said))
        return
    if n < last:
        report.breaks.append(Break("moved", chain, n, seen.at, f"record {n} stands after record {last}"))
    newest[chain] = max(last, n)


def _follow(report: Report, chain: str, kept: dict[int, _Seen], head: Head | None) -> None:
    """Say where numbers are missing, and where a record names another digest than that of the one before it."""
    numbers = sorted(kept)
    if numbers:
        _begins(report, chain, numbers[0], kept[numbers[0]])
    for before, after in itertools.pairwise(numbers):
        if after > before + 1:
            said = f"{_numbers(before + 1, after - 1)} missing between {before} and {after}"
            report.breaks.append(Break("missing", chain, before + 1, kept[after].at, said))
    for n in _changed(kept):
        said = f"record {n} was changed: its neighbours name another digest than its own"
        report.breaks.append(Break("changed", chain, n, kept[n].at, said))
    if head is None:
        return
    last = numbers[-1] if numbers else 0
    if last < head.n:
        said = f"{_numbers(last + 1, head.n)} missing at the end: the kernel has kept as many"
        report.breaks.append(Break("missing", chain, last + 1, 0, said))
    elif head.n in kept and kept[head.n].digest != head.digest:
        said = f"record {head.n} was changed: its digest is not the one that the kernel remembers"
        report.breaks.append(Break("changed", chain, head.n, kept[head.n].at, said))


def _changed(kept: Mapping[int, _Seen]) -> list[int]:
    """The records that do not fit: what the next one names is not their digest.

    Where two in a row name what is not there, it is the first of them: its own `prev` was changed, and so its digest.
    """
    misnaming = [n for n in sorted(kept) if n - 1 in kept and kept[n].prev != kept[n - 1].digest]
    found: list[int] = []
    while misnaming:
        n = misnaming.pop(0)
        if misnaming and misnaming[0] == n + 1:
            misnaming.pop(0)
            found.append(n)
        else:
            found.append(n - 1)
    return found


def _begins(report: Report, chain: str, first: int, seen: _Seen) -> None:
    if first > 1:
        report.notes.append(f"{chain}: kept from record {first} on, {_numbers(1, first - 1)} not here")
    elif chain not in (UNNAMED, seen.prev):
        said = f"record 1 was changed: it begins the chain {seen.prev[:80]!r}"
        report.breaks.append(Break("changed", chain, 1, seen.at, said))


def _numbers(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"


def _told(row: dict[str, Any]) -> str:
    said = {
        "restarted": "its Pod began a second journal: what the first one held and had not sent is lost",
        "beginning": f"the kernel knew nothing of the records before {row.get('n')}",
        "gap": f"the kernel never had the records between {row.get('after')} and {row.get('n')}",
        "changed": f"record {row.get('n')} did not name the record before it when it came",
        "forked": f"a second record {row.get('n')} came, after record {row.get('after')}",
    }
    what = str(row.get("what", ""))
    return f"the kernel noted when it came: {said.get(what, what)}"
