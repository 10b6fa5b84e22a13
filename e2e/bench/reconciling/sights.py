"""When each object was first seen, first said something in its status, and was Ready: by one watch, on this program's clock.

Apart from `starting.watching`, which keeps whole objects and looks at few of them. The server's own timestamps are whole
seconds, so only a watch can tell. It must stay cheap: what it takes of the machine is missing to those it measures.
"""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from starting.api import Api, Cluster, Document

from clusters.failure import Failed


@dataclass
class Sight:
    """Monotonic seconds; `agent` is the label of a Pod."""

    seen: float
    said: float | None = None
    ready: float | None = None
    agent: str = ""


class Sights:
    """Watches those of a collection whose names begin with `prefix`, from now on."""

    def __init__(self, at: Cluster, path: str, *, prefix: str) -> None:
        self._at = at
        self._path = path
        self._prefix = prefix
        self._news = threading.Condition()
        self.seen: dict[str, Sight] = {}
        self._broken: str | None = None
        self._stopped = False
        api = Api(at)
        self._since = str(api.get(f"{path}?limit=1")["metadata"]["resourceVersion"])
        api.close()
        threading.Thread(target=self._run, name=f"watch {path}", daemon=True).start()

    def wait(self, enough: Callable[["Sights"], bool], *, within_s: float) -> bool:
        """Wait until `enough` says so; False where the time is over. Raises Failed where the watch broke."""
        with self._news:
            done = self._news.wait_for(lambda: self._broken is not None or enough(self), within_s)
        if self._broken:
            raise Failed(f"the watch of {self._path} broke: {self._broken}")
        return done

    def ready(self) -> int:
        """How many are."""
        return sum(each.ready is not None for each in self.seen.values())

    @contextlib.contextmanager
    def open(self) -> Iterator["Sights"]:
        """Let the thread end with the context, at the next line or the end of its watch."""
        try:
            yield self
        finally:
            self._stopped = True

    def _run(self) -> None:
        while not self._stopped:
            api = Api(self._at)
            try:
                for line in api.watch(self._path, self._since):
                    if self._stopped:
                        break
                    self._take(time.monotonic(), json.loads(line))
            except (Failed, OSError, ValueError, KeyError) as error:
                with self._news:
                    self._broken = None if self._stopped else repr(error)
                    self._news.notify_all()
                return
            finally:
                api.close()

    def _take(self, at: float, event: Document) -> None:
        document = event["object"]
        meta = document["metadata"]
        self._since = meta["resourceVersion"]
        if event["type"] not in {"ADDED", "MODIFIED"} or not meta["name"].startswith(self._prefix):
            return
        with self._news:
            found = self.seen.setdefault(meta["name"], Sight(at, agent=meta.get("labels", {}).get("aion.os/agent", "")))
            told = document.get("status", {}).get("conditions", ())
            if found.said is None and told:
                found.said = at
            if found.ready is None and any(each["type"] == "Ready" and each["status"] == "True" for each in told):
                found.ready = at
                self._news.notify_all()
