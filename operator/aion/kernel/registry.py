"""The kernel's picture of every Agent, Tool and Tenant in the cluster, and a bell for whoever must act on a change.

It stands apart so that grants are compiled from one consistent picture in memory and never from the API server. An
object that cannot be read is left out and logged: for the kernel it does not exist, but that a Tenant is not there is never concluded from it. It must never be written to by
anything but the watches, or by whoever has no cluster to watch.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, Self, TypeVar

import structlog

from aion.api import granting
from aion.api.agent import Agent
from aion.api.tenant import Tenant
from aion.api.tool import Tool
from aion.kernel.cluster import Json

_log = structlog.get_logger()

Key = tuple[str, str]
"""Namespace and name."""


class Kind(Protocol):
    """A model that can be read from the cluster."""

    @classmethod
    def from_cluster(cls, body: Json) -> Self:
        """Read an object as the API server sends it; raises ValueError."""

    @property
    def namespace(self) -> str:
        """The namespace it is in."""

    @property
    def name(self) -> str:
        """Its name there."""


T = TypeVar("T", bound=Kind)


class Bells:
    """Events that are set when something of their tenant changed."""

    def __init__(self) -> None:
        self._by_tenant: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def listen(self, tenant: str) -> Iterator[asyncio.Event]:
        """Lend an event that is set at each change; the listener clears it."""
        bell = asyncio.Event()
        listeners = self._by_tenant.setdefault(tenant, set())
        listeners.add(bell)
        try:
            yield bell
        finally:
            listeners.discard(bell)
            if not listeners and self._by_tenant.get(tenant) is listeners:
                del self._by_tenant[tenant]

    def ring(self, tenant: str) -> None:
        """Tell the listeners of one tenant."""
        for bell in self._by_tenant.get(tenant, ()):
            bell.set()

    def ring_all(self) -> None:
        """Tell everybody."""
        for listeners in self._by_tenant.values():
            for bell in listeners:
                bell.set()


class Collection(Generic[T]):
    """The objects of one kind by namespace and name: a `watch.Picture`."""

    def __init__(self, kind: type[T], bells: Bells) -> None:
        self._kind = kind
        self._bells = bells
        self._objects: dict[str, dict[str, T]] = {}
        self._ordered: dict[str, tuple[T, ...]] = {}
        self._unreadable: set[Key] = set()
        self._awaited: set[str] = set()
        self.synced = asyncio.Event()

    def unreadable(self, namespace: str, name: str) -> bool:
        """Say whether there is such an object, and it cannot be read."""
        return (namespace, name) in self._unreadable

    def get(self, namespace: str, name: str) -> T | None:
        """Return one object."""
        return self._objects.get(namespace, {}).get(name)

    def of(self, namespace: str) -> tuple[T, ...]:
        """Return a namespace's objects, ordered by name: the same tuple until one of them changes."""
        ordered = self._ordered.get(namespace)
        if ordered is None:
            held = self._objects.get(namespace)
            if not held:
                return ()
            ordered = self._ordered[namespace] = tuple(held[name] for name in sorted(held))
        return ordered

    def all(self) -> list[tuple[Key, T]]:
        """Return everything, ordered by namespace and name."""
        return [
            ((namespace, name), self._objects[namespace][name])
            for namespace in sorted(self._objects)
            for name in sorted(self._objects[namespace])
        ]

    def replace(self, objects: list[Json]) -> None:
        """These are all there are."""
        self._objects = {}
        self._ordered = {}
        self._unreadable = set()
        for body in objects:
            self._keep(body)
        self.synced.set()
        self._bells.ring_all()

    def part(self, namespace: str) -> "Part[T]":
        """Return one namespace as a picture of its own; the collection is synced when each of its parts was complete once."""
        self._awaited.add(namespace)
        return Part(self, namespace)

    def replace_within(self, namespace: str, objects: list[Json]) -> None:
        """These are all there are in one namespace."""
        self._objects.pop(namespace, None)
        self._ordered.pop(namespace, None)
        self._unreadable = {key for key in self._unreadable if key[0] != namespace}
        for body in objects:
            self._keep(body)
        self._awaited.discard(namespace)
        if not self._awaited:
            self.synced.set()
        self._bells.ring(namespace)

    def put(self, body: Json) -> None:
        """This one is new or changed."""
        self._keep(body)
        self._bells.ring(_key(body)[0])

    def hold(self, found: T) -> None:
        """Keep an object that no cluster knows: on a laptop, where no watch brings any."""
        self._objects.setdefault(found.namespace, {})[found.name] = found
        self._ordered.pop(found.namespace, None)
        self._bells.ring(found.namespace)

    def remove(self, body: Json) -> None:
        """This one is gone."""
        namespace, name = _key(body)
        held = self._objects.get(namespace, {})
        held.pop(name, None)
        self._unreadable.discard((namespace, name))
        if not held:
            self._objects.pop(namespace, None)
        self._ordered.pop(namespace, None)
        self._bells.ring(namespace)

    def _keep(self, body: Json) -> None:
        namespace, name = _key(body)
        held = self._objects.setdefault(namespace, {})
        self._ordered.pop(namespace, None)
        try:
            held[name] = self._kind.from_cluster(body)
            self._unreadable.discard((namespace, name))
        except ValueError as unreadable:
            held.pop(name, None)
            self._unreadable.add((namespace, name))
            _log.warning(
                "registry.unreadable", kind=self._kind.__name__, tenant=namespace, name=name, reason=str(unreadable)
            )


