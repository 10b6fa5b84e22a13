"""Who leads: what a Lease says, and what follows from it. Pure.

It stands apart from the election so that every race is a table of data: no request, no clock, no randomness here.
A holder's time is never compared with ours: a Lease has run out when it stood unchanged for its whole duration by the clock of whoever looks, so that
neither a skewed clock nor one that jumps can make two leaders. The arithmetic: a holder gives up 10 s after its last renewal was *sent*, others
wait 15 s from when they *saw* it, which is later; the 5 s between are for what a dying process may still have under way.
It must never give a reason to lead to two at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

NAME = "aion-controller"
DURATION_S = 15.0
RENEW_WITHIN_S = 10.0
RETRY_S = 2.0
LOOK_S = 1.0
"""How often one who waits looks: of the 3 s of a clean hand-over one passes unseen, the rest is for the first lists."""


class Verdict(Enum):
    """What to do about a Lease."""

    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease as the server has it; `version` makes the next write a compare-and-swap."""

    holder: str
    duration_s: float
    acquired: str
    renewed: str
    transitions: int
    version: str


@dataclass(frozen=True, slots=True)
class Sight:
    """A Lease (None: there is none) and since when, by our own clock, it has looked like this."""

    record: Record | None
    since: float


def read(document: Mapping[str, Any]) -> Record:
    """What a Lease says; fields that another program left out are taken as a Lease that nobody holds."""
    spec = document.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        duration_s=float(spec.get("leaseDurationSeconds") or DURATION_S),
        acquired=spec.get("acquireTime") or "",
        renewed=spec.get("renewTime") or "",
        transitions=int(spec.get("leaseTransitions") or 0),
        version=document["metadata"].get("resourceVersion") or "",
    )


def look(before: Sight | None, record: Record | None, *, now: float) -> Sight:
    """The newest sight; one that differs in nothing keeps its age."""
    return before if before is not None and before.record == record else Sight(record, now)


def judge(me: str, sight: Sight, *, leading: bool, now: float) -> Verdict:
    """What `me` has to do about what it sees."""
    record = sight.record
    if leading:
        return Verdict.RENEW if record is not None and record.holder == me else Verdict.LOST
    if record is None or not record.holder or record.holder == me:
        return Verdict.TAKE
    return Verdict.TAKE if now - sight.since >= record.duration_s else Verdict.WAIT


def held(me: str, before: Record | None, *, namespace: str, at: datetime) -> dict[str, Any]:
    """The Lease to write for taking or renewing it."""
    mine = before is not None and before.holder == me
    return _document(
        before,
        namespace=namespace,
        holder=me,
        duration_s=DURATION_S,
        acquired=before.acquired if before is not None and mine else _micro(at),
        renewed=_micro(at),
        transitions=(before.transitions if before else 0) + (0 if mine or before is None else 1),
    )


def released(before: Record, *, namespace: str, at: datetime) -> dict[str, Any]:
    """The Lease to write for leaving it to whoever looks next."""
    return _document(
        before,
        namespace=namespace,
        holder="",
        duration_s=1.0,
        acquired=before.acquired,
        renewed=_micro(at),
        transitions=before.transitions,
    )


def _document(
    before: Record | None,
    *,
    namespace: str,
    holder: str,
    duration_s: float,
    acquired: str,
    renewed: str,
    transitions: int,
) -> dict[str, Any]:
    meta = {"name": NAME, "namespace": namespace, **({"resourceVersion": before.version} if before else {})}
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": int(duration_s),
        "acquireTime": acquired,
        "renewTime": renewed,
        "leaseTransitions": transitions,
    }
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}


def _micro(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
