"""From what a watch tells to keys in the queue: remember the object, ask for its root.

Apart from kopf so that the same few lines serve kopf's events, the answers to our own writes, the sweep and the tests. Nothing is decided here by
the type of an event: a change is a difference between two views. It must never raise for a strange object: one that cannot be read is counted,
logged and passed over, and the others go on.
"""

import asyncio

from aion.controller import metrics
from aion.controller.queue import Priority, Queue
from aion.controller.sealed import Document
from aion.controller.store import Store
from aion.controller.views import Key
from aion.telemetry import logs

_log = logs.get("controller.feed")


class Feed:
    """One store, one queue."""

    def __init__(self, store: Store, queue: Queue[Key]) -> None:
        self._store = store
        self._queue = queue
        self._listed: set[str] = set()
        self.synced = asyncio.Event()
        """Every kind was listed once: the store is whole, and workers may begin."""
        self.relisted = asyncio.Event()
        """A watch had to list again, and may have missed deletions. Whoever sweeps clears it."""

    def seen(self, document: Document) -> bool:
        """An object as it is now; answers whether that was news to anybody."""
        # Until the first lists are in, nothing is urgent; afterwards a person may be waiting.
        priority = Priority.LIVE if self.synced.is_set() else Priority.RESYNC
        try:
            keys = self._store.upsert(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._pass_over(document, error)
            return False
        for key in keys:
            self._queue.add(key, priority)
        return bool(keys)

    def gone(self, kind: str, uid: str) -> bool:
        """An object is no more; answers whether that was news to anybody."""
        self._listed.discard(uid)
        keys = self._store.remove(kind, uid)
        for key in keys:
            self._queue.add(key)
        return bool(keys)

    def told(self, kind: str | None, document: Document) -> None:
        """What a watch says of an object after `seen`: ADDED, MODIFIED, DELETED, or None where it comes from a list."""
        self.synced.set()
        metrics.EVENTS.labels(document["kind"]).inc()
        uid = document["metadata"]["uid"]
        if kind == "DELETED":
            self.gone(document["kind"], uid)
        elif kind is None and uid in self._listed:
            self.relisted.set()
        else:
            self._listed.add(uid)

    def _pass_over(self, document: Document, error: Exception) -> None:
        kind = str(document.get("kind"))
        metrics.PASSED_OVER.labels(kind).inc()
        meta = document.get("metadata") or {}
        _log.error(
            "object.unreadable", kind=kind, tenant=meta.get("namespace"), name=meta.get("name"), reason=repr(error)
        )
