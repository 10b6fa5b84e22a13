"""Whether the watches still tell: each of our own writes must come back by the watch of its kind.

It stands apart because a silent watch and a silent cluster look alike from inside: only something that is known to have changed can tell them apart, and we know
what we wrote ourselves. That costs no request and no object of its own, and it judges each kind's watch for itself. A kind that we never write (nodes) or that nothing
happens to is left to its reflector, which takes up a stream without bookmarks anew, and to the sweep: what that finds is written about, and the write then owes an event. It must never call a watch dead for being slow: one event
of the kind after the write, whichever it is, clears it.
"""

import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from aion.controller import metrics
from aion.controller.feed import Feed
from aion.controller.views import Document

SILENT_S = 180.0
"""How long a watch may owe an event: the reflector's own remedy, a new connection after 75 s of silence, comes first, twice."""


class Stream(NamedTuple):
    """One watch: of a kind, in a namespace (or of the object that is named like it), or everywhere."""

    kind: str
    namespace: str

    def __str__(self) -> str:
        return f"{self.kind} in {self.namespace}" if self.namespace else self.kind


class Watches:
    """What each kind's watch last told, and what it still owes. Called for every event and for every answer to a write."""

    def __init__(self, *, apart: Collection[str] = frozenset(), clock: Callable[[], float] = time.monotonic) -> None:
        """`apart` are the kinds that are followed by a watch for each namespace."""
        self._apart = apart
        self._clock = clock
        self._told_at: dict[Stream, float] = {}
        self._told_version: dict[Stream, int] = {}
        self._owed_since: dict[Stream, float] = {}

    def told(self, document: Document) -> None:
        """A watch, or a list in its place, told of an object."""
        stream = self._stream(document)
        if stream not in self._told_at:
            metrics.LAST_EVENT_AGE.labels(stream.kind).set_function(lambda: self.age_s(stream.kind))
        self._told_at[stream] = self._clock()
        self._told_version[stream] = max(_version(document), self._told_version.get(stream, 0))
        self._owed_since.pop(stream, None)

    def wrote(self, document: Document) -> None:
        """The answer to a write of ours; one that changed nothing has a version that was told already."""
        stream = self._stream(document)
        if _version(document) > self._told_version.get(stream, 0):
            self._owed_since.setdefault(stream, self._clock())

    def age_s(self, kind: str) -> float:
        """Seconds since the watch of the kind last told something; of several, the one that is silent the longest."""
        return self._clock() - min(at for stream, at in self._told_at.items() if stream.kind == kind)

    def check(self) -> str | None:
        """Which watch is dead, as a sentence; None where none is."""
        now = self._clock()
        dead = [str(stream) for stream, since in sorted(self._owed_since.items()) if now - since > SILENT_S]
        return (
            f"{', '.join(dead)}: what was written {SILENT_S:.0f} s ago has not come back by the watch" if dead else None
        )

    def _stream(self, document: Document) -> "Stream":
        kind, meta = document["kind"], document["metadata"]
        return Stream(kind, (meta.get("namespace") or meta.get("name", "")) if kind in self._apart else "")


class Answers:
    """The feed, as an `Applier` knows it: what a write answers is an object as it is now, and something that a watch owes us."""

    def __init__(self, feed: Feed, watches: Watches) -> None:
        self._feed = feed
        self._watches = watches

    def answered(self, document: Document) -> None:
        """The object as it was stored."""
        self._watches.wrote(document)
        self._feed.answered(document)

    def gone(self, kind: str, uid: str) -> bool:
        """The object is no more."""
        return self._feed.gone(kind, uid)


def _version(document: Document) -> int:
    return int(document["metadata"].get("resourceVersion") or 0)
