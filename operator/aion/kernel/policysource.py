"""Which policy is in force: the pointer in `Policy` `aion` of the release namespace, and the bundle it points at.

It stands apart from `grants`, which only knows that a policy was set, because a policy is the one thing that arrives by
two objects: a pointer that moves and an immutable ConfigMap that never does. What the pointer says is believed only as
far as the bundle's own digest bears it out. It must never go back: a lower revision, another digest under the same
revision, or a bundle that cannot be read leaves the last good one in force.
"""

import asyncio
import random
import re
from collections.abc import Callable

import msgspec
import structlog

from aion.api import errors, labels
from aion.api import policy as policies
from aion.api.shape import InvalidManifest
from aion.kernel import drafts, watch
from aion.kernel.clock import wall_ms
from aion.kernel.cluster import ApiError, Cluster, Json
from aion.kernel.grants import Grants, Policy
from aion.kernel.metrics import KernelMetrics
from aion.kernel.store import Store

NAME = "aion"
KEY = "policy.json"
JOURNAL = "kernel.policy"
"""Announcements are numbered by revision in a journal of their own, so that of many replicas one is heard."""

RETRY_S = (0.5, 2.0)
"""Between two attempts to fetch a bundle: the pointer may be seen before its ConfigMap can be read."""

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")

_log = structlog.get_logger()


class Refused(Exception):  # noqa: N818 - it is what the pointer was
    """The pointer cannot be followed; the message is for a person."""


def path(namespace: str) -> str:
    """Return where Policy objects of a namespace are."""
    return f"/apis/{labels.GROUP}/{labels.VERSION}/namespaces/{namespace}/{policies.Policy.names.plural}"


def verify_pointer(pointer: policies.Pointer, *, current: Policy | None) -> bool:
    """Say whether there is something new to fetch; raises Refused where the pointer may not be followed. Pure."""
    if current is not None:
        if pointer.revision < current.revision:
            raise Refused(
                f"got revision {pointer.revision}, expected more than {current.revision}: revisions only rise"
            )
        if pointer.revision == current.revision:
            if pointer.digest != current.digest:
                raise Refused(
                    f"got another digest ({pointer.digest[:12]}) under revision {pointer.revision}, which is in force: "
                    "a change needs a higher revision"
                )
            return False
    if not _SUBDOMAIN.fullmatch(pointer.config_map):
        raise Refused(f"got configMap {pointer.config_map[:80]!r}, expected the name of a ConfigMap")
    return True


def read_bundle(document: Json, pointer: policies.Pointer) -> Policy:
    """Read the bundle out of its ConfigMap and hold it against the pointer's digest; raises Refused. Pure."""
    text = (document.get("data") or {}).get(KEY)
    if not isinstance(text, str):
        raise Refused(f"ConfigMap {pointer.config_map} has no key {KEY}")
    try:
        bundle = policies.Bundle.from_document(msgspec.json.decode(text))
    except (msgspec.DecodeError, InvalidManifest) as unreadable:
        raise Refused(f"the bundle in ConfigMap {pointer.config_map} cannot be read: {unreadable}") from None
    found = policies.digest(bundle)
    if found != pointer.digest:
        raise Refused(
            f"the bundle in ConfigMap {pointer.config_map} has digest {found}, the pointer says {pointer.digest}"
        )
    return Policy(bundle, pointer.revision, found)


class PolicySource:
    """A `watch.Picture` of the release namespace's policies, and the loop that follows the pointer of one of them."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        namespace: str,
        grants: Grants,
        store: Store,
        metrics: KernelMetrics,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._grants = grants
        self._store = store
        self._metrics = metrics
        self._jitter = jitter
        self._pointer: policies.Pointer | None = None
        self._moved = asyncio.Event()
        self.trouble = f"there is no Policy {NAME} in namespace {namespace} yet"
        """Why the pointer is not in force, for a person; empty when it is."""

    def replace(self, objects: list[Json]) -> None:
        """These are all there are."""
        for body in objects:
            self.put(body)

    def put(self, body: Json) -> None:
        """This one is new or changed."""
        if body["metadata"]["name"] != NAME:
            return
        try:
            pointer = policies.Policy.from_cluster(body).status.active
        except InvalidManifest as unreadable:
            self._refuse(f"Policy {NAME} cannot be read: {unreadable}")
            return
        if pointer is None:
            if self._grants.policy is None:
                self.trouble = f"Policy {NAME} points at no bundle yet (status.active): is the controller running?"
        elif pointer != self._pointer:
            self._pointer = pointer
            self._moved.set()

    def remove(self, body: Json) -> None:
        """This one is gone: the last good policy stays in force."""
        if body["metadata"]["name"] == NAME:
            _log.warning("policy.object_gone", reason=f"Policy {NAME} was deleted; what was in force stays so")

    async def run(self) -> None:
        """Watch, and follow the pointer, until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(watch.keep(self._cluster, path(self._namespace), self), name="policies")
            both.create_task(self._follow(), name="policy-pointer")

    async def _follow(self) -> None:
        while True:
            await self._moved.wait()
            self._moved.clear()
            while not await self._attempt():
                try:
                    async with asyncio.timeout(self._jitter(*RETRY_S)):
                        await self._moved.wait()
                except TimeoutError:
                    continue
                break

    async def _attempt(self) -> bool:
        """Follow the pointer once; False where another attempt could help."""
        pointer = self._pointer
        if pointer is None:
            return True
        try:
            if not verify_pointer(pointer, current=self._grants.policy):
                self.trouble = ""
                return True
            document = await self._cluster.get(f"/api/v1/namespaces/{self._namespace}/configmaps/{pointer.config_map}")
            if document is None:
                return self._waiting(f"there is no ConfigMap {pointer.config_map} in namespace {self._namespace}")
            policy = read_bundle(document, pointer)
        except Refused as refused:
            self._refuse(str(refused))
            return True
        except ApiError as failed:
            return self._waiting(f"ConfigMap {pointer.config_map} cannot be read: {failed}")
        self._grants.set_policy(policy)
        self._metrics.policy(policy.revision, policy.digest)
        self.trouble = ""
        _log.info("policy.active", policy=policy.digest, revision=policy.revision)
        await self._announce(policy)
        return True

    def _waiting(self, reason: str) -> bool:
        if reason != self.trouble:
            _log.warning("policy.waiting", reason=reason)
        self.trouble = reason
        return False

    def _refuse(self, reason: str) -> None:
        _log.error("policy.refused", reason=reason, revision=self._grants.policy.revision if self._grants.policy else 0)
        self.trouble = reason

    async def _announce(self, policy: Policy) -> None:
        """Publish it once, whichever replica is first. Unlike audit this may be lost: the log has it too."""
        row = drafts.of_policy("active", revision=policy.revision, digest=policy.digest, now_ms=wall_ms())
        try:
            await self._store.record(JOURNAL, [row])
        except errors.Unavailable as unavailable:
            _log.warning("policy.unannounced", reason=str(unavailable))
