"""A cluster in memory, for tests of whoever drives this package: the API server's side of `kube.Cluster`, and the others who act on it.

Shipped and typed, so that tests need no mocks. What a reconciler can notice is real: uids, resource versions, generations, server-side apply that
takes back what was left out and keeps books of what is ours, a status that only /status writes, Pods whose spec never changes, graceful deletion, garbage collection by owner.
What a server validates is not: schemas, admission and field ownership between managers are for tests against a real one.
"""

import asyncio
import copy
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from aion.api import labels
from aion.controller import errors
from aion.controller.kube import BY_KIND, PODS, Document, Event, Page, Resource

Object = dict[str, Any]


class Write(NamedTuple):
    """One request that would have reached the server."""

    verb: str
    kind: str
    name: str
    subresource: str = ""


class Place(NamedTuple):
    """Where an object is."""

    kind: str
    namespace: str
    name: str


Fault = Callable[[Write, Document], errors.KubeError | None]
"""Asked before each write: an error to raise, or None to let it pass."""


@dataclass
class _Stored:
    body: Object
    applied: Object
    said: Object


class FakeCluster:
    """`kube.Cluster`, and beside it what people, kubelets and controllers do.

    `writes` holds every write through the protocol, `reads` every read. `fault` may refuse one. `watchers` are told each change as (type, object)
    unless `deaf`: then the change happens unseen, as while a watch is broken.
    """

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self.reads: list[Place] = []
        self.watchers: list[Callable[[str, Object], None]] = []
        self.fault: Fault = lambda _write, _document: None
        self.deaf = False
        self._oldest = 0
        self._history: list[tuple[str, Object]] = []
        self._streams: list[asyncio.Queue[Event | None]] = []
        self._objects: dict[Place, _Stored] = {}
        self._version = 0
        self._born = 0

    async def apply(self, document: Document, *, subresource: str = "") -> Document:
        """Server-side apply by the one field manager."""
        place = _place(document)
        self._write(Write("apply", place.kind, place.name, subresource), document)
        stored = self._objects.get(place)
        if stored is None:
            if subresource or "resourceVersion" in document["metadata"]:
                raise errors.of(404, f'{place.kind.lower()} "{place.name}" not found', reason="NotFound")
            return copy.deepcopy(self._add(document).body)
        expected = document["metadata"].get("resourceVersion")
        if expected is not None and expected != stored.body["metadata"]["resourceVersion"]:
            raise errors.of(409, "the object has been modified; please apply your changes to the latest version")
        before = copy.deepcopy(stored.body)
        if subresource:
            said = dict(document["status"])
            _take_over(stored.body.setdefault("status", {}), said, before=stored.said)
            stored.said = copy.deepcopy(said)
        else:
            wanted = {part: copy.deepcopy(value) for part, value in document.items() if part != "status"}
            if place.kind == "Pod" and wanted.get("spec") != stored.applied.get("spec"):
                raise errors.of(
                    422, f'Pod "{place.name}" is invalid: spec: Forbidden: pod updates may not change fields'
                )
            _take_over(stored.body, wanted, before=stored.applied)
            stored.applied = wanted
        self._changed(stored, before)
        return copy.deepcopy(stored.body)

    async def create(self, document: Document) -> bool:
        """Create; False where the name is taken."""
        place = _place(document)
        self._write(Write("create", place.kind, place.name), document)
        if place in self._objects:
            return False
        self._add(document)
        return True

    async def delete(
        self, resource: Resource, *, namespace: str, name: str, uid: str, grace_s: int | None = None
    ) -> bool:
        """Delete this uid. A Pod on a node only begins to stop: see `stopped`."""
        self._write(Write("delete", resource.kind, name), {})
        stored = self._objects.get(Place(resource.kind, namespace, name))
        if stored is None or stored.body["metadata"]["uid"] != uid:
            return False
        self.deleted(resource.kind, namespace, name, now=grace_s == 0)
        return True

    async def read(self, resource: Resource, *, namespace: str, name: str, metadata_only: bool = False) -> Document:
        """One object; raises NotFound."""
        self.reads.append(Place(resource.kind, namespace, name))
        stored = self._objects.get(Place(resource.kind, namespace, name))
        if stored is None:
            raise errors.of(404, f'{resource.plural} "{name}" not found', reason="NotFound")
        if metadata_only:
            return {"kind": "PartialObjectMetadata", "metadata": copy.deepcopy(stored.body["metadata"])}
        return copy.deepcopy(stored.body)

    async def merge(self, resource: Resource, *, namespace: str, name: str, patch: Document) -> None:
        """JSON merge patch."""
        self._write(Write("merge", resource.kind, name), patch)
        stored = self._objects.get(Place(resource.kind, namespace, name))
        if stored is None:
            raise errors.of(404, f'{resource.plural} "{name}" not found', reason="NotFound")
        before = copy.deepcopy(stored.body)
        _merge(stored.body, patch)
        self._changed(stored, before)

    async def pages(
        self, resource: Resource, *, selector: str = "", namespace: str = "", name: str = ""
    ) -> AsyncIterator[Page]:
        """Every object of the kind that wears the label `selector`, as one page."""
        label, _, value = selector.partition("=")
        found = [
            copy.deepcopy(stored.body)
            for place, stored in self._objects.items()
            if place.kind == resource.kind
            and namespace in ("", place.namespace)
            and name in ("", place.name)
            and (not selector or (stored.body["metadata"].get("labels") or {}).get(label) == value)
        ]
        yield Page(found, str(self._version))

    async def watch(
        self, resource: Resource, *, since: str, selector: str = "", namespace: str = "", name: str = ""
    ) -> AsyncIterator[Event]:
        """What happened after `since`, as long as that is remembered, and what happens: until `hang_up`."""
        if int(since) < self._oldest:
            raise errors.of(410, f"too old resource version: {since} ({self._oldest})", reason="Expired")
        label, _, value = selector.partition("=")
        told: asyncio.Queue[Event | None] = asyncio.Queue()

        def tell(change: str, body: Object) -> None:
            meta = body["metadata"]
            worn = not selector or (meta.get("labels") or {}).get(label) == value
            there = namespace in ("", meta.get("namespace", "")) and name in ("", meta.get("name"))
            if body["kind"] == resource.kind and worn and there:
                told.put_nowait(Event(change, body))

        for change, body in self._history:
            if int(body["metadata"]["resourceVersion"]) > int(since):
                tell(change, copy.deepcopy(body))
        self.watchers.append(tell)
        self._streams.append(told)
        try:
            while (event := await told.get()) is not None:
                yield event
        finally:
            self.watchers.remove(tell)
            self._streams.remove(told)

    def forget(self) -> None:
        """Compact: no watch can begin at what was before."""
        self._oldest = self._version
        self._history.clear()

    def hang_up(self) -> None:
        """End every watch."""
        for stream in self._streams:
            stream.put_nowait(None)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it is, or None."""
        stored = self._objects.get(Place(kind, namespace, name))
        return copy.deepcopy(stored.body) if stored else None

    def each(self, kind: str) -> tuple[Object, ...]:
        """Every object of the kind, in the order of creation."""
        return tuple(copy.deepcopy(stored.body) for place, stored in self._objects.items() if place.kind == kind)

    def person_applies(self, document: Document) -> Object:
        """Somebody creates the object, or changes its spec, labels and annotations."""
        place = _place(document)
        stored = self._objects.get(place)
        if stored is None:
            return copy.deepcopy(self._add(document, ours=False).body)
        before = copy.deepcopy(stored.body)
        stored.body["spec"] = copy.deepcopy(document.get("spec") or {})
        for field in ("labels", "annotations"):
            if field in document["metadata"]:
                stored.body["metadata"][field] = copy.deepcopy(document["metadata"][field])
        if "data" in document:
            stored.body["data"] = copy.deepcopy(document["data"])
        self._changed(stored, before)
        return copy.deepcopy(stored.body)

    def reported(self, kind: str, namespace: str, name: str, status: Mapping[str, Any], **spec: Any) -> None:  # noqa: ANN401
        """A kubelet, scheduler or controller says a status; `spec` is what a scheduler binds, such as nodeName."""
        stored = self._objects[Place(kind, namespace, name)]
        before = copy.deepcopy(stored.body)
        stored.body.setdefault("spec", {}).update(spec)
        stored.body["status"] = {**stored.body.get("status", {}), **copy.deepcopy(dict(status))}
        self._changed(stored, before, spec_counts=False)

    def deleted(self, kind: str, namespace: str, name: str, *, now: bool = False) -> None:
        """Somebody deletes the object: a Pod on a node begins to stop, everything else is gone with what it owns."""
        place = Place(kind, namespace, name)
        stored = self._objects[place]
        ended = (stored.body.get("status") or {}).get("phase") in ("Failed", "Succeeded")
        if kind == PODS.kind and not now and not ended and stored.body["spec"].get("nodeName"):
            before = copy.deepcopy(stored.body)
            stored.body["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
            self._changed(stored, before)
            return
        self._remove(place)

    def stopped(self) -> None:
        """Every Pod that was stopping has stopped."""
        for place, stored in list(self._objects.items()):
            if stored.body["metadata"].get("deletionTimestamp"):
                self._remove(place)

    def _write(self, write: Write, document: Document) -> None:
        self.writes.append(write)
        if error := self.fault(write, document):
            raise error

    def _add(self, document: Document, *, ours: bool = True) -> _Stored:
        self._born += 1
        body = {part: copy.deepcopy(value) for part, value in document.items() if part != "status"}
        applied = copy.deepcopy(body) if ours else {}  # what is not ours is not ours to take back
        body["metadata"] |= {"uid": f"uid-{self._born}", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        stored = _Stored(body, applied, {})
        self._objects[_place(document)] = stored
        self._stamp(stored)
        self._tell("ADDED", stored)
        return stored

    def _changed(self, stored: _Stored, before: Object, *, spec_counts: bool = True) -> None:
        if stored.body == before:
            return
        if spec_counts and stored.body.get("spec") != before.get("spec"):
            stored.body["metadata"]["generation"] += 1
        self._stamp(stored)
        self._tell("MODIFIED", stored)

    def _remove(self, place: Place) -> None:
        stored = self._objects.pop(place)
        self._stamp(stored)
        self._tell("DELETED", stored)
        uid = stored.body["metadata"]["uid"]
        for owned, other in list(self._objects.items()):
            if owned in self._objects and uid in {
                ref["uid"] for ref in other.body["metadata"].get("ownerReferences") or ()
            }:
                self.deleted(*owned)

    def _stamp(self, stored: _Stored) -> None:
        self._version += 1
        meta = stored.body["metadata"]
        meta["resourceVersion"] = str(self._version)
        if stored.applied:
            named = {**stored.applied, "metadata": {**stored.applied["metadata"]}}
            for part, names in ((named, ("apiVersion", "kind")), (named["metadata"], ("name", "namespace"))):
                for name in names:  # what an object is called belongs to nobody
                    part.pop(name, None)
            books = _books(named, stored.body)
            meta["managedFields"] = [{"manager": labels.CONTROLLER, "operation": "Apply", "fieldsV1": books}]

    def _tell(self, kind: str, stored: _Stored) -> None:
        self._history.append((kind, copy.deepcopy(stored.body)))
        if not self.deaf:
            for watcher in self.watchers:
                watcher(kind, copy.deepcopy(stored.body))


def _place(document: Document) -> Place:
    kind = document["kind"]
    if kind not in BY_KIND:
        raise errors.of(404, f"the server could not find the requested resource: {kind}")
    return Place(kind, document["metadata"].get("namespace", ""), document["metadata"]["name"])


def _take_over(into: Object, wanted: Mapping[str, Any], *, before: Mapping[str, Any]) -> None:
    """Write what is wanted, and take back what was applied before and is not any more. Lists are replaced whole."""
    for name in before.keys() - wanted.keys():
        into.pop(name, None)
    for name, value in wanted.items():
        old = before.get(name)
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _take_over(into[name], value, before=old if isinstance(old, Mapping) else {})
        else:
            into[name] = copy.deepcopy(value)


def _books(applied: Mapping[str, Any], body: Mapping[str, Any]) -> Object:
    """Which of the fields that we applied are still ours, in the server's notation. Lists go by uid or name, or count as a whole."""
    kept: Object = {}
    for name, value in applied.items():
        inner = {}
        if isinstance(value, Mapping) and isinstance(body.get(name), Mapping):
            inner = _books(value, body[name])
        elif isinstance(value, list) and isinstance(body.get(name), list):
            inner = _books_of_items(value, body[name])
        if inner or body.get(name) == value:
            kept[f"f:{name}"] = inner
    return kept


def _books_of_items(applied: list[Any], body: list[Any]) -> Object:
    kept: Object = {}
    for value in applied:
        key = next((key for key in ("uid", "name") if isinstance(value, Mapping) and key in value), None)
        if key is None:
            return {}
        found = next((each for each in body if isinstance(each, Mapping) and each.get(key) == value[key]), {})
        if inner := _books(value, found):
            kept[f"k:{json.dumps({key: value[key]})}"] = inner
    return kept


def _merge(into: Object, patch: Mapping[str, Any]) -> None:
    """RFC 7386: null takes a field away."""
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, Mapping):
            if not isinstance(into.get(name), dict):
                into[name] = {}
            _merge(into[name], value)
        else:
            into[name] = copy.deepcopy(value)
