"""From what is seen of an object to keys in the queue: remember the object, ask for its root.

Apart from the watches so that the same few lines serve their events, the answers to our own writes, the lists and the tests. Nothing is decided here by
the type of an event: a change is a difference between two views. It must never raise for a strange object: one that cannot be read is counted,
logged and passed over, and the others go on.
"""

import asyncio
from dataclasses import replace

from aion.controller import metrics
from aion.controller.queue import Priority, Queue
from aion.controller.store import Store, View
from aion.controller.views import ChildView, DeploymentView, Document, Key, PodView, RootView
from aion.telemetry import logs

_log = logs.get("controller.feed")


def expected(before: View | None, now: View | None) -> set[Key]:
    """Whose own doing the change is: a child is new, or nothing but the status of a root is another."""
    if isinstance(now, RootView):
        same = isinstance(before, RootView) and replace(before, status=now.status) == now
        return {now.key} if same else set()
    if isinstance(now, PodView | DeploymentView | ChildView) and before is None and now.owner:
        return set() if isinstance(now, PodView) and now.deleting else {now.owner}
    return set()


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

    def answered(self, document: Document) -> None:
        """What a write of ours has shown. Whoever wrote has planned for it, and looks again only where it is not what was to be expected."""
        kind, uid = document["kind"], document["metadata"]["uid"]
        before = self._store.view(kind, uid)
        keys = self._store.upsert(document)
        for key in keys - expected(before, self._store.view(kind, uid)):
            self._queue.add(key)

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