class Part(Generic[T]):
    """One namespace of a collection that is watched namespace by namespace: a `watch.Picture`."""

    def __init__(self, whole: Collection[T], namespace: str) -> None:
        self._whole = whole
        self._namespace = namespace

    def replace(self, objects: list[Json]) -> None:
        """These are all there are in it."""
        self._whole.replace_within(self._namespace, objects)

    def put(self, body: Json) -> None:
        """This one is new or changed."""
        self._whole.put(body)

    def remove(self, body: Json) -> None:
        """This one is gone."""
        self._whole.remove(body)


class Registry:
    """Agents, Tools, Tenants, and the bells that ring when they change."""

    def __init__(self, *, default_ceiling: tuple[str, ...] | None = None) -> None:
        self._default_ceiling = default_ceiling
        self.bells = Bells()
        self.agents: Collection[Agent] = Collection(Agent, self.bells)
        self.tools: Collection[Tool] = Collection(Tool, self.bells)
        self.tenants: Collection[Tenant] = Collection(Tenant, self.bells)

    @property
    def synced(self) -> bool:
        """Say whether every picture has been complete once."""
        return all(picture.synced.is_set() for picture in (self.agents, self.tools, self.tenants))

    def ceiling(self, tenant: str) -> tuple[str, ...] | None:
        """Return the most that any agent of a tenant may be allowed, None for all; nothing where the Tenant cannot be read."""
        if self.tenants.unreadable(tenant, tenant):
            return ()
        found = self.tenants.get(tenant, tenant)
        return found.spec.capabilities if found else self._default_ceiling

    def ceiling_of(self, tenant: str) -> str:
        """Return whose that ceiling is, for denials: the chart's where there is no Tenant."""
        there = self.tenants.unreadable(tenant, tenant) or self.tenants.get(tenant, tenant) is not None
        return granting.TENANTS if there else granting.CHARTS

    def takes_body_mac(self, tenant: str) -> bool:
        """Say whether a tenant takes the MAC of older clients; no where there is no Tenant, or none that can be read."""
        found = self.tenants.get(tenant, tenant)
        return found is not None and found.spec.auth.legacy_body_hmac

    async def wait_synced(self) -> None:
        """Return when every picture has been complete once."""
        await self.agents.synced.wait()
        await self.tools.synced.wait()
        await self.tenants.synced.wait()


def _key(body: Json) -> Key:
    metadata: Json = body["metadata"]
    name = str(metadata["name"])
    return str(metadata.get("namespace") or name), name  # a Tenant is in no namespace, and governs that of its name
