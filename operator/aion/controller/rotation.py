"""When a tenant gets another key, and when an old one goes. Pure.

Apart because it is a small machine over dates, told in the Tenant's status: the controller may not read the Secret, so what it made stands there, by
id. A new key is first announced, then made: killed in between, the controller makes the same one again. It signs two minutes later, when everyone
knows it, and from then on the key before it is good for ten more. Two keys are valid at least so long, and never is there none.
It must never hold a secret, and never take out the newest key.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from aion.api import keyids
from aion.controller import diagnosis

OVERLAP = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Key:
    """One key, as the status tells it: `since` is empty until it is made, `until` while it is the newest."""

    id: str
    since: str = ""
    until: str = ""

    def document(self) -> dict[str, str]:
        """As it stands in the status."""
        told = {"id": self.id, "since": self.since, "until": self.until}
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Turn:
    """What to do to the Secret now, what the status says afterwards, and in how many seconds to look again."""

    keys: tuple[Key, ...]
    revision: int
    make: str = ""
    drop: tuple[str, ...] = ()
    again: float | None = None


def turn(keys: Sequence[Key], *, revision: int, wanted: int, now: datetime) -> Turn:
    """One step. `revision` is what the newest key was made for, `wanted` what the spec asks for."""
    if not keys:
        return Turn((Key(keyids.FIRST, since=diagnosis.stamp(now)),), max(revision, wanted))
    if pending := next((key for key in keys if not key.since), None):
        return _made(keys, pending, revision=revision, now=now)
    dropped = tuple(key for key in keys if key.until and diagnosis.when(key.until) <= now)
    kept = tuple(key for key in keys if key not in dropped)
    announced = wanted > revision
    if announced:
        signs = int((now + timedelta(seconds=keyids.SETTLE_S)).timestamp())
        kept, revision = (*kept, Key(keyids.rotated(signs))), wanted
    waits = [(diagnosis.when(key.until) - now).total_seconds() for key in kept if key.until]
    again = 0.0 if announced else min(waits, default=None)
    return Turn(kept, revision, drop=tuple(key.id for key in dropped), again=again)


def _made(keys: Sequence[Key], pending: Key, *, revision: int, now: datetime) -> Turn:
    """The announced key is put into the Secret, and the one before it gets its end."""
    signs = datetime.fromtimestamp(keyids.signs_from(pending.id), tz=now.tzinfo)
    ends = max(now, signs) + OVERLAP
    settled = tuple(
        replace(key, since=diagnosis.stamp(now))
        if key is pending
        else replace(key, until=key.until or diagnosis.stamp(ends))
        for key in keys
    )
    return Turn(settled, revision, make=pending.id, again=(ends - now).total_seconds())


def read(status: object) -> tuple[Key, ...]:
    """The keys of a status; an entry that cannot be read is passed over."""
    found = status if isinstance(status, list) else []
    return tuple(
        Key(str(each["id"]), since=str(each.get("since") or ""), until=str(each.get("until") or ""))
        for each in found
        if isinstance(each, dict) and each.get("id")
    )
