"""Carry out a plan: Pods told to stop, the tenant's keys made once, children applied, the status said.

Apart from the plan because here are the writes, all of them: two or three for an Agent created, none for one that stands as it should. What the
server answers is remembered at once, like any other sight, so that the next plan does not wait for the watch.
It must never decide anything, nor read, keep or log a secret that it made.
"""

import base64
import secrets
import time
from collections.abc import Callable
from typing import Protocol

from aion.api import labels
from aion.controller import errors, sealed
from aion.controller.kube import BY_KIND, PODS, SECRETS, Cluster
from aion.controller.plan import Plan, Rekey
from aion.controller.sealed import Document
from aion.telemetry import logs

_log = logs.get("controller.apply")

KEYS_ANEW_S = 600.0
"""A key Secret that somebody deleted is invisible to us (no right to read one). While a Pod waits, it is offered again this often."""

SECRET_BYTES = 32  # 256 bits: the strength of HMAC-SHA256


class Memory(Protocol):
    """Who is told what a write has shown."""

    def answered(self, document: Document) -> None:
        """An object as it was stored."""

    def gone(self, kind: str, uid: str) -> bool:
        """An object is no more."""


class Applier:
    """Writes through one `Cluster`; `memory` is told what came back."""

    def __init__(self, cluster: Cluster, *, memory: Memory, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._memory = memory
        self._clock = clock
        self._keyed: dict[str, float] = {}

    async def children(self, plan: Plan) -> None:
        """Delete and apply, in the plan's order; raises what the first failing write raises, and the rest is left undone."""
        for pod in plan.delete:
            if not await self._cluster.delete(PODS, namespace=pod.namespace, name=pod.name, uid=pod.uid):
                self._memory.gone(PODS.kind, pod.uid)  # a watch has lost that deletion
        for child in plan.prune:
            if not await self._cluster.delete(
                BY_KIND[child.kind], namespace=child.namespace, name=child.name, uid=child.uid
            ):
                self._memory.gone(child.kind, child.uid)
        if plan.keys_in:
            await self._keys(plan.keys_in)
        for document in plan.over:
            meta = document["metadata"]
            where = {"namespace": meta["namespace"], "name": meta["name"]}
            await self._cluster.merge(BY_KIND[document["kind"]], **where, patch={"spec": document["spec"]})
        for document in plan.apply:
            self._memory.answered(dict(await self._cluster.apply(document)))
        if plan.rekey:  # last: whatever is refused before it, the status does not speak of a key that was not made
            await self._rekey(plan.rekey)

    async def status(self, document: Document) -> None:
        """Say the status; an object that is gone needs none."""
        try:
            self._memory.answered(dict(await self._cluster.apply(document, subresource="status")))
        except errors.NotFound:
            return

    async def event(self, document: Document) -> None:
        """Tell what happened; one that cannot be told (its namespace goes, the server is busy) is worth no second attempt."""
        try:
            await self._cluster.create(document)
        except errors.KubeError as error:
            _log.info("event.untold", reason=error.message, name=document["metadata"]["name"])

    def forget(self, namespace: str) -> None:
        """The namespace lost its last Agent and Tool: if it comes back, it may be another one."""
        self._keyed.pop(namespace, None)

    async def _keys(self, namespace: str) -> None:
        made = self._keyed.get(namespace)
        if made is not None and self._clock() - made < KEYS_ANEW_S:
            return
        # Two workers may come here for one namespace at once; the second is told that the name is taken.
        self._keyed[namespace] = self._clock()
        try:
            await self._cluster.create(sealed.tenant_keys(namespace, secret=secrets.token_urlsafe(SECRET_BYTES)))
        except errors.KubeError:
            self._keyed.pop(namespace, None)
            raise

    async def _rekey(self, change: Rekey) -> None:
        """By a merge that names nothing but these ids: the other keys are neither read nor touched."""
        data: dict[str, str | None] = dict.fromkeys(change.drop)
        if change.make:
            data[change.make] = base64.b64encode(secrets.token_urlsafe(SECRET_BYTES).encode()).decode()
        where = {"namespace": change.namespace, "name": labels.TENANT_KEYS}
        try:
            await self._cluster.merge(SECRETS, **where, patch={"data": data})
        except errors.NotFound:
            self.forget(change.namespace)  # somebody deleted the Secret: the next pass makes it first
            raise
