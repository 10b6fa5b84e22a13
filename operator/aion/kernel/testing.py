"""What tests of the kernel, and of whoever talks to it, stand on: an API server in memory, and the real kernel on loopback.

It stands apart from `cluster` because it ships beside it and must behave like it: the same four verbs, resource versions,
bookmarks left out, 410 where the past was forgotten. It must never be more lenient than a real API server where the
kernel's safety hangs on it: tokens are valid for their own audience only.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import rfc8785

from aion.api import errors, labels
from aion.api import policy as policies
from aion.kernel import policysource
from aion.kernel.app import Kernel
from aion.kernel.cluster import ApiError, Json, ListMeta, ObjectList, WatchEvent
from aion.kernel.memorystore import MemoryStore
from aion.kernel.store import Draft, Recorded, Row, Sighting
from aion.serving import sockets

_PLURALS = {
    "Agent": "agents",
    "Tool": "tools",
    "Tenant": "tenants",
    "Policy": "policies",
    "ConfigMap": "configmaps",
    "Secret": "secrets",
}

Happening = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class _Change:
    version: int
    type: Happening
    path: str
    body: Json


@dataclass
class FakeCluster:
    """A `Cluster` in memory. `down` makes every question fail; `asked` lists them as `VERB path`."""

    down: bool = False
    asked: list[str] = field(default_factory=list)
    _objects: dict[str, Json] = field(default_factory=dict)
    _changes: list[_Change] = field(default_factory=list)
    _version: int = 1
    _oldest: int = 0
    _watches: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _users: dict[str, tuple[str | None, Json]] = field(default_factory=dict)
    _allowed: set[tuple[str, str]] = field(default_factory=set)

    def put(self, body: Json) -> None:
        """Create an object or replace it."""
        path = path_of(body)
        self._happen("MODIFIED" if path in self._objects else "ADDED", path, body)
        self._objects[path] = self._changes[-1].body

    def delete(self, body: Json) -> None:
        """Delete an object."""
        path = path_of(body)
        self._happen("DELETED", path, self._objects.pop(path))

    def forget(self) -> None:
        """Forget the past: who watches from an old version is told 410."""
        self._oldest = self._version
        self._changes.clear()
        self.end_watches()

    def end_watches(self) -> None:
        """End every watch, as a server does every few minutes."""
        self._watches += 1
        self._wake()

    def token(
        self,
        username: str,
        *,
        audience: str | None = None,
        pod: tuple[str, str] | None = None,
        groups: Iterable[str] = (),
    ) -> str:
        """Return a fresh token of a user, valid for one audience (None: the API server's own), bound to a Pod (name, uid)."""
        extra = {}
        if pod is not None:
            extra = {
                "authentication.kubernetes.io/pod-name": [pod[0]],
                "authentication.kubernetes.io/pod-uid": [pod[1]],
            }
        token = secrets.token_urlsafe(24)
        self._users[token] = (audience, {"username": username, "uid": username, "groups": list(groups), "extra": extra})
        return token

    def gateway_token(self, tenant: str, agent: str, *, pod: str, uid: str = "", audience: str = "aion-kernel") -> str:
        """Return the token that an agent's gateway finds in its Pod."""
        account = f"system:serviceaccount:{tenant}:{labels.service_account(agent)}"
        return self.token(account, audience=audience, pod=(pod, uid or f"uid-of-{pod}"))

    def allow(self, username: str, *paths: str) -> None:
        """Let RBAC allow a user to get these paths."""
        self._allowed |= {(username, path) for path in paths}

    async def get(self, path: str) -> Json | None:
        """Return an object, or None where there is none."""
        self._ask("GET", path)
        return self._objects.get(path)

    async def create(self, path: str, body: Json) -> Json:
        """Answer a review."""
        self._ask("POST", path)
        if path.endswith("/tokenreviews"):
            return body | {"status": self._review(body["spec"])}
        if path.endswith("/subjectaccessreviews"):
            spec = body["spec"]
            wanted = (spec["user"], spec["nonResourceAttributes"]["path"])
            return body | {"status": {"allowed": wanted in self._allowed}}
        raise ApiError(404, f"the fake knows reviews only, not {path}")

    async def list(self, path: str, *, page: str = "") -> ObjectList:
        """Return a collection, in pages of two so that every reader turns one."""
        self._ask("LIST", path)
        names = sorted(each for each in self._objects if _within(each, path))
        start = int(page or "0")
        following = str(start + 2) if start + 2 < len(names) else ""
        items = [self._objects[name] for name in names[start : start + 2]]
        return ObjectList(ListMeta(str(self._version), following), items)

    async def watch(self, path: str, *, since: str) -> AsyncIterator[WatchEvent]:
        """Yield what changed in a collection after a version, until `end_watches`."""
        self._ask("WATCH", path)
        at, watches = int(since), self._watches
        if at < self._oldest:
            yield WatchEvent("ERROR", {"code": 410, "message": "too old resource version"})
            return
        while watches == self._watches:
            news = self._news
            for change in [each for each in self._changes if each.version > at]:
                at = change.version
                if _within(change.path, path):
                    yield WatchEvent(change.type, change.body)
            if self.down:
                raise ApiError(0, "the fake is down")
            if news is self._news:
                await news.wait()

    def take_down(self) -> None:
        """Be gone: open watches break, and every question fails until `down` is False again."""
        self.down = True
        self._wake()

    def _ask(self, verb: str, path: str) -> None:
        self.asked.append(f"{verb} {path}")
        if self.down:
            raise ApiError(0, "the fake is down")

    def _review(self, spec: Json) -> Json:
        audience, user = self._users.get(spec["token"], ("nobody's", {}))
        asked_for = spec.get("audiences")
        if not user or (asked_for or [None]) != [audience]:
            return {"authenticated": False, "error": "invalid bearer token"}
        return {"authenticated": True, "user": user, "audiences": asked_for or ["https://kubernetes.default.svc"]}

    def _happen(self, type_: Happening, path: str, body: Json) -> None:
        self._version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self._version)}
        self._changes.append(_Change(self._version, type_, path, {**body, "metadata": metadata}))
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class FailingStore(MemoryStore):
    """A `Store` that refuses to keep anything while `down`, as one whose Redis is gone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.down = False

    async def ping(self) -> None:
        """Answer unless down."""
        self._check()

    async def publish(self, drafts: Sequence[Draft]) -> int:
        """Append events unless down."""
        self._check()
        return await super().publish(drafts)

    async def record(self, source: str, drafts: Sequence[Draft], *, broken: Draft | None = None) -> Recorded:
        """Append records unless down."""
        self._check()
        return await super().record(source, drafts, broken=broken)

    async def audit(self, after: int, *, limit: int) -> list[Row]:
        """Return a page of the audit unless down."""
        self._check()
        return await super().audit(after, limit=limit)

    async def claim_nonce(self, key: str, *, ttl_ms: int) -> bool:
        """Remember a nonce unless down."""
        self._check()
        return await super().claim_nonce(key, ttl_ms=ttl_ms)

    async def see(self, sighting: Sighting, *, ttl_s: int) -> None:
        """Keep a sighting unless down."""
        self._check()
        await super().see(sighting, ttl_s=ttl_s)

    def _check(self) -> None:
        if self.down:
            raise errors.Unavailable("the store is down: nothing was kept")


def path_of(body: Json) -> str:
    """Return where an object lives."""
    version: str = body["apiVersion"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace, name = body["metadata"].get("namespace"), body["metadata"]["name"]
    home = f"{root}/namespaces/{namespace}" if namespace else root
    return f"{home}/{_PLURALS[body['kind']]}/{name}"


def _within(path: str, collection: str) -> bool:
    """Say whether an object is in a collection, of one namespace or of all, or is the one of it that a field selector names."""
    collection, _, named = collection.partition("?fieldSelector=metadata.name=")
    if named and path.rpartition("/")[2] != named:
        return False
    root, _, rest = path.partition("/namespaces/")
    if not rest:  # cluster-scoped
        return collection == path.rpartition("/")[0]
    namespace, plural, _ = rest.split("/")
    return collection in {f"{root}/{plural}", f"{root}/namespaces/{namespace}/{plural}"}


def agent(tenant: str, name: str, **spec: object) -> Json:
    """Return an Agent; `spec` as it stands in a manifest."""
    return {
        "apiVersion": labels.API_VERSION,
        "kind": "Agent",
        "metadata": {"name": name, "namespace": tenant},
        "spec": {"version": "1.0.0", "entry": "python -m agent", **spec},
    }


def tool(tenant: str, name: str, **spec: object) -> Json:
    """Return a Tool; `spec` as it stands in a manifest."""
    return {
        "apiVersion": labels.API_VERSION,
        "kind": "Tool",
        "metadata": {"name": name, "namespace": tenant},
        "spec": {"version": "1.0.0", "entry": "python:tools.dates:difference", **spec},
    }


def tenant(name: str, **spec: object) -> Json:
    """Return a Tenant; `spec` as it stands in a manifest."""
    return {"apiVersion": labels.API_VERSION, "kind": "Tenant", "metadata": {"name": name}, "spec": spec}


def bundle(**fields: object) -> policies.Bundle:
    """Return a policy bundle."""
    return policies.Bundle.from_document({"schema": policies.SCHEMA, **fields})


def bundle_map(of: policies.Bundle, *, namespace: str = "aion-system") -> Json:
    """Return the ConfigMap that holds a bundle."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": policies.config_map_name(policies.digest(of)), "namespace": namespace},
        "immutable": True,
        "data": {policysource.KEY: rfc8785.dumps(of.document()).decode()},
    }


def pointer(of: policies.Bundle, *, revision: int, namespace: str = "aion-system") -> Json:
    """Return the Policy whose pointer says that a bundle is in force."""
    digest = policies.digest(of)
    active = {"revision": revision, "digest": digest, "configMap": policies.config_map_name(digest)}
    return {
        "apiVersion": labels.API_VERSION,
        "kind": "Policy",
        "metadata": {"name": policysource.NAME, "namespace": namespace},
        "spec": {},
        "status": {"active": active},
    }


@asynccontextmanager
async def started(kernel: Kernel, *, grace_s: float = 1.0, linger_s: float = 0.0) -> AsyncIterator[str]:
    """Serve a kernel on a free loopback port; gives its base URL."""
    socket = sockets.bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    async with kernel.serving([socket], grace_s=grace_s, linger_s=linger_s):
        yield url
