"""The ConfigMaps from which Agents take their files: a digest of each, so that other files mean another Pod.

Apart because nothing else reads objects that people own. They are read when an Agent is looked at, and not watched: a watch would be on every
ConfigMap of the cluster, with the right to list them all, for the few that an Agent names. What is asked for is the metadata, some hundred bytes;
the files themselves (up to 1 MB) only where the resourceVersion is new. So the right needed is `get`, and a change is noticed within a minute,
about as long as a kubelet takes to renew mounted files. It must never keep a body, nor hold up an Agent because it may not read.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from aion.controller import errors
from aion.controller.kube import CONFIG_MAPS, Cluster, Document
from aion.controller.views import RootView

POLL_S = 60.0
"""How often an Agent with files is looked at while nothing else happens: 1 000 of them cost 17 small reads a second."""

FRESH_S = 0.5
"""A burst of events is one read, and so are many Agents of one ConfigMap; whoever changes files and then the Agent is slower than this."""

REMEMBERED = 10_000  # digests, some 200 B each


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of an Agent's files: their digest; `missing` where there is no such ConfigMap; neither where we may not read."""

    digest: str = ""
    missing: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    version: str
    digest: str
    read_at: float


class Sources:
    """Digests over one cluster."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: dict[tuple[str, str], _Known] = {}

    async def of(self, root: RootView | None) -> Source | None:
        """The files of an Agent, None where it names none; raises Unreachable."""
        name = named(root)
        if root is None or not name:
            return None
        try:
            return Source(await self._digest(root.key.namespace, name))
        except errors.NotFound:
            self._known.pop((root.key.namespace, name), None)
            return Source(missing=True)
        except errors.Refused:
            return Source()

    async def _digest(self, namespace: str, name: str) -> str:
        known = self._known.get((namespace, name))
        if known is not None and self._clock() - known.read_at < FRESH_S:
            return known.digest
        found = await self._cluster.read(CONFIG_MAPS, namespace=namespace, name=name, metadata_only=True)
        if known is None or known.version != found["metadata"]["resourceVersion"]:
            found = await self._cluster.read(CONFIG_MAPS, namespace=namespace, name=name)
            digest = of_files(found)
        else:
            digest = known.digest
        self._known.pop((namespace, name), None)
        self._known[namespace, name] = _Known(found["metadata"]["resourceVersion"], digest, self._clock())
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return digest


def named(root: RootView | None) -> str:
    """The ConfigMap that an Agent names, or nothing; of a spec that is not yet accepted."""
    if root is None or root.key.kind != "Agent":
        return ""
    source = root.document["spec"].get("source")
    name = source.get("configMap") if isinstance(source, dict) else None
    return name if isinstance(name, str) else ""


def of_files(config_map: Document) -> str:
    """16 hex digits over the files alone: labels and annotations may change without a restart."""
    files = [config_map.get("data") or {}, config_map.get("binaryData") or {}]
    text = json.dumps(files, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
