"""One long-lived watch a collection, and the moment, by this program's own clock, at which something became true in it.

Apart because the clock must be read before an event is even parsed, and because a start is seen by several watches at
once: the object's own and its Pod's. It must never ask the server again and again: what polls cannot measure.
"""

import json
import threading
import time
from dataclasses import dataclass, field

from clusters.failure import Failed
from starting.api import Api, Cluster, Document


@dataclass
class Sighting:
    """What was seen of one object: monotonic seconds, and its newest state."""

    seen: float
    ready: float | None = None
    newest: Document = field(default_factory=dict)


class Watch:
    """Watches a collection from now until `stop`."""

    def __init__(self, cluster: Cluster, path: str) -> None:
        self._cluster = cluster
        self._path = path
        self._news = threading.Condition()
        self._objects: dict[str, Sighting] = {}
        self._failed: Failed | None = None
        self._stopped = False
        self._since = self._list()
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)
        self._thread.start()

    def ready(self, name: str, *, within_s: float) -> Sighting:
        """Wait until the object is Ready. Raises Failed with its conditions."""
        if self._wait(lambda: (found := self._objects.get(name)) is not None and found.ready is not None, within_s):
            return self._objects[name]
        found = self._objects.get(name)
        told = json.dumps(found.newest.get("status", {}).get("conditions", [])) if found else "it was never seen"
        raise Failed(f"{self._path}/{name} is not Ready within {within_s:.0f} s: {told}")

    def gone(self, prefix: str, *, within_s: float) -> None:
        """Wait until nothing of this prefix is left. Raises Failed."""
        if not self._wait(lambda: not self._of(prefix), within_s):
            raise Failed(
                f"{', '.join(self._of(prefix))} in {self._path}: still there {within_s:.0f} s after its deletion"
            )

    def of(self, prefix: str) -> list[Sighting]:
        """What is there now of this prefix."""
        with self._news:
            return [self._objects[name] for name in self._of(prefix)]

    def stop(self) -> None:
        """Let the thread end with its current watch."""
        self._stopped = True

    def _of(self, prefix: str) -> list[str]:
        return [name for name in self._objects if name == prefix or name.startswith(f"{prefix}-")]

    def _wait(self, true, seconds: float) -> bool:
        with self._news:
            found = self._news.wait_for(lambda: self._failed is not None or true(), seconds)
            if self._failed:
                raise self._failed
            return bool(found)

    def _list(self) -> str:
        api = Api(self._cluster)
        listed = api.get(self._path)
        api.close()
        with self._news:
            now = time.monotonic()
            there = {item["metadata"]["name"]: item for item in listed["items"]}
            self._objects = {
                name: self._objects.get(name) or Sighting(now, newest=item) for name, item in there.items()
            }
            self._news.notify_all()
        return str(listed["metadata"]["resourceVersion"])

    def _run(self) -> None:
        while not self._stopped:
            api = Api(self._cluster)
            try:
                for line in api.watch(self._path, self._since):
                    at = time.monotonic()
                    self._take(json.loads(line), at)
            except (Failed, OSError, ValueError) as broken:
                if self._stopped:
                    return
                with self._news:
                    self._failed = Failed(f"the watch of {self._path} broke: {broken}")
                    self._news.notify_all()
                return
            finally:
                api.close()

    def _take(self, event: Document, at: float) -> None:
        seen: Document = event["object"]
        if event["type"] == "ERROR":
            raise Failed(seen.get("message", "an error without a message"))
        self._since = seen["metadata"]["resourceVersion"]
        if event["type"] == "BOOKMARK":
            return
        name = seen["metadata"]["name"]
        with self._news:
            if event["type"] == "DELETED":
                self._objects.pop(name, None)
            else:
                found = self._objects.setdefault(name, Sighting(at))
                found.newest = seen
                if found.ready is None and _ready(seen):
                    found.ready = at
            self._news.notify_all()


def _ready(document: Document) -> bool:
    """Condition Ready is True, of this generation where the object says of which it speaks."""
    status = document.get("status", {})
    generation = document["metadata"].get("generation")
    return any(
        each["type"] == "Ready"
        and each["status"] == "True"
        and each.get("observedGeneration", generation) == generation
        for each in status.get("conditions", ())
    )
