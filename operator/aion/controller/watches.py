"""Whether the watches still tell: each of our own writes must come back by the watch of its kind.

It stands apart because a silent watch and a silent cluster look alike from inside: only something that is known to have changed can tell them apart, and we know
what we wrote ourselves. That costs no request and no object of its own, and it judges each kind's watch for itself. A kind that we never write (nodes) or that nothing
happens to is left to its reflector, which takes up a stream without bookmarks anew, and to the sweep: what that finds is written about, and the write then owes an event. It must never call a watch dead for being slow: one event
of the kind after the write, whichever it is, clears it.
"""

import time
from collections.abc import Callable

from aion.controller import metrics
from aion.controller.feed import Feed
from aion.controller.views import Document

SILENT_S = 180.0
"""How long a watch may owe an event: the reflector's own remedy, a new connection after 75 s of silence, comes first, twice."""


class Watches:
    """What each kind's watch last told, and what it still owes. Called for every event and for every answer to a write."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_at: dict[str, float] = {}
        self._told_version: dict[str, int] = {}
        self._owed_since: dict[str, float] = {}

    def told(self, document: Document) -> None:
        """A watch, or a list in its place, told of an object."""
        kind = document["kind"]
        if kind not in self._told_at:
            metrics.LAST_EVENT_AGE.labels(kind).set_function(lambda: self.age_s(kind))
        self._told_at[kind] = self._clock()
        self._told_version[kind] = max(_version(document), self._told_version.get(kind, 0))
        self._owed_since.pop(kind, None)

    def wrote(self, document: Document) -> None:
        """The answer to a write of ours; one that changed nothing has a version that was told already."""
        kind = document["kind"]
        if _version(document) > self._told_version.get(kind, 0):
            self._owed_since.setdefault(kind, self._clock())

    def age_s(self, kind: str) -> float:
        """Seconds since the watch of the kind last told something."""
        return self._clock() - self._told_at[kind]

    def check(self) -> str | None:
        """Which watch is dead, as a sentence; None where none is."""
        now = self._clock()
        dead = [kind for kind, since in sorted(self._owed_since.items()) if now - since > SILENT_S]
        return (
            f"{', '.join(dead)}: what was written {SILENT_S:.0f} s ago has not come back by the watch" if dead else None
        )


class Answers:
    """The feed, as an `Applier` knows it: what a write answers is an object as it is now, and something that a watch owes us."""

    def __init__(self, feed: Feed, watches: Watches) -> None:
        self._feed = feed
        self._watches = watches

    def seen(self, document: Document) -> bool:
        """The object as it was stored."""
        self._watches.wrote(document)
        return self._feed.seen(document)

    def gone(self, kind: str, uid: str) -> bool:
        """The object is no more."""
        return self._feed.gone(kind, uid)


def _version(document: Document) -> int:
    return int(document["metadata"].get("resourceVersion") or 0)
