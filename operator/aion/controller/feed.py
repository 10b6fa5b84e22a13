"""From what is seen of an object to keys in the queue: remember the object, ask for its root.

Apart from the watches so that the same few lines serve their events, the answers to our own writes, the lists and the tests. Nothing is decided here by
the type of an event: a change is a difference between two views. It must never raise for a strange object: one that cannot be read is counted,
logged and passed over, and the others go on.
"""

import asyncio

from aion.controller import metrics
from aion.controller.queue import Priority, Queue
from aion.controller.store import Store
from aion.controller.views import Document, Key
from aion.telemetry import logs

_log = logs.get("controller.feed")


class Feed:
    """One store, one queue."""

    def __init__(self, store: Store, queue: Queue[Key]) -> None:
        self._store = store
        self._queue = queue
        self.synced = asyncio.Event()
        """Every kind was listed once: the store is whole, and workers may begin."""

    def seen(self, document: Document, priority: Priority = Priority.LIVE) -> bool:
        """An object as it is now; answers whether that was news to anybody. What a list shows may wait behind what happens live."""
        try:
            keys = self._store.upsert(document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._pass_over(document, error)
            return False
        for key in keys:
            self._queue.add(key, priority)
        return bool(keys)

    def gone(self, kind: str, uid: str, *, version: int | None = None) -> bool:
        """An object is no more, or out of our sight since `version`; answers whether that was news to anybody."""
        keys = self._store.remove(kind, uid, version=version)
        for key in keys:
            self._queue.add(key)
        return bool(keys)

    def _pass_over(self, document: Document, error: Exception) -> None:
        kind = str(document.get("kind"))
        metrics.PASSED_OVER.labels(kind).inc()
        meta = document.get("metadata") or {}
        _log.error(
            "object.unreadable", kind=kind, tenant=meta.get("namespace"), name=meta.get("name"), reason=repr(error)
        )
